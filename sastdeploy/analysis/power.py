"""Operator norms by power iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = Callable[[NDArray[np.float64]], NDArray[np.float64]]

TOLERANCE, MAX_ITERATIONS = 1e-6, 3000


@dataclass(frozen=True)
class Norm:
    """An operator norm, the iterations that it took, and the residual that was left (see `operator_norm`)."""

    value: float
    iterations: int
    residual: float


def operator_norm(
    apply: Map,
    transposed: Map,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    tolerance: float = TOLERANCE,
    most: int = MAX_ITERATIONS,
) -> Norm:
    """Return the largest singular value of a linear map, by power iteration on ``A^T A`` from a random start.

    It ends when ``|A^T A v - s^2 v| <= tolerance * s^2`` with ``|v| = 1`` and ``s = |A v|``: then a singular value squared
    lies within that relative distance of ``s^2``; or after ``most`` iterations. ``s`` never exceeds the true norm.

    Args:
        apply, transposed: ``A`` and ``A^T`` on arrays. shape: of one input of ``A``.
    """
    v = rng.standard_normal(shape)
    v /= np.linalg.norm(v)
    square, residual = 0.0, math.inf
    for iteration in range(1, most + 1):
        image = apply(v)
        square = float(np.vdot(image, image))
        if square == 0.0:
            return Norm(0.0, iteration, 0.0)
        back = transposed(image)
        residual = float(np.linalg.norm(back - square * v)) / square
        if residual <= tolerance:
            break
        v = back / np.linalg.norm(back)
    return Norm(math.sqrt(square), iteration, residual)
