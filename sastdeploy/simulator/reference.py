"""The plain, slow, readable engine: the living definition of the arithmetic. All others are tested against it.

One recording, one step, one layer at a time, in int64 NumPy. What a layer means stands with its kind, in
`sastdeploy.program.layers`: convolutions gather (the fast engine scatters), and synaptic operations are counted synapse
by synapse from that gather, not from fan-out tables.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.layers.lif import drive, lif_step
from sastdeploy.program.layers.start import STARTS, started
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator.result import RunResult, empty_result, held_in_int32

Array = NDArray[np.int64]


def run(
    program: Program,
    frames: Frames,
    trace: tuple[str, ...] = (),
    progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Return the program's exact result on every recording; the caller has checked that both fit together."""
    result = empty_result(program, len(frames), trace)
    clip = program.preprocessing.c_clip
    for n in range(len(frames)):
        counts = np.minimum(frames.select(slice(n, n + 1)).dense()[0].astype(np.int64), clip)
        _run_one(program, counts, n, result)
        if progress:
            progress(1)
    return result


def _run_one(program: Program, counts: Array, n: int, result: RunResult) -> None:
    """Run recording ``n``, whose clipped counts are ``[T, P, H, W]``, and fill its rows of the result."""
    shapes, hears = program.shapes(), program.sources()
    starts = [{} if layer.lif is None else layer.lif.starts() for layer in program.layers]
    membranes, currents = (
        [started(own.get(name), shape) for own, shape in zip(starts, shapes[1:])] for name in STARTS
    )
    spikes = [np.zeros(shape, np.int64) for shape in shapes[1:]]
    lines = [
        np.zeros((layer.reach(len(counts)) if layer.lif is None else 0, *shape), np.int64)
        for layer, shape in zip(program.layers, shapes[1:])
    ]
    read = np.zeros(shapes[-1], np.int64)
    more = [np.zeros(shapes[each.source], np.int64) for each in program.readout.further]
    for t, x in enumerate(counts):
        # Of every source; of the same step, as a source stands before the layers that hear it.
        sent = [x]
        for position, (layer, source) in enumerate(zip(program.layers, hears)):
            x = sent[source]
            _add(result, n, source, *layer.synops(x))
            if layer.lif is None:
                x, lines[position] = layer.step(x, lines[position])
                result.neuron_spikes[position][:] += x.reshape(-1) != 0
                sent.append(x)
                continue
            acc = layer.sums(x) + layer.own_sums(spikes[position])
            for each in layer.further:
                acc = acc + each.sums(sent[each.source])
                _add(result, n, each.source, *each.synops(sent[each.source]))
            driven, *beyond = drive(layer.lif, acc, currents[position])
            u, x, low, high = lif_step(layer.lif, driven, membranes[position], spikes[position])
            currents[position], membranes[position], spikes[position] = driven, u, x
            _add(result, n, position + 1, *layer.own_synops(x))
            result.overflow_low[n, position] += low + beyond[0]
            result.overflow_high[n, position] += high + beyond[1]
            if layer.name in result.traces:
                result.traces[layer.name].membranes[n, t] = u.reshape(-1)
                result.traces[layer.name].spikes[n, t] = x.reshape(-1)
            result.neuron_spikes[position][:] += x.reshape(-1) != 0
            sent.append(x)
        _add(result, n, hears[-1], *program.readout.synops(x))
        for each, total in zip(program.readout.further, more):
            total += sent[each.source]
            _add(result, n, each.source, *each.synops(sent[each.source]))
        for source, values in enumerate(sent):
            result.active[n, source] += np.count_nonzero(values)
            result.events[n, source] += values.sum()
        read = program.readout.read(read, x, membranes[-1], t)
    scores = program.readout.scores(read, len(counts), more)
    result.scores[n] = held_in_int32(scores, program.readout.name)
    result.predicted[n] = np.argmax(scores)


def _add(result: RunResult, n: int, source: int, total: int, weighted: int, nonzero: int) -> None:
    """Add operations that ``source`` triggers."""
    result.synops[n, source] += total
    result.synops_events[n, source] += weighted
    result.synops_nonzero[n, source] += nonzero
