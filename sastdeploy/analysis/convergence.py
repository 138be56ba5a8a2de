"""Equation (3) of the paper on a trained network: the floor that it leaves of the squared gradient, beside measured ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from sastdeploy.analysis.power import operator_norm
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.training.derivatives import hessian_product, initial_checkpoint, loss_gradient

_MINIBATCHES = 16
_HESSIAN_TOLERANCE, _HESSIAN_ITERATIONS = 1e-2, 12
PAPER_RHO = 0.3
"""The paper's choice on N-MNIST: its floor is given for baselines too, whose own rho is 0."""


def convergence(checkpoint: Checkpoint, data: LabelledFrames, rng: np.random.Generator) -> dict[str, Any]:
    """Return the record ``convergence`` of `sastdeploy.analysis.bounds.bounds`, with its sentence."""
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
    record = {
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
    return {**record, "sentence": _sentence(record)}


def convergence_floor(beta: float, rho: float, rate: float, noise: float) -> float:
    """Return ``3 beta^2 rho^2 + 2 eta beta sigma^2``, what equation (3) leaves of the squared gradient for K to infinity.

    References:
        "Sharpness-Aware Surrogate Training for On-Sensor Spiking Neural Networks" (2026), equation (3).
    """
    return 3.0 * (beta * rho) ** 2 + 2.0 * rate * beta * noise


def _noise(checkpoint: Checkpoint, data: LabelledFrames, batch: int, rng: np.random.Generator) -> float:
    """Return ``E ||g_B - g||^2`` for minibatches of ``batch``: the variance of smaller ones, scaled as 1 / size."""
    size = max(1, len(data) // _MINIBATCHES)
    pieces = len(data) // size
    order = rng.permutation(len(data))[: pieces * size].reshape(pieces, size)
    gradients = np.stack([loss_gradient(checkpoint, data.select(part)) for part in order])
    variance = float(np.square(gradients - gradients.mean(0)).sum()) / (pieces - 1)
    return variance * size / batch


def _sentence(record: dict[str, Any]) -> str:
    fits = (
        record["largest_learning_rate"] is None or record["learning_rate"] <= record["largest_learning_rate"]
    )
    step = (
        "eta <= 1 / (4 beta) is not excluded"
        if fits
        else f"eta = {record['learning_rate']:g} is above 1 / (4 beta) = {record['largest_learning_rate']:.3g}, so the theorem "
        f"does not apply"
    )
    text = f"beta is at least {record['beta_at_least']:.4g}; {step}. "
    floors = {record["paper_rho"]: "floor_at_paper_rho", record["rho"]: "floor"}
    for rho, name in sorted(floors.items()):
        ratio = record[f"{name}_over_squared_gradient"]
        verdict = (
            "no gradient to compare with"
            if ratio is None
            else f"vacuous, {ratio:.3g} times the largest squared gradient measured"
            if ratio >= 1
            else f"not vacuous, {ratio:.3g} of the largest squared gradient measured"
        )
        text += f"Floor for rho = {rho:g}: at least {record[name]:.4g} ({verdict}). "
    return text + "The theorem is for plain gradient steps; the training used Adam."
