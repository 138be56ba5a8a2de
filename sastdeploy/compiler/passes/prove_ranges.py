"""Prove, from the integer weights alone, how wide each accumulator must be, and that 32 bits hold all else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph, Stage, stages
from sastdeploy.compiler.ir.nodes import Lif, Readout, Synapses
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.program.layers.each import along_map, largest_of_channels
from sastdeploy.program.limits import INT32_END, worst_gained

Weighted = TypeVar("Weighted", bound=Synapses)

READOUT_BITS = 32
"""The readout's sums and scores are held in int32, whatever the neurons' accumulator is."""


def prove_ranges(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with each layer's ``accumulator_bits``: the smallest width that its sum cannot overflow.

    Inputs reach what `stages` says, and nothing is assumed about which are active together.
    Also proven to stay within int32: ``|leak| + |I| + |bias| + theta`` of every neuron, and every score.

    Raises:
        CompileError: the profile's accumulator is narrower, or 32 bits are: every layer's reasons, naming neuron, worst
            case, and what would fit.
    """
    by_name = {stage.node.name: stage for stage in stages(graph)}
    by_neurons = {stage.lif.name: stage for stage in by_name.values() if stage.lif is not None}
    bits, holder = profile.accumulator_bits, f"{profile.name}'s accumulator"

    def prove_sum(node: Synapses) -> Synapses:
        return _prove_sum(node, by_name[node.name], bits, holder)

    def prove_update(lif: Lif) -> Lif:
        stage = by_neurons[lif.name]
        _prove_update(stage, lif, profile)
        return lif

    def prove_scores(node: Readout) -> Readout:
        stage = by_name[node.name]
        proven = _prove_sum(node, stage, READOUT_BITS, "int32, which holds the readout's sums,")
        _prove_scores(node, stage, graph.input.time_bins)
        return proven

    return graph.map({Synapses: prove_sum, Lif: prove_update, Readout: prove_scores})


def node_sums(
    node: Synapses, largest: int, further: Sequence[int] = (), own: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each channel's lowest and highest possible sum, int64 ``[C]``, as `sum_range` proves them.

    further: the largest value of each further input. own: the most spikes of its neurons in a step.
    """
    if node.weight_q is None:
        raise CompileError(
            f"{node.name}: ranges are proven after weights are quantized. Order the passes so."
        )
    return node.sum_range(largest, further, own)


def stage_sums(stage: Stage) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `node_sums` of a weighted node for all that reaches it."""
    return node_sums(stage.node, stage.largest, [most for _, most in stage.further], stage.most_spikes)


def signed_width(low: int, high: int) -> int:
    """Return the fewest bits, sign included, of a two's complement number that holds ``low <= 0`` and ``high >= 0``."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


def _prove_sum(node: Weighted, stage: Stage, offered: int, holder: str) -> Weighted:
    low, high = stage_sums(stage)
    largest = stage.largest
    needed = signed_width(int(low.min()), int(high.max()))
    if needed > offered:
        neuron = int(np.argmax(np.maximum(-low - 1, high)))
        worst = int(high[neuron] if high[neuron] > -low[neuron] - 1 else low[neuron])
        half = 1 << (offered - 1)
        fits = min(half * largest // max(-int(low.min()), 1), (half - 1) * largest // max(int(high.max()), 1))
        smaller = f" Inputs up to {fits} would fit." if 0 < fits < largest else ""
        raise CompileError(
            f"{node.name}, neuron {neuron}: its sum can reach {worst:,} (inputs up to {largest}) and needs {needed} bits; "
            f"{holder} has {offered}.{smaller} Use a wider accumulator, fewer weight bits, fewer inputs per neuron, or "
            f"train with a smaller clip."
        )
    return replace(node, accumulator_bits=needed)


def _prove_update(stage: Stage, lif: Lif, profile: HardwareProfile) -> None:
    node = stage.node
    if node.multiplier is None or node.shift is None or node.bias_q is None or lif.threshold_q is None:
        raise CompileError(
            f"{lif.name}: ranges are proven after gains, thresholds and biases. Order the passes so."
        )
    low, high = stage_sums(stage)
    current = worst_gained(np.maximum(-low, high), node.multiplier, node.shift)
    # Spikes take no more than the membrane, which ends at q_max.
    taken = np.minimum(lif.threshold_q.astype(np.int64) * lif.max_spikes, profile.membrane.q_max)
    # A <= 2^k, so |leak| <= |u| <= -q_min.
    own = np.abs(along_map(node.bias_q.astype(np.int64))) + along_map(taken)
    update = current - profile.membrane.q_min + largest_of_channels(own)
    _prove_int32(node.name, "neuron", "the membrane update |leak| + |I| + |bias| + theta", update)


def _prove_scores(node: Readout, stage: Stage, steps: int) -> None:
    if node.multiplier is None or node.shift is None or node.bias_q is None:
        raise CompileError(f"{node.name}: ranges are proven after gains and biases. Order the passes so.")
    low, high = stage_sums(stage)
    scores = worst_gained(np.maximum(-low, high), node.multiplier, node.shift)
    scores = scores + steps * np.abs(node.bias_q.astype(np.int64))
    _prove_int32(node.name, "class", f"the score over {steps} steps", scores)


def _prove_int32(name: str, unit: str, what: str, worst: NDArray[np.int64]) -> None:
    place = int(np.argmax(worst))
    if worst[place] >= INT32_END:
        raise CompileError(
            f"{name}, {unit} {place}: {what} can reach {int(worst[place]):,}; 32 bits hold less than {INT32_END:,}. Use a "
            f"membrane with fewer fractional bits, or train with smaller weights and biases."
        )
