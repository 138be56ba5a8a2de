"""The paper's bound L_x on how far the scores move with the input, beside the largest change that is really found."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.analysis.contraction import surrogate_slope
from sastdeploy.analysis.power import Norm
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import Frames
from sastdeploy.training.derivatives import Change, attack
from sastdeploy.training.inference import run
from sastdeploy.training.states import input_values

_ATTACKED = 16
_KEPT = (0.6, 0.9, 0.99)
"""Shares of events that random deletion leaves; beside it, one event of each recording is deleted."""
_MIN_LOGARITHM = -400.0
"""Stands for log10(0), which JSON cannot hold: below every positive float's."""


def geometric_sum(ratio: float, terms: int) -> float:
    """Return ``1 + ratio + ... + ratio^(terms - 1)``: S_T(gamma); infinite where it leaves the range of floats."""
    total = 0.0
    for _ in range(terms):
        total = total * ratio + 1.0
    return total


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

    References:
        "Sharpness-Aware Surrogate Training for On-Sensor Spiking Neural Networks" (2026), section 4,
        the bound before "Smoothness".
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


def lipschitz(
    checkpoint: Checkpoint,
    nearest: dict[str, float],
    norms: dict[str, Norm],
    constants: dict[str, Any],
    frames: Frames,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return the record ``lipschitz`` of `sastdeploy.analysis.bounds.bounds`, with its sentence.

    Args:
        nearest: per layer the smallest ``|u - theta|`` that was visited. norms: of every layer and the readout.
        constants: M_out, M_theta, alpha and T.
    """
    slope = checkpoint.architecture.neuron.slope
    names = list(nearest)
    locals_ = [surrogate_slope(nearest[name], slope) for name in names]
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
    record = {
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
    return {**record, "sentence": _sentence(record)}


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
        "log10_bound": max(logarithm, _MIN_LOGARITHM),
        "bound": _power_of_ten(logarithm),
        "log10_bound_per_layer": max(product, _MIN_LOGARITHM),
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
    thinned: list[NDArray[Any]] = [rng.binomial(counts, kept) for kept in _KEPT for _ in range(4)]
    for _ in range(8):
        single = counts.copy().reshape(len(frames), -1)
        for row in single:
            present = np.flatnonzero(row)
            if present.size:
                row[rng.choice(present)] -= 1
        thinned.append(single.reshape(counts.shape))
    scores = run(checkpoint, frames, hard=False).scores
    values = np.concatenate(list(input_values(checkpoint, frames)))
    changes = [Change(0.0, 0.0)]
    for deleted in thinned:
        other = Frames.from_dense(deleted)
        apart = np.concatenate(list(input_values(checkpoint, other))) - values
        moved = np.linalg.norm(apart.reshape(len(apart), -1), axis=1)
        changed = np.linalg.norm(run(checkpoint, other, hard=False).scores - scores, axis=1)
        changes += [Change(float(m), float(c)) for m, c in zip(moved, changed)]
    return changes


def _sentence(record: dict[str, Any]) -> str:
    local, over = record["local"], record["log10_one_event_over_diameter"]
    if local["assumption_holds"]:
        text = f"gamma = {local['gamma']:.4g} < 1 on the visited states, and L_x = 10^{local['log10_bound']:.2f}. "
    else:
        text = f"The theorem's assumption fails (gamma = {local['gamma']:.4g}); as a finite sum L_x = 10^{local['log10_bound']:.2f}. "
    if record["log10_bound_over_found"] is None:
        text += "No change of input was found that changes the scores. "
    elif record["log10_bound_over_found"] < 0:
        text += (
            f"The largest change found, {record['largest_found']:.4g} per unit of input, is above it: that input's membranes "
            f"leave the visited states. "
        )
    else:
        text += (
            f"The largest change found is {record['largest_found']:.4g} per unit of input, "
            f"{10.0 ** min(307.0, record['log10_bound_over_found']):.3g} times less. "
        )
    if over is None or over < 0:
        return text + "Not vacuous: for one event it allows less than the scores' whole range."
    return (
        text
        + f"Vacuous: for one event it allows {10.0 ** min(307.0, over):.3g} times the whole range of the scores."
    )
