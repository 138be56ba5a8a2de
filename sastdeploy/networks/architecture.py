"""Networks as declared data: what is trained, inspected and compiled, without a line of torch."""

from __future__ import annotations

from dataclasses import dataclass

from sastdeploy.errors import InputError, short
from sastdeploy.networks.layers import KINDS, AvgPool, Conv, Dense, Layer, Readout

__all__ = ["KINDS", "Architecture", "AvgPool", "Conv", "Dense", "Layer", "Neuron", "Readout"]

THRESHOLDS, SLOPES, ALPHAS = (1e-6, 1e6), (1e-3, 1e9), (1e-6, 1 - 1e-6)
"""Smallest and largest threshold, slope and leak factor: float32 holds them, and what a step computes from them."""


@dataclass(frozen=True)
class Neuron:
    """The LIF neuron shared by every hidden layer (paper, equation 1).

    Args:
        alpha: leak factor per step, 1e-6 to 1 - 1e-6.
        threshold: initial (and fixed) threshold theta, 1e-6 to 1e6.
        slope: k of the arctan surrogate ``1/2 + arctan(k x) / pi``, 1e-3 to 1e9.

    References:
        "Sharpness-Aware Surrogate Training for On-Sensor Spiking Neural Networks" (2026), equation (1),
        and its values in section 5.
    """

    alpha: float = 0.5
    threshold: float = 1.0
    slope: float = 25.0

    def __post_init__(self) -> None:
        for name, value, (low, high), paper in (
            ("alpha", self.alpha, ALPHAS, "0.5"),
            ("threshold", self.threshold, THRESHOLDS, "1.0"),
            ("slope", self.slope, SLOPES, "25"),
        ):
            if not low <= value <= high:
                raise InputError(
                    f"{name} {short(value, 40)}: outside {low:g} to {high:.6g}. The paper uses {paper}."
                )


@dataclass(frozen=True)
class Architecture:
    """A network for one input shape and class count; `shapes` checks that every layer fits.

    Args:
        name: ``fc_0p40m``, ``conv_0p42m`` or the user's own.
        input_shape: ``(P, H, W)``.
        layers: hidden layers, first to last; at least one, and the first and the last have neurons: an AvgPool is neither.
        readout: the linear readout.
        classes: number of classes, at least 2.
        neuron: shared neuron parameters.
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    readout: Readout
    classes: int
    neuron: Neuron = Neuron()

    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Return each hidden layer's output shape ``(C, H, W)``; a dense layer's is ``(N, 1, 1)``.

        Raises:
            InputError: a size is not positive, or a kernel does not fit its input.
        """
        shape = self.input_shape
        result = []
        for number, layer in enumerate(self.layers):
            shape = layer.output_shape(shape, f"{self.name}: layer {number} ({layer.kind})")
            result.append(shape)
        return tuple(result)

    def lif_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Return the output shape ``(C, H, W)`` of every layer with neurons by its name, as in ``layers.0``."""
        layers = enumerate(zip(self.layers, self.shapes()))
        return {f"layers.{i}": shape for i, (layer, shape) in layers if layer.has_neurons}
