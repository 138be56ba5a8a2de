"""Random weights and gains for programs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sastdeploy.program.fixedpoint import weight_limit
from sastdeploy.program.limits import worst_gained

WEIGHT_KINDS = ("uniform", "uniform", "sparse", "signs", "largest", "smallest", "zero")


def weights_of(draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    limit = weight_limit(bits)
    kind = draw(st.sampled_from(WEIGHT_KINDS))
    if kind == "zero":
        return np.zeros(shape, np.int8)
    if kind == "largest":
        return np.full(shape, limit, np.int8)
    if kind == "smallest":
        return np.full(shape, -limit, np.int8)
    if kind == "signs":
        return (limit * rng.choice([-1, 1], shape)).astype(np.int8)
    weight = rng.integers(-limit, limit + 1, shape)
    return (weight * (rng.random(shape) < (0.3 if kind == "sparse" else 1.0))).astype(np.int8)


def gains_for(
    draw: st.DrawFn, rng: np.random.Generator, sums: np.ndarray, budget: int, aim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return multipliers and shifts whose worst result stays within ``budget``, most of them near ``aim``."""
    channels = len(sums)
    multiplier = rng.integers(1, 1 << 15, channels)
    kind = draw(st.sampled_from(("any", "any", "per_tensor", "one", "largest")))
    if kind == "per_tensor":
        multiplier[:] = multiplier[0]
    elif kind != "any":
        multiplier[:] = 1 if kind == "one" else (1 << 15) - 1
    near = np.log2(np.maximum(sums * multiplier, 1) / aim)
    shift = np.clip(np.ceil(near) + rng.integers(-3, 3, channels), 0, 46).astype(np.int64)
    extreme = draw(st.sampled_from((None, None, None, 0, 46)))
    if extreme is not None:
        shift[rng.integers(channels)] = extreme
    while (over := worst_gained(sums, multiplier, shift) > budget).any():
        shift[over] += 1
    return multiplier.astype(np.int32), shift.astype(np.int32)
