"""The first layer's weighted sum over sparse frames: only active inputs cost anything.

The plain definition is a dense matrix product on `frame_values`; this gives the same sums in another order of
addition. Every output row, and every input's row of the gradient, is summed by one thread in a fixed order, so the
bits do not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training.sparse_kernels import by_pair, pieces, sum_all, sum_inputs, sum_rows


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


class SparseFrames:
    """Frames, from which batches are drawn in microseconds.

    Args:
        frames: kept, not copied.
        preprocessing: says what a count is worth.
    """

    def __init__(self, frames: Frames, preprocessing: Preprocessing) -> None:
        self.frames = frames
        self._numbers = np.arange(len(frames))
        self._index, self._count = np.asarray(frames.index), np.asarray(frames.count)
        self._ends = np.asarray(frames.indptr, np.int64)
        self._largest = _largest_counts(frames) if preprocessing.normalisation == "sample_max" else None
        clipped = np.minimum(np.arange(256), preprocessing.c_clip) / preprocessing.divisor
        self._worth = clipped.astype(np.float32)

    def draw(self, chosen: NDArray[np.integer] | slice) -> SparseValues:
        """Return the chosen recordings' frame values, ``min(count, c_clip) / divisor`` (or per recording's maximum)."""
        picked = self._numbers[chosen]
        bins = self.frames.time_bins
        rows = (picked * bins + np.arange(bins)[:, None]).reshape(-1)
        worth, which = self._worth, np.zeros(len(rows), np.int64)
        if self._largest is not None:
            worth = (np.arange(256) / self._largest[picked, None]).astype(np.float32).reshape(-1)
            which = np.tile(256 * np.arange(len(picked)), bins)
        return SparseValues(
            self._ends[rows], self._ends[rows + 1], self._index, self._count, worth, which, len(picked), bins,
            self.frames.inputs,
        )  # fmt: skip


def _largest_counts(frames: Frames) -> NDArray[np.float64]:
    """Return every recording's largest count, 1 where it has none."""
    ends = frames.indptr[:: frames.time_bins]
    return np.array([frames.count[a:b].max(initial=1) for a, b in pairwise(ends)], np.float64)


def _padded(rows: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    missing = columns - rows.shape[-1]
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)]) if missing else rows


def _cut(out: NDArray[np.float32], width: int) -> Tensor:
    return torch.from_numpy(out if out.shape[-1] == width else np.ascontiguousarray(out[..., :width]))


class SparseLinear(torch.autograd.Function):
    """``x @ weight.T + bias`` for sparse x: ``[T * B, N]``; gradients for weight and bias.

    Fastest where ``weight`` lies in memory input by input, as `SpikingNetwork` keeps its first layer, and where N is
    a multiple of 8.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, x: SparseValues) -> Tensor:
        ctx.x = x
        width = weight.shape[0]
        shape, columns = pieces(width)
        rows = _padded(weight.detach().t().contiguous().numpy(), columns)
        first = _padded(bias.detach().numpy(), columns)
        out = torch.empty(len(x.start), columns).numpy()
        sum_inputs(x.start, x.stop, x.index, x.count, x.worth, x.which, rows, first, *shape, out)
        return _cut(out, width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = gradients[0].contiguous()
        x: SparseValues = ctx.x
        width = gradient.shape[1]
        shape, columns = pieces(width)
        rows = _padded(gradient.numpy(), columns)
        ends, entry = _sorted(x)
        out, total = torch.empty(x.inputs, columns).numpy(), np.empty(columns, np.float32)
        sum_rows(ends, entry, x.worth, x.which, rows, *shape, out)
        sum_all(rows, *shape, total)
        return _cut(out, width).t(), _cut(total, width), None


def _sorted(x: SparseValues) -> tuple[NDArray[np.uint32], NDArray[np.unsignedinteger]]:
    """Return ``ends, entry`` of `by_pair`, in the smallest types that hold them."""
    values = int((x.stop - x.start).sum())
    ends = np.zeros(4 * ((x.inputs + 1) // 2) + 1, np.uint32)
    lists: NDArray[np.unsignedinteger] = np.empty(values, np.uint16 if len(ends) <= 1 << 16 else np.uint32)
    items: NDArray[np.unsignedinteger] = np.empty(values, np.uint32 if len(x.start) <= 1 << 16 else np.uint64)
    entry = np.empty_like(items)
    by_pair(x.start, x.stop, x.index, x.count, lists, items, ends, entry)
    return ends, entry
