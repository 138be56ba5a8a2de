"""The first layer's weighted sum over sparse frames: only active inputs cost anything.

The plain definition is a dense matrix product on `frame_values`; this gives the same sums in another order of
addition. Every output row, and every input's row of the gradient, is summed by one thread in a fixed order, so the
bits do not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.frames import Frames, Preprocessing
from sastdeploy.vectors import add, add_scaled, float32_sums, shape, store

LANES, MOST_VECTORS = 8, 7
"""Float32 numbers per vector, and vectors summed at once: what processors with 16 vector registers can hold."""


@dataclass(frozen=True)
class SparseValues:
    """Frame values of B recordings by row ``t * B + b``: the time-major order in which layers run.

    Args:
        indptr: int64 ``[T * B + 1]``. index: int32, input numbers. value: float32, above 0.
        recordings, time_bins, inputs: B, T, J.
    """

    indptr: NDArray[np.int64]
    index: NDArray[np.int32]
    value: NDArray[np.float32]
    recordings: int
    time_bins: int
    inputs: int


def sparse_values(
    frames: Frames, chosen: NDArray[np.integer] | slice, preprocessing: Preprocessing
) -> SparseValues:
    """Return the chosen recordings' frame values, ``min(count, c_clip) / divisor`` (or per recording's maximum)."""
    picked = np.arange(len(frames), dtype=np.int64)[chosen]
    bins = frames.time_bins
    rows = (picked * bins + np.arange(bins)[:, None]).reshape(-1)
    starts, stops = frames.indptr[rows], frames.indptr[rows + 1]
    indptr = np.concatenate(([0], np.cumsum(stops - starts)))
    index = np.empty(indptr[-1], np.int32)
    value = np.empty(indptr[-1], np.float32)
    table = _value_of_count(frames, picked, preprocessing)
    _gather(starts, indptr, np.asarray(frames.index), np.asarray(frames.count), table, index, value)
    return SparseValues(indptr, index, value, len(picked), bins, frames.inputs)


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


@njit(cache=True, nogil=True)
def _gather(starts, indptr, index, count, table, out_index, out_value):
    for row in range(len(starts)):
        worth = table[row % len(table)]
        first = starts[row]
        for k in range(indptr[row + 1] - indptr[row]):
            out_index[indptr[row] + k] = index[first + k]
            out_value[indptr[row] + k] = worth[count[first + k]]


@njit(parallel=True, cache=True, nogil=True)
def _weighted_rows(start, stop, index, value, rows, first, vectors, eighths, out):
    """Write to every ``out[i]`` the row ``first`` plus the rows that its list names, each times its value.

    ``out``'s width is a multiple of the vectors' lanes. Columns go piece by piece: a piece of all rows fits the cache.
    """
    width = out.shape[1]
    piece = len(vectors) * len(eighths) * 8
    for column in range(0, width, piece):
        for i in prange(len(start)):
            sums = add(float32_sums(vectors, eighths), first, column)
            for k in range(start[i], stop[i]):
                sums = add_scaled(sums, rows, np.int64(index[k]) * width + column, value[k])
            store(sums, out, i * width + column, False)


def weighted_rows(
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    index: NDArray[np.int32],
    value: NDArray[np.float32],
    rows: NDArray[np.float32],
    first: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return ``out[i] = first + sum over k in start[i] .. stop[i] of value[k] * rows[index[k]]``, summed in that order.

    Args:
        rows: ``[J, W]``, fastest where W is a multiple of 8. first: ``[W]``.
    """
    width = rows.shape[1]
    vectors = max(1, -(-width // LANES))
    pieces = -(-vectors // MOST_VECTORS)
    vectors = -(-vectors // pieces)
    padded = pieces * vectors * LANES
    if padded != width:
        rows = np.pad(rows, ((0, 0), (0, padded - width)))
        first = np.pad(first, (0, padded - width))
    out = np.empty((len(start), padded), np.float32)
    _weighted_rows(start, stop, index, value, rows, first, *shape(vectors, LANES), out)
    return out if padded == width else np.ascontiguousarray(out[:, :width])


@njit(cache=True, nogil=True)
def _by_input(indptr, index, value, ends, out_row, out_value):
    """Sort the values by input, rows ascending; ``ends[j]`` becomes the end of input j's list."""
    for k in range(len(index)):
        ends[index[k] + 1] += 1
    for j in range(len(ends) - 1):
        ends[j + 1] += ends[j]
    for row in range(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            place = ends[index[k]]
            out_row[place] = row
            out_value[place] = value[k]
            ends[index[k]] = place + 1


class SparseLinear(torch.autograd.Function):
    """``x @ weight.T + bias`` for sparse x: ``[T * B, N]``; gradients for weight and bias.

    Fastest where ``weight`` lies in memory input by input, as `SpikingNetwork` keeps its first layer.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, bias: Tensor, x: SparseValues) -> Tensor:
        ctx.x = x
        by_input = weight.detach().t().contiguous().numpy()
        out = weighted_rows(x.indptr[:-1], x.indptr[1:], x.index, x.value, by_input, bias.detach().numpy())
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = gradients[0].contiguous()
        x: SparseValues = ctx.x
        ends = np.zeros(x.inputs + 1, np.int64)
        row, value = np.empty(len(x.index), np.int32), np.empty(len(x.index), np.float32)
        _by_input(x.indptr, x.index, x.value, ends, row, value)
        start = np.concatenate(([0], ends[:-2])) if x.inputs else ends[:0]
        nothing = np.zeros(gradient.shape[1], np.float32)
        out = weighted_rows(start, ends[:-1], row, value, gradient.numpy(), nothing)
        return torch.from_numpy(out).t(), gradient.sum(0), None
