"""Whether the contraction that the paper's theory assumes holds on the states that a network visits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.analysis.tally import Tally
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.training.states import lif_layers, visited_states

QUANTILES = (0.5, 0.9, 0.99, 0.999)


def surrogate_slope(offset: Any, slope: float) -> Any:
    """Return ``sigma'(z) = (k / pi) / (1 + (k z)^2)`` at ``z = u - theta``; k / pi at most, at z = 0."""
    return slope / math.pi / (1.0 + (slope * offset) ** 2)


def forbidden_band(alpha: float, theta: float, slope: float) -> float | None:
    """Return the largest ``|u - theta|`` at which ``alpha + theta sigma'(u - theta) >= 1``; None where there is none.

    ``alpha + theta (k / pi) / (1 + (k z)^2) = 1`` gives ``z = sqrt(theta k / (pi (1 - alpha)) - 1) / k``: 0.1545 for the
    paper's alpha = 0.5, theta = 1, k = 25. A contraction needs every state farther from its threshold.
    """
    excess = theta * slope / (math.pi * (1.0 - alpha)) - 1.0
    return math.sqrt(excess) / slope if excess >= 0 else None


def contraction(checkpoint: Checkpoint, data: LabelledFrames) -> dict[str, Any]:
    """Return the paper's ``gamma_hat = alpha + M_theta B_1`` of one pass with surrogate spikes (section 5), and its context.

    ``M_theta = max |theta|`` and ``B_1 = max |sigma'(u - theta)|`` over all layers, steps, neurons and recordings; in
    float64. Beside it, as plain JSON values: ``gamma_global`` (with the slope's global maximum k / pi), ``quantiles`` of
    ``alpha + M_theta |sigma'|`` over all states (within 0.3 % of the slope's part), ``band`` and ``in_band`` (the
    `forbidden_band` and the share of states inside), ``nearest`` (smallest ``|u - theta|``), ``holds`` (gamma_hat < 1), the
    same per layer, and a ``sentence``.

    Raises:
        InputError: no recordings, or frames that do not fit the network.

    References:
        "Sharpness-Aware Surrogate Training for On-Sensor Spiking Neural Networks" (2026), section 4
        (gamma = alpha + M_theta B_1) and section 5.
    """
    neuron = checkpoint.architecture.neuron
    names = lif_layers(checkpoint)
    theta = max(float(np.abs(checkpoint.parameters[f"{name}.threshold"]).max()) for name in names)
    band = forbidden_band(neuron.alpha, theta, neuron.slope)
    layers = {name: _Slopes(neuron.alpha, theta, neuron.slope, band) for name in names}
    for batch in visited_states(checkpoint, data.frames, hard=False):
        for layer in batch:
            layers[layer.name].add(layer.offset)
    overall = _Slopes(neuron.alpha, theta, neuron.slope, band)
    for part in layers.values():
        overall.take(part)
    record = overall.to_dict()
    return {
        "schema": "sastdeploy.contraction/1",
        "recordings": len(data),
        "alpha": neuron.alpha,
        "largest_threshold": theta,
        "slope": neuron.slope,
        "global_slope": neuron.slope / math.pi,
        "gamma_global": neuron.alpha + theta * neuron.slope / math.pi,
        "band": band,
        **record,
        "holds": record["gamma_hat"] < 1.0,
        "layers": [{"name": name, **part.to_dict()} for name, part in layers.items()],
        "sentence": _sentence(record, band),
    }


class _Slopes:
    """The surrogate's slopes at one layer's states while batches come in."""

    def __init__(self, alpha: float, theta: float, slope: float, band: float | None) -> None:
        self.alpha, self.theta, self.slope, self.band = alpha, theta, slope, band
        self.logarithms = Tally(-20.0, 1e-3, 40_000)
        self.nearest, self.inside = math.inf, 0

    def add(self, offset: NDArray[np.float64]) -> None:
        distance = np.abs(offset)
        self.nearest = min(self.nearest, float(distance.min()))
        self.inside += 0 if self.band is None else int((distance <= self.band).sum())
        self.logarithms.add(np.log10(surrogate_slope(distance, self.slope)))

    def take(self, other: _Slopes) -> None:
        self.nearest = min(self.nearest, other.nearest)
        self.inside += other.inside
        self.logarithms.take(other.logarithms)

    def to_dict(self) -> dict[str, Any]:
        largest = surrogate_slope(self.nearest, self.slope)
        logarithms = self.logarithms.quantiles(QUANTILES)
        return {
            "states": self.logarithms.count,
            "gamma_hat": self.alpha + self.theta * largest,
            "largest_slope": largest,
            "nearest": self.nearest,
            "in_band": self.inside / self.logarithms.count,
            "quantiles": {
                share: self.alpha + self.theta * 10.0**value for share, value in logarithms.items()
            },
        }


def _sentence(record: dict[str, Any], band: float | None) -> str:
    gamma, nearest = record["gamma_hat"], record["nearest"]
    if band is None:
        return f"gamma < 1 holds for every state, visited or not: gamma-hat = {gamma:.4g}."
    if gamma < 1.0:
        return (
            f"gamma < 1 holds on the visited states: gamma-hat = {gamma:.4g}, and the state nearest to its threshold is "
            f"{nearest:.3g} away (more than {band:.4g} is needed)."
        )
    return (
        f"gamma < 1 does not hold: gamma-hat = {gamma:.4g}; {100 * record['in_band']:.3g} % of the visited states lie within "
        f"{band:.4g} of their threshold, where it allows none, the nearest at {nearest:.3g}."
    )
