"""The paper's section 4 on a trained network: each bound, beside the largest value that is really found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.analysis.convergence import convergence
from sastdeploy.analysis.lipschitz import geometric_sum, lipschitz
from sastdeploy.analysis.power import operator_norm
from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import Frames, LabelledFrames
from sastdeploy.training.derivatives import linear_maps
from sastdeploy.training.states import input_values, lif_layers, visited_states

LIMIT = 128
"""Recordings for loss, gradient noise and Hessian, where none are asked for."""


STAGES = ("membranes", "operator norms", "attacks", "Hessian and gradient noise")


def bounds(
    checkpoint: Checkpoint,
    data: LabelledFrames,
    seed: int = 0,
    limit: int = LIMIT,
    stage: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Return section 4's constants and bounds for a checkpoint, what is really found, and a sentence for each.

    Keys, all plain JSON values; surrogate spikes, float64:

    - ``input_norm`` (R_x, the largest ``||x_t||_2``), ``operator_norms`` (of every layer and the readout, pools
      included), ``constants`` (M_A, M_out, M_theta, alpha, T, L);
    - ``states``: per layer the bounds of `state_bounds` beside the largest norms that were visited;
    - ``lipschitz``: L_x of `lipschitz_bound` with the visited B_1 (``local``) and with k / pi (``global``), beside
      the largest ratio ``||f(x') - f(x)||_2 / ||x' - x||_2`` that `attack` and random deletions of events find on 16
      recordings. Where gamma >= 1 the theorem's assumption fails; the finite sum still bounds. The local value
      covers pairs whose membranes stay where the data's are, the global one every pair. L_x is called vacuous if
      for one event it allows more than the scores can differ at all (``diameter``: M_out sqrt(neurons of the last
      layer), as time averages lie in [0, 1]);
    - ``convergence``: equation (3)'s floor ``3 beta^2 rho^2 + 2 eta beta sigma^2`` for the loss over ``limit`` of the recordings.
      beta is the largest absolute eigenvalue of the Hessian at the checkpoint, by power iteration: a lower bound of the
      true one (a supremum over all weights), and so is the floor. A single recording near its thresholds can make up
      most of it: other draws of recordings give other orders of magnitude. sigma^2 comes from 16 minibatches, scaled to
      the training's batch size. A floor is called vacuous if it is above the squared gradient norm both at the
      checkpoint and at the weights that training began with.

    ``stage`` is called with each of `STAGES` as it begins. States and input norms are over all recordings; ``limit`` and ``seed`` choose those for the rest. None of it is about
    the hard network, whose scores jump: for those there is no L_x.

    Raises:
        InputError: fewer than two recordings or a limit below 2 (one has no gradient noise), or frames that do not fit.
    """
    if limit < 2 or len(data) == 1:
        raise InputError(
            f"bounds: limit {limit} of {len(data)} recordings; at least 2 are needed to measure gradient noise."
        )
    rng = np.random.default_rng((seed, 21))
    stage(STAGES[0])
    visited = _visited(checkpoint, data.frames)
    stage(STAGES[1])
    norms = {
        each.name: operator_norm(each.apply, each.transposed, each.shape, rng)
        for each in linear_maps(checkpoint)
    }
    chosen = data.select(np.sort(rng.permutation(len(data))[:limit]))
    layers = {name: norm.value for name, norm in norms.items() if name != "readout"}
    neuron = checkpoint.architecture.neuron
    constants = {
        "M_A": max(layers.values()),
        "M_out": norms["readout"].value,
        "M_theta": max(float(checkpoint.parameters[f"{name}.threshold"].max()) for name in layers),
        "alpha": neuron.alpha,
        "T": checkpoint.preprocessing.time_bins,
        "L": len(layers),
    }
    stage(STAGES[2])
    change = lipschitz(checkpoint, visited.nearest, norms, constants, chosen.frames, rng)
    stage(STAGES[3])
    return {
        "schema": "sastdeploy.bounds/1",
        "recordings": len(data),
        "limit": len(chosen),
        "seed": seed,
        "input_norm": visited.input_norm,
        "operator_norms": [{"name": name, **asdict(norm)} for name, norm in norms.items()],
        "constants": constants,
        "states": _states(checkpoint, visited, layers),
        "lipschitz": change,
        "convergence": convergence(checkpoint, chosen, rng),
    }


@dataclass
class _Visited:
    """The largest values of one pass with surrogate spikes; per layer: of |u|, ||u_t||_2, and the smallest |u - theta|."""

    input_norm: float
    largest: dict[str, float]
    norm: dict[str, float]
    nearest: dict[str, float]


def _visited(checkpoint: Checkpoint, frames: Frames) -> _Visited:
    names = lif_layers(checkpoint)
    extremes = _Visited(
        0.0, dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), dict.fromkeys(names, math.inf)
    )
    for batch in visited_states(checkpoint, frames, hard=False):
        for layer in batch:
            name, u = layer.name, layer.membrane
            extremes.largest[name] = max(extremes.largest[name], float(np.abs(u).max()))
            extremes.norm[name] = max(extremes.norm[name], _largest_norm(u))
            extremes.nearest[name] = min(extremes.nearest[name], float(np.abs(layer.offset).min()))
    extremes.input_norm = max(_largest_norm(values) for values in input_values(checkpoint, frames))
    return extremes


def _largest_norm(values: NDArray[np.float64]) -> float:
    """Return the largest Euclidean norm of one recording's one step, of ``[B, T, ...]``."""
    return float(np.linalg.norm(values.reshape(*values.shape[:2], -1), axis=2).max())


def state_bounds(
    checkpoint: Checkpoint, input_norm: float, norms: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """Return, per layer, bounds of ``||u_t||_2`` and of ``max |u_t|`` for every input with ``||x_t||_2 <= input_norm``.

    From equation (1) with ``u_0 = 0`` and every output in [0, 1] (surrogate or hard):
    ``||u_t||_2 <= alpha ||u_{t-1}||_2 + ||A||_2 R + ||b||_2 + ||theta||_2``, where R bounds the layer's input: input_norm
    for the first, the square root of the number of sources for the others. Unrolled over T steps,
    ``||u_t||_2 <= (||A||_2 R + ||b||_2 + ||theta||_2) (1 - alpha^T) / (1 - alpha)``. For one neuron, with its row of
    weights a: ``|u_t| <= (||a||_2 R + |b| + theta) (1 - alpha^T) / (1 - alpha)``, R the square root of its fan-in in
    later layers. Neither needs gamma < 1.

    Args:
        norms: operator norms by layer name, from one step's outputs of the layer with neurons before.

    References:
        "Sharpness-Aware Surrogate Training for On-Sensor Spiking Neural Networks" (2026), section 4,
        "State stability", and equation (1).
    """
    architecture, parameters = checkpoint.architecture, checkpoint.parameters
    total = geometric_sum(architecture.neuron.alpha, checkpoint.preprocessing.time_bins)
    bounds_of, sources = {}, 0
    shapes = {f"layers.{i}": shape for i, shape in enumerate(architecture.shapes())}
    for name, norm in norms.items():
        weight, bias, theta = (
            parameters[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias", "threshold")
        )
        positions = int(np.prod(shapes[name])) // len(bias)
        rows = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
        source = math.sqrt(sources) if sources else input_norm
        field = math.sqrt(weight[0].size) if sources else input_norm
        together = math.sqrt(positions) * (float(np.linalg.norm(bias)) + float(np.linalg.norm(theta)))
        one = rows * field + np.abs(bias) + theta
        bounds_of[name] = ((norm * source + together) * total, float(one.max()) * total)
        sources = int(np.prod(shapes[name]))
    return bounds_of


def _states(checkpoint: Checkpoint, visited: _Visited, norms: dict[str, float]) -> dict[str, Any]:
    layers: list[dict[str, Any]] = [
        {
            "name": name,
            "norm_bound": together,
            "norm_visited": visited.norm[name],
            "norm_ratio": together / visited.norm[name] if visited.norm[name] else None,
            "largest_bound": one,
            "largest_visited": visited.largest[name],
            "largest_ratio": one / visited.largest[name] if visited.largest[name] else None,
        }
        for name, (together, one) in state_bounds(checkpoint, visited.input_norm, norms).items()
    ]
    parts = ", ".join(
        f"{layer['name']} {layer['norm_bound']:.4g} against {layer['norm_visited']:.4g}"
        f" ({_times(layer['norm_ratio'])})"
        for layer in layers
    )
    return {
        "layers": layers,
        "sentence": f"The state bound holds without gamma < 1, so it is not vacuous. Bound of ||u_t||_2 against the largest visited: {parts}.",
    }


def _times(factor: float | None) -> str:
    if factor is None:
        return "nothing was visited"
    return f"{factor:.3g} times"
