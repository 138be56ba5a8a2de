"""The recordings of a pack of networks, where the networks are: counts as uint8, values by a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.recordings.frames import Frames, LabelledFrames
from sastdeploy.recordings.preprocessing import Preprocessing

_SHARE = 0.6
"""Part of a device's free memory that counts may take; beyond it they stay with the host and are copied batch by batch."""
_ROWS = 4096
"""Recordings that are made dense at once."""


def worth_table(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return frame values by [kind, count], the bits of `sastdeploy.training.inference.frame_values`.

    A fixed scale is one kind; with ``sample_max`` kind k is that of recordings whose largest count is k + 1.
    """
    counts = np.arange(256)
    if preprocessing.normalisation == "sample_max":
        return (counts / np.arange(1, 256)[:, None]).astype(np.float32)
    return (np.minimum(counts, preprocessing.c_clip) / preprocessing.divisor).astype(np.float32)[None]


@dataclass(frozen=True)
class PackedData:
    """What M networks draw from: each data set once, however many networks share it.

    Args:
        counts: uint8 ``[recordings, T * J]`` of all data sets one after the other; on the device, or with the host.
        labels: int64 ``[recordings]``. kinds: int64 ``[recordings]``, the recording's largest count less one; 0 where no table has kinds.
        first: int64 ``[M]``, where each network's data set begins.
        worth: float32, the tables of `worth_table` one after the other, flat.
        table: int64 ``[M]``, where each network's table begins. by_kind: int64 ``[M]``, 1 where its kinds matter, else 0.
        shape: ``(T, P, H, W)``. All but ``counts`` with the host lie on ``device``.
    """

    counts: Tensor
    labels: Tensor
    kinds: Tensor
    first: Tensor
    worth: Tensor
    table: Tensor
    by_kind: Tensor
    shape: tuple[int, ...]
    device: torch.device

    @property
    def resident(self) -> bool:
        """Whether the counts lie on the device."""
        return self.counts.device.type == self.device.type

    def take(self, chosen: Tensor) -> Tensor:
        """Return the counts, uint8 ``[M, B, T * J]``, of recordings ``chosen [M, B]``, numbered in all data sets, where they lie on one device."""
        picked = self.counts.index_select(0, chosen.reshape(-1))
        return picked.view(*chosen.shape, -1)

    def values(self, counts: Tensor, chosen: Tensor) -> Tensor:
        """Return frame values, float32 ``[M, B, T, P, H, W]``, of the counts of recordings ``chosen [M, B]``."""
        kinds = self.kinds.index_select(0, chosen.reshape(-1)).view(chosen.shape)
        row = self.table[:, None] + 256 * kinds * self.by_kind[:, None]
        values = self.worth[row[..., None] + counts.long()]
        return values.view(*chosen.shape, *self.shape)

    def labels_of(self, chosen: Tensor) -> Tensor:
        """Return the labels, int64 ``[M, B]``."""
        return self.labels.index_select(0, chosen.reshape(-1)).view(chosen.shape)


def packed_data(
    parts: Sequence[LabelledFrames],
    preprocessings: Sequence[Preprocessing],
    device: torch.device,
    say: Callable[[str], None] = lambda text: None,
) -> PackedData:
    """Return the recordings of M networks, ``parts[m]`` with ``preprocessings[m]``, on the device where they fit.

    Args:
        parts: all of one shape and number of time bins; the same object given twice is held once.
        say: told where the counts do not fit and stay with the host.
    """
    unique = list({id(part): part for part in parts}.values())
    frames = unique[0].frames
    width = frames.time_bins * frames.inputs
    starts = np.cumsum([0, *(len(part) for part in unique)])
    begins = {id(part): int(start) for part, start in zip(unique, starts)}
    size = int(starts[-1]) * width
    fits = device.type != "cuda" or size <= _SHARE * _free(device)
    if not fits:
        say(
            f"the frames take {size / 2**30:.1f} GiB, more than {_SHARE:.0%} of the device's free memory: they stay with the "
            f"host and are copied batch by batch, which is slower."
        )
    counts = torch.empty((int(starts[-1]), width), dtype=torch.uint8, device=device if fits else "cpu")
    for part, start in zip(unique, starts):
        _fill(counts, int(start), part.frames)
    tables = [worth_table(preprocessing) for preprocessing in preprocessings]
    table = np.cumsum([0, *(t.size for t in tables[:-1])])
    if any(len(t) > 1 for t in tables):
        largest = np.concatenate([_largest_counts(part.frames) for part in unique])
    else:
        largest = np.zeros(int(starts[-1]), np.int64)
    return PackedData(
        counts,
        _on(np.concatenate([part.labels for part in unique]).astype(np.int64), device),
        _on(np.maximum(largest, 1) - 1, device),
        _on(np.array([begins[id(part)] for part in parts]), device),
        _on(np.concatenate([t.reshape(-1) for t in tables]), device),
        _on(table, device),
        _on(np.array([int(len(t) > 1) for t in tables]), device),
        (frames.time_bins, *frames.shape),
        device,
    )


def _free(device: torch.device) -> int:
    """Return the bytes of a GPU that are free, those that torch keeps of earlier packs among them."""
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


class Staging:
    """Minibatches on their way from the host to a fixed place on the device: two pinned blocks in turn, so that one fills while the other is copied.

    Args:
        shape: of a minibatch of counts, ``[M, B, T * J]``.
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._blocks = [torch.empty(shape, dtype=torch.uint8, pin_memory=self._cuda) for _ in range(2)]
        self._copied: list[torch.cuda.Event | None] = [None, None]
        self._next = 0
        self.target = torch.zeros(shape, dtype=torch.uint8, device=device)

    def bring(self, data: PackedData, chosen: Tensor) -> None:
        """Put the counts of recordings ``chosen [M, B]`` into ``target``, after what was queued before."""
        which, self._next = self._next, 1 - self._next
        block, copied = self._blocks[which], self._copied[which]
        if copied is not None:
            copied.synchronize()
        torch.index_select(data.counts, 0, chosen.reshape(-1), out=block.view(-1, block.shape[-1]))
        self.target.copy_(block, non_blocking=True)
        if self._cuda:
            self._copied[which] = torch.cuda.current_stream(self.target.device).record_event()


def _on(values: NDArray[np.generic], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def _fill(counts: Tensor, start: int, frames: Frames) -> None:
    for row in range(0, len(frames), _ROWS):
        dense = frames.select(slice(row, row + _ROWS)).dense()
        block = torch.from_numpy(dense.reshape(len(dense), -1))
        counts[start + row : start + row + len(block)].copy_(block)


def _largest_counts(frames: Frames) -> NDArray[np.int64]:
    """Return every recording's largest count, 0 where it has none."""
    largest = np.zeros(len(frames), np.int64)
    begins = frames.indptr[:: frames.time_bins]
    filled = np.flatnonzero(np.diff(begins))
    if len(filled):
        largest[filled] = np.maximum.reduceat(frames.count, begins[filled])
    return largest


def padded_batches(order: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return an order in batches ``[steps, size]``, and each recording's weight in its batch's mean.

    The last batch is filled up with the first recording, whose copies weigh nothing: every batch has the same shape,
    which a captured graph needs.
    """
    steps = -(-len(order) // size)
    chosen = np.full(steps * size, order[0])
    chosen[: len(order)] = order
    weights = np.zeros(steps * size, np.float32)
    for start in range(0, len(order), size):
        stop = min(start + size, len(order))
        weights[start:stop] = 1.0 / (stop - start)
    return chosen.reshape(steps, size), weights.reshape(steps, size)
