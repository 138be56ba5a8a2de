"""The LIF layer in one pass forward and one backward through time, equal to `neurons.run_lif` within rounding.

Plain torch keeps five intermediate tensors per step for the backward pass; here one buffer holds the input current,
then the membranes, then the gradient of the current. Every recording is one task and touches only its own numbers,
so the bits do not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy._kernels.jit import kernel

Floats = NDArray[np.float32]

_PI = np.float32(math.pi)
_HALF_PI = np.float32(math.pi / 2)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_ATAN = tuple(
    np.float32(c)
    for c in np.polynomial.Chebyshev.interpolate(
        lambda y: np.arctan(np.sqrt(y)) / np.sqrt(y), 10, domain=[0, 1]
    ).convert(kind=np.polynomial.Polynomial).coef
)  # fmt: skip
"""``arctan(z) / z`` as a polynomial in ``z^2`` on [0, 1], interpolated in Chebyshev points: within 4e-9."""
_A0, _A1, _A2, _A3, _A4, _A5, _A6, _A7, _A8, _A9, _A10 = _ATAN


def fits(current: Tensor) -> bool:
    """Whether the kernels can take this tensor: float32 on the CPU."""
    return current.dtype == torch.float32 and current.device.type == "cpu"


@njit(inline="always")
def _surrogate_spike(z: np.float32) -> np.float32:
    """Return ``1/2 + arctan(z) / pi``, for |z| > 1 through ``arctan(z) = pi/2 - arctan(1/z)``; float32, no branch."""
    size = abs(z)
    far = size > _ONE
    r = _ONE / size if far else size
    y = r * r
    p = _A9 + y * _A10
    p = _A8 + y * p
    p = _A7 + y * p
    p = _A6 + y * p
    p = _A5 + y * p
    p = _A4 + y * p
    p = _A3 + y * p
    p = _A2 + y * p
    p = _A1 + y * p
    p = r * (_A0 + y * p)
    angle = _HALF_PI - p if far else p
    return _HALF + math.copysign(angle, z) / _PI


@kernel(parallel=True, error_model="numpy", fastmath={"contract"})
def _forward(
    current: Floats, threshold: Floats, alpha: np.float32, slope: np.float32, hard: bool, spikes: Floats
) -> None:
    steps, recordings, neurons = current.shape
    for b in prange(recordings):
        for t in range(steps):
            u = current[t, b]
            s = spikes[t, b]
            if t > 0:
                before = current[t - 1, b]
                fired = spikes[t - 1, b]
                for n in range(neurons):
                    u[n] = alpha * before[n] + u[n] - threshold[n] * fired[n]
            if hard:
                for n in range(neurons):
                    s[n] = _ONE if u[n] >= threshold[n] else np.float32(0.0)
            else:
                for n in range(neurons):
                    s[n] = _surrogate_spike(slope * (u[n] - threshold[n]))


@kernel(parallel=True, error_model="numpy", fastmath={"contract"})
def _backward(
    membrane: Floats, threshold: Floats, alpha: np.float32, slope: np.float32, gradient: Floats
) -> None:
    """Replace the membranes by the gradient of the current. ``gradient``: of every step, or one for all steps."""
    steps, recordings, neurons = membrane.shape
    peak = slope / _PI
    for b in prange(recordings):
        for back in range(steps):
            t = steps - 1 - back
            u = membrane[t, b]
            g = gradient[min(t, len(gradient) - 1), b]
            if back == 0:
                for n in range(neurons):
                    z = slope * (u[n] - threshold[n])
                    u[n] = g[n] * (peak / (_ONE + z * z))
            else:
                later = membrane[t + 1, b]
                for n in range(neurons):
                    z = slope * (u[n] - threshold[n])
                    through = g[n] - threshold[n] * later[n]
                    u[n] = alpha * later[n] + through * (peak / (_ONE + z * z))


def _memory_order(x: Tensor) -> tuple[int, ...]:
    """Return the order of axes in memory: convolutions run fastest with channels last, ``[T, B, H, W, C]``."""
    return (0, 1, 3, 4, 2) if x.dim() == 5 and not x.is_contiguous() else tuple(range(x.dim()))


def _rows(x: Tensor, order: tuple[int, ...]) -> Floats:
    """Return x's own memory as an array ``[T, B, neurons]``."""
    flat = x.permute(order)
    return flat.view(*flat.shape[:2], -1).numpy()


class _FusedLif(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, threshold: Tensor, alpha: float, slope: float, hard: bool
    ) -> Tensor:
        order = _memory_order(current)
        spikes = torch.empty_like(current)
        theta = threshold.expand(current.shape[2:])[None, None].permute(order).reshape(-1).numpy()
        u = _rows(current.detach(), order)
        _forward(u, theta, np.float32(alpha), np.float32(slope), hard, _rows(spikes, order))
        ctx.kept, ctx.theta, ctx.constants = current.detach(), theta, (alpha, slope)
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        kept, (alpha, slope) = ctx.kept, ctx.constants
        ctx.kept = None
        if kept is None:
            raise RuntimeError("the fused LIF layer keeps its membranes for one backward pass only")
        order = _memory_order(kept)
        # A readout of the spikes' mean gives every step the same gradient, once in memory.
        given = gradients[0] if gradients[0].stride(0) else gradients[0][:1]
        ordered = given.permute(order).contiguous()
        gradient = ordered.view(*ordered.shape[:2], -1).numpy()
        _backward(_rows(kept, order), ctx.theta, np.float32(alpha), np.float32(slope), gradient)
        return kept, None, None, None, None


def run_lif_fused(
    current: Tensor, threshold: Tensor, alpha: float, slope: float | Tensor, hard: bool
) -> tuple[Tensor, Tensor]:
    """Return spikes and membranes as `neurons.run_lif` does; ``current`` is overwritten, it becomes the membranes.

    Only for tensors that `fits` accepts, contiguous or with channels last, and not kept by the operation that made them (linear and
    convolution keep their inputs, not their output). One backward pass per call.
    """
    # torch does not annotate `apply`.
    spikes = _FusedLif.apply(current, threshold, alpha, float(slope), hard)  # type: ignore[no-untyped-call]
    return spikes, current.detach()
