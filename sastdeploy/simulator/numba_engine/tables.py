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
        first: int32 ``[n * T, pixels + 1]``, how many of a row's values lie before each pixel, for convolutions.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    active: NDArray[np.integer]
    value: NDArray[np.integer]
    graded: bool
    first: NDArray[np.int32]


class Wiring(NamedTuple):
    """How inputs reach neurons: position p sees the runs ``run_start[p]`` up to ``run_start[p + 1]``.

    Run r is the inputs of the neighbouring pixels ``run_low[r]`` up to ``run_high[r]``; input j among them adds the
    weight row ``j + run_offset[r]``.

    Args:
        weight: int8 ``[rows, W]``, W >= O a multiple of V x L, columns as `vectors.paired_order` says, 0 behind O.
        width: O. vectors, eighths: V and L / 8 zeros (`vectors.shape`): columns go V x L at a time.
        dense: one position, and an input's number is its row: there are no runs.
        positions: output positions. block: how many of them go through all steps together.
        capacity: rows that one position can see.
        run_start: int32 ``[positions + 1]``. run_low, run_high, run_offset: int32.
        budget: even number of rows whose sum was proven to fit 16 bits; 0: sum in 32.
        recurrent: one zero where the layer's own spikes come back to it, else none: known when kernels are compiled. It has one
            position, an input's number is its row, and the rows of its own neurons follow those of ``inputs`` inputs.
    """

    weight: NDArray[np.int8]
    width: int
    vectors: tuple[int, ...]
    eighths: tuple[int, ...]
    dense: bool
    positions: int
    block: int
    capacity: int
    run_start: NDArray[np.int32]
    run_low: NDArray[np.int32]
    run_high: NDArray[np.int32]
    run_offset: NDArray[np.int32]
    budget: int
    recurrent: tuple[int, ...] = ()
    inputs: int = 0


class Step(NamedTuple):
    """The LIF step without branches: every variant is a choice of these numbers (per channel int32 ``[N]``, or see ``apart``).

    Channels from O to N only fill the last vector: they have no gain and a threshold that nothing reaches.

    Args:
        eighths: lanes / 8 zeros; N is a multiple of the lanes. bias: membrane LSBs.
        multiplier, half, shift: gain; ``half = 2^(shift-1)``, 0 for shift 0. int32 where no product leaves 32 bits, else int64.
        test: a membrane at or above it spikes (the threshold, plus 1 where the test is ``>``).
        subtract_before, subtract_after: threshold where reset subtracts one step later, or at once; else 0.
        zero_before, zero_after: -1 where the reset zeroes, one step later, or at once; else 0. delayed: one step later.
        refractory: one zero where the step after a spike adds nothing, else none: known when kernels are compiled.
        leak_multiplier, leak_shift: A and k. leak_half: added to every product. leak_negative: to negative ones.
        gain_mask, threshold_mask: 0 where all channels have the same gain (or thresholds), else -1.
        wide_leak: whether the leak's product can leave 32 bits.
        q_min, q_max: the membrane's range. wrap: wrap instead of saturate.
        synaptic: one zero where a synaptic current stands before the membrane, else none: known when kernels are compiled.
        current_multiplier to wide_current: its decay, as those of the leak.
        own_decays: one zero where channels decay differently, else none: known when kernels are compiled. leaks, current_leaks: A
            of the leak and of the current per channel there, in place of the multipliers.
        apart: one zero where neurons of a channel differ, else none: known when kernels are compiled. Then bias, thresholds and
            decays have N numbers for each position, one position behind the other; the gain stays per channel.
        several: one zero where neurons can send several spikes in a step, else none: known when kernels are compiled. most: how many.
            divisor: the thresholds, 1 in the padding. beyond: 1 where the test is ``>``, else 0.
        floored: one zero where membranes have a floor, else none: known when kernels are compiled. floor: its values.
        start, current_start: membranes and currents before the first step, N numbers for each position; one zero where all start at 0.
    """

    eighths: tuple[int, ...]
    multiplier: NDArray[np.signedinteger]
    half: NDArray[np.signedinteger]
    shift: NDArray[np.signedinteger]
    bias: NDArray[np.int32]
    test: NDArray[np.int32]
    subtract_before: NDArray[np.int32]
    subtract_after: NDArray[np.int32]
    zero_before: int
    zero_after: int
    refractory: tuple[int, ...]
    delayed: bool
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
    synaptic: tuple[int, ...]
    current_multiplier: int
    current_shift: int
    current_half: int
    current_negative: int
    wide_current: bool
    own_decays: tuple[int, ...]
    apart: tuple[int, ...]
    leaks: NDArray[np.int32]
    current_leaks: NDArray[np.int32]
    several: tuple[int, ...]
    most: int
    divisor: NDArray[np.int32]
    beyond: int
    start: NDArray[np.int32]
    current_start: NDArray[np.int32]
    floored: tuple[int, ...]
    floor: NDArray[np.int32]


class Scratch(NamedTuple):
    """Working memory of one thread; int32 (values int16). pitch: W. acc: ``[block * W]``, weighted sums.

    membrane: ``[block * N]``, N the padded neurons of `Step`; current: the same where there are synaptic currents; sent: the spikes
    of the last step, the same where neurons can send several.
    rows, values: of the active inputs that the block's positions see, ``[block * capacity]`` and what is written at once.
    bounds: int64 ``[block + 1]``, where the positions' lists begin.
    """

    pitch: int
    acc: NDArray[np.int32]
    membrane: NDArray[np.int32]
    rows: NDArray[np.int32]
    values: NDArray[np.int16]
    bounds: NDArray[np.int64]
    current: NDArray[np.int32]
    sent: NDArray[np.int32]


class Emitted(NamedTuple):
    """What a layer sends on: row ``n * T + t`` occupies ``starts[row]`` up to ``stops[row]`` of ``active``.

    Rows begin ``outputs + slack`` apart: numbers are written and read in whole vectors, beyond a row's end.
    ``first``: int32 ``[n * T, positions + 1]``, how many of a row's values lie before each position. ``counts``: int32 ``[n, outputs]``, non-zero steps per output. ``sums``: the same, of their spikes, where neurons can send several
    in a step. ``totals``: int64 ``[outputs]``, ``counts`` summed. ``overflows``: int64 ``[n, 2]``, below and above.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    active: NDArray[np.int32]
    value: NDArray[np.int16]
    first: NDArray[np.int32]
    counts: NDArray[np.int32]
    sums: NDArray[np.int32]
    totals: NDArray[np.int64]
    overflows: NDArray[np.int64]
    slack: int
