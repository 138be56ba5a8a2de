"""Round weights to signed integers of the profile's width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import Counts, Synapses
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.program.fixedpoint import tensor_scale, weight_codes, weight_limit

GRID_TOLERANCE = 2e-5
"""Of a trained code: what float32 leaves of ``code * scale`` divided by the scale."""


def quantize_weights(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with ``weight_q = round_half_even(weight / s)`` in the symmetric narrow range.

    ``s = max|W| / (2^(b-1) - 1)`` per tensor or per output channel, 1 for a tensor of zeros; a recurrent layer's two tensors share
    it, so that one sum has one gain. Weights that were trained as integers times a scale keep their integers where they and their
    scale fit. With power-of-two scales the whole factor ``gain * s`` is rounded up to a power of two, so that nothing clips and a shift suffices.
    """
    return graph.map(
        {Counts: lambda node: _whole(node, profile), Synapses: lambda node: _quantize(node, profile)}
    )


def _whole(node: Counts, profile: HardwareProfile) -> Counts:
    """Return spike counts as they are: codes of 0 and 1, one of which is worth 1."""
    codes, scale = [weight.astype(np.int8) for weight in node.weights], np.ones(len(node.weight))
    return replace(node.with_codes(*codes), weight_bits=profile.weight_bits, weight_scale=scale)


def _quantize(node: Synapses, profile: HardwareProfile) -> Synapses:
    largest = np.zeros(len(node.weight))
    for weight in node.weights:
        rows = weight.reshape(len(weight), -1)
        largest = np.maximum(largest, np.maximum(rows.max(1), -rows.min(1)))
    if profile.granularity != "per_channel":
        largest[:] = largest.max()
    scale = _stored(tensor_scale(largest, profile.weight_bits), node, profile)
    if node.trained_bits is not None:
        limit = min(1 << (node.trained_bits - 1), weight_limit(profile.weight_bits))
        trained = _trained_scale(node, largest, scale, limit)
        stored = _stored(trained, node, profile)
        # Where only a larger power of two than the trained scale is to be had, that of any weights is finer.
        scale = np.where(np.abs(stored / trained - 1) <= GRID_TOLERANCE / limit, stored, scale)
    codes = [
        weight_codes(weight, scale.reshape(-1, *[1] * (weight.ndim - 1)), profile.weight_bits)
        for weight in node.weights
    ]
    return replace(node.with_codes(*codes), weight_bits=profile.weight_bits, weight_scale=scale)


def _stored(scale: NDArray[np.float64], node: Synapses, profile: HardwareProfile) -> NDArray[np.float64]:
    """Return the scales that a profile can have, none below those given."""
    if profile.scale != "power_of_two":
        return scale
    return _power_of_two_above(scale * node.gain) / node.gain


def _trained_scale(
    node: Synapses, largest: NDArray[np.float64], scale: NDArray[np.float64], limit: int
) -> NDArray[np.float64]:
    """Return the scales, ``largest / k`` in place of those whose weights all are whole multiples of that, for the smallest k up to ``limit``."""
    rows = np.concatenate([weight.reshape(len(weight), -1) for weight in node.weights], axis=1)
    if (largest == largest[0]).all():
        rows, largest = rows.reshape(1, -1), largest[:1]
    trained = scale.copy()
    for channel, (row, most) in enumerate(zip(rows, largest)):
        codes = row / most if most else row
        # A few weights rule out almost every k.
        few = codes[:: max(1, len(codes) // 64)]
        for k in range(1, limit + 1):
            if _whole_numbers(few * k) and _whole_numbers(codes * k):
                trained[channel if len(rows) > 1 else slice(None)] = most / k if most else 1.0
                break
    return trained


def _whole_numbers(values: NDArray[np.float64]) -> bool:
    return bool((np.abs(values - np.rint(values)) <= GRID_TOLERANCE).all())


def _power_of_two_above(values: NDArray[np.float64]) -> NDArray[np.float64]:
    mantissa, exponent = np.frexp(values)
    return np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))
