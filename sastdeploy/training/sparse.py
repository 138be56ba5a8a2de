"""The first layer's weighted sum over sparse frames: only active inputs cost anything.

The plain definition is a dense matrix product on `frame_values`; this gives the same sums in another order of
addition. Every output row, and every input's row of the gradient, is summed by one thread in a fixed order, so the
bits do not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.errors import InputError
from sastdeploy.frames import Frames, Preprocessing
from sastdeploy.jit import kernel
from sastdeploy.vectors import add, add_scaled, float32_sums, shape, store

LANES, MOST_VECTORS = 8, 24
"""Float32 numbers per vector, and vectors summed at once; measured: more rows per pass beat fewer registers."""
_MOST_ROWS = 2**23
"""Of a batch (recordings times time bins): a row's number and a count share 31 bits when sorted by input."""


@dataclass(frozen=True)
class SparseValues:
    """Frame values of B recordings by row ``t * B + b``: the time-major order in which layers run.

    Row r holds inputs ``index[k]`` with values ``worth[which[r] + count[k]]`` for k in ``start[r] .. stop[r]``.

    Args:
        start, stop: int64 ``[T * B]``. index, count: the frames' own arrays, not copied.
        worth: float32, a table of 256 values per kind of recording. which: int64 ``[T * B]``, where a row's begins.
        recordings, time_bins, inputs: B, T, J.
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    index: NDArray[np.integer]
    count: NDArray[np.uint8]
    worth: NDArray[np.float32]
    which: NDArray[np.int64]
    recordings: int
    time_bins: int
    inputs: int


def sparse_values(
    frames: Frames, chosen: NDArray[np.integer] | slice, preprocessing: Preprocessing
) -> SparseValues:
    """Return the chosen recordings' frame values, ``min(count, c_clip) / divisor`` (or per recording's maximum).

    Raises:
        InputError: an input's number outside the frame, or more than 2^23 rows.
    """
    picked = np.arange(len(frames), dtype=np.int64)[chosen]
    bins = frames.time_bins
    rows = (picked * bins + np.arange(bins)[:, None]).reshape(-1)
    if len(rows) >= _MOST_ROWS:
        raise InputError(f"{len(rows)} rows in one batch; at most {_MOST_ROWS - 1}. Use a smaller batch.")
    table = _value_of_count(frames, picked, preprocessing)
    which = np.tile(256 * (np.arange(len(picked)) % len(table)), bins)
    index, count = np.asarray(frames.index), np.asarray(frames.count)
    start, stop = np.asarray(frames.indptr[rows], np.int64), np.asarray(frames.indptr[rows + 1], np.int64)
    largest = _largest(start, stop, index)
    # The kernels do not check bounds: this is the border where an index outside the frame must stop.
    if largest >= frames.inputs:
        raise InputError(
            f"frames: input {largest} lies outside the frame's {frames.inputs} inputs. Bin the recordings again."
        )
    return SparseValues(start, stop, index, count, table.reshape(-1), which, len(picked), bins, frames.inputs)


def _value_of_count(
    frames: Frames, picked: NDArray[np.int64], preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Return float32 ``[B or 1, 256]``: what a count is worth, in each recording where that differs."""
    counts = np.arange(256)
    if preprocessing.normalisation != "sample_max":
        table = np.minimum(counts, preprocessing.c_clip) / preprocessing.divisor
        return table.astype(np.float32)[None]
    ends = frames.indptr[:: frames.time_bins]
    largest = [frames.count[ends[n] : ends[n + 1]].max(initial=1) for n in picked]
    return (counts / np.array(largest, np.float64).reshape(-1, 1)).astype(np.float32)


@kernel()
def _largest(start, stop, index):
    largest = np.int64(-1)
    for row in range(len(start)):
        for k in range(start[row], stop[row]):
            largest = max(largest, np.int64(index[k]))
    return largest


@kernel(parallel=True)
def _sum_inputs(start, stop, index, count, worth, which, rows, first, vectors, eighths, out):
    """Write to every ``out[i]`` the row ``first`` plus the rows of its active inputs, each times its value.

    ``out``'s width is a multiple of V x L, as many columns as are summed at once.
    """
    width = out.shape[1]
    for column in range(0, width, len(vectors) * len(eighths) * 8):
        for i in prange(len(start)):
            sums = add(float32_sums(vectors, eighths), first, column)
            for k in range(start[i], stop[i]):
                place = np.int64(index[k]) * width + column
                sums = add_scaled(sums, rows, place, worth[which[i] + np.int64(count[k])])
            store(sums, out, i * width + column, False)


@kernel(parallel=True)
def _sum_rows(ends, entry, worth, which, rows, vectors, eighths, out):
    """Write to every ``out[j]`` the sum of the rows in which input j is active, each times its value there."""
    width = out.shape[1]
    for column in range(0, width, len(vectors) * len(eighths) * 8):
        for j in prange(len(out)):
            sums = float32_sums(vectors, eighths)
            for k in range(ends[j - 1] if j > 0 else 0, ends[j]):
                row = np.int64(entry[k] >> 8)
                value = worth[which[row] + np.int64(entry[k] & 255)]
                sums = add_scaled(sums, rows, row * width + column, value)
            store(sums, out, j * width + column, False)


@kernel()
def _by_input(start, stop, index, count, ends):
    """Return ``row << 8 | count`` of all values, sorted by input, rows ascending; ``ends[j]``: the end of input j's."""
    for row in range(len(start)):
        for k in range(start[row], stop[row]):
            ends[np.int64(index[k]) + 1] += 1
    for j in range(len(ends) - 1):
        ends[j + 1] += ends[j]
    entry = np.empty(ends[-1], np.int32)
    for row in range(len(start)):
        for k in range(start[row], stop[row]):
            place = ends[np.int64(index[k])]
            entry[place] = (row << 8) | np.int64(count[k])
            ends[np.int64(index[k])] = place + 1
    return entry


def _pieces(width: int) -> tuple[int, int]:
    """Return (V, columns): vectors summed at once, and the width padded to a multiple of them."""
    vectors = max(1, -(-width // LANES))
    pieces = -(-vectors // MOST_VECTORS)
    at_once = -(-vectors // pieces)
    return at_once, pieces * at_once * LANES


def _padded(rows: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    missing = columns - rows.shape[-1]
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)]) if missing else rows


def _cut(out: NDArray[np.float32], width: int) -> Tensor:
    return torch.from_numpy(out if out.shape[1] == width else np.ascontiguousarray(out[:, :width]))


class SparseLinear(torch.autograd.Function):
    """``x @ weight.T + bias`` for sparse x: ``[T * B, N]``; gradients for weight and bias.

    Fastest where ``weight`` lies in memory input by input, as `SpikingNetwork` keeps its first layer, and where N is
    a multiple of 8.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, bias: Tensor, x: SparseValues) -> Tensor:
        ctx.x = x
        width = weight.shape[0]
        vectors, columns = _pieces(width)
        rows = _padded(weight.detach().t().contiguous().numpy(), columns)
        first = _padded(bias.detach().numpy(), columns)
        out = np.empty((len(x.start), columns), np.float32)
        _sum_inputs(
            x.start, x.stop, x.index, x.count, x.worth, x.which, rows, first, *shape(vectors, LANES), out
        )
        return _cut(out, width)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = gradients[0].contiguous()
        x: SparseValues = ctx.x
        width = gradient.shape[1]
        vectors, columns = _pieces(width)
        ends = np.zeros(x.inputs + 1, np.int64)
        entry = _by_input(x.start, x.stop, x.index, x.count, ends)
        out = np.empty((x.inputs, columns), np.float32)
        rows = _padded(gradient.numpy(), columns)
        _sum_rows(ends, entry, x.worth, x.which, rows, *shape(vectors, LANES), out)
        return _cut(out, width).t(), gradient.sum(0), None
