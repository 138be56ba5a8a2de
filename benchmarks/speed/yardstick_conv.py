"""The C yardstick for convolutions: compiled here, given a program's tables, checked to give the same integers."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sastdeploy import Frames, Program, RunResult
from sastdeploy._kernels.vectors import aligned_zeros
from sastdeploy.simulator.numba_engine.plan import LayerPlan, make_plan
from sastdeploy.simulator.numba_engine.tables import Step, Wiring

SOURCE = Path(__file__).with_name("yardstick_conv.c")
ARRAYS = ("weight", "bias", "nonzero", "run_start", "run_low", "run_high", "run_offset")
NUMBERS = ("vectors", "width", "padded", "positions", "budget", "multiplier", "shift", "threshold", "leak", "leak_shift",
           "leak_half", "leak_negative", "low", "high")  # fmt: skip
VECTORS = (3, 5, 9)
BEYOND = 16
"""Numbers that are read and written behind a list's end."""


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ARRAYS] + [(name, ctypes.c_int32) for name in NUMBERS]


class _List(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("active", "first", "value")]


def _usable(wiring: Wiring, step: Step) -> bool:
    return (
        not wiring.dense and len(wiring.eighths) == 4 and wiring.weight.shape[1] // 32 in VECTORS
        and step.gain_mask == 0 and step.threshold_mask == 0 and step.multiplier.dtype == np.int32
        and not step.wide_leak and not step.wrap and int(step.subtract_before[0]) == int(step.test[0])
        and wiring.budget > 0
    )  # fmt: skip


class ConvYardstick:
    """One convolutional program and one set of recordings, ready to run in C.

    Raises:
        SystemExit: no C compiler with AVX-512, or a program of another kind.
    """

    def __init__(self, program: Program, frames: Frames) -> None:
        library = Path(tempfile.mkdtemp()) / "yardstick_conv.so"
        subprocess.run(
            ["cc", "-O3", "-march=native", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], check=True
        )
        self._library = ctypes.CDLL(str(library))
        self._program, self._n, self._steps = program, len(frames), program.preprocessing.time_bins
        self._kept: list[np.ndarray] = []
        self._plan = make_plan(program)
        if self._plan.input_order is None or frames.index.dtype != np.uint16:
            raise SystemExit("the yardstick for convolutions runs convolutions on at most 65,536 inputs.")
        self._layers = (_Layer * len(self._plan.layers))(*map(self._layer, self._plan.layers))
        self._membranes = [aligned_zeros(one.positions * one.padded, np.int32) for one in self._layers]
        self._counts = [np.zeros_like(m) for m in self._membranes]
        pixels = int(np.prod(frames.shape[1:]))
        self._lists = (_List * (len(self._layers) + 1))(
            self._list(frames.inputs, pixels),
            *(self._list(one.positions * one.width, one.positions) for one in self._layers),
        )
        most = max(layer.wiring.capacity for layer in self._plan.layers if layer.wiring is not None)
        self._rows, self._values = np.zeros(most + BEYOND, np.int32), np.zeros(most, np.uint8)
        self._start = np.ascontiguousarray(frames.indptr, np.int64)
        self._index = np.ascontiguousarray(frames.index)
        self._value = np.minimum(frames.count, program.preprocessing.c_clip).astype(np.uint8)
        self._pixels = pixels
        self._last = np.zeros((self._n, len(self._counts[-1])), np.int32)
        self._facts = np.zeros((self._n, len(self._layers) + 1, 2), np.int64)
        self._named: list[np.ndarray] = []

    def _keep(self, array: np.ndarray) -> int:
        self._kept.append(array)
        return array.ctypes.data

    def _list(self, inputs: int, pixels: int) -> _List:
        arrays: tuple[np.ndarray, ...] = (
            np.zeros(inputs + BEYOND, np.int32),
            np.zeros(pixels + 1, np.int32),
            np.zeros(inputs, np.uint8),
        )
        return _List(*map(self._keep, arrays))

    def _layer(self, layer: LayerPlan) -> _Layer:
        step, wiring = layer.step, layer.wiring
        if step is None or wiring is None or not _usable(wiring, step):
            raise SystemExit("the yardstick for convolutions runs conv_0p42m's layers with one gain each.")
        arrays: tuple[np.ndarray, ...] = (wiring.weight, step.bias, layer.fan_out_nonzero, wiring.run_start, wiring.run_low, wiring.run_high,
                  wiring.run_offset)  # fmt: skip
        return _Layer(
            *map(self._keep, arrays), wiring.weight.shape[1] // 32, wiring.width, len(step.bias), wiring.positions, min(wiring.budget, 2**30),
            int(step.multiplier[0]), int(step.shift[0]), int(step.test[0]), step.leak_multiplier, step.leak_shift,
            step.leak_half, step.leak_negative, step.q_min, step.q_max,
        )  # fmt: skip

    def _call(self, named: list[np.ndarray]) -> None:
        def pointer(array: np.ndarray) -> ctypes.c_void_p:
            return ctypes.c_void_p(array.ctypes.data)

        def pointers(arrays: list[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
            return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))

        assert self._plan.input_order is not None
        pixel, number = self._plan.input_order
        self._library.run(
            self._layers, len(self._layers), ctypes.c_int64(self._n), ctypes.c_int64(self._steps), pointer(self._start),
            pointer(self._index), pointer(self._value), int(self._program.preprocessing.c_clip > 1), pointer(pixel),
            pointer(number), self._pixels, self._lists, pointers(self._membranes), pointers(self._counts),
            pointer(self._rows), pointer(self._values), pointer(self._last), pointer(self._facts),
            pointers(named) if named else None,
        )  # fmt: skip

    def run(self) -> np.ndarray:
        """Return scores ``[N, K]``; spikes and operations are counted on the way, as the engine does."""
        self._call([])
        last, readout = self._layers[-1], self._program.readout
        counts = self._last.reshape(self._n, last.positions, last.padded)[:, :, : last.width].sum(1)
        acc = counts.astype(np.int64) @ readout.weight.T.astype(np.int64)
        shift = readout.shift.astype(np.int64)
        gained = (acc * readout.multiplier + (np.left_shift(1, shift) >> 1)) >> shift
        scores: np.ndarray = gained + self._steps * readout.bias.astype(np.int64)
        return scores

    def check(self, expected: RunResult) -> None:
        """Guarantee the engine's scores, spikes and operations, and note the rows that are added.

        Raises:
            SystemExit: any integer differs.
        """
        same = (self.run() == expected.scores).all()
        same &= (self._facts[:, :, 0] == expected.active).all()
        same &= (self._facts[:, :-1, 1] == expected.synops_nonzero[:, :-1]).all()
        if not same:
            raise SystemExit("the C yardstick and the engine differ; nothing is timed.")
        operations = expected.synops.sum(0)
        self._named = [np.zeros(n // one.width, np.int32) for one, n in zip(self._layers, operations)]
        self._call(self._named)

    def touch(self) -> int:
        """Load the weight rows that all values reach, and all membranes at every step: what the memory allows."""
        self._library.touch.restype = ctypes.c_int64
        return sum(
            self._library.touch(
                ctypes.byref(layer), ctypes.c_int64(len(rows)), ctypes.c_void_p(rows.ctypes.data),
                ctypes.c_int64(self._n * self._steps), ctypes.c_void_p(membrane.ctypes.data),
            )
            for layer, rows, membrane in zip(self._layers, self._named, self._membranes)
        )  # fmt: skip

    def parts(self) -> dict[str, Callable[[], object]]:
        """Return by name what `run` does in part."""
        return {"C row loads only": self.touch}

    def row_bytes(self) -> int:
        """Return the bytes of weight rows that all recordings touch."""
        return sum(len(rows) * layer.vectors * 32 for rows, layer in zip(self._named, self._layers))
