"""Turn each channel's gain into an integer multiplier and a shift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sastdeploy.compiler.ir.graph import Graph, stages
from sastdeploy.compiler.ir.nodes import Counts, Synapses
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.program.fixedpoint import to_integer
from sastdeploy.program.limits import MAX_MULTIPLIER, MAX_SHIFT


def fit_gains(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with ``M / 2^r ~ g = gain * s * 2^n`` per channel, ``0 < M < 2^15``, r as large as that allows.

    One unit of the weighted integer sum is g membrane LSBs. A power of two becomes M = 1 and a plain shift. A channel
    whose gain is too small to hold gets weights of 0, with M = 1 and r = 0: its largest sum, below 2^31, stays below half
    an LSB anyway.

    Raises:
        CompileError: a gain of 2^15 or more, naming layer and channel.
    """
    for stage in stages(graph):
        if stage.node.weight_q is None:
            raise _not_quantized(stage.node)
    return graph.map({Counts: _whole, Synapses: lambda node: _fit(node, profile)})


def _whole(node: Counts) -> Counts:
    """Return spike counts, or membranes in their LSBs, as the scores: M = 1, r = 0."""
    ones, zeros = np.ones(len(node.weight), np.int32), np.zeros(len(node.weight), np.int32)
    return replace(node, fraction_bits=0, multiplier=ones, shift=zeros)


def _not_quantized(node: Synapses) -> CompileError:
    return CompileError(f"{node.name}: gains are fitted after weights are quantized. Order the passes so.")


def _fit(node: Synapses, profile: HardwareProfile) -> Synapses:
    n = profile.membrane.fraction_bits
    if node.weight_scale is None or node.weight_q is None:
        raise _not_quantized(node)
    with np.errstate(over="ignore"):
        gain = node.gain * node.weight_scale * 2.0**n
        if profile.scale == "power_of_two":
            # Exact by construction but for the last bit of a product with a gain such as 1 / 3.
            gain = np.exp2(to_integer(np.log2(gain), 0).astype(np.float64))
    multiplier, shift = np.ones(len(gain), np.int32), np.zeros(len(gain), np.int32)
    codes = [np.array(codes) for codes in node.codes]
    for channel, g in enumerate(gain):
        if too_small(float(g)):
            for each in codes:
                each[channel] = 0
            continue
        try:
            multiplier[channel], shift[channel] = fit_gain(float(g), f"{node.name}, channel {channel}")
        except CompileError:
            # The sum of a channel without weights is 0, whatever its gain.
            if any(each[channel].any() for each in codes):
                raise
    return replace(node.with_codes(*codes), fraction_bits=n, multiplier=multiplier, shift=shift)


def too_small(gain: float) -> bool:
    """Return whether a gain rounds to no ``M / 2^r`` above 0: with it, no sum of 32 bits reaches half an LSB."""
    return gain <= 0.5 ** (MAX_SHIFT + 1)


def fit_gain(gain: float, where: str) -> tuple[int, int]:
    """Return (M, r) for one gain > 0.

    Raises:
        CompileError: the gain cannot be held.
    """
    mantissa, exponent = np.frexp(gain)
    if mantissa == 0.5 and -MAX_SHIFT <= exponent - 1 <= 14:
        power = int(exponent) - 1
        return (1 << max(power, 0)), max(-power, 0)
    # 2^14 <= gain * 2^(15 - exponent) < 2^15 before rounding; one less where it rounds up to 2^15.
    shift = min(15 - int(exponent), MAX_SHIFT)
    if shift >= 0 and to_integer(gain, shift) > MAX_MULTIPLIER:
        shift -= 1
    multiplier = int(to_integer(gain, shift)) if shift >= 0 else 0
    if shift < 0 or not 0 < multiplier <= MAX_MULTIPLIER:
        raise CompileError(
            f"{where}: gain {gain:.4g} membrane LSBs per unit of the sum cannot be held as M / 2^r with 0 < M < 2^15 and "
            f"0 <= r <= {MAX_SHIFT}. Rescale the layer's weights and thresholds, or choose another membrane format."
        )
    return multiplier, shift
