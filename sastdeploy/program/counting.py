"""What a program costs at most: synaptic operations, and the memory it needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.records import Program


def largest_synops(program: Program) -> NDArray[np.int64]:
    """Return the most operations one recording can cost: every value non-zero (and largest) at every step.

    Returns:
        int64 ``[3, L + 1]``: all synapses, event-weighted, without zero weights; per source as in `RunResult`.
    """
    most, shapes, counted = program.largest_values(), program.shapes(), program.readout.reads == "counts"
    columns = np.zeros((len(shapes), 3), np.int64)
    for number, (layer, source) in enumerate(zip(program.layers, program.sources()), 1):
        columns[source] += layer.synops(np.full(shapes[source], most[source], np.int64))
        # Neurons whose membranes are read send nothing.
        if layer.lif is not None and (counted or number < len(program.layers)):
            columns[number] += layer.own_synops(np.full(shapes[number], most[number], np.int64))
    columns[-1] += program.readout.synops(np.full(shapes[-1], most[-1] if counted else 0, np.int64))
    for part in (*program.layers, program.readout):
        for each in part.further:
            columns[each.source] += each.synops(np.full(shapes[each.source], most[each.source], np.int64))
    return columns.T * program.preprocessing.time_bins


def footprint_bytes(program: Program) -> dict[str, int]:
    """Return the bytes that the network needs on a device, every value packed at its own width.

    Returns:
        ``weights`` (weight bits), ``parameters`` (15-bit multiplier and 6-bit shift per channel, bias and threshold at the membrane's width
        per channel, or per neuron where they differ within one, decays and the steps of delays that differ, starts other than 0, floors), ``state`` (one membrane, the bits of
        its spikes in a step and, where there is one, one synaptic current per neuron, a delay's values that wait, the readout's
        spike counters or largest membranes), and ``total``. Pools hold nothing; a layer's bits are rounded up to whole bytes.
    """
    weights = parameters = state = 0
    most, steps = program.largest_values(), program.preprocessing.time_bins
    for layer, shape, source in zip(program.layers, program.shapes()[1:], program.sources()):
        if layer.lif is None:
            own, waiting = layer.held_bits(shape, most[source], steps)
            parameters, state = parameters + _bytes(own), state + _bytes(waiting)
            continue
        width, channels = layer.lif.membrane.bits, len(layer.weight)
        weights += _bytes(sum(array.size for array in layer.weight_arrays) * layer.weight_bits)
        parameters += _bytes((layer.lif.bias.size + layer.lif.threshold.size) * width + channels * (15 + 6))
        parameters += _bytes(width * sum(start.size for start in layer.lif.starts().values()))
        parameters += _bytes(width * sum(floor.size for floor in layer.lif.floors().values()))
        parameters += _bytes(
            sum(decay.size * int(decay.max()).bit_length() for decay in layer.lif.decays().values())
        )
        currents = 0 if layer.lif.current is None else width
        state += _bytes(int(np.prod(shape)) * (width + currents + layer.lif.max_spikes.bit_length()))
    readout = program.readout
    if readout.reads == "counts":
        largest = readout.summed(program.shapes()[-1], steps, most[-1])
        weights += _bytes(sum(array.size for array in readout.weight_arrays) * readout.weight_bits)
        parameters += _bytes(len(readout.weight) * (32 + 15 + 6))
        state += _bytes(readout.weight.shape[1] * largest.bit_length())
        for each in readout.further:
            state += _bytes(each.weight.shape[1] * (steps * most[each.source]).bit_length())
    elif readout.reads == "max" and program.layers[-1].lif is not None:
        state += _bytes(len(readout.weight) * program.layers[-1].lif.membrane.bits)
    return {
        "weights": weights,
        "parameters": parameters,
        "state": state,
        "total": weights + parameters + state,
    }


def _bytes(bits: int) -> int:
    return -(-int(bits) // 8)
