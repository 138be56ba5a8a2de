"""Lists of events outside the kernels: moved to later rows by delays, or summed over time for the readout."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.simulator.numba_engine.tables import Rows
from sastdeploy.simulator.numba_engine.wiring import MAX_LANES


def delayed(
    source: Rows, recordings: int, steps: int, delays: NDArray[np.int64]
) -> tuple[Rows, NDArray[np.int64]]:
    """Return the values that arrive, row by row in the order of their numbers, and how many of each input do, int64 ``[J]``.

    Args:
        source: of so many recordings of so many ``steps``; it may have more rows. delays: int64 ``[J]``, of each input.
    """
    rows, inputs = recordings * steps, len(delays)
    row, place = _listed(source, rows)
    number = source.active[place].astype(np.int64)
    step = row % steps + delays[number]
    arrives = step < steps
    key = ((row // steps * steps + step) * inputs + number)[arrives]
    # Rows are runs that ascend, which a stable sort merges.
    order = np.argsort(key, kind="stable")
    row, number = np.divmod(key[order], inputs)
    ends = np.cumsum(np.bincount(row, minlength=rows))
    active = np.zeros(len(number) + MAX_LANES, np.int32)
    active[: len(number)] = number
    value = source.value[place][arrives][order].astype(np.int16) if source.graded else np.empty(1, np.int16)
    for array in (active, value):
        array.flags.writeable = False
    moved = Rows(
        np.concatenate((np.zeros(min(rows, 1), np.int64), ends[:-1])), ends, active, value, source.graded,
        _first(source.first[:rows], row, number, inputs),
    )  # fmt: skip
    return moved, np.bincount(number, minlength=inputs)


def summed(source: Rows, recordings: int, steps: int, inputs: int) -> NDArray[np.int64]:
    """Return the sum of every input's values over a recording's steps, int64 ``[recordings, inputs]``."""
    row, place = _listed(source, recordings * steps)
    key = row // steps * inputs + source.active[place]
    values = source.value[place] if source.graded else None
    # Sums of whole numbers below 2^53, exact in float64.
    sums = np.bincount(key, values, minlength=recordings * inputs)
    return sums.astype(np.int64).reshape(recordings, inputs)


def _listed(source: Rows, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row of every value of the first rows, and its place in the lists."""
    starts = source.starts[:rows]
    lengths = source.stops[:rows] - starts
    row = np.repeat(np.arange(rows), lengths)
    return row, np.arange(len(row)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


def _first(
    before: NDArray[np.int32], row: NDArray[np.int64], number: NDArray[np.int64], inputs: int
) -> NDArray[np.int32]:
    """Return how many of a row's values lie before each pixel, where the source says so: for convolutions."""
    pixels = before.shape[1] - 1
    if pixels == 0:
        return before
    pixel = number // (inputs // pixels)
    counts = np.bincount(row * (pixels + 1) + pixel + 1, minlength=before.size).reshape(before.shape)
    return np.cumsum(counts, axis=1).astype(np.int32)
