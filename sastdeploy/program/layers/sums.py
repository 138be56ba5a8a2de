"""How weights meet a step's values: fully connected, or as a convolution; of a layer's own inputs and of its further ones alike."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import short
from sastdeploy.program.limits import Shape, by, check_weight, is_pair, refuse
from sastdeploy.program.onnx_nodes import Nodes
from sastdeploy.windows import MAX_STRIDE, Window

Array = NDArray[np.int64]


class DenseSums:
    """``weight @ x`` on the flattened (C order) values. weight: int8 [N, J]."""

    weight: NDArray[np.int8]

    def output_shape(self, shape: Shape) -> Shape:
        return (self.weight.shape[0], 1, 1)

    def check_weights(self, where: str, bits: int, shape: Shape) -> None:
        """Accept weights of ``bits`` bits that fit values of ``shape``."""
        check_weight(where, self.weight, bits, 2)
        if self.weight.shape[1] != math.prod(shape):
            wrong = f"weight has {self.weight.shape[1]} columns"
            refuse(where, wrong, f"{math.prod(shape)}, one per value of its {by(shape)} input")

    def sums(self, x: Array) -> Array:
        """Return ``acc`` ``[N, 1, 1]`` for one step's input ``[C, H, W]``."""
        return (self.weight.astype(np.int64) @ x.reshape(-1)).reshape(-1, 1, 1)

    def fan_out(self, shape: Shape) -> tuple[Array, Array]:
        """Return per input (C order) how many operations it triggers, and how many on weights other than 0."""
        neurons, inputs = self.weight.shape
        return np.full(inputs, neurons, np.int64), np.count_nonzero(self.weight, axis=0).astype(np.int64)

    def synops(self, x: Array) -> tuple[int, int, int]:
        """Return the operations that one step's input triggers: all, weighted by its values, on weights other than 0."""
        active = (x.reshape(-1) != 0).astype(np.int64)
        neurons, nonzero = len(self.weight), (self.weight != 0).sum(axis=0)
        return int(neurons * active.sum()), int(neurons * x.sum()), int(nonzero @ active)

    def add_products(self, add: Nodes, x: str, weight: str, bits: int, out: str) -> str:
        """Add the sums ``out``, int32 [N, C, 1, 1], of ``x`` and the initializer ``weight``: exact in every 8-bit kernel, as values end at 127."""
        weight = add.cast(weight, "INT8") if bits <= 4 else weight
        flat = add("Flatten", x, axis=1)
        acc = add("MatMulInteger", flat, add("Transpose", weight, perm=[1, 0]))
        return add("Unsqueeze", acc, add.constant([2, 3]), out=out)


class ConvSums:
    """Integer cross-correlation with zero padding. weight: int8 [O, I, KH, KW]."""

    weight: NDArray[np.int8]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @property
    def window(self) -> Window:
        _, _, height, width = self.weight.shape
        return Window((height, width), self.stride, self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        return (self.weight.shape[0], *self.window.output(shape))

    def check_weights(self, where: str, bits: int, shape: Shape) -> None:
        """Accept weights of ``bits`` bits that fit values of ``shape``."""
        check_weight(where, self.weight, bits, 4)
        if self.weight.shape[1] != shape[0]:
            wrong = f"weight reads {self.weight.shape[1]} channels"
            refuse(where, wrong, f"{shape[0]}, as in its {by(shape)} input")
        for name, low in (("stride", 1), ("padding", 0)):
            if not is_pair(getattr(self, name), low, MAX_STRIDE):
                allowed = f"a tuple of two whole numbers, {low} to {MAX_STRIDE}"
                refuse(where, f"{name} is {short(getattr(self, name))}", allowed)
        for axis in (0, 1):
            size = shape[1 + axis] + 2 * self.padding[axis]
            if self.weight.shape[2 + axis] > size:
                wrong = f"kernel is {self.weight.shape[2 + axis]} along {'HW'[axis]}"
                refuse(where, wrong, f"at most {size}, the padded input")

    def sums(self, x: Array) -> Array:
        """Return ``acc`` ``[O, OH, OW]`` for one step's input ``[I, H, W]``."""
        weight = self.weight.astype(np.int64)
        acc: Array = sum(
            np.einsum("oc,chw->ohw", weight[:, :, ky, kx], self.seen_by(x, ky, kx))
            for ky in range(weight.shape[2])
            for kx in range(weight.shape[3])
        )
        return acc

    def seen_by(self, x: Array, ky: int, kx: int) -> Array:
        """Return the input values ``[I, OH, OW]`` that kernel element ``(ky, kx)`` meets at every output position."""
        (pad_y, pad_x), (step_y, step_x) = self.padding, self.stride
        padded = np.pad(x, ((0, 0), (pad_y, pad_y), (pad_x, pad_x)))
        _, rows, columns = self.output_shape((x.shape[0], x.shape[1], x.shape[2]))
        seen = padded[:, ky : ky + rows * step_y : step_y, kx : kx + columns * step_x : step_x]
        return seen[:, :rows, :columns]

    def fan_out(self, shape: Shape) -> tuple[Array, Array]:
        """Return per input (C order) how many operations it triggers, and how many on weights other than 0."""
        nonzero = (self.weight != 0).sum(axis=0)
        every = np.full_like(nonzero, len(self.weight))
        return self._met(shape, every), self._met(shape, nonzero)

    def _met(self, shape: Shape, per_element: Array) -> Array:
        """Scatter ``per_element`` ``[I, KH, KW]`` to the inputs that each kernel element meets, and sum."""
        (pad_y, pad_x), (step_y, step_x) = self.padding, self.stride
        channels, height, width = shape
        padded = np.zeros((channels, height + 2 * pad_y, width + 2 * pad_x), np.int64)
        _, rows, columns = self.output_shape(shape)
        for ky in range(self.weight.shape[2]):
            for kx in range(self.weight.shape[3]):
                last_y, last_x = ky + (rows - 1) * step_y + 1, kx + (columns - 1) * step_x + 1
                padded[:, ky:last_y:step_y, kx:last_x:step_x] += per_element[:, ky, kx, None, None]
        return padded[:, pad_y : pad_y + height, pad_x : pad_x + width].reshape(-1)

    def synops(self, x: Array) -> tuple[int, int, int]:
        """Return the operations that one step's input triggers: all, weighted by its values, on weights other than 0.

        Every meeting of a non-zero input with a kernel element at an output position is counted, without `fan_out`.
        """
        active = (x != 0).astype(np.int64)
        total = weighted = nonzero = 0
        outputs, _, height, width = self.weight.shape
        for ky in range(height):
            for kx in range(width):
                meetings = self.seen_by(active, ky, kx).sum(axis=(1, 2))
                total += outputs * int(meetings.sum())
                weighted += outputs * int(self.seen_by(x, ky, kx).sum())
                nonzero += int((self.weight[:, :, ky, kx] != 0).sum(axis=0) @ meetings)
        return total, weighted, nonzero

    def add_products(self, add: Nodes, x: str, weight: str, bits: int, out: str) -> str:
        """Add the sums ``out``, int32 [N, O, OH, OW], of ``x`` and the initializer ``weight``: exact in every 8-bit kernel, as values end at 127."""
        pads, strides = [*self.padding, *self.padding], list(self.stride)
        # ONNX Runtime 1.23 convolves only unsigned weights: the same integers, counted from a zero point of 128.
        wide = add.cast(weight, "INT32")
        shifted = add.cast(add("Add", wide, add.constant(128, "INT32")), "UINT8")
        zero = add.constant(128, "UINT8")
        return add("ConvInteger", x, shifted, "", zero, out=out, pads=pads, strides=strides)
