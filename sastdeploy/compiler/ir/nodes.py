"""Nodes: one frozen record each, whose docstring gives its equation. Tensors are float64 or integer arrays.

Beside its fields, a kind says what it ``takes`` from the node before it and ``gives`` to the next, its ``output_shape``
after an input ``[C, H, W]``, what a valid record of it is (``check``, given that shape), and its ``meaning``: what it makes
of ``x`` ``[N, T, C, H, W]``. (Neurons have a state: `sastdeploy.compiler.ir.interpreter.run_lif`.)

Fields that end in ``_q`` and the other integer fields are None until a pass fills them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.program.fixedpoint import weight_limit
from sastdeploy.program.limits import INT32_END, MAX_LEAK_SHIFT, MAX_MULTIPLIER, MAX_SHIFT
from sastdeploy.program.records import RESETS, SPIKE_TESTS
from sastdeploy.recordings.frames import MAX_COUNT
from sastdeploy.windows import Pair, pair, window_count, windows_of, written

Floats = NDArray[np.float64]
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Input:
    """``x = min(count, c_clip) / divisor``, counts ``[T, P, H, W]``."""

    kind: ClassVar[str] = "input"
    takes: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[str] = "values"
    name: str
    shape: tuple[int, int, int]
    time_bins: int
    c_clip: int
    divisor: float

    def output_shape(self, before: Shape) -> Shape:
        return self.shape

    def check(self, after: Shape) -> None:
        require(
            self.divisor >= self.c_clip or self.divisor == 1.0,
            self,
            f"divisor {self.divisor} below {self.c_clip}",
        )
        require(
            1 <= self.c_clip <= MAX_COUNT and self.time_bins >= 1,
            self,
            f"c_clip must be 1 to {MAX_COUNT}, time_bins at least 1",
        )

    def meaning(self, x: NDArray[Any]) -> Floats:
        values: Floats = np.minimum(x, self.c_clip).astype(np.float64) / self.divisor
        return values


@dataclass(frozen=True, eq=False)
class Synapses:
    """What a weighted layer holds: ``I = gain * (weight . x) + bias``.

    Args:
        weight: real weights. bias: real, per channel.
        gain: real factor of the sum, 1 until scales are folded.
        weight_q, weight_scale: integer codes and the real value of one code, per channel: ``weight ~ weight_q * scale``.
        multiplier, shift: ``M / 2^r ~ gain * weight_scale * 2^n``, per channel. bias_q: in units of 2^-n.
        weight_bits, fraction_bits: b and n. accumulator_bits: the proven width of ``weight_q . x``.
    """

    kind: ClassVar[str] = "synapses"
    takes: ClassVar[tuple[str, ...]] = ("values", "spikes", "sums")
    gives: ClassVar[str] = "currents"
    name: str
    weight: Floats
    bias: Floats
    gain: float = 1.0
    weight_bits: int | None = None
    weight_q: NDArray[np.int8] | None = None
    weight_scale: Floats | None = None
    fraction_bits: int | None = None
    multiplier: NDArray[np.int32] | None = None
    shift: NDArray[np.int32] | None = None
    bias_q: NDArray[np.int32] | None = None
    accumulator_bits: int | None = None

    @property
    def effective_weight(self) -> Floats:
        """The weights that act: the dequantized ones once a pass has quantized them."""
        if self.weight_q is None or self.weight_scale is None:
            return self.weight
        return self.weight_q * self.weight_scale.reshape(-1, *[1] * (self.weight.ndim - 1))

    def output_shape(self, before: Shape) -> Shape:
        self._check_weight(2)
        channels, height, width = before
        self._check_sources(channels * height * width)
        return (self.weight.shape[0], 1, 1)

    def _check_weight(self, axes: int) -> None:
        require(self.weight.ndim == axes, self, f"weight has {self.weight.ndim} axes, not {axes}")
        require(self.weight.size > 0, self, f"weight {self.weight.shape} is empty")

    def _check_sources(self, sources: int) -> None:
        require(self.weight.shape[1] == sources, self, f"weight {self.weight.shape} for {sources} sources")

    def check(self, after: Shape) -> None:
        require(bool(np.isfinite(self.weight).all()), self, "a weight is not finite")
        require(
            self.bias.shape == (after[0],) and bool(np.isfinite(self.bias).all()),
            self,
            "bias must be finite [C]",
        )
        require(np.isfinite(self.gain) and self.gain > 0, self, f"gain {self.gain} must be positive")
        self._check_integers()

    def _check_integers(self) -> None:
        """Compare what passes have filled in with the ranges that a program allows; None is not yet filled."""
        channels = len(self.weight)
        if self.weight_q is not None:
            require(self.weight_bits in range(2, 9), self, f"weight_bits is {self.weight_bits}, not 2 to 8")
            require(
                self.weight_q.dtype == np.int8 and self.weight_q.shape == self.weight.shape,
                self,
                f"weight_q is {self.weight_q.dtype} {list(self.weight_q.shape)}, not int8 {list(self.weight.shape)}",
            )
            limit = weight_limit(self.weight_bits or 8)
            largest = int(np.abs(self.weight_q.astype(np.int16)).max())
            require(largest <= limit, self, f"a weight code of {largest} exceeds {limit}")
            scale = self.weight_scale
            require(
                scale is not None
                and scale.shape == (channels,)
                and bool((np.isfinite(scale) & (scale > 0)).all()),
                self,
                "weight_scale must be positive [C] beside weight_q",
            )
        _check_codes(self, "multiplier", self.multiplier, channels, 1, MAX_MULTIPLIER)
        _check_codes(self, "shift", self.shift, channels, 0, MAX_SHIFT)
        _check_codes(self, "bias_q", self.bias_q, channels, -INT32_END, INT32_END - 1)

    def meaning(self, x: NDArray[Any]) -> Floats:
        """Return ``I`` as ``[N, T, C, H, W]``."""
        return self.gain * self.sums(x) + self.bias.reshape(-1, 1, 1)

    def sums(self, x: NDArray[Any]) -> Floats:
        """Return ``weight . x`` as ``[N, T, C, H, W]``."""
        return (x.reshape(*x.shape[:2], -1) @ self.effective_weight.T)[..., None, None]


@dataclass(frozen=True, eq=False)
class Dense(Synapses):
    """``I = gain * (weight @ flatten(x)) + bias``; weight ``[N, J]``."""

    kind: ClassVar[str] = "dense"


@dataclass(frozen=True, eq=False)
class Conv2d(Synapses):
    """``I[o] = gain * sum_i weight[o, i] (star) x[i] + bias[o]``: cross-correlation, zero padding; ``[O, I, KH, KW]``."""

    kind: ClassVar[str] = "conv2d"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def output_shape(self, before: Shape) -> Shape:
        self._check_weight(4)
        require(
            self.weight.shape[1] == before[0],
            self,
            f"weight {self.weight.shape} for {before[0]} input channels",
        )
        require(
            min(self.stride) >= 1 and min(self.padding) >= 0,
            self,
            f"stride {self.stride} must be at least 1, padding {self.padding} at least 0",
        )
        rows, columns = (
            window_count(*axis) for axis in zip(before[1:], self.weight.shape[2:], self.stride, self.padding)
        )
        require(
            rows >= 1 and columns >= 1,
            self,
            f"kernel {self.weight.shape[2:]} is larger than its padded input",
        )
        return (self.weight.shape[0], rows, columns)

    def sums(self, x: NDArray[Any]) -> Floats:
        """Return ``weight (star) x`` as ``[N, T, C, H, W]``."""
        weight = self.effective_weight
        kernel = (int(weight.shape[2]), int(weight.shape[3]))
        windows = windows_of(x, kernel, self.stride, self.padding)
        sums: Floats = np.einsum("ntihwab,oiab->ntohw", windows, weight, optimize=True)
        return sums


@dataclass(frozen=True, eq=False)
class Lif:
    """``u_t = alpha u_{t-1} + I_t - theta s_{t-1}``, ``s_t = H(u_t - theta)``: leaky integrate and fire.

    Written for reset ``subtract`` and ``reset_delay`` 1; `sastdeploy.program.records.Lif` gives all forms.

    Args:
        alpha: leak factor in (0, 1). threshold: theta > 0, per channel.
        spike_test: ``>=`` or ``>``. reset: ``subtract``, ``zero`` or ``none``. reset_delay: 1, or 0 for at once.
        leak_multiplier, leak_shift: ``A / 2^k ~ alpha``. threshold_q: in units of 2^-n.
    """

    kind: ClassVar[str] = "lif"
    takes: ClassVar[tuple[str, ...]] = ("currents",)
    gives: ClassVar[str] = "spikes"
    name: str
    alpha: float
    threshold: Floats
    spike_test: str = ">="
    reset: str = "subtract"
    reset_delay: int = 1
    leak_multiplier: int | None = None
    leak_shift: int | None = None
    threshold_q: NDArray[np.int32] | None = None

    def output_shape(self, before: Shape) -> Shape:
        return before

    def check(self, after: Shape) -> None:
        require(0 < self.alpha < 1, self, f"alpha {self.alpha} outside (0, 1)")
        require(
            self.threshold.shape == (after[0],),
            self,
            f"threshold {self.threshold.shape} for {after[0]} channels",
        )
        positive = np.isfinite(self.threshold) & (self.threshold > 0)
        require(bool(positive.all()), self, "thresholds must be positive")
        require(self.spike_test in SPIKE_TESTS, self, f"spike test '{self.spike_test}'")
        require(self.reset in RESETS, self, f"reset '{self.reset}'")
        require(self.reset_delay in (0, 1), self, f"reset delay {self.reset_delay}")
        _check_codes(self, "threshold_q", self.threshold_q, len(self.threshold), 1, (1 << 23) - 1)
        a, k = self.leak_multiplier, self.leak_shift
        require((a is None) == (k is None), self, "leak_multiplier and leak_shift go together")
        if a is not None and k is not None:
            fits = 0 <= k <= MAX_LEAK_SHIFT and 0 <= a <= 1 << k
            require(fits, self, f"leak {a} / 2^{k} is no factor from 0 to 1")


@dataclass(frozen=True, eq=False)
class Pool:
    """What a pool holds: windows of each channel, zero padding; windows that the padded input cuts are dropped.

    Args:
        kernel, stride, padding: along both axes, or ``(y, x)`` where they differ. The stride is by default the kernel.
    """

    kind: ClassVar[str] = "pool"
    takes: ClassVar[tuple[str, ...]] = ("spikes",)
    gives: ClassVar[str] = "sums"
    name: str
    kernel: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0

    def __post_init__(self) -> None:
        kernel = written(self.kernel)
        stride = kernel if self.stride is None else written(self.stride)
        for name, value in (("kernel", kernel), ("stride", stride), ("padding", written(self.padding))):
            object.__setattr__(self, name, value)

    @property
    def window(self) -> tuple[Pair, Pair, Pair]:
        """Kernel, stride and padding, each ``(y, x)``."""
        return (
            pair(self.kernel),
            pair(self.kernel if self.stride is None else self.stride),
            pair(self.padding),
        )

    @property
    def size(self) -> int:
        """Number of positions in a window, padding included."""
        height, width = pair(self.kernel)
        return height * width

    def output_shape(self, before: Shape) -> Shape:
        kernel, stride, padding = self.window
        require(
            min(stride) >= 1 and all(0 <= pad <= abs(size) // 2 for pad, size in zip(padding, kernel)),
            self,
            f"stride {self.stride} must be at least 1, padding {self.padding} 0 to half the kernel",
        )
        rows, columns = (window_count(*axis) for axis in zip(before[1:], kernel, stride, padding))
        require(
            min(kernel) >= 1 and min(rows, columns) >= 1,
            self,
            f"kernel {self.kernel} does not fit {before[1]} x {before[2]}",
        )
        return (before[0], rows, columns)

    def check(self, after: Shape) -> None:
        pass

    def meaning(self, x: NDArray[Any]) -> Floats:
        sums: Floats = windows_of(x, *self.window).sum((-2, -1))
        return sums


@dataclass(frozen=True, eq=False)
class AvgPool(Pool):
    """Mean over windows: their sum divided by ``kernel_y * kernel_x``, zeros of the padding counted (NIR's AvgPool2d)."""

    kind: ClassVar[str] = "avg_pool"

    def meaning(self, x: NDArray[Any]) -> Floats:
        return super().meaning(x) / self.size


@dataclass(frozen=True, eq=False)
class SumPool(Pool):
    """Sum over windows."""

    kind: ClassVar[str] = "sum_pool"


@dataclass(frozen=True, eq=False)
class Readout(Synapses):
    """``y = gain * weight @ pool(sum_t s_t) / T + bias``: class scores; weight ``[K, J]``.

    ``pool`` is ``none`` (flatten), ``average`` or ``sum`` over each channel's positions.
    """

    kind: ClassVar[str] = "readout"
    takes: ClassVar[tuple[str, ...]] = ("spikes",)
    gives: ClassVar[str] = "scores"
    pool: str = "none"

    def output_shape(self, before: Shape) -> Shape:
        self._check_weight(2)
        channels, height, width = before
        self._check_sources(channels if self.pool != "none" else channels * height * width)
        return (self.weight.shape[0], 1, 1)

    def meaning(self, x: NDArray[Any]) -> Floats:
        """Return the scores ``[N, K]``."""
        mean = x.mean(1)
        if self.pool == "none":
            pooled = mean.reshape(len(mean), -1)
        else:
            pooled = mean.mean((2, 3)) if self.pool == "average" else mean.sum((2, 3))
        scores: Floats = self.gain * (pooled @ self.effective_weight.T) + self.bias
        return scores


Node = Input | Synapses | Lif | Pool
NODES: dict[str, type[Node]] = {n.kind: n for n in (Input, Dense, Conv2d, Lif, AvgPool, SumPool, Readout)}


def _check_codes(
    node: Node, name: str, codes: NDArray[np.int32] | None, channels: int, low: int, high: int
) -> None:
    if codes is None:
        return
    require(
        codes.dtype == np.int32 and codes.shape == (channels,),
        node,
        f"{name} is {codes.dtype} {list(codes.shape)}, not int32 [{channels}]",
    )
    outside = (codes < low) | (codes > high)
    place = int(np.argmax(outside))
    require(not outside.any(), node, f"{name}[{place}] is {codes[place]}, outside {low} to {high}")


def require(condition: bool, node: Node | None, message: str) -> None:
    """Refuse a node of a graph, or an empty graph (None), unless the condition holds.

    Raises:
        InputError: with the message, after the node's kind and name.
    """
    if not condition:
        raise InputError(f"graph: {node.kind + ' ' + node.name if node else 'empty'}: {message}.")
