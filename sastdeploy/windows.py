"""Windows that slide over a frame, of convolutions and pools alike: one record of them, and how sizes are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
Pair = tuple[int, int]
Shape = tuple[int, int, int]
"""``(C, H, W)``."""

MAX_STRIDE = 127
"""Largest stride and padding."""
MAX_VALUES = 1 << 24
"""Largest number of values of one frame or one layer's output: keeps a damaged file from asking for all memory."""


@dataclass(frozen=True)
class Window:
    """Windows over every channel of a frame, padded with zeros; those that the padded frame cuts are dropped.

    Args:
        kernel, stride, padding: in positions, each ``(y, x)``.
    """

    kernel: Pair
    stride: Pair
    padding: Pair

    @classmethod
    def of(cls, kernel: int | Pair, stride: int | Pair | None, padding: int | Pair) -> Window:
        """Return the windows of sizes as files state them: one number for both axes; a stride of None is the kernel."""
        return cls(_pair(kernel), _pair(kernel if stride is None else stride), _pair(padding))

    @property
    def size(self) -> int:
        """Number of positions in a window, padding included."""
        return self.kernel[0] * self.kernel[1]

    def output(self, shape: Shape) -> Pair:
        """Return how many windows lie over a frame ``[C, H, W]``, along y and along x; below 1 where the kernel does not fit."""
        rows, columns = (
            (size + 2 * padding - kernel) // stride + 1
            for size, kernel, stride, padding in zip(shape[1:], self.kernel, self.stride, self.padding)
        )
        return rows, columns

    def along(self, shape: Shape) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return in how many windows every row and every column of a frame lies: int64 ``[H]`` and ``[W]``."""
        counts = []
        for axis, number in enumerate(self.output(shape)):
            kernel, stride = self.kernel[axis], self.stride[axis]
            places = np.arange(shape[1 + axis], dtype=np.int64) + self.padding[axis]
            first, last = -((kernel - 1 - places) // stride), places // stride
            counts.append(np.maximum(np.minimum(last, number - 1) - np.maximum(first, 0) + 1, 0))
        return counts[0], counts[1]

    def over(self, shape: Shape) -> NDArray[np.int64]:
        """Return in how many windows every position of a frame lies: int64 ``[H, W]``."""
        return np.outer(*self.along(shape))

    def views(self, x: NDArray[Number]) -> NDArray[Number]:
        """Return a view of ``x`` ``[..., H, W]``, padded with zeros, as its windows: ``[..., OH, OW, KH, KW]``."""
        padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(pad, pad) for pad in self.padding])
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.kernel, (-2, -1))
        return windows[..., :: self.stride[0], :: self.stride[1], :, :]


def _pair(value: int | Pair) -> Pair:
    return value if isinstance(value, tuple) else (value, value)


def write_sizes(record: Any) -> None:
    """Give a frozen record's kernel, stride and padding the one form that files hold, as it is made.

    A stride of None becomes the kernel; a pair of equal numbers becomes one number; all else stays as it is, unchecked.
    """
    kernel = _written(record.kernel)
    stride = kernel if record.stride is None else _written(record.stride)
    for name, value in (("kernel", kernel), ("stride", stride), ("padding", _written(record.padding))):
        object.__setattr__(record, name, value)


def _written(value: Any) -> Any:
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return value[0] if value[0] == value[1] else value
    return value
