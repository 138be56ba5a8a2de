"""Prove, from the integer weights alone, how wide each accumulator must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import CompileError
from sastdeploy.hardware import HardwareProfile
from sastdeploy.ir.graph import Graph
from sastdeploy.ir.nodes import Input, Lif, Node, Readout, SumPool, Synapses


def prove_ranges(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with each layer's ``accumulator_bits``: the smallest width that its sum cannot overflow.

    Sources reach ``c_clip`` (input), 1 (spikes) or ``k^2`` (a pool of spikes), and nothing is assumed about which are
    active together. The readout's sum over all steps is proven against 32 bits, where scores are held.

    Raises:
        CompileError: the profile's accumulator is narrower, naming layer, neuron and worst-case sum.
    """
    largest, steps = 1, 1
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Input):
            largest, steps = node.c_clip, node.time_bins
        elif isinstance(node, Lif):
            largest = 1
        elif isinstance(node, SumPool):
            largest *= node.kernel**2
        elif isinstance(node, Readout):
            # Its sums run over time, in 32 bits; program_check proves them with the positions that a pool adds.
            node = replace(node, accumulator_bits=_bits(*worst_sums(node, steps)))
        elif isinstance(node, Synapses):
            node = _prove(node, largest, profile.accumulator_bits)
        nodes.append(node)
    return graph.replace(tuple(nodes))


def worst_sums(node: Synapses, largest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each channel's lowest and highest possible sum, int64 ``[C]``; both are attained."""
    if node.weight_q is None:
        raise CompileError(
            f"{node.name}: ranges are proven after weights are quantized. Order the passes so."
        )
    rows = node.weight_q.reshape(len(node.weight_q), -1).astype(np.int64)
    return np.minimum(rows, 0).sum(1) * largest, np.maximum(rows, 0).sum(1) * largest


def _bits(low: NDArray[np.int64], high: NDArray[np.int64]) -> int:
    return max((-int(low.min()) - 1).bit_length() if low.min() < 0 else 0, int(high.max()).bit_length()) + 1


def _prove(node: Synapses, largest: int, offered: int) -> Synapses:
    low, high = worst_sums(node, largest)
    needed = _bits(low, high)
    if needed > offered:
        neuron = int(np.argmax(np.maximum(-low - 1, high)))
        worst = int(high[neuron] if high[neuron] >= -low[neuron] else low[neuron])
        raise CompileError(
            f"{node.name}, neuron {neuron}: its sum can reach {worst:,}, which needs an accumulator of {needed} bits; the "
            f"profile offers {offered}. Use a wider accumulator, fewer weight bits, or a smaller clip (now {largest})."
        )
    return replace(node, accumulator_bits=needed)
