"""From a program to the tables that the kernels read, with the proofs that make their widths sufficient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import SimulationError
from sastdeploy.fixedpoint import Overflow, Rounding
from sastdeploy.program import ConvLif, DenseLif, Lif, Program, SumPool
from sastdeploy.simulator.tables import Scratch, Step, Wiring
from sastdeploy.vectors import aligned_zeros, paired_order
from sastdeploy.vectors import shape as shape_of

Shape = tuple[int, int, int]

_MOST_COLUMNS = 192
"""Columns summed at once: six 512-bit registers for the sums, the rest for two rows."""
_CROWD = 8
"""Rows per position from which listing them first and summing in registers beats adding each to memory; measured."""
_LARGEST_FACTOR = 127
"""Largest value by which `vectors.add_pair` multiplies a row."""
_BLOCK = 1 << 20
"""Weights looked at together when budgets are counted, so that memory stays small beside a large layer."""
_ANY = 2**30
"""Budget where no choice of rows can leave 16 bits."""


@dataclass(frozen=True)
class LayerPlan:
    """One layer ready to run. Inside the engine a layer's outputs are numbered position first, channel second.

    Args:
        outputs: number of outputs. c_order: int32 ``[outputs]``, output i's number in C order.
        wiring, step: of a LIF layer. window: of a pool, int32 ``[J]``.
        graded: whether the outputs can exceed 1.
        fan_out, fan_out_nonzero: int32 ``[J]``, operations that a value at input j triggers in this layer.
    """

    name: str
    outputs: int
    c_order: NDArray[np.int32]
    wiring: Wiring | None
    step: Step | None
    window: NDArray[np.int32] | None
    graded: bool
    fan_out: NDArray[np.int32]
    fan_out_nonzero: NDArray[np.int32]

    def scratch(self) -> Scratch:
        """Return fresh working memory for one thread."""
        wiring = self.wiring
        if wiring is None:
            raise SimulationError(f"layer {self.name}: a pool needs no working memory.")
        if self.step is None:
            raise SimulationError(f"layer {self.name}: has weights but no neurons.")
        pitch, positions, padded = wiring.weight.shape[1], wiring.positions, len(self.step.bias)
        listed = 1 if wiring.dense else positions * wiring.room
        return Scratch(
            pitch,
            aligned_zeros(positions * pitch, np.int32),
            aligned_zeros(positions * padded, np.int32),
            aligned_zeros(positions * padded, np.int32),
            np.empty(listed, np.int32),
            np.empty(listed, np.int16),
            np.zeros(positions, np.int32),
        )


@dataclass(frozen=True)
class Plan:
    """The layers, and the readout's weights int64 ``[J, K]`` on the last layer's outputs in the engine's order."""

    layers: tuple[LayerPlan, ...]
    readout_weight: NDArray[np.int64]
    fan_out: NDArray[np.int32]
    fan_out_nonzero: NDArray[np.int32]


_plans: dict[str, Plan] = {}
_MOST_PLANS = 4


def plan_of(program: Program, digest: str) -> Plan:
    """Return `make_plan` of a program, kept for the last few contents; ``digest`` is the program's hash."""
    plan = _plans.pop(digest, None) or make_plan(program)
    _plans[digest] = plan
    for old in list(_plans)[:-_MOST_PLANS]:
        _plans.pop(old, None)
    return plan


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
    fan_out = np.full(len(order), weight.shape[1], np.int32)
    return Plan(tuple(layers), weight[channel], fan_out, nonzero.astype(np.int32))


def _position_order(shape: Shape) -> NDArray[np.int32]:
    """Return for every output, numbered position first, its number in C order of ``(C, H, W)``."""
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape).transpose(1, 2, 0).reshape(-1)


def _pool(layer: SumPool, shape: Shape, out_shape: Shape, order: NDArray[np.int32]) -> LayerPlan:
    channel, y, x = np.unravel_index(order, shape)
    row, column = y // layer.kernel, x // layer.kernel
    kept = (row < out_shape[1]) & (column < out_shape[2])
    window = np.where(kept, (row * out_shape[2] + column) * out_shape[0] + channel, -1).astype(np.int32)
    fan_out = kept.astype(np.int32)
    c_order = _position_order(out_shape)
    return LayerPlan(
        layer.name, len(c_order), c_order, None, None, window, True, fan_out, fan_out
    )  # fmt: skip


def _lif_layer(
    layer: DenseLif | ConvLif, shape: Shape, out_shape: Shape, order: NDArray[np.int32], largest: int
) -> LayerPlan:
    magnitude = np.abs(layer.weight.astype(np.int16)).reshape(len(layer.weight), -1)
    worst = int(magnitude.sum(axis=1, dtype=np.int64).max()) * largest
    if worst > np.iinfo(np.int32).max:
        raise SimulationError(f"layer {layer.name}: a weighted sum of {worst} does not fit 32 bits.")
    narrow = _narrow_budget(layer.weight, largest)
    if isinstance(layer, DenseLif):
        wiring, fan_out, nonzero = _dense_wiring(layer, order, narrow)
    else:
        wiring, fan_out, nonzero = _conv_wiring(layer, shape, out_shape, order, narrow)
    c_order = _position_order(out_shape)
    step = _step(layer.lif)
    return LayerPlan(
        layer.name, len(c_order), c_order, wiring, step, None, False,
        fan_out.astype(np.int32), nonzero.astype(np.int32),
    )  # fmt: skip


def _narrow_budget(weight: NDArray[np.int8], largest: int) -> int:
    """Return the even number of rows whose sum fits 16 bits whichever they are, values up to ``largest``; or 0.

    The worst choice for a neuron is its heaviest weights, all of one sign, each at the largest value.
    """
    if largest > _LARGEST_FACTOR:
        return 0
    rows = weight[0].size
    block = max(1, _BLOCK // max(1, rows))
    fits = [_rows_that_fit(weight[o : o + block], largest) for o in range(0, len(weight), block)]
    return _ANY if min(fits) >= rows else min(fits) // 2 * 2


def _rows_that_fit(weight: NDArray[np.int8], largest: int) -> int:
    """Return how many weights of any neuron, the heaviest first, times ``largest`` fit 16 bits together."""
    outputs = len(weight)
    heaviness = 128 - np.abs(weight.reshape(outputs, -1).astype(np.int64))
    # Per neuron: how many weights of each magnitude, from 128 down to 0.
    number = np.bincount((np.arange(outputs)[:, None] * 129 + heaviness).reshape(-1), minlength=outputs * 129)
    number = number.reshape(outputs, 129)
    each = np.arange(128, -1, -1) * largest
    sums = np.cumsum(number * each, axis=1)
    room = np.iinfo(np.int16).max
    last = (sums <= room).sum(axis=1)  # the first magnitude of which not all fit; 129: all do
    number, sums, each = (np.pad(a, ((0, 0), (1, 0))) for a in (number, sums, each[None]))
    one = np.arange(outputs)
    taken, used = np.cumsum(number, axis=1)[one, last], sums[one, last]
    step = np.append(each[0], np.iinfo(np.int64).max)[last + 1]
    return int((taken + (room - used) // step).min())


def _padded(width: int, lanes: int) -> int:
    return -(-width // lanes) * lanes


def _columns(width: int) -> tuple[int, int, int]:
    """Return (V, L, W): how many columns are summed at once, and the width padded to a multiple of V x L."""
    lanes = next((n for n, most in ((64, 1.15), (32, 1.5)) if _padded(width, n) <= most * width), 16)
    vectors = _padded(width, lanes) // lanes
    pieces = -(-vectors * lanes // _MOST_COLUMNS)
    at_once = -(-vectors // pieces)
    return at_once, lanes, pieces * at_once * lanes


def _neuron_lanes(width: int) -> int:
    """Return how many neurons take a step together: many, unless much of it would be padding."""
    return next((n for n in (64, 32) if _padded(width, n) <= 1.15 * width), 16)


def _table(weight: NDArray[np.int8]) -> tuple[NDArray[np.int8], int, tuple[int, ...], tuple[int, ...]]:
    """Return the first four fields of `Wiring` for weight rows ``[rows, O]``."""
    rows, width = weight.shape
    vectors, lanes, padded = _columns(width)
    table = aligned_zeros((max(1, rows), padded), np.int8)
    table[:rows, :width] = weight
    pieces = table.reshape(len(table), -1, lanes)
    pieces[:] = pieces[:, :, paired_order(lanes)]
    return table, width, *shape_of(vectors, lanes)


def _dense_wiring(layer: DenseLif, order: NDArray[np.int32], budget: int) -> tuple:
    weight = layer.weight.T[order]
    none = np.zeros(1, np.int32)
    wiring = Wiring(*_table(weight), True, 1, len(weight), 0, none, none, none, none, none, budget)
    return wiring, np.full(len(order), weight.shape[1]), np.count_nonzero(weight, axis=1)


def _conv_wiring(
    layer: ConvLif, shape: Shape, out_shape: Shape, order: NDArray[np.int32], budget: int
) -> tuple:
    outputs, channels, kernel_y, kernel_x = layer.weight.shape
    _, height, width = shape
    out_y, out_x, ky, kx = np.indices((*out_shape[1:], kernel_y, kernel_x), dtype=np.int64).reshape(4, -1)
    y = out_y * layer.stride[0] - layer.padding[0] + ky
    x = out_x * layer.stride[1] - layer.padding[1] + kx
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    position = (out_y * out_shape[2] + out_x)[inside]
    pixel = (y * width + x)[inside]
    element = (ky * kernel_x + kx)[inside]
    by_pixel = np.argsort(pixel, kind="stable")
    in_channel, in_pixel = order // (height * width), order % (height * width)
    wiring = Wiring(
        *_table(layer.weight.transpose(2, 3, 1, 0).reshape(-1, outputs)),
        False,
        out_shape[1] * out_shape[2],
        int(np.bincount(position, minlength=1).max()) * channels,
        _CROWD * out_shape[1] * out_shape[2] * height * width // max(1, len(pixel)),
        in_pixel.astype(np.int32),
        in_channel.astype(np.int32),
        np.searchsorted(pixel[by_pixel], np.arange(height * width + 1)).astype(np.int32),
        position[by_pixel].astype(np.int32),
        (element * channels)[by_pixel].astype(np.int32),
        budget,
    )
    # reach[pixel, element]: output positions at which the pixel meets that kernel element (0 or 1 of them).
    elements = kernel_y * kernel_x
    reach = np.bincount(pixel * elements + element, minlength=height * width * elements)
    reach = reach.reshape(height * width, elements)
    nonzero = np.count_nonzero(layer.weight, axis=0).reshape(channels, elements)
    fan_out = (reach.sum(axis=1) * outputs)[in_pixel]
    return wiring, fan_out, (reach @ nonzero.T)[in_pixel, in_channel]


def _mask(*columns: NDArray) -> int:
    """Return 0 where every column repeats one number, else -1."""
    return 0 if all((column == column[0]).all() for column in columns) else -1


def _step(lif: Lif) -> Step:
    threshold = lif.threshold.astype(np.int32)
    none = np.zeros_like(threshold)
    shift = lif.shift.astype(np.int64)
    delayed = lif.reset_delay == 1
    k, a = lif.leak_shift, int(lif.leak_multiplier)
    half = (1 << k) >> 1 if lif.leak_rounding == Rounding.NEAREST else 0
    negative = (1 << k) - 1 if lif.leak_rounding == Rounding.TOWARD_ZERO else 0
    # A membrane is stored after its reset, so it can lie a threshold below the format's lower end.
    farthest = max(abs(lif.membrane.q_min), abs(lif.membrane.q_max)) + int(np.abs(threshold).max(initial=0))

    lanes = _neuron_lanes(len(threshold))
    padded = _padded(len(threshold), lanes)

    def filled(values: NDArray, dtype: type = np.int32, filling: int = 0) -> NDArray:
        array = aligned_zeros(padded, dtype)
        array[:] = filling
        array[: len(values)] = values
        return array

    return Step(
        eighths=shape_of(1, lanes)[1],
        multiplier=filled(lif.multiplier, np.int64),
        half=filled(np.left_shift(1, shift) >> 1, np.int64),
        shift=filled(shift, np.int64),
        bias=filled(lif.bias),
        test=filled(threshold + np.int32(lif.spike_test == ">"), filling=np.iinfo(np.int32).max),
        subtract_before=filled(threshold if delayed and lif.reset == "subtract" else none),
        subtract_after=filled(threshold if not delayed and lif.reset == "subtract" else none),
        zero_before=-1 if delayed and lif.reset == "zero" else 0,
        zero_after=-1 if not delayed and lif.reset == "zero" else 0,
        leak_multiplier=a,
        leak_shift=int(k),
        leak_half=half,
        leak_negative=negative,
        # The same in the padding: nothing is added there, and a neuron at rest stays silent.
        gain_mask=_mask(lif.multiplier, lif.shift),
        threshold_mask=_mask(threshold) if threshold.min() > 0 else -1,
        wide_leak=farthest * a + half + negative > np.iinfo(np.int32).max or k > 31,
        q_min=lif.membrane.q_min,
        q_max=lif.membrane.q_max,
        wrap=lif.overflow == Overflow.WRAP,
    )
