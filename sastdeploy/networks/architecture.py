"""Networks as declared data: what is trained, inspected and compiled, without a line of torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from sastdeploy.errors import InputError
from sastdeploy.windows import window_count

THRESHOLDS, SLOPES, ALPHAS = (1e-6, 1e6), (1e-3, 1e9), (1e-6, 1 - 1e-6)
"""Smallest and largest threshold, slope and leak factor: float32 holds them, and what a step computes from them."""
MOST_STRIDE = 127
"""Largest stride and padding of a convolution that a program can state."""


@dataclass(frozen=True)
class Dense:
    """Fully connected LIF layer of ``neurons`` neurons, each with weights, a bias and a fixed threshold."""

    neurons: int
    kind: str = field(default="dense", init=False)


@dataclass(frozen=True)
class Conv:
    """LIF convolution: ``channels`` maps, square ``kernel``, zero padding; one threshold and bias per channel.

    The defaults are those of the YAML form too. The paper's network states its own: stride 2, padding 1.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 0
    kind: str = field(default="conv", init=False)


@dataclass(frozen=True)
class AvgPool:
    """Mean of spikes over ``kernel`` x ``kernel`` windows of each channel, as torch's and NIR's ``AvgPool2d``.

    The divisor is always ``kernel^2``: zeros of the padding count. Windows that the padded input cuts are dropped.
    Hardware adds the spikes; the divisor folds into the next layer. Earlier versions' files call it ``sum_pool``.

    Args:
        stride: by default the kernel: windows side by side. padding: at most half the kernel.
    """

    kernel: int = 2
    stride: int | None = None
    padding: int = 0
    kind: str = field(default="avg_pool", init=False)

    def __post_init__(self) -> None:
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)

    @property
    def window(self) -> tuple[int, int, int]:
        """Kernel, stride and padding."""
        return self.kernel, self.kernel if self.stride is None else self.stride, self.padding


@dataclass(frozen=True)
class Readout:
    """Linear classifier on the spike counts' time average; ``global_average_pool`` averages each channel first."""

    global_average_pool: bool = False
    kind: str = field(default="readout", init=False)


Layer = Dense | Conv | AvgPool


@dataclass(frozen=True)
class Neuron:
    """The LIF neuron shared by every hidden layer (paper, equation 1).

    Args:
        alpha: leak factor per step, in `ALPHAS`.
        threshold: initial (and fixed) threshold theta, in `THRESHOLDS`.
        slope: k of the arctan surrogate ``1/2 + arctan(k x) / pi``, in `SLOPES`.
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
                    f"{name} {shortened(value)}: outside {low:g} to {high:.6g}. The paper uses {paper}."
                )


def shortened(value: object) -> str:
    """Return a value as Python writes it, cut where it is long: a whole number of a file can have a thousand digits."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


@dataclass(frozen=True)
class Architecture:
    """A network for one input shape and class count; `shapes` checks that every layer fits.

    Args:
        name: ``fc_0p40m``, ``conv_0p42m`` or the user's own.
        input_shape: ``(P, H, W)``.
        layers: hidden layers, first to last; at least one Dense or Conv, and an AvgPool never last or first.
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
            shape = _output_shape(layer, shape, f"{self.name}: layer {number} ({layer.kind})")
            result.append(shape)
        return tuple(result)


def _output_shape(layer: Layer, shape: tuple[int, int, int], where: str) -> tuple[int, int, int]:
    channels, height, width = shape
    if isinstance(layer, Dense):
        _require(layer.neurons >= 1, f"{where}: neurons must be at least 1, found {layer.neurons}.")
        return (layer.neurons, 1, 1)
    if isinstance(layer, AvgPool):
        kernel, stride, padding = layer.window
        _require(
            1 <= kernel <= min(height + 2 * padding, width + 2 * padding, 11),
            f"{where}: kernel {kernel} does not fit its {height} x {width} input (at most 11).",
        )
        _require(
            1 <= stride <= 127 and 0 <= 2 * padding <= kernel,
            f"{where}: stride must be 1 to 127, padding from 0 to half the kernel; found {layer.stride} and {padding}.",
        )
        return (channels, window_count(height, *layer.window), window_count(width, *layer.window))
    _require(
        layer.channels >= 1 and layer.kernel >= 1 and layer.stride >= 1 and 0 <= layer.padding < layer.kernel,
        f"{where}: channels, kernel and stride must be at least 1, padding from 0 to kernel - 1.",
    )
    for name in ("stride", "padding"):
        _require(
            getattr(layer, name) <= MOST_STRIDE,
            f"{where}: {name} {shortened(getattr(layer, name))}: at most {MOST_STRIDE} is allowed.",
        )
    sizes = [(n + 2 * layer.padding - layer.kernel) // layer.stride + 1 for n in (height, width)]
    _require(
        height + 2 * layer.padding >= layer.kernel and width + 2 * layer.padding >= layer.kernel,
        f"{where}: kernel {layer.kernel} is larger than its padded {height} x {width} input.",
    )
    return (layer.channels, sizes[0], sizes[1])


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)
