"""An initialisation that starts alive: each layer's weights scaled until it spikes on the first minibatch.

With PyTorch's default initialisation (the paper states none) the layers of a deep network can start silent: the weighted sums of sparse spikes stay
far below threshold, and the surrogate's gradient is small there. The idea of scaling layer by layer on data is that of
D. Mishkin and J. Matas, "All you need is a good init", ICLR 2016, with a spike rate in the place of unit variance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.sparse import SparseValues

ALIVE_RATE = 0.1
"""Mean hard spikes per neuron and step that a layer is scaled to."""
_STEPS = 8
_MIN_EXPONENT, _MAX_EXPONENT = -20 * _STEPS, 20 * _STEPS
"""Factors tried are ``2^(k / 8)``, from 2^-20 to 2^20: a coarse grid, which the last bit of a sum does not move."""


def alive_factors(
    network: SpikingNetwork, x: Tensor | SparseValues, rate: float = ALIVE_RATE
) -> dict[str, float]:
    """Scale every LIF layer's weights and biases in place, first to last, and return the factors by layer name.

    A layer's factor is the smallest of the grid with which its neurons send ``rate`` hard spikes per step on average, the
    layers before it scaled already. Where no factor does (no input arrives, all biases negative), it is 1.

    Args:
        x: frame values of the first minibatch, in the form that the network takes.
    """
    factors: dict[str, float] = {}
    s = x if isinstance(x, SparseValues) else x.transpose(0, 1)
    with torch.no_grad():
        for i, layer in enumerate(network.architecture.layers):
            current = network.currents(i, s)
            if not layer.has_neurons:
                s, _ = network.layer(i, current, True)
                continue
            factor = _factor(network, i, current, rate)
            for part in ("weight", "bias"):
                network.value(f"layers.{i}.{part}").mul_(factor)
            factors[f"layers.{i}"] = factor
            s, _ = network.layer(i, current * factor, True)
    return factors


def apply_factors(network: SpikingNetwork, factors: dict[str, float]) -> None:
    """Scale a freshly drawn network as `alive_factors` did."""
    with torch.no_grad():
        for name, factor in factors.items():
            for part in ("weight", "bias"):
                network.value(f"{name}.{part}").mul_(factor)


def _factor(network: SpikingNetwork, i: int, current: Tensor, rate: float) -> float:
    """Return the smallest factor of the grid that gives the rate, or 1; halves the grid, so 9 runs of the layer."""

    def reaches(k: int) -> bool:
        spikes, _ = network.layer(i, current * 2.0 ** (k / _STEPS), True)
        return int(spikes.count_nonzero()) >= rate * spikes.numel()

    low, high = _MIN_EXPONENT, _MAX_EXPONENT
    if not reaches(high):
        return 1.0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle + 1, high)
    return float(2.0 ** (high / _STEPS))
