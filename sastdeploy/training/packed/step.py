"""One step of every network of a pack at once, on tensors alone: nothing leaves the device, so a CUDA graph can hold it.

The definition is the plain one: `sastdeploy.training.epoch` with the gradients of `sastdeploy.training.sharpness` and
the Adam of `sastdeploy.training.optimiser`, network by network. Here every parameter has an axis of networks in front,
and ``torch.func.vmap`` runs the same `SpikingNetwork` over it. Equal within float32 rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import BETA_1, BETA_2, EPSILON
from sastdeploy.training.packed.data import PackedData
from sastdeploy.training.settings import TrainingSettings

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Stack:
    """M networks: learnable parameters and thresholds by their names in the module, Adam's means, all ``[M, ...]``.

    ``slopes``, ``rho``, ``delta``, ``adaptive`` (1 for asam), ``decay``: float32 ``[M]``; each epoch has its slopes and decays. Steps
    change all in place.
    """

    network: SpikingNetwork
    parameters: Tensors
    thresholds: Tensors
    means: Tensors
    squares: Tensors
    slopes: Tensor
    rho: Tensor
    delta: Tensor
    adaptive: Tensor
    decay: Tensor

    def __len__(self) -> int:
        return len(self.slopes)

    def tensors(self) -> list[Tensor]:
        """Return everything that a step changes."""
        return [*self.parameters.values(), *self.means.values(), *self.squares.values()]


def stacked(
    networks: Sequence[SpikingNetwork], settings: Sequence[TrainingSettings], device: torch.device
) -> Stack:
    """Return networks of one architecture (thresholds and slopes may differ) as one stack, Adam at its start.

    Args:
        networks: in plain torch (``fused=False``), on the CPU. settings: of one method family (`two_gradients`) and forward pass.
    """
    names = dict(networks[0].named_parameters())
    parameters = {
        name: torch.stack([dict(n.named_parameters())[name].detach() for n in networks]).to(device)
        for name in names
    }
    thresholds = {
        name: torch.stack([dict(n.named_buffers())[name] for n in networks]).to(device)
        for name, _ in networks[0].named_buffers()
    }

    def each(values: Sequence[float]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.float32, device=device)

    return Stack(
        networks[0], parameters, thresholds,
        {name: torch.zeros_like(p) for name, p in parameters.items()},
        {name: torch.zeros_like(p) for name, p in parameters.items()},
        each([n.slope for n in networks]), each([s.rho for s in settings]), each([s.delta for s in settings]),
        each([float(s.method == "asam") for s in settings]),
        each(decays(settings, [s.learning_rate for s in settings])),
    )  # fmt: skip


def decays(settings: Sequence[TrainingSettings], rates: Sequence[float]) -> list[float]:
    """Return by what weight decay multiplies each network's parameters in a step of these learning rates."""
    return [1.0 - rate * s.weight_decay for rate, s in zip(rates, settings)]


def two_gradients(settings: TrainingSettings) -> bool:
    """Whether a step takes two gradients, the second at a moved point."""
    return settings.method in ("sast", "asam")


def scores_of(stack: Stack, parameters: Tensors, x: Tensor, hard: bool) -> Tensor:
    """Return class scores ``[M, B, K]`` of frame values ``[M, B, T, P, H, W]``."""

    def one(parameters: Tensors, thresholds: Tensors, slope: Tensor, x: Tensor) -> Tensor:
        scores: Tensor = functional_call(stack.network, {**parameters, **thresholds}, (x, hard, None, slope))
        return scores

    result: Tensor = vmap(one)(parameters, stack.thresholds, stack.slopes, x)
    return result


def spikes_and_scores(stack: Stack, x: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores ``[M, B, K]`` with hard spikes, and the number of spikes ``[M, layers]`` of recordings ``counted [M, B]``."""

    def one(
        parameters: Tensors, thresholds: Tensors, slope: Tensor, x: Tensor, counted: Tensor
    ) -> tuple[Tensor, Tensor]:
        layers: list[tuple[Tensor, Tensor]] = []
        scores = functional_call(stack.network, {**parameters, **thresholds}, (x, True, layers, slope))
        fired = [((s.flatten(2) > 0).sum((0, 2)) * counted).sum() for s, _ in layers]
        return scores, torch.stack(fired)

    result: tuple[Tensor, Tensor] = vmap(one)(stack.parameters, stack.thresholds, stack.slopes, x, counted)
    return result


def gradients(
    stack: Stack, parameters: Tensors, x: Tensor, labels: Tensor, weights: Tensor, hard: bool
) -> tuple[Tensors, Tensor]:
    """Return every network's gradient of its weighted mean cross-entropy, and that loss ``[M]``.

    Args:
        x: ``[M, B, T, P, H, W]``. labels: ``[M, B]``. weights: ``[M, B]``, each recording's part of the mean.
    """

    def loss(
        parameters: Tensors, thresholds: Tensors, slope: Tensor, x: Tensor, labels: Tensor, weights: Tensor
    ) -> Tensor:
        scores = functional_call(stack.network, {**parameters, **thresholds}, (x, hard, None, slope))
        mean: Tensor = (F.cross_entropy(scores, labels, reduction="none") * weights).sum()
        return mean

    result: tuple[Tensors, Tensor] = vmap(grad_and_value(loss))(
        parameters, stack.thresholds, stack.slopes, x, labels, weights
    )
    return result


def batch_gradients(
    stack: Stack,
    parameters: Tensors,
    data: PackedData,
    counts: Tensor | None,
    chosen: Tensor,
    weights: Tensor,
    step: Tensor,
    hard: bool,
) -> tuple[Tensors, Tensor]:
    """Return `gradients` on the minibatches of a step of the epoch.

    Args:
        counts: of those minibatches, where the frames stay with the host. chosen: int64 ``[S, M, B]``, of S steps. weights: float32
            ``[S, M, B]``. step: int64 ``[1]``.
    """
    recordings = chosen.index_select(0, step)[0]
    x = data.values(data.take(recordings) if counts is None else counts, recordings)
    return gradients(stack, parameters, x, data.labels_of(recordings), weights.index_select(0, step)[0], hard)


def compiled(functions: Sequence[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """Return functions of a pack, each compiled for the shapes of its first call."""
    # What was compiled for earlier packs counts towards torch's limit, beyond which functions run as they are.
    torch.compiler.reset()
    # Else the fastest order of a sum would be found by timing, and the bits depend on it.
    options: dict[str, Any] = (
        {"deterministic": True} if "deterministic" in torch._inductor.list_options() else {}
    )
    return [torch.compile(function, dynamic=False, options=options) for function in functions]


def norms(tensors: Tensors) -> Tensor:
    """Return each network's Euclidean norm ``[M]`` over all tensors together."""
    parts = [tensor.flatten(1).norm(dim=1) for tensor in tensors.values()]
    whole: Tensor = torch.stack(parts).norm(dim=0)
    return whole


def per_network(values: Tensor, like: Tensor) -> Tensor:
    """Return ``values [M]`` in a shape that multiplies ``like [M, ...]``."""
    return values.view(-1, *[1] * (like.dim() - 1))


def ascended(stack: Stack, gradient: Tensors) -> Tensors:
    """Return the parameters at ``w + eps``: `sastdeploy.training.sharpness.sharpness_aware_gradient`, network by network."""
    sizes = {
        n: torch.where(per_network(stack.adaptive, p) > 0, p.abs(), 1.0) for n, p in stack.parameters.items()
    }
    scaled = {name: g * sizes[name] for name, g in gradient.items()}
    scale = stack.rho / (norms(scaled) + stack.delta)
    return {
        name: p + per_network(scale, p) * scaled[name] * sizes[name] for name, p in stack.parameters.items()
    }


def along(stack: Stack, direction: Tensors) -> Tensors:
    """Return the parameters at ``w + rho r / ||r||``."""
    scale = stack.rho / norms(direction)
    return {name: p + per_network(scale, p) * direction[name] for name, p in stack.parameters.items()}


def adam_step(stack: Stack, gradient: Tensors, rate: Tensor, scale: Tensor) -> Tensor:
    """Update parameters and means in place, and return the gradients' norms ``[M]``.

    Args:
        rate: ``[M]``, the learning rate over the first mean's bias correction. scale: ``[]``, 1 / sqrt(the second's).
    """
    for name, p in stack.parameters.items():
        g, m, v = gradient[name], stack.means[name], stack.squares[name]
        m.mul_(BETA_1).add_(g, alpha=1 - BETA_1)
        v.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
        p.mul_(per_network(stack.decay, p)).sub_(per_network(rate, p) * m / (v.sqrt() * scale + EPSILON))
    return norms(gradient)


def adam_rates(first: int, steps: int, rate: Sequence[float]) -> tuple[list[list[float]], list[float]]:
    """Return ``rate [steps, M]`` and ``scale [steps]`` of steps ``first + 1`` to ``first + steps``, as `adam_step` takes them."""
    numbers = range(first + 1, first + steps + 1)
    return (
        [[r / (1 - BETA_1**n) for r in rate] for n in numbers],
        [1 / math.sqrt(1 - BETA_2**n) for n in numbers],
    )


@contextmanager
def undone(changed: Sequence[Tensor]) -> Iterator[None]:
    """Give tensors back the values that they had before the body."""
    before = [tensor.clone() for tensor in changed]
    yield
    for tensor, value in zip(changed, before):
        tensor.copy_(value)


@functools.cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """Return the device's one stream for rehearsals and captures: torch keeps working memory for each stream for good."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch does not annotate it


class Captured:
    """A step on fixed tensors, run many times: on a GPU as one CUDA graph, elsewhere as it is.

    Args:
        step: reads and writes the same tensors at every call, and nothing leaves the device.
        changed: all tensors that it changes; the rehearsal before the capture is undone.
        generators: random generators of the device that it draws from.
        pool: of memory, which graphs share that never run at the same time.
    """

    def __init__(
        self, step: Callable[[], Any], changed: Sequence[Tensor], device: torch.device,
        generators: Sequence[torch.Generator] = (), pool: Any = None,
    ) -> None:  # fmt: skip
        self.run: Callable[[], Any] = step
        if device.type != "cuda":
            return
        # A graph is captured on the current device, whatever device its tensors are on.
        with torch.cuda.device(device):
            aside = _aside(device)
            aside.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(aside):
                for _ in range(3):
                    # Each by itself: a step counter that went on would leave an epoch of fewer steps.
                    with undone(changed):
                        step()
            torch.cuda.current_stream(device).wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            for generator in generators:
                graph.register_generator_state(generator)
            # Else the stream of an earlier capture is taken, which may be another device's.
            with undone(changed), torch.cuda.graph(graph, pool=pool, stream=aside):
                step()
        self.run = graph.replay
