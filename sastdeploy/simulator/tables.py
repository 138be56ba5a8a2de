"""The arrays that the kernels read and write, grouped by what they mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Non-zero values of a block of recordings: row ``n * T + t`` holds ``starts[row]`` up to ``stops[row]``.

    Args:
        starts, stops: int64 ``[n * T]``. active: uint16 or int32, their inputs.
        value: uint8 or int16, read only if ``graded`` (else each is 1).
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    active: NDArray[np.integer]
    value: NDArray[np.integer]
    graded: bool


class Wiring(NamedTuple):
    """How inputs reach neurons: ``outputs[p] sees weight[tap_row[k] + channel]`` for its taps k and active channels.

    Args:
        weight: int8 ``[rows, W]``, W >= O a multiple of V x L, columns as `vectors.paired_order` says, 0 behind O.
        width: O. vectors, eighths: V and L / 8 zeros (`vectors.shape`): columns go V x L at a time.
        dense: one position, and an input's number is its row.
        pixel, channel: int32 ``[J]``, where input j lies. channels: C of the source.
        tap_start: int32 ``[positions + 1]``. tap_pixel, tap_row: int32, per tap the pixel seen and its first row.
        budget: even number of rows whose sum was proven to fit 16 bits; 0: sum in 32.
    """

    weight: NDArray[np.int8]
    width: int
    vectors: tuple[int, ...]
    eighths: tuple[int, ...]
    dense: bool
    pixel: NDArray[np.int32]
    channel: NDArray[np.int32]
    channels: int
    tap_start: NDArray[np.int32]
    tap_pixel: NDArray[np.int32]
    tap_row: NDArray[np.int32]
    budget: int


class Step(NamedTuple):
    """The LIF step without branches: every variant is a choice of these numbers (per channel int32 ``[W]``).

    Channels from O on only fill the last vector: they have no gain and a threshold that nothing reaches.

    Args:
        multiplier, half, shift: gain, int64; ``half = 2^(shift-1)``, 0 for shift 0. bias: membrane LSBs.
        test: a membrane at or above it spikes (the threshold, plus 1 where the test is ``>``).
        subtract_before, subtract_after: threshold where reset subtracts one step later, or at once; else 0.
        zero_before, zero_after: -1 where the reset zeroes, one step later, or at once; else 0.
        leak_multiplier, leak_shift: A and k. leak_half: added to every product. leak_negative: to negative ones.
        gain_mask, threshold_mask: 0 where all channels have the same gain (or thresholds), else -1.
        wide_leak: whether the leak's product can leave 32 bits.
        q_min, q_max: the membrane's range. wrap: wrap instead of saturate.
    """

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
    """Working memory of one thread; int32 (values int16). acc: ``[W]``. membrane, counts: ``[positions * W]``.

    ``rows`` and ``values`` have room for every row that a position can see.
    """

    acc: NDArray[np.int32]
    membrane: NDArray[np.int32]
    counts: NDArray[np.int32]
    rows: NDArray[np.int32]
    values: NDArray[np.int16]
    filled: NDArray[np.int32]
    bucket: NDArray[np.int32]
    bucket_values: NDArray[np.int16]


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
