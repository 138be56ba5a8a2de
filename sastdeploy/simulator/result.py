"""RunResult: what every engine returns, number for number the same."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import SimulationError
from sastdeploy.program.records import Program


@dataclass(frozen=True)
class Trace:
    """Every step of one LIF layer, for every recording of the run.

    Args:
        membranes: int32 ``[N, T, outputs]``, u[t] (after an immediate reset), in membrane LSBs; outputs in C order.
        spikes: uint8 ``[N, T, outputs]``, s[t], 0 or 1, or up to 127 where neurons can send several in a step.
    """

    membranes: NDArray[np.int32]
    spikes: NDArray[np.uint8]


@dataclass(frozen=True)
class RunResult:
    """The exact integers of one run: N recordings, K classes, L layers, ``L + 1`` sources of synaptic operations.

    Source 0 is the input, source ``l + 1`` is layer ``l``; a source's operations happen in the layers that hear it (the
    last one's in the readout), in layers that take it as a further input, and in itself where it is recurrent.

    Args:
        layers: names of the L layers.
        scores: int32 ``[N, K]``. predicted: int64 ``[N]``, largest score, ties to the lowest index.
        active: int64 ``[N, L + 1]``, non-zero values per source, summed over time.
        events: int64 ``[N, L + 1]``, sum of the values per source (above ``active`` for counts, pooled spikes, and several of a neuron in a step).
        synops: int64 ``[N, L + 1]``, one operation per synapse of every non-zero value.
        synops_events: as ``synops``, every value multiplied by its count.
        synops_nonzero: as ``synops``, without the synapses whose weight is 0.
        overflow_low, overflow_high: int64 ``[N, L]``, membrane updates below or above the format (0 of layers without neurons).
        neuron_spikes: per layer int64 ``[outputs]``, steps at which the output was non-zero, over all recordings.
        traces: `Trace` of every layer asked for.
        engine, threads, seconds: how it was run; not part of the result's equality. stages: seconds of work per
            part of the run, all threads together (engine numba only): input, every layer, tally, readout.
    """

    layers: tuple[str, ...]
    scores: NDArray[np.int32]
    predicted: NDArray[np.int64]
    active: NDArray[np.int64]
    events: NDArray[np.int64]
    synops: NDArray[np.int64]
    synops_events: NDArray[np.int64]
    synops_nonzero: NDArray[np.int64]
    overflow_low: NDArray[np.int64]
    overflow_high: NDArray[np.int64]
    neuron_spikes: tuple[NDArray[np.int64], ...]
    traces: dict[str, Trace] = field(default_factory=dict)
    engine: str = ""
    threads: int = 1
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def spikes(self) -> NDArray[np.int64]:
        """int64 ``[N, L]``: non-zero outputs per layer and recording, summed over time."""
        return self.active[:, 1:]


def empty_result(program: Program, recordings: int, trace: tuple[str, ...] = ()) -> RunResult:
    """Return a result of zeros with every array in its final shape, for an engine to fill."""
    layers, classes = len(program.layers), len(program.classes)
    steps = program.preprocessing.time_bins
    outputs = {layer.name: int(np.prod(s)) for layer, s in zip(program.layers, program.shapes()[1:])}

    def per_source() -> NDArray[np.int64]:
        return np.zeros((recordings, layers + 1), np.int64)

    return RunResult(
        layers=tuple(layer.name for layer in program.layers),
        scores=np.zeros((recordings, classes), np.int32),
        predicted=np.zeros(recordings, np.int64),
        active=per_source(),
        events=per_source(),
        synops=per_source(),
        synops_events=per_source(),
        synops_nonzero=per_source(),
        overflow_low=np.zeros((recordings, layers), np.int64),
        overflow_high=np.zeros((recordings, layers), np.int64),
        neuron_spikes=tuple(np.zeros(outputs[layer.name], np.int64) for layer in program.layers),
        traces={
            name: Trace(
                np.zeros((recordings, steps, outputs[name]), np.int32),
                np.zeros((recordings, steps, outputs[name]), np.uint8),
            )
            for name in trace
        },
    )


def spike_counts(program: Program, result: RunResult) -> NDArray[np.int64]:
    """Return the spikes of every recording and layer, int64 ``[N, L]``: all that neurons sent in a step, and a pool's outputs that are not 0."""
    neurons = np.array([layer.lif is not None for layer in program.layers])
    counts: NDArray[np.int64] = np.where(neurons, result.events[:, 1:], result.spikes)
    return counts


def differences(left: RunResult, right: RunResult) -> list[str]:
    """Return the names of the fields in which two results differ in any integer (empty: exactly equal)."""
    names = []
    for name in (f.name for f in fields(RunResult)):
        if name in ("engine", "threads", "seconds", "stages"):
            continue
        a, b = getattr(left, name), getattr(right, name)
        if name == "neuron_spikes":
            if len(a) != len(b) or not all(np.array_equal(x, y) for x, y in zip(a, b)):
                names.append(name)
        elif name == "traces":
            if set(a) != set(b):
                names.append(name)
            for key in sorted(set(a) & set(b)):
                names += [
                    f"{part} of {key}"
                    for part in ("membranes", "spikes")
                    if not np.array_equal(getattr(a[key], part), getattr(b[key], part))
                ]
        elif not (np.array_equal(a, b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)):
            names.append(name)
    return names


def held_in_int32(scores: NDArray[np.int64], where: str) -> NDArray[np.int32]:
    """Return the scores as int32.

    Raises:
        SimulationError: a score does not fit, which a verified program cannot cause.
    """
    limit = np.iinfo(np.int32)
    if scores.size and (scores.min() < limit.min or scores.max() > limit.max):
        raise SimulationError(
            f"{where}: a class score of {scores.flat[np.abs(scores).argmax()]} does not fit 32 bits. "
            "Compile the program again with a smaller readout gain or fewer time bins."
        )
    return scores.astype(np.int32)
