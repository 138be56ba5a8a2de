"""From a program to the tables that the kernels read, with the proofs that make their widths sufficient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import SimulationError
from sastdeploy.fixedpoint import Overflow, Rounding
from sastdeploy.program import ConvLif, DenseLif, Lif, Program, SumPool
from sastdeploy.simulator.kernels import GROUP
from sastdeploy.simulator.tables import Scratch, Step, Wiring

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class LayerPlan:
    """One layer ready to run. Inside the engine a layer's outputs are numbered position first, channel second.

    Args:
        outputs: number of outputs. c_order: int32 ``[outputs]``, output i's number in C order.
        wiring, step: of a LIF layer. window: of a pool, int32 ``[J]``.
        graded: whether the outputs can exceed 1.
        fan_out, fan_out_nonzero: int64 ``[J]``, operations that a value at input j triggers in this layer.
    """

    name: str
    outputs: int
    c_order: NDArray[np.int32]
    wiring: Wiring | None
    step: Step | None
    window: NDArray[np.int32] | None
    narrow: bool
    graded: bool
    fan_out: NDArray[np.int64]
    fan_out_nonzero: NDArray[np.int64]

    def scratch(self) -> Scratch:
        """Return fresh working memory for one thread."""
        wiring = self.wiring
        if wiring is None:
            raise SimulationError(f"layer {self.name}: a pool needs no working memory.")
        width = wiring.weight.shape[1]
        positions = len(wiring.tap_start) - 1
        pixels = 1 if wiring.dense else int(wiring.pixel.max()) + 1
        bucket = 1 if wiring.dense else pixels * wiring.channels
        seen = int(np.diff(wiring.tap_start).max()) * wiring.channels
        rows = (len(wiring.weight) - 1 if wiring.dense else seen) + GROUP
        return Scratch(
            np.zeros(width, np.int16 if self.narrow else np.int32),
            np.zeros(width, np.int32),
            np.zeros(width, np.int32),
            np.zeros(positions * width, np.int32),
            np.zeros(rows, np.int32),
            np.zeros(rows, np.int16),
            np.zeros(pixels, np.int32),
            np.zeros(bucket, np.int32),
            np.zeros(bucket, np.int16),
        )


@dataclass(frozen=True)
class Plan:
    """The layers, and the readout's weights int64 ``[J, K]`` on the last layer's outputs in the engine's order."""

    layers: tuple[LayerPlan, ...]
    readout_weight: NDArray[np.int64]
    fan_out: NDArray[np.int64]
    fan_out_nonzero: NDArray[np.int64]


def make_plan(program: Program) -> Plan:
    """Return the tables for a verified program.

    Raises:
        SimulationError: a weighted sum could leave 32 bits, or a pooled count 15.
    """
    shapes = program.shapes()
    order = np.arange(int(np.prod(shapes[0])), dtype=np.int32)
    largest, layers = program.preprocessing.c_clip, []
    for layer, shape, out_shape in zip(program.layers, shapes, shapes[1:]):
        if isinstance(layer, SumPool):
            largest *= layer.kernel**2
            if largest > np.iinfo(np.int16).max:
                raise SimulationError(f"layer {layer.name}: a pooled count of {largest} exceeds 32767.")
            layers.append(_pool(layer, shape, out_shape, order))
        else:
            layers.append(_lif_layer(layer, shape, out_shape, order, largest))
            largest = 1
        order = layers[-1].c_order
    readout = program.readout
    weight = readout.weight.astype(np.int64).T
    channel = order // int(np.prod(shapes[-1][1:])) if readout.global_sum_pool else order
    nonzero = (weight != 0).sum(axis=1)[channel]
    return Plan(tuple(layers), weight[channel], np.full(len(order), weight.shape[1], np.int64), nonzero)


def _position_order(shape: Shape) -> NDArray[np.int32]:
    """Return for every output, numbered position first, its number in C order of ``(C, H, W)``."""
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape).transpose(1, 2, 0).reshape(-1)


def _pool(layer: SumPool, shape: Shape, out_shape: Shape, order: NDArray[np.int32]) -> LayerPlan:
    channel, y, x = np.unravel_index(order, shape)
    row, column = y // layer.kernel, x // layer.kernel
    kept = (row < out_shape[1]) & (column < out_shape[2])
    window = np.where(kept, (row * out_shape[2] + column) * out_shape[0] + channel, -1).astype(np.int32)
    fan_out = kept.astype(np.int64)
    c_order = _position_order(out_shape)
    return LayerPlan(
        layer.name, len(c_order), c_order, None, None, window, False, True, fan_out, fan_out
    )  # fmt: skip


def _lif_layer(
    layer: DenseLif | ConvLif, shape: Shape, out_shape: Shape, order: NDArray[np.int32], largest: int
) -> LayerPlan:
    worst = np.abs(layer.weight.astype(np.int64)).reshape(len(layer.weight), -1).sum(axis=1).max() * largest
    if worst > np.iinfo(np.int32).max:
        raise SimulationError(f"layer {layer.name}: a weighted sum of {worst} does not fit 32 bits.")
    heaviest = max(1, int(np.abs(layer.weight.astype(np.int64)).max()) * largest)
    rows_that_fit = np.iinfo(np.int16).max // heaviest
    # The kernels add GROUP rows at a time.
    narrow = rows_that_fit >= GROUP
    budget = rows_that_fit if narrow else np.iinfo(np.int32).max - GROUP
    if isinstance(layer, DenseLif):
        wiring, fan_out, nonzero = _dense_wiring(layer, order, budget)
    else:
        wiring, fan_out, nonzero = _conv_wiring(layer, shape, out_shape, order, budget)
    c_order = _position_order(out_shape)
    step = _step(layer.lif)
    return LayerPlan(
        layer.name, len(c_order), c_order, wiring, step, None, narrow, False, fan_out, nonzero
    )  # fmt: skip


def _with_zero_row(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.ascontiguousarray(np.concatenate((weight, np.zeros((1, weight.shape[1]), np.int8))))


def _dense_wiring(layer: DenseLif, order: NDArray[np.int32], budget: int) -> tuple:
    weight = _with_zero_row(layer.weight.T[order])
    nothing = np.zeros(1, np.int32)
    wiring = Wiring(weight, True, nothing, nothing, 1, np.array([0, 0], np.int32), nothing, nothing, budget)
    fan_out = np.full(len(order), weight.shape[1], np.int64)
    return wiring, fan_out, np.count_nonzero(weight[:-1], axis=1).astype(np.int64)


def _conv_wiring(
    layer: ConvLif, shape: Shape, out_shape: Shape, order: NDArray[np.int32], budget: int
) -> tuple:
    outputs, channels, kernel_y, kernel_x = layer.weight.shape
    weight = _with_zero_row(layer.weight.transpose(2, 3, 1, 0).reshape(-1, outputs))
    _, height, width = shape
    out_y, out_x, ky, kx = np.indices((*out_shape[1:], kernel_y, kernel_x), dtype=np.int32).reshape(4, -1)
    y = out_y * layer.stride[0] - layer.padding[0] + ky
    x = out_x * layer.stride[1] - layer.padding[1] + kx
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    pixel = (y * width + x)[inside].astype(np.int32)
    element = (ky * kernel_x + kx)[inside]
    taps = np.bincount((out_y * out_shape[2] + out_x)[inside], minlength=out_shape[1] * out_shape[2])
    tap_start = np.concatenate(([0], np.cumsum(taps))).astype(np.int32)
    in_channel, in_pixel = order // (height * width), order % (height * width)
    wiring = Wiring(
        weight,
        False,
        in_pixel.astype(np.int32),
        in_channel.astype(np.int32),
        channels,
        tap_start,
        pixel,
        (element * channels).astype(np.int32),
        budget,
    )
    # reach[pixel, element]: output positions at which the pixel meets that kernel element (0 or 1 of them).
    elements = kernel_y * kernel_x
    reach = np.bincount(pixel.astype(np.int64) * elements + element, minlength=height * width * elements)
    reach = reach.reshape(height * width, elements)
    nonzero = np.count_nonzero(layer.weight, axis=0).reshape(channels, elements)
    fan_out = (reach.sum(axis=1) * outputs)[in_pixel]
    return wiring, fan_out.astype(np.int64), (reach @ nonzero.T)[in_pixel, in_channel].astype(np.int64)


def _step(lif: Lif) -> Step:
    threshold = lif.threshold.astype(np.int32)
    none = np.zeros_like(threshold)
    shift = lif.shift.astype(np.int64)
    delayed = lif.reset_delay == 1
    k = lif.leak_shift
    return Step(
        multiplier=lif.multiplier.astype(np.int32),
        half=np.left_shift(1, shift) >> 1,
        shift=lif.shift.astype(np.int32),
        bias=lif.bias.astype(np.int32),
        test=threshold + np.int32(lif.spike_test == ">"),
        subtract_before=threshold if delayed and lif.reset == "subtract" else none,
        subtract_after=threshold if not delayed and lif.reset == "subtract" else none,
        zero_before=-1 if delayed and lif.reset == "zero" else 0,
        zero_after=-1 if not delayed and lif.reset == "zero" else 0,
        leak_multiplier=int(lif.leak_multiplier),
        leak_shift=int(k),
        leak_half=(1 << k) >> 1 if lif.leak_rounding == Rounding.NEAREST else 0,
        leak_negative=(1 << k) - 1 if lif.leak_rounding == Rounding.TOWARD_ZERO else 0,
        q_min=lif.membrane.q_min,
        q_max=lif.membrane.q_max,
        wrap=lif.overflow == Overflow.WRAP,
    )
