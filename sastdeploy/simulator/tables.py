"""The arrays that the kernels read and write, grouped by what they mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """Non-zero values of a block of recordings: row ``n * T + t`` holds ``starts[row]`` up to ``stops[row]``.

    Args:
        starts, stops: int64 ``[n * T]``. active: int32, their inputs. value: int16, read only if ``graded`` (else each is 1).
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    active: NDArray[np.int32]
    value: NDArray[np.int16]
    graded: bool


class Wiring(NamedTuple):
    """How inputs reach neurons: ``outputs[p] sees weight[tap_row[k] + channel]`` for its taps k and active channels.

    Args:
        weight: int8 ``[rows + 1, O]``, the last row zero. dense: one position, and an input's number is its row.
        pixel, channel: int32 ``[J]``, where input j lies. channels: C of the source.
        tap_start: int32 ``[positions + 1]``. tap_pixel, tap_row: int32, per tap the pixel seen and its first row.
        budget: rows whose sum fits the narrow partial sum. proven before.
    """

    weight: NDArray[np.int8]
    dense: bool
    pixel: NDArray[np.int32]
    channel: NDArray[np.int32]
    channels: int
    tap_start: NDArray[np.int32]
    tap_pixel: NDArray[np.int32]
    tap_row: NDArray[np.int32]
    budget: int


class Step(NamedTuple):
    """The LIF step without branches: every variant is a choice of these numbers (per channel int32 ``[O]``).

    Args:
        multiplier, half, shift: gain; ``half = 2^(shift-1)`` (int64), 0 for shift 0. bias: membrane LSBs.
        test: a membrane at or above it spikes (the threshold, plus 1 where the test is ``>``).
        subtract_before, subtract_after: threshold where reset subtracts one step later, or at once; else 0.
        zero_before, zero_after: -1 where the reset zeroes, one step later, or at once; else 0.
        leak_multiplier, leak_shift: A and k. leak_half: added to every product. leak_negative: to negative ones.
        q_min, q_max: the membrane's range. wrap: wrap instead of saturate.
    """

    multiplier: NDArray[np.int32]
    half: NDArray[np.int64]
    shift: NDArray[np.int32]
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
    q_min: int
    q_max: int
    wrap: bool


class Scratch(NamedTuple):
    """Working memory of one thread. partial: int16 or int32 ``[O]``; the rest int32 (values int16).

    ``rows`` and ``values`` have room for every row that a position can see, and `GROUP` more.
    """

    partial: NDArray
    acc: NDArray[np.int32]
    fired: NDArray[np.int32]
    membrane: NDArray[np.int32]
    rows: NDArray[np.int32]
    values: NDArray[np.int16]
    filled: NDArray[np.int32]
    bucket: NDArray[np.int32]
    bucket_values: NDArray[np.int16]


class Emitted(NamedTuple):
    """What a layer sends on: row ``n * T + t`` occupies ``row * stride`` up to ``stops[row]`` of ``active``.

    ``stride`` is the number of outputs plus one: the slot behind a full row absorbs the branchless write.
    ``counts``: int32 ``[n, outputs]``, non-zero steps per output. ``overflows``: int64 ``[n, 2]``, below and above.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    active: NDArray[np.int32]
    value: NDArray[np.int16]
    counts: NDArray[np.int32]
    overflows: NDArray[np.int64]
