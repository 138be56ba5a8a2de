"""The arrays that the kernels read and write, grouped by what they mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Non-zero values of a block of recordings: row ``n * T + t`` holds ``starts[row]`` up to ``stops[row]``.

    Args:
        starts, stops: int64 ``[n * T]``. active: uint16, int32 or int64, their inputs.
        value: uint8 or int16, read only if ``graded`` (else each is 1).
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    active: NDArray[np.integer]
    value: NDArray[np.integer]
    graded: bool


class Wiring(NamedTuple):
    """How inputs reach neurons: pixel x is seen at ``reach_position[k]`` through the rows ``reach_row[k] + channel``.

    Args:
        weight: int8 ``[rows, W]``, W >= O a multiple of V x L, columns as `vectors.paired_order` says, 0 behind O.
        width: O. vectors, eighths: V and L / 8 zeros (`vectors.shape`): columns go V x L at a time.
        dense: one position, and an input's number is its row.
        positions: output positions. room: rows that one position can see. crowded: events from which rows are listed.
        pixel, channel: int32 ``[J]``, where input j lies.
        reach_start: int32 ``[pixels + 1]``, the range of k for a pixel. reach_position, reach_row: int32.
        budget: even number of rows whose sum was proven to fit 16 bits; 0: sum in 32.
    """

    weight: NDArray[np.int8]
    width: int
    vectors: tuple[int, ...]
    eighths: tuple[int, ...]
    dense: bool
    positions: int
    room: int
    crowded: int
    pixel: NDArray[np.int32]
    channel: NDArray[np.int32]
    reach_start: NDArray[np.int32]
    reach_position: NDArray[np.int32]
    reach_row: NDArray[np.int32]
    budget: int


class Step(NamedTuple):
    """The LIF step without branches: every variant is a choice of these numbers (per channel int32 ``[N]``).

    Channels from O to N only fill the last vector: they have no gain and a threshold that nothing reaches.

    Args:
        eighths: lanes / 8 zeros; N is a multiple of the lanes. multiplier, half, shift: gain, int64; ``half = 2^(shift-1)``, 0 for shift 0. bias: membrane LSBs.
        test: a membrane at or above it spikes (the threshold, plus 1 where the test is ``>``).
        subtract_before, subtract_after: threshold where reset subtracts one step later, or at once; else 0.
        zero_before, zero_after: -1 where the reset zeroes, one step later, or at once; else 0.
        leak_multiplier, leak_shift: A and k. leak_half: added to every product. leak_negative: to negative ones.
        gain_mask, threshold_mask: 0 where all channels have the same gain (or thresholds), else -1.
        wide_leak: whether the leak's product can leave 32 bits.
        q_min, q_max: the membrane's range. wrap: wrap instead of saturate.
    """

    eighths: tuple[int, ...]
    multiplier: NDArray[np.int64]
    half: NDArray[np.int64]
    shift: NDArray[np.int64]
    bias: NDArray[np.int32]
    test: NDArray[np.int32]
    subtract_before: NDArray[np.int32]
    subtract_after: NDArray[np.int32]
    zero_before: int
    zero_after: int
    leak_multiplier: int
    leak_shift: int
    leak_half: int
    leak_negative: int
    gain_mask: int
    threshold_mask: int
    wide_leak: bool
    q_min: int
    q_max: int
    wrap: bool


class Scratch(NamedTuple):
    """Working memory of one thread; int32 (values int16). pitch: W. acc: ``[positions * W]``, weighted sums.

    membrane, counts: ``[positions * N]``, N the padded neurons of `Step`.
    ``rows`` and ``values``: ``[positions * room]``, a list per position; ``listed``: ``[positions]``, their lengths.
    """

    pitch: int
    acc: NDArray[np.int32]
    membrane: NDArray[np.int32]
    counts: NDArray[np.int32]
    rows: NDArray[np.int32]
    values: NDArray[np.int16]
    listed: NDArray[np.int32]


class Emitted(NamedTuple):
    """What a layer sends on: row ``n * T + t`` occupies ``row * outputs`` up to ``stops[row]`` of ``active``.

    ``counts``: int32 ``[n, outputs]``, non-zero steps per output. ``totals``: int64 ``[outputs]``, their sums. ``overflows``: int64 ``[n, 2]``, below and above.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    active: NDArray[np.int32]
    value: NDArray[np.int16]
    counts: NDArray[np.int32]
    totals: NDArray[np.int64]
    overflows: NDArray[np.int64]
