"""Kinds of layers of a network: what is declared, which input fits, and what it costs, without a line of torch.

A new kind is a class here, in `KINDS` and in `Layer`, and its sums in `sastdeploy.training.layers`. Its fields are the keys
of its YAML form and of the checkpoint, defaults included. Beside them it has

- ``has_neurons``: whether it ends in LIF neurons, with a bias and a threshold per channel; else its sums are sent on;
- ``has_positions``: whether its inputs and outputs have a height and a width, or are numbered through;
- ``output_shape(before, where)`` after an input ``[C, H, W]``; it refuses sizes that do not fit;
- ``parameter_shapes(before)``, by the names that a checkpoint gives them; ``fan_in(before)`` and ``fan_out(before)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

from sastdeploy.errors import InputError, short
from sastdeploy.windows import MAX_STRIDE, Shape, Window

"""Largest stride and padding that a program can state."""
_MAX_POOLED = 11
"""Largest kernel of a pool: the sum of 11 x 11 spikes stays within 127."""

Shapes = dict[str, tuple[int, ...]]
"""Shapes of arrays by their names."""


@dataclass(frozen=True)
class Dense:
    """Fully connected LIF layer of ``neurons`` neurons, each with weights, a bias and a fixed threshold."""

    neurons: int
    kind: str = field(default="dense", init=False)
    has_neurons: ClassVar[bool] = True
    has_positions: ClassVar[bool] = False

    def output_shape(self, before: Shape, where: str) -> Shape:
        _require(self.neurons >= 1, f"{where}: neurons must be at least 1, found {self.neurons}.")
        return (self.neurons, 1, 1)

    def parameter_shapes(self, before: Shape) -> Shapes:
        return _weights_and_neurons((self.neurons, prod(before)))

    def fan_in(self, before: Shape) -> int:
        return prod(before)

    def fan_out(self, before: Shape) -> tuple[int, int, int]:
        return self.neurons, self.neurons, prod(before) * self.neurons


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
    has_neurons: ClassVar[bool] = True
    has_positions: ClassVar[bool] = True

    @property
    def window(self) -> Window:
        return Window.of(self.kernel, self.stride, self.padding)

    def output_shape(self, before: Shape, where: str) -> Shape:
        _require(
            self.channels >= 1 and self.kernel >= 1 and self.stride >= 1 and 0 <= self.padding < self.kernel,
            f"{where}: channels, kernel and stride must be at least 1, padding from 0 to kernel - 1.",
        )
        for name in ("stride", "padding"):
            _require(
                getattr(self, name) <= MAX_STRIDE,
                f"{where}: {name} {short(getattr(self, name), 40)}: at most {MAX_STRIDE} is allowed.",
            )
        rows, columns = self.window.output(before)
        _require(
            min(rows, columns) >= 1,
            f"{where}: kernel {self.kernel} is larger than its padded {before[1]} x {before[2]} input.",
        )
        return (self.channels, rows, columns)

    def parameter_shapes(self, before: Shape) -> Shapes:
        return _weights_and_neurons((self.channels, before[0], self.kernel, self.kernel))

    def fan_in(self, before: Shape) -> int:
        return before[0] * self.window.size

    def fan_out(self, before: Shape) -> tuple[int, int, int]:
        return _fan_out(self.window, before, self.channels)


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
    has_neurons: ClassVar[bool] = False
    has_positions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)

    @property
    def window(self) -> Window:
        return Window.of(self.kernel, self.stride, self.padding)

    def output_shape(self, before: Shape, where: str) -> Shape:
        _, height, width = before
        stride = self.window.stride[0]
        _require(
            1 <= self.kernel <= min(height + 2 * self.padding, width + 2 * self.padding, _MAX_POOLED),
            f"{where}: kernel {self.kernel} does not fit its {height} x {width} input (at most {_MAX_POOLED}).",
        )
        _require(
            1 <= stride <= MAX_STRIDE and 0 <= 2 * self.padding <= self.kernel,
            f"{where}: stride must be 1 to {MAX_STRIDE}, padding from 0 to half the kernel; found {stride} and "
            f"{self.padding}.",
        )
        return (before[0], *self.window.output(before))

    def parameter_shapes(self, before: Shape) -> Shapes:
        return {}

    def fan_in(self, before: Shape) -> int:
        return self.window.size

    def fan_out(self, before: Shape) -> tuple[int, int, int]:
        return _fan_out(self.window, before, 1)


@dataclass(frozen=True)
class Readout:
    """Linear classifier on the spike counts' time average; ``global_average_pool`` averages each channel first."""

    global_average_pool: bool = False
    kind: str = field(default="readout", init=False)


Layer = Dense | Conv | AvgPool
"""A hidden layer of an architecture."""

KINDS: dict[str, type[Dense] | type[Conv] | type[AvgPool]] = {
    "dense": Dense,
    "conv": Conv,
    "avg_pool": AvgPool,
}
"""Every kind of hidden layer by its name in files."""


def _weights_and_neurons(weight: tuple[int, ...]) -> Shapes:
    return {"weight": weight, "bias": weight[:1], "threshold": weight[:1]}


def _fan_out(window: Window, before: Shape, targets: int) -> tuple[int, int, int]:
    """Return the least and the most accumulations that a source triggers, and those of all sources together."""
    rows, columns = window.along(before)
    least = int(rows.min()) * int(columns.min())
    most = int(rows.max()) * int(columns.max())
    every = int(rows.sum()) * int(columns.sum()) * before[0]
    return least * targets, most * targets, every * targets


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)
