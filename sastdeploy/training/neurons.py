"""Spikes and the LIF step (paper, equation 1), in plain torch: the definition that every faster form must equal."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def surrogate(x: Tensor, slope: float | Tensor) -> Tensor:
    """Return ``1/2 + arctan(slope x) / pi``, the spike of the forward pass (paper, section 3; slope k = 25).

    Its gradient is exact by construction: nothing is straight-through.
    """
    return 0.5 + torch.atan(slope * x) / math.pi


def heaviside(x: Tensor) -> Tensor:
    """Return 1 where ``x >= 0`` and 0 elsewhere, in x's dtype: the hard spike of deployment."""
    return (x >= 0).to(x.dtype)


def _spike(x: Tensor, slope: float | Tensor, hard: bool) -> Tensor:
    if not hard:
        return surrogate(x, slope)
    if not x.requires_grad:
        return heaviside(x)
    soft = surrogate(x, slope)
    return heaviside(x) + (soft - soft.detach())


def run_lif(
    current: Tensor, threshold: Tensor, alpha: float, slope: float | Tensor, hard: bool
) -> tuple[Tensor, Tensor]:
    """Return spikes and membranes, both ``[T, B, ...]``, of LIF neurons that start at rest.

    ``u_t = alpha u_{t-1} + I_t - theta s_{t-1}``, then ``s_t = sigma(u_t - theta)``: a spike lowers the membrane one
    step later (delayed reset by subtraction; paper, equation 1).

    Args:
        current: ``I = A s + b``, ``[T, B, ...]``.
        threshold: theta, broadcastable to ``[B, ...]``.
        alpha: leak factor. slope: k of the surrogate. hard: swap sigma for the Heaviside step, and nothing else; a
            gradient, where one is asked for, is then the surrogate's (hard forward, surrogate backward).

    References:
        "Sharpness-Aware Surrogate Training for On-Sensor Spiking Neural Networks" (2026), equation (1).
    """
    u = torch.zeros_like(current[0])
    s = torch.zeros_like(current[0])
    spikes, membranes = [], []
    # Taken apart at once: compiled, one part after another would each have a gradient of the whole's size.
    for drive in current.unbind(0):
        u = alpha * u + drive - threshold * s
        s = _spike(u - threshold, slope, hard)
        spikes.append(s)
        membranes.append(u)
    return torch.stack(spikes), torch.stack(membranes)
