"""The first layer's weighted sum over sparse frames: only active inputs cost anything.

The plain definition is a dense matrix product on `frame_values`; this gives the same sums in another order of
addition. Every output row, and every column of the gradient, is summed by one thread in a fixed order, so the bits do
not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.frames import Frames, Preprocessing

_COLUMNS = 64
"""Columns of the gradient that one task sums: a block of 64 floats fits a few cache lines per active input."""


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
    picked = np.arange(len(frames))[chosen]
    bins = frames.time_bins
    starts = frames.indptr[:-1].reshape(-1, bins)[picked].T.reshape(-1)
    lengths = np.diff(frames.indptr).reshape(-1, bins)[picked].T.reshape(-1)
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    source = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
    counts = frames.count[source]
    if preprocessing.normalisation == "sample_max":
        owner = np.repeat(np.tile(np.arange(len(picked)), bins), lengths)
        largest = np.ones(len(picked))
        np.maximum.at(largest, owner, counts)
        value = counts / largest[owner]
    else:
        value = np.minimum(counts, preprocessing.c_clip) / preprocessing.divisor
    index = frames.index[source].astype(np.int32)
    return SparseValues(indptr, index, value.astype(np.float32), len(picked), bins, frames.inputs)


@njit(parallel=True, cache=True, nogil=True)
def _forward(indptr, index, value, weight, bias, out):
    for row in prange(len(indptr) - 1):
        sums = out[row]
        sums[:] = bias
        for k in range(indptr[row], indptr[row + 1]):
            w = weight[index[k]]
            v = value[k]
            for n in range(len(sums)):
                sums[n] += v * w[n]


@njit(parallel=True, cache=True, nogil=True)
def _backward(indptr, index, value, gradient, out):
    columns = out.shape[1]
    for block in prange((columns + _COLUMNS - 1) // _COLUMNS):
        first = block * _COLUMNS
        last = min(columns, first + _COLUMNS)
        for row in range(len(indptr) - 1):
            g = gradient[row, first:last]
            for k in range(indptr[row], indptr[row + 1]):
                w = out[index[k], first:last]
                v = value[k]
                for n in range(last - first):
                    w[n] += v * g[n]


class SparseLinear(torch.autograd.Function):
    """``x @ weight.T + bias`` for sparse x: ``[T * B, N]``; gradients for weight and bias."""

    @staticmethod
    def forward(ctx, weight: Tensor, bias: Tensor, x: SparseValues) -> Tensor:
        ctx.x = x
        transposed = np.ascontiguousarray(weight.detach().numpy().T)
        out = np.empty((len(x.indptr) - 1, len(bias)), np.float32)
        _forward(x.indptr, x.index, x.value, transposed, bias.detach().numpy(), out)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = gradients[0].contiguous()
        x: SparseValues = ctx.x
        out = np.zeros((x.inputs, gradient.shape[1]), np.float32)
        _backward(x.indptr, x.index, x.value, gradient.numpy(), out)
        return torch.from_numpy(out).t().contiguous(), gradient.sum(0), None
