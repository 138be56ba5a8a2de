"""Sums over windows, without neurons: what is left of an average once its divisor lies in the next layer's gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import short
from sastdeploy.program.layers.lif import Array
from sastdeploy.program.layers.weights import Stored, source_record
from sastdeploy.program.limits import Shape, by, is_int, is_pair, refuse
from sastdeploy.program.onnx_nodes import Nodes
from sastdeploy.recordings.preprocessing import MAX_CLIP
from sastdeploy.windows import MAX_STRIDE, Number, Pair, Window, write_sizes


@dataclass(frozen=True)
class SumPool:
    """Sum over windows of each channel, zero padding, at most 127; windows that the padded input cuts are dropped.

    Args:
        kernel, stride, padding: along both axes, or ``(y, x)`` where they differ. The stride is by default the kernel:
            windows side by side.
        source: where its input comes from, l + 1 layer l; None the layer before it.
    """

    name: str
    kernel: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0
    kind: str = field(default="sum_pool", init=False)
    source: int | None = field(default=None, kw_only=True)
    lif: ClassVar[None] = None
    further: ClassVar[tuple[()]] = ()
    may_begin: ClassVar[bool] = False
    sends: ClassVar[str] = "sums"
    adds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        write_sizes(self)

    @property
    def window(self) -> Window:
        return Window.of(self.kernel, self.stride, self.padding)

    @property
    def side_by_side(self) -> bool:
        """Whether every input lies in one window at most, and no window reaches beyond the input."""
        return self.stride == self.kernel and self.padding == 0

    @property
    def since_format(self) -> int:
        return 6 if self.source is not None else self._windows_since

    @property
    def _windows_since(self) -> int:
        return 1 if self.side_by_side and type(self.kernel) is int else 2

    def output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *self.window.output(shape))

    def largest_output(self, largest: int) -> int:
        return self.window.size * largest

    def check(self, where: str, shape: Shape, largest: int) -> None:
        """Accept a pool that fits inputs of ``shape`` from 0 to ``largest``, whose sums stay within 127."""
        for name, value, low in (("stride", self.stride, 1), ("padding", self.padding, 0)):
            if not is_int(value, low, MAX_STRIDE) and not is_pair(value, low, MAX_STRIDE):
                # An invalid kernel is told as such, not as the stride that follows it.
                if name == "stride" and value is self.kernel:
                    continue
                refuse(
                    where,
                    f"{name} is {short(value)}",
                    f"a whole number or a pair of them, {low} to {MAX_STRIDE}",
                )
        window = self.window
        height, width = (size + 2 * pad for size, pad in zip(shape[1:], window.padding))
        most = min(height, width)
        if type(self.kernel) is tuple:
            fits = (
                is_pair(self.kernel, 1, MAX_STRIDE) and self.kernel[0] <= height and self.kernel[1] <= width
            )
            allowed = f"1 to {height} and 1 to {width} on a {by(shape)} input"
        else:
            fits = is_int(self.kernel, 1, most)
            allowed = f"1 to {most} on a {by(shape)} input"
        if not fits:
            refuse(where, f"kernel is {short(self.kernel)}", allowed)
        if any(2 * pad > size for pad, size in zip(window.padding, window.kernel)):
            refuse(
                where, f"padding is {short(self.padding)}", f"at most half the kernel, {short(self.kernel)}"
            )
        if self.largest_output(largest) > MAX_CLIP:
            wrong = f"a window of {by(window.kernel)} inputs up to {largest} sums to {self.largest_output(largest)}"
            refuse(where, wrong, f"sums up to {MAX_CLIP}")

    def sums(self, x: NDArray[Number]) -> NDArray[Number]:
        """Return the sums ``[..., OH, OW]`` of ``x`` ``[..., H, W]``, in x's type."""
        sums: NDArray[Number] = self.window.views(x).sum(axis=(-2, -1), dtype=x.dtype)
        return sums

    def reach(self, steps: int) -> int:
        return 0

    def step(self, x: Array, line: Array) -> tuple[Array, Array]:
        return self.sums(x), line

    def sent(self, x: NDArray[Number]) -> NDArray[Number]:
        return self.sums(x)

    def held_bits(self, shape: Shape, largest: int, steps: int) -> tuple[int, int]:
        return 0, 0

    def fan_out(self, shape: Shape) -> tuple[Array, Array]:
        """Return per input (C order) how many windows it is added to, twice: there are no weights."""
        windows = np.tile(self.window.over(shape).reshape(-1), shape[0])
        return windows, windows

    def synops(self, x: Array) -> tuple[int, int, int]:
        """Return the additions that one step's input triggers: all, weighted by its values, and all again."""
        additions = int(self.sums((x != 0).astype(np.int64)).sum())
        return additions, int(self.sums(x).sum()), additions

    def add_sent(self, add: Nodes, x: str, shape: Shape, steps: int) -> str:
        """Add the sums of whole windows of ``x`` ``[N, *shape]``, uint8 [N, C, OH, OW]."""
        channels, rows, columns = self.output_shape(shape)
        (height, width), stride, padding = self.window.kernel, self.window.stride, self.window.padding
        out = f"{self.name}/sums"
        if self.side_by_side:
            ends, axes = add.constant([rows * height, columns * width]), add.constant([2, 3])
            whole = add("Slice", x, add.constant([0, 0]), ends, axes)
            split = add("Reshape", whole, add.constant([-1, channels, rows, height, columns, width]))
            total = add("ReduceSum", add.cast(split, "INT32"), add.constant([3, 5]), keepdims=0)
            return add.cast(total, "UINT8", out=out)
        ones = add(
            "Reshape", add.constant([1] * (height * width), "UINT8"), add.constant([1, 1, height, width])
        )
        # Channel by channel: each is an image of its own.
        apart = add("Reshape", x, add.constant([-1, 1, *shape[1:]]))
        total = add("ConvInteger", apart, ones, pads=[*padding, *padding], strides=list(stride))
        return add.cast(add("Reshape", total, add.constant([-1, channels, rows, columns])), "UINT8", out=out)

    def record(self) -> dict[str, Any]:
        """Return every field as plain values, for a file's manifest; stride and padding only where format 2 needs them."""
        record = {
            "kind": self.kind,
            "name": self.name,
            "kernel": _plain(self.kernel),
            **source_record(self.source),
        }
        if self._windows_since == 1:
            return record
        return {**record, "stride": _plain(self.stride), "padding": _plain(self.padding)}

    def arrays(self) -> Stored:
        return {}

    @classmethod
    def array_shapes(cls, record: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], int]]:
        return {}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> SumPool:
        kernel, stride, padding = record["kernel"], record.get("stride"), record.get("padding", 0)
        return cls(record["name"], _read(kernel), _read(stride), _read(padding), source=record.get("source"))


def _read(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
