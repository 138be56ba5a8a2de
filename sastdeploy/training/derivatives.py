"""What a network's derivatives are good for beside training: linear maps, Hessian products, gradient noise, attacks.

All in float64, in plain torch, on NumPy arrays in and out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.networks.architecture import Layer
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import Frames, LabelledFrames
from sastdeploy.training.inference import frame_values, network_of
from sastdeploy.training.initial import apply_factors
from sastdeploy.training.layers import SUMS
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.states import batch_size

Map = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_MIN_MOVED = 1e-9
"""Smaller changes of the input are not counted: rounding of the scores would show in the ratio."""


@dataclass(frozen=True)
class LinearMap:
    """From one step's spikes of a layer with neurons (or the input) to the next one's current, bias apart.

    ``shape`` is that of one input, ``apply`` the map (pools in between included), ``transposed`` its transpose.
    """

    name: str
    shape: tuple[int, ...]
    apply: Map
    transposed: Map


def linear_maps(checkpoint: Checkpoint) -> tuple[LinearMap, ...]:
    """Return the linear map into every LIF layer, first to last, and then into the readout."""
    architecture = checkpoint.architecture
    weights = {
        name: torch.from_numpy(value).double()
        for name, value in checkpoint.parameters.items()
        if name.endswith("weight")
    }
    maps, shape = [], architecture.input_shape
    between: list[Layer] = []
    for i, (layer, after) in enumerate(zip(architecture.layers, architecture.shapes())):
        if not layer.has_neurons:
            between.append(layer)
            continue
        weight = weights[f"layers.{i}.weight"]

        def current(
            x: Tensor, layers: tuple[Layer, ...] = (*between, layer), weight: Tensor = weight
        ) -> Tensor:
            s = x[None, None]
            for each in layers:
                s = SUMS[each.kind](each, {"weight": weight}, s, False)
            return s[0]

        maps.append(_linear_map(f"layers.{i}", shape, current))
        shape, between = after, []

    def scores(x: Tensor) -> Tensor:
        features = x.mean((1, 2)) if architecture.readout.global_average_pool else x.flatten()
        return F.linear(features, weights["readout.weight"])

    return (*maps, _linear_map("readout", shape, scores))


def _linear_map(name: str, shape: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> LinearMap:
    # The map is linear, so its derivative at any point is the map itself, and backward is the transpose.
    source = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    image = function(source)

    def apply(x: NDArray[np.float64]) -> NDArray[np.float64]:
        with torch.no_grad():
            return function(torch.from_numpy(x)).numpy()

    def transposed(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return torch.autograd.grad(image, source, torch.from_numpy(y), retain_graph=True)[0].numpy()

    return LinearMap(name, shape, apply, transposed)


def initial_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with the weights that its training began with (drawn anew from its seed); the slope stays its own."""
    network, facts = SpikingNetwork(checkpoint.architecture), checkpoint.training
    network.initialise(torch.Generator().manual_seed(facts.get("seed", 0)), facts.get("init_scale", 1.0))
    apply_factors(network, facts.get("init_factors", {}))
    return replace(checkpoint, parameters=network.parameters_as_arrays())


def loss_gradient(checkpoint: Checkpoint, data: LabelledFrames) -> NDArray[np.float64]:
    """Return the gradient of the mean cross-entropy with surrogate spikes over these recordings, as one vector."""
    network = network_of(checkpoint, torch.float64)
    total = torch.zeros(sum(p.numel() for p in network.parameters()), dtype=torch.float64)
    for part in _parts(checkpoint, data):
        total += _flat(torch.autograd.grad(_loss(network, part) / len(data), tuple(network.parameters())))
    return total.numpy()


def hessian_product(checkpoint: Checkpoint, data: LabelledFrames) -> tuple[int, Map]:
    """Return the number of learnable parameters, and the product of that mean loss's Hessian with a vector."""
    network = network_of(checkpoint, torch.float64)
    parameters = tuple(network.parameters())
    parts = _parts(checkpoint, data)
    count = sum(p.numel() for p in parameters)

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        direction, total = torch.from_numpy(vector), torch.zeros(count, dtype=torch.float64)
        for part in parts:
            slope = _flat(torch.autograd.grad(_loss(network, part), parameters, create_graph=True))
            total += _flat(torch.autograd.grad(slope @ direction, parameters))
        return (total / len(data)).numpy()

    return count, product


def _parts(checkpoint: Checkpoint, data: LabelledFrames) -> list[tuple[Tensor, Tensor]]:
    """Return values and labels of recordings, in pieces that run at once."""
    size = batch_size(checkpoint)
    return [
        (
            frame_values(data.frames, slice(start, start + size), checkpoint.preprocessing, torch.float64),
            torch.from_numpy(data.labels[start : start + size].copy()),
        )
        for start in range(0, len(data), size)
    ]


def _loss(network: SpikingNetwork, part: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(network(part[0]), part[1], reduction="sum")


def _flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


@dataclass(frozen=True)
class Change:
    """Two inputs of one recording: how far the second is (Euclidean, over all steps), and how far its scores are."""

    moved: float
    changed: float

    @property
    def ratio(self) -> float:
        return self.changed / self.moved if self.moved else 0.0


def attack(
    checkpoint: Checkpoint, frames: Frames, rng: np.random.Generator, restarts: int = 8, steps: int = 60
) -> list[Change]:
    """Return, per recording, the change of input that changes the surrogate network's scores most for its size.

    Projected gradient ascent on ``log(||f(x + d) - f(x)|| / ||d||)`` from ``restarts`` random d, whose sizes lie between
    1e-5 and 1 times the recording's own norm (evenly in the logarithm). A step's length starts at a half of ``||d||`` and
    falls to a fiftieth; after each, ``x + d`` is clipped to what a frame can hold: 0 to ``c_clip / divisor`` (1 where
    each recording is divided by its maximum). What it finds is a lower bound of the Lipschitz constant.
    """
    network = network_of(checkpoint, torch.float64)
    scale = checkpoint.preprocessing
    top = 1.0 if scale.normalisation == "sample_max" else scale.c_clip / scale.divisor
    changes = [Change(0.0, 0.0)] * len(frames)
    size = max(1, batch_size(checkpoint) // restarts)
    for start in range(0, len(frames), size):
        x = frame_values(frames, slice(start, start + size), scale, torch.float64)
        x = x.repeat_interleave(restarts, 0)
        sizes = torch.from_numpy(10.0 ** rng.uniform(-5, 0, len(x))) * _norms(x).clamp(min=1e-2 * top)
        d = torch.from_numpy(rng.standard_normal(tuple(x.shape)))
        d = (x + d * _column(sizes / _norms(d))).clamp(0.0, top) - x
        with torch.no_grad():
            scores = network(x)
        for step in range(steps):
            d.requires_grad_()
            moved, changed = _norms(d), _norms(network(x + d) - scores)
            for i, pair in enumerate(zip(moved.tolist(), changed.tolist())):
                place, change = start + i // restarts, Change(*pair)
                if change.moved > _MIN_MOVED and change.ratio > changes[place].ratio:
                    changes[place] = change
            ascent = torch.autograd.grad((_log(changed) - _log(moved)).sum(), d)[0]
            length = 0.02 + 0.48 * (1.0 - step / steps)
            with torch.no_grad():
                step_sizes = length * moved / _norms(ascent).clamp(min=1e-300)
                ascended = (x + d + ascent * _column(step_sizes)).clamp(0.0, top) - x
                d = torch.where(_column(_norms(ascended) > 0), ascended, d.detach())
    return changes


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms


def _log(x: Tensor) -> Tensor:
    # The tiny constant keeps the gradient finite where nothing has changed.
    return (x + 1e-300).log()


def _column(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1, 1)
