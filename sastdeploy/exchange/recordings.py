"""Recordings that stand beside an exported program, to check with."""

from __future__ import annotations

import numpy as np

from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import LARGEST_COUNT, Frames


def check_frames(program: Program, most_bytes: int) -> Frames:
    """Return up to three random recordings, as many as fit ``most_bytes``: sparse, dense, and every count at its largest."""
    preprocessing = program.preprocessing
    shape = (preprocessing.time_bins, *preprocessing.frame_shape)
    rng = np.random.default_rng(0)
    kinds = (
        lambda: rng.poisson(0.1, shape).clip(0, LARGEST_COUNT),
        lambda: rng.integers(0, LARGEST_COUNT + 1, shape) * (rng.random(shape) < 0.6),
        lambda: np.full(shape, LARGEST_COUNT),
    )
    chosen = kinds[: most_bytes // int(np.prod(shape))]
    counts = np.array([kind() for kind in chosen], np.uint8).reshape(len(chosen), *shape)
    return Frames.from_dense(counts)
