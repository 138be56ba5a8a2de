"""NeuroBench's metrics of a run, and synaptic operations as others define them; from what every run counts anyway.

References:
    NeuroBench 2.3.0, ``neurobench.metrics``: Footprint, ConnectionSparsity, ActivationSparsity, SynapticOperations,
    MembraneUpdates. sinabs 3.1, ``synopcounter.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.records import Program
from sastdeploy.simulator.result import RunResult


def activation_sparsity(program: Program, result: RunResult) -> float | None:
    """Return the share of (LIF output, step, recording) without a spike; None without recordings.

    References:
        NeuroBench, ``ActivationSparsity``: zeros over all values of all layers, steps and samples.
    """
    neurons = program.neurons()
    slots = sum(neurons.values()) * program.preprocessing.time_bins * len(result)
    spikes = sum(
        int(counts.sum())
        for layer, counts in zip(program.layers, result.neuron_spikes)
        if layer.name in neurons
    )
    return 1.0 - spikes / slots if slots else None


def connection_sparsity(program: Program) -> float:
    """Return the share of weights that are 0, of all layers and of a readout that has weights of its own."""
    weights = _weights(program)
    return 1.0 - sum(int(np.count_nonzero(weight)) for weight in weights) / sum(w.size for w in weights)


def neurobench(program: Program, result: RunResult) -> dict[str, Any]:
    """Return NeuroBench's metrics as plain values; those of activity are per recording, None without recordings.

    ``footprint_bytes`` is packed as on the device, ``footprint_float32_bytes`` that of the weights and biases in float32.
    Of the ``synaptic_operations``, ``effective`` ones meet a value and a weight that are not 0: accumulations (``acs``) where a
    source sent nothing but ones in that recording, else multiplications (``macs``); NeuroBench decides this for each step of
    each batch. ``dense``: with every value and weight. Operations into pools, which have no weights, are none of these.
    ``membrane_updates``: membranes that a step changed, and all in the first step; None unless every layer with neurons was traced.
    ``membranes_times_steps`` is its upper bound.
    """
    weighted = _weighted(program)
    recordings, steps = len(result), program.preprocessing.time_bins
    ones = result.active == result.events
    effective = result.synops_nonzero * weighted
    _, elsewhere = _elsewhere_before_pools(program, result.neuron_spikes)
    largest_elsewhere, _ = _elsewhere_before_pools(
        program, [np.full(len(n), steps) for n in result.neuron_spikes]
    )
    single = _elsewhere_of_ones(program, result)
    parts = _parts(program)
    parameters = sum(weight.size for weight in _weights(program)) + sum(len(part.weight) for part in parts)
    return {
        "footprint_bytes": footprint_bytes(program)["total"],
        "footprint_float32_bytes": 4 * parameters,
        "connection_sparsity": connection_sparsity(program),
        "activation_sparsity": activation_sparsity(program, result),
        "synaptic_operations": {
            "effective_acs": _mean((effective * ones).sum() + single, recordings),
            "effective_macs": _mean((effective * ~ones).sum() + elsewhere - single, recordings),
            "dense": float((largest_synops(program)[0] * weighted).sum() + largest_elsewhere)
            if recordings
            else None,
        },
        "membrane_updates": _membrane_updates(program, result),
        "membranes_times_steps": sum(program.neurons().values()) * steps,
    }


def synops_by_definition(program: Program, result: RunResult) -> dict[str, float | None]:
    """Return synaptic operations per recording under each definition; None without recordings.

    ``sastdeploy``: one for each synapse of every value that is not 0. ``neurobench``: of these, those into layers with weights,
    without the synapses of weight 0. ``sinabs``: values times fan-out into layers with weights, zero weights included.
    """
    weighted, recordings = _weighted(program), len(result)
    _, elsewhere_nonzero = _elsewhere_before_pools(program, result.neuron_spikes)
    # A pool's sums are what values add to it; what else they did is elsewhere.
    elsewhere = sum(
        int((result.synops_events[:, source] - result.events[:, pools].sum(axis=1)).sum())
        for source, pools in _before_pools(program).items()
    )
    return {
        "sastdeploy": _mean(result.synops.sum(), recordings),
        "neurobench": _mean((result.synops_nonzero * weighted).sum() + elsewhere_nonzero, recordings),
        "sinabs": _mean((result.synops_events * weighted).sum() + elsewhere, recordings),
    }


def _membrane_updates(program: Program, result: RunResult) -> float | None:
    names = program.neurons()
    if not len(result) or any(name not in result.traces for name in names):
        return None
    changed = 0
    for name in names:
        membranes = result.traces[name].membranes
        changed += membranes[:, 0].size + int(np.count_nonzero(np.diff(membranes, axis=1)))
    return changed / len(result)


def _parts(program: Program) -> list[Any]:
    """Return the layers with weights, and a readout that has weights of its own."""
    layers = [layer for layer in program.layers if layer.lif is not None]
    return [*layers, program.readout] if program.readout.reads == "counts" else [*layers]


def _weights(program: Program) -> list[NDArray[np.int8]]:
    return [array for part in _parts(program) for array in part.weight_arrays]


def _elsewhere_before_pools(
    program: Program, spikes: Sequence[NDArray[np.integer]]
) -> tuple[np.int64, np.int64]:
    """Return the operations, all and on weights other than 0, of spikes in weighted layers elsewhere, where a pool hears them.

    That is in their own layer, where it is recurrent, in layers that take them as a further input, and in other layers that hear
    them: `_weighted` leaves those out.
    spikes: per layer and output, over all recordings.
    """
    total, shapes, tables = np.zeros(2, np.int64), program.shapes(), program.fan_outs()
    for source, pools in _before_pools(program).items():
        into = [program.layers[pool - 1].fan_out(shapes[source]) for pool in pools]
        counts = spikes[source - 1]
        total += [
            int((counts * (fan - sum(each[kind] for each in into))).sum())
            for kind, fan in enumerate(tables[source])
        ]
    return total[0], total[1]


def _before_pools(program: Program) -> dict[int, list[int]]:
    """Return the sources of neurons that pools hear, each with those pools, all numbered as in `RunResult`."""
    found: dict[int, list[int]] = {}
    for pool in _pools(program):
        source = program.sources()[pool - 1]
        if source and program.layers[source - 1].lif is not None:
            found.setdefault(source, []).append(pool)
    return found


def _pools(program: Program) -> list[int]:
    """Return the layers without weights whose inputs are operations, numbered from 1."""
    return [number for number, layer in enumerate(program.layers, 1) if layer.lif is None and layer.adds]


def _elsewhere_of_ones(program: Program, result: RunResult) -> int:
    """Return those operations on weights other than 0 of recordings in which the source sent nothing but ones."""
    total = 0
    for source, pools in _before_pools(program).items():
        ones = result.active[:, source] == result.events[:, source]
        # Of ones, a pool's sums are the additions to it.
        elsewhere = result.synops_nonzero[:, source] - result.events[:, pools].sum(axis=1)
        total += int(elsewhere[ones].sum())
    return total


def _weighted(program: Program) -> NDArray[np.bool_]:
    """Return bool ``[L + 1]``: whether no operation of a source happens in a pool."""
    pooled = {program.sources()[pool - 1] for pool in _pools(program)}
    readout = program.readout.reads == "counts"
    return np.array([*(source not in pooled for source in range(len(program.layers))), readout])


def _mean(operations: np.int64, recordings: int) -> float | None:
    return float(operations) / recordings if recordings else None
