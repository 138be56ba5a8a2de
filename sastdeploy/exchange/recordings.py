"""Recordings that stand beside an exported program, to check with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.records import Program, require_frames
from sastdeploy.recordings.frames import MAX_COUNT, Frames, LabelledFrames, frames_of

Recordings = Frames | LabelledFrames | NDArray[np.integer]
"""Frames, or counts: integers ``[N, T, P, H, W]``, 0 to 255."""


def chosen_frames(program: Program, recordings: Recordings | None, most_bytes: int) -> Frames:
    """Return the recordings as frames; those of `check_frames` where there are none.

    Raises:
        InputError: they do not fit the program.
    """
    if recordings is None:
        return check_frames(program, most_bytes)
    frames = frames_of(recordings)
    require_frames(program, frames)
    return frames


def check_frames(program: Program, most_bytes: int) -> Frames:
    """Return up to three random recordings, as many as fit ``most_bytes``: sparse, dense, and every count at its largest."""
    preprocessing = program.preprocessing
    shape = (preprocessing.time_bins, *preprocessing.frame_shape)
    rng = np.random.default_rng(0)
    kinds = (
        lambda: rng.poisson(0.1, shape).clip(0, MAX_COUNT),
        lambda: rng.integers(0, MAX_COUNT + 1, shape) * (rng.random(shape) < 0.6),
        lambda: np.full(shape, MAX_COUNT),
    )
    chosen = kinds[: most_bytes // int(np.prod(shape))]
    counts = np.array([kind() for kind in chosen], np.uint8).reshape(len(chosen), *shape)
    return Frames.from_dense(counts)
