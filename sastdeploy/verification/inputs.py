"""Recordings that are hard on an engine: random ones of every density, and those at the ends of what can come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.program.layers.each import along_map
from sastdeploy.program.records import Program
from sastdeploy.recordings.frames import MAX_COUNT, Frames
from sastdeploy.simulator import engine
from sastdeploy.simulator.result import RunResult

Counts = NDArray[np.uint8]
DENSITIES = (0.02, 0.1, 0.3, 0.8)
CANDIDATES = 16
"""Random recordings of which those with most ties are kept."""
MAX_COUNTS = 512 << 20
"""Counts that are made of a kind, in bytes."""


def check_size(program: Program, random: int) -> None:
    """Accept so many random recordings of a program as fit into memory.

    Raises:
        InputError: they take more than `MAX_COUNTS`, or even `CANDIDATES` do.
    """
    shape = _shape(program)
    each = int(np.prod(shape, dtype=object))
    if each * max(random, CANDIDATES) <= MAX_COUNTS:
        return
    most = MAX_COUNTS // each
    raise InputError(
        f"program {program.name}: {max(random, CANDIDATES):,} made recordings of {shape[0]:,} bins of "
        f"{' x '.join(map(str, shape[1:]))} inputs would take {each * max(random, CANDIDATES) / 2**30:,.1f} GiB; at most "
        f"{MAX_COUNTS >> 20} MiB are allowed. "
        + (
            f"Use --random {most:,} or less."
            if most >= CANDIDATES
            else "Train with fewer bins or smaller frames."
        )
    )


def random_counts(program: Program, recordings: int, rng: np.random.Generator) -> Counts:
    """Return uint8 counts ``[N, T, P, H, W]``, every `DENSITIES` in turn, half of them with counts up to 255."""
    shape = _shape(program)
    made = np.zeros((recordings, *shape), np.uint8)
    for n in range(recordings):
        largest = MAX_COUNT if n // len(DENSITIES) % 2 else program.preprocessing.c_clip
        active = rng.random(shape) < DENSITIES[n % len(DENSITIES)]
        made[n] = rng.integers(1, largest + 1, shape) * active
    return made


def adversarial_counts(program: Program, rng: np.random.Generator) -> Counts:
    """Return recordings at the ends: empty; all ones; the largest count everywhere (which saturates); the same with empty
    steps between; at the first step only, at the last only; one input at a time, ascending; every second input."""
    shape = _shape(program)
    steps, inputs = shape[0], int(np.prod(shape[1:]))
    rows = np.zeros((8, steps, inputs), np.uint8)
    rows[1] = 1
    rows[2] = MAX_COUNT
    rows[3, ::2] = MAX_COUNT
    rows[4, 0] = MAX_COUNT
    rows[5, -1] = MAX_COUNT
    rows[6, np.arange(steps), rng.permutation(np.resize(np.arange(inputs), steps))] = np.resize(
        np.arange(1, program.preprocessing.c_clip + 2), steps
    )
    rows[7, :, ::2] = program.preprocessing.c_clip
    return rows.reshape(len(rows), *shape)


def tied_counts(program: Program, recordings: int, rng: np.random.Generator) -> Counts:
    """Return those of some random recordings whose membranes meet their thresholds exactly most often."""
    candidates = random_counts(program, CANDIDATES, rng)
    met = np.zeros(CANDIDATES, np.int64)
    names = tuple(program.neurons())
    for n in range(CANDIDATES):
        frames = Frames.from_dense(candidates[n : n + 1])
        met[n] = ties(program, engine.run(program, frames, engine="numba", threads=1, trace=names))
    return candidates[np.sort(np.argsort(-met, kind="stable")[:recordings])]


def ties(program: Program, result: RunResult) -> int:
    """Return how often a membrane met its threshold exactly; of resets at once, those by subtraction."""
    total = 0
    for layer, shape in zip(program.layers, program.shapes()[1:]):
        if layer.lif is None or layer.name not in result.traces:
            continue
        u, s = result.traces[layer.name].membranes, result.traces[layer.name].spikes
        threshold = np.broadcast_to(along_map(layer.lif.threshold), shape).reshape(-1)
        at_once = layer.lif.reset_delay == 0 and layer.lif.reset == "subtract"
        total += int(((u == (0 if at_once else threshold)) & ((s > 0) | (not at_once))).sum())
    return total


def made_inputs(program: Program, random: int, seed: int) -> dict[str, Frames]:
    """Return the recordings to verify a program on, by kind."""
    rng = np.random.default_rng(seed)
    return {
        "random": Frames.from_dense(random_counts(program, random, rng)),
        "adversarial": Frames.from_dense(adversarial_counts(program, rng)),
        "ties": Frames.from_dense(tied_counts(program, 2, rng)),
    }


def _shape(program: Program) -> tuple[int, ...]:
    return (program.preprocessing.time_bins, *program.preprocessing.frame_shape)
