"""N-MNIST's bytes straight to frames: one pass over a file's events, one over its counts.

`parse_nmnist` and `count_events` are the definition; this gives the same numbers many times faster, and hands every
file in which it finds anything amiss to them, for the error's words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.jit import kernel
from sastdeploy._kernels.lanes import append, below, load, spread
from sastdeploy._kernels.vectors import shape
from sastdeploy.recordings.frames import Index, index_dtype
from sastdeploy.recordings.nmnist import OVERFLOW_Y, SENSOR

OVERFLOW, ONE, TWO, THREE, FOUR = (np.uint64(n) for n in (OVERFLOW_Y, 1, 2, 3, 4))
_LANES = 16
"""Counts that are seen to be zero at once."""
_SIXTEEN = shape(1, _LANES)[1]
_MAX_EVENTS = 1 << 17
"""Above it a file goes the slow way; recordings hold some 4,000 events."""


class DigitBinner:
    """Working memory for one data set's frames: counts go to ``[T, P, h, w]``, then to their sparse form.

    Args:
        frame_size: ``(w, h)``. time_bins: T.
    """

    def __init__(self, frame_size: tuple[int, int], time_bins: int) -> None:
        self._bins = time_bins
        self._inputs = SENSOR[2] * frame_size[0] * frame_size[1]
        self._kind = index_dtype(self._inputs)
        # A bin begins at a whole vector of counts.
        self._pitch = -(-self._inputs // _LANES) * _LANES
        self._counts = np.zeros(time_bins * self._pitch, np.uint8)
        self._signed = self._counts.view(np.int8)
        self._listed = np.empty(time_bins * self._inputs + _LANES, np.int32)
        # Where a column and a row of the sensor lie in the frame, so that no event costs a division.
        (width, height, _), (w, h) = SENSOR, frame_size
        self._column = np.arange(width) * w // width
        self._row = np.arange(height) * h // height * w
        self._times = np.empty(_MAX_EVENTS, np.int64)
        self._places = np.empty(_MAX_EVENTS, np.int64)

    def bin(self, content: bytes) -> tuple[NDArray[np.int64], Index, NDArray[np.uint8], int] | None:
        """Return (entries per bin [T], input index, count, last time + 1 in us); None where the slow way must look."""
        if len(content) % 5 or len(content) // 5 > _MAX_EVENTS:
            return None
        raw = np.frombuffer(content, np.uint8)
        entries = min(len(raw) // 5, len(self._counts))
        index = np.empty(entries, self._kind)
        count = np.empty(entries, np.uint8)
        per_bin = np.empty(self._bins, np.int64)
        stop, end = _frame(
            raw, self._column, self._row, self._inputs // 2, self._pitch, self._times, self._places, self._counts,
            self._signed, self._listed, per_bin, index, count,
        )  # fmt: skip
        if stop <= 0:
            return None
        return per_bin, index[:end], count[:end], int(stop)


@kernel()
def _count(
    raw: NDArray[np.uint8], column: NDArray[np.int64], row: NDArray[np.int64], half: int, pitch: int, bins: int,
    times: NDArray[np.int64], places: NDArray[np.int64], counts: NDArray[np.uint8],
) -> np.int64:  # fmt: skip
    """Count every event; return the last time + 1, or 0 with all counts zero where a rule is broken."""
    base = np.int64(0)
    last = np.int64(-1)
    used = np.int64(0)
    width, height = np.uint64(len(column)), np.uint64(len(row))
    for event in range(len(raw) // 5):
        at = np.uint64(5 * event)
        x, y, p = np.uint64(raw[at]), np.uint64(raw[at + ONE]), np.int64(raw[at + TWO])
        if y == OVERFLOW:
            base += 8192
            continue
        t = ((p & 127) << 16 | np.int64(raw[at + THREE]) << 8 | np.int64(raw[at + FOUR])) + base
        if x >= width or y >= height or t < last:
            return np.int64(0)
        last = t
        times[used] = t
        places[used] = (p >> 7) * half + row[y] + column[x]
        used += 1
    stop = last + 1
    bin_ = np.int64(0)
    bound = stop
    for e in range(used):
        # t * T // stop, without a division: times ascend.
        while times[e] * bins >= bound:
            bin_ += 1
            bound += stop
        place = np.uint64(bin_ * pitch + places[e])
        if counts[place] < 255:
            counts[place] += np.uint8(1)
    return stop


@kernel()
def _collect(
    counts: NDArray[np.uint8], signed: NDArray[np.int8], pitch: int, listed: NDArray[np.int32],
    per_bin: NDArray[np.int64], index: NDArray[np.unsignedinteger], count: NDArray[np.uint8],
) -> np.int64:  # fmt: skip
    """List the counts that are not zero, and set all to zero; return their number. ``signed``: the same memory as int8."""
    end = np.int64(0)
    for bin_ in range(len(per_bin)):
        begin, before = bin_ * pitch, end
        for place in range(begin, begin + pitch, _LANES):
            lanes = load(signed, place, _SIXTEEN)
            zero = spread(lanes, np.int8(0))
            end = append(below(lanes, zero) + below(zero, lanes), place - begin, listed, end)
        for entry in range(before, end):
            index[entry] = listed[entry]
            count[entry] = counts[np.uint64(begin + np.int64(listed[entry]))]
        per_bin[bin_] = end - before
    counts[:] = 0
    return end


@kernel()
def _frame(
    raw: NDArray[np.uint8], column: NDArray[np.int64], row: NDArray[np.int64], half: int, pitch: int,
    times: NDArray[np.int64], places: NDArray[np.int64], counts: NDArray[np.uint8], signed: NDArray[np.int8],
    listed: NDArray[np.int32], per_bin: NDArray[np.int64], index: NDArray[np.unsignedinteger], count: NDArray[np.uint8],
) -> tuple[np.int64, np.int64]:  # fmt: skip
    """Count and list a file's events; return (last time + 1, or 0 where a rule is broken; entries)."""
    stop = _count(raw, column, row, half, pitch, len(per_bin), times, places, counts)
    end = _collect(counts, signed, pitch, listed, per_bin, index, count) if stop > 0 else np.int64(0)
    return stop, end
