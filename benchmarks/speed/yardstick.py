"""The C yardstick: compiled here, given a program's tables, checked to give the same integers."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sastdeploy import Frames, Program, RunResult
from sastdeploy._kernels.vectors import aligned_zeros, paired_order
from sastdeploy.program.records import DenseLif
from sastdeploy.simulator.numba_engine.plan import LayerPlan, make_plan

SOURCE = Path(__file__).with_name("yardstick.c")
FIELDS = ("vectors", "width", "budget", "multiplier", "shift", "threshold", "before", "after", "leak", "leak_shift",
          "leak_half", "leak_negative", "low", "high")  # fmt: skip


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("weight", "bias", "nonzero")] + [
        (name, ctypes.c_int32) for name in FIELDS
    ]


class Yardstick:
    """One program and one set of recordings, ready to run in C.

    Raises:
        SystemExit: no C compiler with AVX-512, or a program of another kind.
    """

    def __init__(self, program: Program, frames: Frames) -> None:
        folder = tempfile.mkdtemp()
        library = Path(folder) / "yardstick.so"
        subprocess.run(
            ["cc", "-O3", "-march=native", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], check=True
        )
        self._library = ctypes.CDLL(str(library))
        self._program, self._n = program, len(frames)
        self._kept: list[np.ndarray] = []
        plan = make_plan(program)
        widths = [layer.outputs for layer in plan.layers]
        if len(widths) != 2 or widths[0] > 192 or widths[1] > 64:
            raise SystemExit("the yardstick runs two dense layers of up to 192 and 64 neurons.")
        self._layers = [self._layer(*pair) for pair in zip(program.layers, plan.layers)]
        self._start = np.ascontiguousarray(frames.indptr, np.int64)
        self._index = np.ascontiguousarray(frames.index)
        self._value = np.minimum(frames.count, program.preprocessing.c_clip).astype(np.uint8)
        self._counts = aligned_zeros((self._n, 64), np.int32)
        self._facts = np.zeros((self._n, 4), np.int64)

    def _layer(self, stored: object, layer: LayerPlan) -> _Layer:
        wiring, step = layer.neurons()
        uniform = step.gain_mask == 0 and step.threshold_mask == 0 and not step.wide_leak and not step.wrap
        if (
            not isinstance(stored, DenseLif)
            or not (wiring.dense and uniform)
            or step.zero_before
            or step.zero_after
            or step.refractory
            or step.floored
        ):
            raise SystemExit(
                "the yardstick's layers are dense, with one gain each, and reset by subtraction."
            )
        vectors = 1 if layer.outputs <= 64 else 3
        weight = aligned_zeros((stored.weight.shape[1], 64 * vectors), np.int8)
        weight[:, : layer.outputs] = stored.weight.T
        pieces = weight.reshape(len(weight), vectors, 64)
        pieces[:] = pieces[:, :, paired_order(64)]
        bias = aligned_zeros(64 * vectors, np.int32)
        bias[: layer.outputs] = stored.lif.bias
        self._kept += [weight, bias, layer.fan_out_nonzero]
        return _Layer(
            *(array.ctypes.data for array in self._kept[-3:]), vectors, layer.outputs, min(wiring.budget, 2**30),
            int(step.multiplier[0]), int(step.shift[0]), int(step.test[0]),
            int(step.subtract_before[0]), int(step.subtract_after[0]), step.leak_multiplier, step.leak_shift,
            step.leak_half, step.leak_negative, step.q_min, step.q_max,
        )  # fmt: skip

    def run(self) -> np.ndarray:
        """Return scores ``[N, K]``; spikes and operations are counted on the way, as the engine does."""
        self._counts[:] = 0
        self._library.run(
            ctypes.byref(self._layers[0]), ctypes.byref(self._layers[1]), ctypes.c_int64(self._n),
            ctypes.c_int64(self._program.preprocessing.time_bins),
            *(ctypes.c_void_p(a.ctypes.data) for a in (self._start, self._index, self._value, self._counts, self._facts)),
        )  # fmt: skip
        readout = self._program.readout
        acc = (
            self._counts[:, : readout.weight.shape[1]].astype(float) @ readout.weight.T.astype(float)
        ).astype(np.int64)
        shift = readout.shift.astype(np.int64)
        gained = (acc * readout.multiplier + (np.left_shift(1, shift) >> 1)) >> shift
        scores: np.ndarray = gained + self._program.preprocessing.time_bins * readout.bias.astype(np.int64)
        return scores

    def check(self, expected: RunResult) -> None:
        """Guarantee the engine's scores, spikes and operations.

        Raises:
            SystemExit: any integer differs.
        """
        same = (self.run() == expected.scores).all()
        same &= (self._facts[:, 0] == expected.active[:, 0]).all()
        same &= (self._facts[:, 1] == expected.events[:, 0]).all()
        same &= (self._facts[:, 2] == expected.spikes[:, 0]).all()
        same &= (self._facts[:, 3] == expected.synops_nonzero[:, 0]).all()
        if not same:
            raise SystemExit("the C yardstick and the engine differ; nothing is timed.")

    def touch(self) -> int:
        """Load the first layer's rows of every event and nothing else: what the memory allows."""
        self._library.touch.restype = ctypes.c_int64
        touched: int = self._library.touch(
            ctypes.byref(self._layers[0]),
            ctypes.c_int64(len(self._index)),
            ctypes.c_void_p(self._index.ctypes.data),
        )
        return touched

    def parts(self) -> dict[str, Callable[[], object]]:
        """Return by name what `run` does in part, or would do in another order; the two ways of the sums are held against one another.

        Raises:
            SystemExit: they differ, modulo 2^16.
        """
        steps, events = self._program.preprocessing.time_bins, np.diff(self._start)
        step = np.repeat(np.tile(np.arange(steps, dtype=np.uint8), self._n), events)
        owner = np.repeat(np.repeat(np.arange(self._n), steps), events)
        order = np.lexsort((step, self._index, owner))
        by_input = [np.ascontiguousarray(array[order]) for array in (self._index, self._value, step)]
        last, sums = aligned_zeros((steps, 192), np.int16), np.zeros(192, np.int32)

        def call(name: str, *values: int | np.ndarray) -> None:
            getattr(self._library, name)(
                ctypes.byref(self._layers[0]),
                *(
                    ctypes.c_int64(v) if isinstance(v, int) else ctypes.c_void_p(v.ctypes.data)
                    for v in values
                ),
            )

        def in_steps() -> None:
            call("sums", self._n * steps, self._start, self._index, self._value, sums)

        def once() -> None:
            call("once", self._n, steps, self._start, *by_input, last)

        in_steps()
        once()
        # The rows' bytes are stored in another order than sum_rows gives them back.
        if (last[-1].reshape(3, 64)[:, paired_order(64).argsort()].ravel() != sums.astype(np.int16)).any():
            raise SystemExit("the two ways of the first layer's sums differ; nothing is timed.")
        return {
            "C row loads only": self.touch, "C, sums of the first layer only": in_steps,
            "C, these sums, a row loaded once per recording": once,
        }  # fmt: skip

    def row_bytes(self) -> int:
        """Return the bytes of weight rows that all recordings touch in the first layer."""
        return len(self._index) * 192
