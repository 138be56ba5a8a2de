"""Gradients at a moved point: sharpness-aware steps on the surrogate loss (SAST; paper, section 3 and Figure 1), and rivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.networks import SpikingNetwork

DELTA = 1e-12
"""Added to the gradient's norm; guards the division where the gradient vanishes (the paper: a small constant)."""


def plain_gradient(network: nn.Module, loss: Callable[[], Tensor], group: Group = ALONE) -> float:
    """Leave the loss's gradient in ``.grad`` of every parameter and return the loss.

    In a group of processes both are sums over the group: each process gives its part of the loss. So everything that
    is computed from them, as a sharpness-aware step is, has the same bits in every process.
    """
    network.zero_grad(set_to_none=True)
    value = loss()
    torch.autograd.backward(value)
    return group.sum_gradients(network, value)


def sharpness_aware_gradient(
    network: nn.Module,
    loss: Callable[[], Tensor],
    second_loss: Callable[[], Tensor],
    rho: float,
    delta: float = DELTA,
    adaptive: bool = False,
    group: Group = ALONE,
) -> float:
    """Leave the gradient of ``second_loss`` at ``w + eps`` in ``.grad``, the parameters back at exactly w.

    ``eps = rho g / (||g||_2 + delta)`` with g the gradient of ``loss`` at w and one norm over all learnable
    parameters. The two losses are of independent minibatches; each call starts from rest, so no state passes over.

    Args:
        adaptive: ``eps = rho w^2 g / (|| |w| g ||_2 + delta)``, which does not change when a layer is rescaled
            (ASAM; Kwon et al. 2021, with the elementwise operator and no offset).

    Returns:
        The first loss, at w.

    References:
        "Sharpness-Aware Surrogate Training for On-Sensor Spiking Neural Networks" (2026), section 3,
        equation (2) and the steps (i) to (iv) below it.
        P. Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021.
        J. Kwon et al., "ASAM: Adaptive sharpness-aware minimization for scale-invariant learning of deep
        neural networks", ICML 2021.
    """
    first = plain_gradient(network, loss, group)
    with _moved(network):
        _ascend(network, rho, delta, adaptive)
        plain_gradient(network, second_loss, group)
    return first


def _ascend(network: nn.Module, rho: float, delta: float, adaptive: bool) -> None:
    """Move every parameter by its part of eps, from the gradients in ``.grad``."""
    reached = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    if adaptive:
        for parameter, gradient in reached:
            gradient.mul_(parameter.data.abs())
    scale = rho / (gradient_norm(network) + delta)
    for parameter, gradient in reached:
        step = gradient * parameter.data.abs() if adaptive else gradient
        parameter.data = parameter.data.add(step, alpha=scale)


def random_direction_gradient(
    network: SpikingNetwork,
    loss: Callable[[], Tensor],
    rho: float,
    generator: torch.Generator,
    group: Group = ALONE,
) -> float:
    """Leave the loss's gradient at ``w + rho r / ||r||`` in ``.grad``, r drawn from a normal; parameters back at w.

    The control of SAST: a step of the same length, up no slope, at the cost of one gradient.

    Returns:
        The loss at the moved point.
    """
    drawn = []
    for name, parameter in network.learnable_by_name().items():
        # In the checkpoint's shape: the same direction for both kernels.
        shape = network.value(name).shape
        values = torch.randn(shape, generator=generator, dtype=parameter.dtype)
        drawn.append(network.as_kept(name, values))
    norm = float(torch.stack([part.norm() for part in drawn]).norm())
    with _moved(network):
        for parameter, part in zip(network.learnable_by_name().values(), drawn):
            parameter.data = parameter.data.add(part.to(parameter.device), alpha=rho / norm)
        return plain_gradient(network, loss, group)


@contextmanager
def _moved(network: nn.Module) -> Iterator[None]:
    """Put every parameter back to exactly where it was, whatever happens inside; moves replace ``.data``, never write to it."""
    learnable = list(network.parameters())
    kept = [parameter.data for parameter in learnable]
    try:
        yield
    finally:
        for parameter, original in zip(learnable, kept):
            parameter.data = original


def gradient_norm(network: nn.Module) -> float:
    """Return the Euclidean norm of the gradient over all learnable parameters together."""
    norms = [parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0
