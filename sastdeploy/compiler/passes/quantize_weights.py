"""Round weights to signed integers of the profile's width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import Counts, Synapses
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.program.fixedpoint import tensor_scale, weight_codes


def quantize_weights(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with ``weight_q = round_half_even(weight / s)`` in the symmetric narrow range.

    ``s = max|W| / (2^(b-1) - 1)`` per tensor or per output channel, 1 for a tensor of zeros; a recurrent layer's two tensors share
    it, so that one sum has one gain. With power-of-two
    scales the whole factor ``gain * s`` is rounded up to a power of two, so that nothing clips and a shift suffices.
    """
    return graph.map(
        {Counts: lambda node: _whole(node, profile), Synapses: lambda node: _quantize(node, profile)}
    )


def _whole(node: Counts, profile: HardwareProfile) -> Counts:
    """Return spike counts as they are: codes of 0 and 1, one of which is worth 1."""
    codes, scale = node.weight.astype(np.int8), np.ones(len(node.weight))
    return replace(node, weight_bits=profile.weight_bits, weight_q=codes, weight_scale=scale)


def _quantize(node: Synapses, profile: HardwareProfile) -> Synapses:
    largest = np.zeros(len(node.weight))
    for weight in node.weights:
        rows = weight.reshape(len(weight), -1)
        largest = np.maximum(largest, np.maximum(rows.max(1), -rows.min(1)))
    if profile.granularity != "per_channel":
        largest[:] = largest.max()
    scale = tensor_scale(largest, profile.weight_bits)
    if profile.scale == "power_of_two":
        scale = _power_of_two_above(scale * node.gain) / node.gain
    codes = [
        weight_codes(weight, scale.reshape(-1, *[1] * (weight.ndim - 1)), profile.weight_bits)
        for weight in node.weights
    ]
    return replace(node.with_codes(*codes), weight_bits=profile.weight_bits, weight_scale=scale)


def _power_of_two_above(values: NDArray[np.float64]) -> NDArray[np.float64]:
    mantissa, exponent = np.frexp(values)
    return np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))
