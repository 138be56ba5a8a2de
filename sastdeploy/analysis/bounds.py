"""The paper's section 4 on a trained network: each bound, beside the largest value that is really found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.analysis.contraction import surrogate_slope
from sastdeploy.analysis.power import Norm, operator_norm
from sastdeploy.checkpoint import Checkpoint
from sastdeploy.errors import InputError
from sastdeploy.frames import Frames, LabelledFrames
from sastdeploy.training.derivatives import (
    Change,
    attack,
    hessian_product,
    initial_checkpoint,
    linear_maps,
    loss_gradient,
)
from sastdeploy.training.inference import run
from sastdeploy.training.states import input_values, lif_layers, visited_states

LIMIT = 128
"""Recordings for loss, gradient noise and Hessian, where none are asked for."""
_ATTACKED, _MINIBATCHES = 16, 16
_HESSIAN_TOLERANCE, _HESSIAN_ITERATIONS = 1e-2, 12
_KEPT = (0.6, 0.9, 0.99)
"""Shares of events that random deletion leaves; beside it, one event of each recording is deleted."""
_LEAST_LOGARITHM = -400.0
"""Stands for log10(0), which JSON cannot hold: below every positive float's."""
PAPER_RHO = 0.3
"""The paper's choice on N-MNIST: its floor is given for baselines too, whose own rho is 0."""


def bounds(checkpoint: Checkpoint, data: LabelledFrames, seed: int = 0, limit: int = LIMIT) -> dict[str, Any]:
    """Return section 4's constants and bounds for a checkpoint, what is really found, and a sentence for each.

    Keys, all plain JSON values; smooth spikes, float64:

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

    States and input norms are over all recordings; ``limit`` and ``seed`` choose those for the rest. None of it is about
    the hard network, whose scores jump: for those there is no L_x.

    Raises:
        InputError: fewer than two recordings or a limit below 2 (one has no gradient noise), or frames that do not fit.
    """
    if limit < 2 or len(data) == 1:
        raise InputError(
            f"bounds: limit {limit} of {len(data)} recordings; at least 2 are needed to measure gradient noise."
        )
    rng = np.random.default_rng((seed, 21))
    visited = _visited(checkpoint, data.frames)
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
    return {
        "schema": "sastdeploy.bounds/1",
        "recordings": len(data),
        "limit": len(chosen),
        "seed": seed,
        "input_norm": visited.input_norm,
        "operator_norms": [{"name": name, **asdict(norm)} for name, norm in norms.items()],
        "constants": constants,
        "states": _states(checkpoint, visited, layers),
        "lipschitz": _lipschitz(checkpoint, visited, norms, constants, chosen.frames, rng),
        "convergence": _convergence(checkpoint, chosen, rng),
    }


@dataclass
class _Visited:
    """The largest values of one pass with smooth spikes; per layer: of |u|, ||u_t||_2, and the smallest |u - theta|."""

    input_norm: float
    largest: dict[str, float]
    norm: dict[str, float]
    nearest: dict[str, float]


def _visited(checkpoint: Checkpoint, frames: Frames) -> _Visited:
    names = lif_layers(checkpoint)
    found = _Visited(
        0.0, dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), dict.fromkeys(names, math.inf)
    )
    for batch in visited_states(checkpoint, frames, hard=False):
        for layer in batch:
            name, u = layer.name, layer.membrane
            found.largest[name] = max(found.largest[name], float(np.abs(u).max()))
            found.norm[name] = max(found.norm[name], _largest_norm(u))
            found.nearest[name] = min(found.nearest[name], float(np.abs(layer.offset).min()))
    found.input_norm = max(_largest_norm(values) for values in input_values(checkpoint, frames))
    return found


def _largest_norm(values: NDArray[np.float64]) -> float:
    """Return the largest Euclidean norm of one recording's one step, of ``[B, T, ...]``."""
    return float(np.linalg.norm(values.reshape(*values.shape[:2], -1), axis=2).max())


def geometric_sum(ratio: float, terms: int) -> float:
    """Return ``1 + ratio + ... + ratio^(terms - 1)``: S_T(gamma); infinite where it leaves the range of floats."""
    total = 0.0
    for _ in range(terms):
        total = total * ratio + 1.0
    return total


def state_bounds(
    checkpoint: Checkpoint, input_norm: float, norms: dict[str, float]
) -> dict[str, tuple[float, float]]:
    """Return, per layer, bounds of ``||u_t||_2`` and of ``max |u_t|`` for every input with ``||x_t||_2 <= input_norm``.

    From equation (1) with ``u_0 = 0`` and every output in [0, 1] (smooth or hard):
    ``||u_t||_2 <= alpha ||u_{t-1}||_2 + ||A||_2 R + ||b||_2 + ||theta||_2``, where R bounds the layer's input: input_norm
    for the first, the square root of the number of sources for the others. Unrolled over T steps,
    ``||u_t||_2 <= (||A||_2 R + ||b||_2 + ||theta||_2) (1 - alpha^T) / (1 - alpha)``. For one neuron, with its row of
    weights a: ``|u_t| <= (||a||_2 R + |b| + theta) (1 - alpha^T) / (1 - alpha)``, R the square root of its fan-in in
    later layers. Neither needs gamma < 1.

    Args:
        norms: operator norms by layer name, from one step's outputs of the layer with neurons before.
    """
    architecture, parameters = checkpoint.architecture, checkpoint.parameters
    total = geometric_sum(architecture.neuron.alpha, checkpoint.preprocessing.time_bins)
    found, sources = {}, 0
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
        found[name] = ((norm * source + together) * total, float(one.max()) * total)
        sources = int(np.prod(shapes[name]))
    return found


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


def lipschitz_bound(
    readout: float, layers: list[tuple[float, float]], alpha: float, theta: float, steps: int
) -> float:
    """Return ``log10`` of ``M_out / sqrt(T)`` times the product of ``B_1 M_A S_T(gamma)`` over the layers; -inf for 0.

    Equal to the paper's L_x where all layers share the largest B_1 and M_A. It bounds
    ``||f(x) - f(x')||_2 / ||x - x'||_2`` whatever gamma is, as a sum of T terms, if each B_1 bounds sigma' between the
    two inputs' membranes: ``|du_t| <= gamma |du_{t-1}| + M_A |ds_t|`` with ``gamma = alpha + theta B_1``, Young's
    inequality over time, and ``|mean_t ds_t| <= ||ds||_2 / sqrt(T)``.

    Args:
        readout: M_out. layers: (B_1, M_A), first to last. theta: the largest threshold. steps: T.
    """
    total = _log10(readout) - 0.5 * math.log10(steps)
    for slope, norm in layers:
        total += _log10(slope) + _log10(norm) + _log10_sum(alpha + theta * slope, steps)
    return total


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf


def _log10_sum(ratio: float, terms: int) -> float:
    if ratio <= 1.0:
        return math.log10(geometric_sum(ratio, terms))
    # ratio^(terms - 1) taken out: what is left cannot overflow.
    return (terms - 1) * math.log10(ratio) + math.log10(geometric_sum(1.0 / ratio, terms))


def _lipschitz(
    checkpoint: Checkpoint,
    visited: _Visited,
    norms: dict[str, Norm],
    constants: dict[str, Any],
    frames: Frames,
    rng: np.random.Generator,
) -> dict[str, Any]:
    slope = checkpoint.architecture.neuron.slope
    names = list(visited.nearest)
    locals_ = [surrogate_slope(visited.nearest[name], slope) for name in names]
    matrices = [norms[name].value for name in names]
    local, everywhere = (
        _one_bound(slopes, matrices, constants) for slopes in (locals_, [slope / math.pi] * len(names))
    )
    attacked = frames.select(np.arange(min(_ATTACKED, len(frames))))
    changes = {
        "attack": max(attack(checkpoint, attacked, rng), key=lambda change: change.ratio),
        "deletions": max(_deletions(checkpoint, attacked, rng), key=lambda change: change.ratio),
    }
    largest = max(change.ratio for change in changes.values())
    sources = norms["readout"]
    outputs = int(np.prod(checkpoint.architecture.shapes()[-1]))
    diameter = sources.value * math.sqrt(outputs)
    one_event = _smallest_step(checkpoint, attacked)
    found = {
        "local": local,
        "global": everywhere,
        "attacked": len(attacked),
        **{name: {**asdict(change), "ratio": change.ratio} for name, change in changes.items()},
        "largest_found": largest,
        "log10_bound_over_found": local["log10_bound"] - math.log10(largest) if largest > 0 else None,
        "diameter": diameter,
        "one_event": one_event,
        "log10_one_event_over_diameter": local["log10_bound"] + math.log10(one_event / diameter)
        if diameter > 0
        else None,
    }
    return {**found, "sentence": _lipschitz_sentence(found)}


def _one_bound(slopes: list[float], matrices: list[float], constants: dict[str, Any]) -> dict[str, Any]:
    alpha, theta, steps = constants["alpha"], constants["M_theta"], constants["T"]
    largest = max(slopes)
    gamma = alpha + theta * largest
    shared = [(largest, max(matrices))] * len(slopes)
    logarithm = lipschitz_bound(constants["M_out"], shared, alpha, theta, steps)
    product = lipschitz_bound(constants["M_out"], list(zip(slopes, matrices)), alpha, theta, steps)
    return {
        "B_1": largest,
        "gamma": gamma,
        "assumption_holds": gamma < 1.0,
        "log10_S_T": _log10_sum(gamma, steps),
        "log10_bound": max(logarithm, _LEAST_LOGARITHM),
        "bound": _power_of_ten(logarithm),
        "log10_bound_per_layer": max(product, _LEAST_LOGARITHM),
        "bound_per_layer": _power_of_ten(product),
    }


def _power_of_ten(logarithm: float) -> float | None:
    """Return ``10^logarithm``, None where no float holds it."""
    return 10.0**logarithm if logarithm < 308 else None


def _smallest_step(checkpoint: Checkpoint, frames: Frames) -> float:
    """Return how far one event moves a recording's values: the smallest value that a frame of these holds."""
    values = np.concatenate([x.reshape(-1) for x in input_values(checkpoint, frames)])
    positive = values[values > 0]
    return float(positive.min()) if positive.size else 1.0 / checkpoint.preprocessing.divisor


def _deletions(checkpoint: Checkpoint, frames: Frames, rng: np.random.Generator) -> list[Change]:
    """Return what deleting events changes: each with the probabilities of `_KEPT`, and one of each recording."""
    counts = frames.dense()
    thinned: list[NDArray] = [rng.binomial(counts, kept) for kept in _KEPT for _ in range(4)]
    for _ in range(8):
        single = counts.copy().reshape(len(frames), -1)
        for row in single:
            present = np.flatnonzero(row)
            if present.size:
                row[rng.choice(present)] -= 1
        thinned.append(single.reshape(counts.shape))
    scores = run(checkpoint, frames, hard=False).scores
    values = np.concatenate(list(input_values(checkpoint, frames)))
    found = [Change(0.0, 0.0)]
    for deleted in thinned:
        other = Frames.from_dense(deleted)
        apart = np.concatenate(list(input_values(checkpoint, other))) - values
        moved = np.linalg.norm(apart.reshape(len(apart), -1), axis=1)
        changed = np.linalg.norm(run(checkpoint, other, hard=False).scores - scores, axis=1)
        found += [Change(float(m), float(c)) for m, c in zip(moved, changed)]
    return found


def _lipschitz_sentence(found: dict[str, Any]) -> str:
    local, over = found["local"], found["log10_one_event_over_diameter"]
    if local["assumption_holds"]:
        text = f"gamma = {local['gamma']:.4g} < 1 on the visited states, and L_x = 10^{local['log10_bound']:.2f}. "
    else:
        text = f"The theorem's assumption fails (gamma = {local['gamma']:.4g}); as a finite sum L_x = 10^{local['log10_bound']:.2f}. "
    if found["log10_bound_over_found"] is None:
        text += "No change of input was found that changes the scores. "
    elif found["log10_bound_over_found"] < 0:
        text += (
            f"The largest change found, {found['largest_found']:.4g} per unit of input, is above it: that input's membranes "
            f"leave the visited states. "
        )
    else:
        text += (
            f"The largest change found is {found['largest_found']:.4g} per unit of input, "
            f"{_times(10.0 ** min(307.0, found['log10_bound_over_found']))} less. "
        )
    if over is None or over < 0:
        return text + "Not vacuous: for one event it allows less than the scores' whole range."
    return (
        text
        + f"Vacuous: for one event it allows {_times(10.0 ** min(307.0, over))} the whole range of the scores."
    )


def _convergence(checkpoint: Checkpoint, data: LabelledFrames, rng: np.random.Generator) -> dict[str, Any]:
    training = checkpoint.training
    rate, rho = float(training.get("learning_rate", 1e-3)), float(training.get("rho", 0.0))
    batch = int(training.get("batch_size", 128))
    count, product = hessian_product(checkpoint, data)
    curvature = operator_norm(
        product, product, (count,), rng, tolerance=_HESSIAN_TOLERANCE, most=_HESSIAN_ITERATIONS
    )
    gradient = float(np.linalg.norm(loss_gradient(checkpoint, data)))
    initial = float(np.linalg.norm(loss_gradient(initial_checkpoint(checkpoint), data)))
    noise = _noise(checkpoint, data, batch, rng)
    floors = {
        name: convergence_floor(curvature.value, radius, rate, noise)
        for name, radius in (("floor", rho), ("floor_at_paper_rho", PAPER_RHO))
    }
    measured = max(gradient, initial) ** 2
    found = {
        "beta_at_least": curvature.value,
        "hessian": {"iterations": curvature.iterations, "residual": curvature.residual},
        "rho": rho,
        "paper_rho": PAPER_RHO,
        "learning_rate": rate,
        "largest_learning_rate": 0.25 / curvature.value if curvature.value else None,
        "noise_variance": noise,
        "batch_size": batch,
        "gradient_norm": gradient,
        "initial_gradient_norm": initial,
        **floors,
        "floor_over_squared_gradient": floors["floor"] / measured if measured else None,
        "floor_at_paper_rho_over_squared_gradient": floors["floor_at_paper_rho"] / measured
        if measured
        else None,
    }
    return {**found, "sentence": _convergence_sentence(found)}


def convergence_floor(beta: float, rho: float, rate: float, noise: float) -> float:
    """Return ``3 beta^2 rho^2 + 2 eta beta sigma^2``, what equation (3) leaves of the squared gradient for K to infinity."""
    return 3.0 * (beta * rho) ** 2 + 2.0 * rate * beta * noise


def _noise(checkpoint: Checkpoint, data: LabelledFrames, batch: int, rng: np.random.Generator) -> float:
    """Return ``E ||g_B - g||^2`` for minibatches of ``batch``: the variance of smaller ones, scaled as 1 / size."""
    size = max(1, len(data) // _MINIBATCHES)
    pieces = len(data) // size
    order = rng.permutation(len(data))[: pieces * size].reshape(pieces, size)
    gradients = np.stack([loss_gradient(checkpoint, data.select(part)) for part in order])
    variance = float(np.square(gradients - gradients.mean(0)).sum()) / (pieces - 1)
    return variance * size / batch


def _convergence_sentence(found: dict[str, Any]) -> str:
    fits = found["largest_learning_rate"] is None or found["learning_rate"] <= found["largest_learning_rate"]
    step = (
        "eta <= 1 / (4 beta) is not excluded"
        if fits
        else f"eta = {found['learning_rate']:g} is above 1 / (4 beta) = {found['largest_learning_rate']:.3g}, so the theorem "
        f"does not apply"
    )
    text = f"beta is at least {found['beta_at_least']:.4g}; {step}. "
    for name, rho in (("floor", found["rho"]), ("floor_at_paper_rho", found["paper_rho"])):
        ratio = found[f"{name}_over_squared_gradient"]
        verdict = (
            "no gradient to compare with"
            if ratio is None
            else f"vacuous, {_times(ratio)} the largest squared gradient measured"
            if ratio >= 1
            else f"not vacuous, {ratio:.3g} of the largest squared gradient measured"
        )
        text += f"Floor for rho = {rho:g}: at least {found[name]:.4g} ({verdict}). "
    return text + "The theorem is for plain gradient steps; the training used Adam."


def _times(factor: float | None) -> str:
    if factor is None:
        return "nothing was visited"
    return f"{factor:.3g} times"
