"""Nodes: one frozen record each, whose docstring gives its equation. Tensors are float64 or integer arrays.

Fields that end in ``_q`` and the other integer fields are None until a pass fills them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.windows import Pair, pair, written

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Input:
    """``x = min(count, c_clip) / divisor``, counts ``[T, P, H, W]``."""

    kind: ClassVar[str] = "input"
    name: str
    shape: tuple[int, int, int]
    time_bins: int
    c_clip: int
    divisor: float


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
    name: str
    alpha: float
    threshold: Floats
    spike_test: str = ">="
    reset: str = "subtract"
    reset_delay: int = 1
    leak_multiplier: int | None = None
    leak_shift: int | None = None
    threshold_q: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class Pool:
    """What a pool holds: windows of each channel, zero padding; windows that the padded input cuts are dropped.

    Args:
        kernel, stride, padding: along both axes, or ``(y, x)`` where they differ. The stride is by default the kernel.
    """

    kind: ClassVar[str] = "pool"
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
        return pair(self.kernel), pair(self.stride or self.kernel), pair(self.padding)

    @property
    def size(self) -> int:
        """Number of positions in a window, padding included."""
        height, width = pair(self.kernel)
        return height * width


@dataclass(frozen=True, eq=False)
class AvgPool(Pool):
    """Mean over windows: their sum divided by ``kernel_y * kernel_x``, zeros of the padding counted (NIR's AvgPool2d)."""

    kind: ClassVar[str] = "avg_pool"


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
    pool: str = "none"


Node = Input | Synapses | Lif | Pool
NODES: dict[str, type] = {n.kind: n for n in (Input, Dense, Conv2d, Lif, AvgPool, SumPool, Readout)}
