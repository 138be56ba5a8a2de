"""Sharpness-aware steps on the surrogate loss (SAST; paper, section 3 and Figure 1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

DELTA = 1e-12
"""Added to the gradient's norm; guards the division where the gradient vanishes (the paper: a small constant)."""


def plain_gradient(network: nn.Module, loss: Callable[[], Tensor]) -> float:
    """Leave the loss's gradient in ``.grad`` of every parameter and return the loss."""
    network.zero_grad(set_to_none=True)
    value = loss()
    value.backward()
    return float(value.detach())


def sharpness_aware_gradient(
    network: nn.Module,
    loss: Callable[[], Tensor],
    second_loss: Callable[[], Tensor],
    rho: float,
    delta: float = DELTA,
) -> float:
    """Leave the gradient of ``second_loss`` at ``w + eps`` in ``.grad``, the parameters back at exactly w.

    ``eps = rho g / (||g||_2 + delta)`` with g the gradient of ``loss`` at w and one norm over all learnable
    parameters. The two losses are of independent minibatches; each call starts from rest, so no state passes over.

    Returns:
        The first loss, at w.
    """
    first = plain_gradient(network, loss)
    learnable = list(network.parameters())
    scale = rho / (gradient_norm(network) + delta)
    kept = [parameter.data for parameter in learnable]
    for parameter in learnable:
        if parameter.grad is not None:
            parameter.data = parameter.data.add(parameter.grad, alpha=scale)
    try:
        plain_gradient(network, second_loss)
    finally:
        for parameter, original in zip(learnable, kept):
            parameter.data = original
    return first


def gradient_norm(network: nn.Module) -> float:
    """Return the Euclidean norm of the gradient over all learnable parameters together."""
    norms = [parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0
