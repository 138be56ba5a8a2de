"""Windows that slide over a frame, of convolutions and pools alike: their number, and how many see each position."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Number = TypeVar("Number", bound=np.generic)


def pair(value: int | Pair) -> Pair:
    """Return ``(y, x)`` of a size that is written as one number where both are equal."""
    return value if isinstance(value, tuple) else (value, value)


def written(value: Any) -> Any:
    """Return a pair of equal numbers as one number, and everything else as it is: one way to write each size."""
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return value[0] if value[0] == value[1] else value
    return value


def window_count(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return how many whole windows lie along one axis of ``size`` positions, padded on both ends."""
    return (size + 2 * padding - kernel) // stride + 1


def windows_over(size: int, kernel: int, stride: int, padding: int) -> NDArray[np.int64]:
    """Return, for each of ``size`` positions along one axis, how many whole windows it lies in: int64 ``[size]``."""
    places = np.arange(size, dtype=np.int64) + padding
    first, last = -((kernel - 1 - places) // stride), places // stride
    counts: NDArray[np.int64] = np.maximum(
        np.minimum(last, window_count(size, kernel, stride, padding) - 1) - np.maximum(first, 0) + 1, 0
    )
    return counts


def windows_over_frame(
    height: int, width: int, kernel: Pair, stride: Pair, padding: Pair
) -> NDArray[np.int64]:
    """Return how many whole windows every position of a frame lies in: int64 ``[height, width]``."""
    rows, columns = (windows_over(*axis) for axis in zip((height, width), kernel, stride, padding))
    return np.outer(rows, columns)


def windows_of(x: NDArray[Number], kernel: Pair, stride: Pair, padding: Pair) -> NDArray[Number]:
    """Return a view of ``x`` ``[..., H, W]``, padded with zeros, as its whole windows: ``[..., OH, OW, KH, KW]``."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(pad, pad) for pad in padding])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (-2, -1))
    return windows[..., :: stride[0], :: stride[1], :, :]
