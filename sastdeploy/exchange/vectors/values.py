"""What a program computes on its way: counts in, weighted sums, membranes, spikes, scores out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.layers.lif import drive
from sastdeploy.program.layers.start import started
from sastdeploy.program.records import Lif, Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Signal:
    """The integers of one kind.

    Args:
        layer: ``input``, a layer's name, or ``scores``. kind: ``counts``, ``sums``, ``currents``, ``membranes``, ``spikes``,
            ``delayed`` or ``scores``.
        shape: of one step, ``(C, H, W)``; of scores ``(K,)``.
        bits: two's complement where ``signed``, enough for every value here and, for membranes, for the format.
        values: ``[N, T, values]``; of scores ``[N, K]``.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    bits: int
    signed: bool
    values: Integers


def signals(program: Program, frames: Frames) -> list[Signal]:
    """Return every signal of the reference engine on the frames, input first."""
    names = tuple(program.neurons())
    result = engine.run(program, frames, engine="reference", trace=names)
    counts = np.minimum(frames.dense(), np.uint8(program.preprocessing.c_clip))
    recorded = [Signal("input", "counts", counts.shape[2:], 8, False, counts.reshape(*counts.shape[:2], -1))]
    shapes, sources = program.shapes(), [recorded[-1].values]
    for layer, heard, after in zip(program.layers, program.sources(), shapes[1:]):
        source, shape = sources[heard], shapes[heard]
        if layer.lif is None:
            passed = layer.sent(source.reshape(*source.shape[:2], *shape).astype(np.int32))
            passed = passed.reshape(*source.shape[:2], -1)
            recorded.append(Signal(layer.name, layer.sends, after, _bits(passed), True, passed))
            sources.append(passed)
            continue
        sums = np.array([_sums(layer, recording, shape) for recording in source])
        for each in layer.further:
            more = [_sums(each, recording, shapes[each.source]) for recording in sources[each.source]]
            sums = sums + np.array(more)
        sums = sums.reshape(*source.shape[:2], -1).astype(np.int32)
        recorded.append(Signal(layer.name, "sums", after, _bits(sums), True, sums))
        trace = result.traces[layer.name]
        if layer.own_weights:
            own = np.array([_own_sums(layer, recording, after) for recording in trace.spikes])
            sums = (sums + own).astype(np.int32)
            recorded[-1] = Signal(layer.name, "sums", after, _bits(sums), True, sums)
        if layer.lif.current is not None:
            currents = np.array([_currents(layer.lif, recording, after) for recording in sums])
            bits = max(layer.lif.membrane.bits, _bits(currents))
            recorded.append(Signal(layer.name, "currents", after, bits, True, currents))
        bits = max(layer.lif.membrane.bits, _bits(trace.membranes))
        recorded.append(Signal(layer.name, "membranes", after, bits, True, trace.membranes))
        recorded.append(Signal(layer.name, "spikes", after, _unsigned(trace.spikes), False, trace.spikes))
        sources.append(recorded[-1].values)
    scores = result.scores
    return [*recorded, Signal("scores", "scores", scores.shape[1:], 32, True, scores)]


def _sums(layer: object, steps: Integers, shape: tuple[int, int, int]) -> list[Integers]:
    return [layer.sums(step.reshape(shape).astype(np.int64)).reshape(-1) for step in steps]  # type: ignore[attr-defined]


def _own_sums(layer: Any, spikes: Integers, shape: tuple[int, int, int]) -> Integers:
    """Return what one recording's spikes ``[T, values]`` add to the layer's own sums, each in the step after it."""
    sums = [layer.own_sums(step.reshape(shape).astype(np.int64)).reshape(-1) for step in spikes[:-1]]
    return np.stack([np.zeros(spikes.shape[1], np.int64), *sums])


def _currents(lif: Lif, sums: Integers, shape: tuple[int, int, int]) -> Integers:
    """Return the synaptic currents ``[T, values]`` of one recording's weighted sums."""
    currents = [started(lif.starts().get("current_start"), shape)]
    for step in sums:
        currents.append(drive(lif, step.reshape(shape).astype(np.int64), currents[-1])[0])
    return np.stack(currents[1:]).reshape(len(sums), -1).astype(np.int32)


def words(signal: Signal, recording: int) -> Iterator[str]:
    """Yield one recording's values as hexadecimal words of ``signal.bits``, step by step, as ``$readmemh`` reads them."""
    digits, mask = -(-signal.bits // 4), (1 << signal.bits) - 1
    for value in signal.values[recording].reshape(-1).tolist():
        yield f"{value & mask:0{digits}x}"


def _bits(values: Integers) -> int:
    """Return the bits of two's complement that hold every value."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    return 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)


def _unsigned(values: Integers) -> int:
    return max(1, int(values.max(initial=0)).bit_length())
