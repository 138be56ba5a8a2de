"""From a program to the tables that the kernels read, with the proofs that make their widths sufficient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.vectors import aligned_zeros
from sastdeploy._kernels.vectors import shape as shape_of
from sastdeploy.errors import SimulationError
from sastdeploy.program.fixedpoint import Overflow, Rounding
from sastdeploy.program.layers.current import Decay
from sastdeploy.program.layers.delay import each_steps
from sastdeploy.program.layers.each import along_map
from sastdeploy.program.records import ConvLif, Delay, DenseLif, Lif, Program, RecurrentLif, SumPool
from sastdeploy.simulator.numba_engine.tables import Scratch, Step, Wiring
from sastdeploy.simulator.numba_engine.wiring import BY_PIXEL, MAX_LANES, WIRING, neuron_lanes, padded_width

Shape = tuple[int, int, int]
_Integer = TypeVar("_Integer", bound=np.integer)

_MAX_FACTOR = 127
"""Largest value by which `vectors.add_pair` multiplies a row."""
_BLOCK = 1 << 20
"""Weights looked at together when budgets are counted, so that memory stays small beside a large layer."""
_ANY = 2**30
"""Budget where no choice of rows can leave 16 bits."""


@dataclass(frozen=True)
class LayerPlan:
    """One layer ready to run. Inside the engine a layer's outputs are numbered position first, channel second.

    Args:
        outputs, positions: number of outputs, and of their pixels. c_order: int32 ``[outputs]``, output i's number in C order.
        wiring, step: of a LIF layer. windows: of a pool, int32 ``[J, most]``, the outputs that input j is added to, -1 behind the last.
        delays: of a delay, int64 ``[J]``, the steps that each input waits.
        graded: whether the outputs can exceed 1, as a pool's do and those of neurons that can send several spikes in a step.
        fan_out, fan_out_nonzero: int32 ``[J]``, operations that value j of the source before it, the input or the layer before, triggers:
            wherever it is heard, and in its own layer.
        further: sources of further inputs, 0 the network's input. joined_pixels: whether theirs are numbered behind the layer's own,
            as convolutions look for them.
    """

    name: str
    outputs: int
    positions: int
    c_order: NDArray[np.int32]
    wiring: Wiring | None
    step: Step | None
    windows: NDArray[np.int32] | None
    graded: bool
    fan_out: NDArray[np.int32]
    fan_out_nonzero: NDArray[np.int32]
    further: tuple[int, ...] = ()
    joined_pixels: bool = False
    delays: NDArray[np.int64] | None = None

    def neurons(self) -> tuple[Wiring, Step]:
        """Return ``wiring`` and ``step`` of a LIF layer."""
        if self.wiring is None:
            raise SimulationError(f"layer {self.name}: has no weights, so no neurons.")
        if self.step is None:
            raise SimulationError(f"layer {self.name}: has weights but no neurons.")
        return self.wiring, self.step

    def scratch(self) -> Scratch:
        """Return fresh working memory for one thread."""
        wiring, step = self.neurons()
        pitch, block, padded = wiring.weight.shape[1], wiring.block, len(step.multiplier)
        return Scratch(
            pitch,
            aligned_zeros(block * pitch, np.int32),
            aligned_zeros(block * padded, np.int32),
            np.zeros(block * wiring.capacity + MAX_LANES, np.int32),
            np.zeros(block * wiring.capacity, np.int16),
            np.zeros(block + 1, np.int64),
            aligned_zeros(block * padded if step.synaptic else 1, np.int32),
            aligned_zeros(block * padded if step.several else 1, np.int32),
        )


@dataclass(frozen=True)
class Plan:
    """The layers, and the readout's weights int64 ``[J, K]`` on the last layer's outputs in the engine's order.

    summed: positions whose counts are added per channel before the readout, J being channels then; 1: none are.

    further: source and weights of each of its further inputs, in the source's order.

    input_order: int32 ``[2, J]``, pixel and number (pixel first, channel second) of each of the network's inputs where
    a convolution takes them, in that order; else None.
    """

    layers: tuple[LayerPlan, ...]
    input_order: NDArray[np.int32] | None
    readout_weight: NDArray[np.int64]
    summed: int
    further: tuple[tuple[int, NDArray[np.int64]], ...]
    fan_out: NDArray[np.int32]
    fan_out_nonzero: NDArray[np.int32]


_plans: dict[str, Plan] = {}
_MAX_PLANS = 4


def plan_of(program: Program, digest: str) -> Plan:
    """Return `make_plan` of a program, kept for the last few contents; ``digest`` is the program's hash."""
    plan = _plans.pop(digest, None) or make_plan(program)
    _plans[digest] = plan
    for old in list(_plans)[:-_MAX_PLANS]:
        _plans.pop(old, None)
    return plan


def make_plan(program: Program) -> Plan:
    """Return the tables for a verified program.

    Raises:
        SimulationError: a weighted sum could leave 32 bits, or a pooled count 15.
    """
    shapes = program.shapes()
    order, input_order = np.arange(int(np.prod(shapes[0])), dtype=np.int32), None
    if _by_pixel(program):
        order = _position_order(shapes[0])
        input_order = np.stack((np.arange(len(order)) % np.prod(shapes[0][1:]), np.argsort(order))).astype(
            np.int32
        )
    most = program.largest_values()
    layers: list[LayerPlan] = []
    orders = [order]
    *tables, last_tables = program.fan_outs()
    for number, (layer, source, table) in enumerate(zip(program.layers, program.sources(), tables), 1):
        fans = [fan[orders[-1]].astype(np.int32) for fan in table]
        if layer.lif is None:
            passed = _PASSED[layer.kind]
            layers.append(passed(layer, shapes[source], shapes[number], orders[source], fans))
        else:
            heard = [source, *(each.source for each in layer.further)]
            joined, inputs = _joined([orders[each] for each in heard]), [shapes[each] for each in heard]
            layers.append(_lif_layer(layer, inputs, shapes[number], joined, most[source], most, fans))
        if most[number] > np.iinfo(np.int16).max:
            raise SimulationError(f"layer {layer.name}: a pooled count of {most[number]} exceeds 32767.")
        orders.append(layers[-1].c_order)
    readout = program.readout
    weight = readout.weight.astype(np.int64).T
    summed = int(np.prod(shapes[-1][1:])) if readout.global_sum_pool else 1
    fans = [fan[orders[-1]].astype(np.int32) for fan in last_tables]
    further = tuple(
        (each.source, each.weight.astype(np.int64).T[orders[each.source]]) for each in readout.further
    )
    return Plan(
        tuple(layers), input_order, weight if readout.global_sum_pool else weight[orders[-1]], summed, further, *fans
    )  # fmt: skip


def _by_pixel(program: Program) -> bool:
    """Return whether a layer takes the network's inputs, delayed or not, in the order of their pixels."""
    inputs = {0}
    for number, (layer, source) in enumerate(zip(program.layers, program.sources()), 1):
        if layer.kind in IN_PLACE and source in inputs:
            inputs.add(number)
        if layer.kind in BY_PIXEL and inputs & {source, *(each.source for each in layer.further)}:
            return True
    return False


def _joined(orders: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Return orders one behind the other, each numbered from the end of the one before it."""
    ends = np.cumsum([0, *map(len, orders)])
    return np.concatenate([order + end for order, end in zip(orders, ends)]).astype(np.int32)


def _position_order(shape: Shape) -> NDArray[np.int32]:
    """Return for every output, numbered position first, its number in C order of ``(C, H, W)``."""
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape).transpose(1, 2, 0).reshape(-1)


def _pool(
    layer: SumPool, shape: Shape, out_shape: Shape, order: NDArray[np.int32], fans: list[NDArray[np.int32]]
) -> LayerPlan:
    """Return a pool's tables: which windows, numbered position first, each input lies in."""
    (kernel_y, kernel_x), stride, padding = layer.window.kernel, layer.window.stride, layer.window.padding
    most_y, most_x = (-(-size // step) for size, step in zip((kernel_y, kernel_x), stride))
    channel, y, x = (part[:, None, None] for part in np.unravel_index(order, shape))
    # The last window that begins at or before the input, and those before it as far as they reach it.
    row = (y + padding[0]) // stride[0] - np.arange(most_y)[:, None]
    column = (x + padding[1]) // stride[1] - np.arange(most_x)
    kept = (row >= 0) & (row < out_shape[1]) & (y + padding[0] - row * stride[0] < kernel_y)
    kept = kept & (column >= 0) & (column < out_shape[2]) & (x + padding[1] - column * stride[1] < kernel_x)
    outputs = np.where(kept, (row * out_shape[2] + column) * out_shape[0] + channel, -1)
    windows = -np.sort(-outputs.reshape(len(order), -1), axis=1)
    c_order, positions = _position_order(out_shape), out_shape[1] * out_shape[2]
    return LayerPlan(
        layer.name,
        len(c_order),
        positions,
        c_order,
        None,
        None,
        windows.astype(np.int32),
        True,
        fans[0],
        fans[1],
    )


def _delay(
    layer: Delay, shape: Shape, out_shape: Shape, order: NDArray[np.int32], fans: list[NDArray[np.int32]]
) -> LayerPlan:
    """Return a delay's tables; its outputs are numbered as its inputs are."""
    delays, positions = each_steps(layer.steps, shape).reshape(-1)[order], shape[1] * shape[2]
    return LayerPlan(
        layer.name, len(order), positions, order, None, None, None, True, fans[0], fans[1], delays=delays
    )  # fmt: skip


_PASSED: dict[str, Callable[..., LayerPlan]] = {"sum_pool": _pool, "delay": _delay}
"""Tables of kinds without neurons."""
IN_PLACE = ("delay",)
"""Kinds whose outputs are numbered as their inputs are."""


def _lif_layer(
    layer: DenseLif | ConvLif | RecurrentLif, shapes: list[Shape], out_shape: Shape, order: NDArray[np.int32],
    largest: int, most: tuple[int, ...], fans: list[NDArray[np.int32]],
) -> LayerPlan:  # fmt: skip
    """Return a layer's tables; shapes, order: of its own input and of further ones; largest: value of its own, most: of every source."""
    worst = int(layer.worst_sums(largest, most).max())
    if worst > np.iinfo(np.int32).max:
        raise SimulationError(f"layer {layer.name}: a weighted sum of {worst} does not fit 32 bits.")
    weight, *others = layer.weight_arrays
    if others:
        weight = np.concatenate([array.reshape(len(weight), -1) for array in (weight, *others)], axis=1)
    further = tuple(each.source for each in layer.further)
    several = layer.lif.max_spikes
    largest = max(largest, *(most[source] for source in further), several if layer.own_weights else 1)
    wiring = WIRING[layer.kind](layer, shapes, out_shape, order, _narrow_budget(weight, largest))
    c_order = _position_order(out_shape)
    return LayerPlan(
        layer.name,
        len(c_order),
        wiring.positions,
        c_order,
        wiring,
        _step(layer.lif, worst, out_shape),
        None,
        several > 1,
        fans[0],
        fans[1],
        further,
        layer.kind in BY_PIXEL and bool(further),
    )


def _narrow_budget(weight: NDArray[np.int8], largest: int) -> int:
    """Return the even number of rows whose sum fits 16 bits whichever they are, values up to ``largest``; or 0.

    The worst choice for a neuron is its heaviest weights, all of one sign, each at the largest value.
    """
    if largest > _MAX_FACTOR:
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
    limit = np.iinfo(np.int16).max
    last = (sums <= limit).sum(axis=1)  # the first magnitude of which not all fit; 129: all do
    number, sums, each = (np.pad(a, ((0, 0), (1, 0))) for a in (number, sums, each[None]))
    one = np.arange(outputs)
    taken, used = np.cumsum(number, axis=1)[one, last], sums[one, last]
    step = np.append(each[0], np.iinfo(np.int64).max)[last + 1]
    return int((taken + (limit - used) // step).min())


def _mask(*columns: NDArray[np.integer]) -> int:
    """Return 0 where every column repeats one number, else -1."""
    return 0 if all((column == column[0]).all() for column in columns) else -1


def _step(lif: Lif, worst: int, shape: Shape) -> Step:
    """Return the step's numbers for neurons ``shape``; ``worst``: the largest weighted sum, of either sign."""
    threshold = lif.threshold.astype(np.int32)
    none = np.zeros_like(threshold)
    shift = lif.shift.astype(np.int64)
    delayed = lif.reset_delay == 1
    # A membrane is stored after its reset, so it can lie a threshold below the format's lower end.
    farthest = -lif.membrane.q_min + int(np.abs(threshold).max(initial=0))
    leak = _decay(_largest(lif.leak_multiplier), lif.leak_shift, lif.leak_rounding, farthest)
    own, idle = lif.current, (0, 0, 0, 0, False)
    kept = _decay(_largest(own.multiplier), own.shift, own.rounding, -lif.membrane.q_min) if own else idle

    halves = np.left_shift(1, shift) >> 1
    fits = (
        worst * lif.multiplier.astype(np.int64) + halves <= np.iinfo(np.int32).max
    ).all() and shift.max() < 32
    gain: type[np.signedinteger] = np.int32 if fits else np.int64

    channels = len(lif.multiplier)
    lanes = neuron_lanes(channels)
    padded = padded_width(channels, lanes)
    apart = bool(lif.per_neuron())

    def filled(values: NDArray[np.integer], dtype: type[_Integer], filling: int = 0) -> NDArray[_Integer]:
        array = aligned_zeros(padded, dtype)
        array[:] = filling
        array[: len(values)] = values
        return array

    def each(values: Decay, filling: int = 0) -> NDArray[np.int32]:
        """Return one number for all, per channel or per neuron as a table: of the channels, or of those at every position."""
        own = np.asarray(values, np.int32)
        return (
            everywhere(own, filling) if apart else filled(np.broadcast_to(own, channels), np.int32, filling)
        )

    def everywhere(own: NDArray[np.int32], filling: int = 0) -> NDArray[np.int32]:
        """Return the channels' numbers at every position, one position behind the other."""
        table = np.full((shape[1] * shape[2], padded), filling, np.int32)
        whole = np.broadcast_to(along_map(np.atleast_1d(own)), shape)
        table[:, :channels] = whole.reshape(channels, -1).T
        flat = aligned_zeros(table.size, np.int32)
        flat[:] = table.reshape(-1)
        return flat

    decays, starts, nothing = lif.decays(), lif.starts(), aligned_zeros(1, np.int32)
    return Step(
        eighths=shape_of(1, lanes)[1],
        multiplier=filled(lif.multiplier, gain),
        half=filled(halves, gain),
        shift=filled(shift, gain),
        bias=each(lif.bias),
        test=each(threshold + np.int32(lif.spike_test == ">"), np.iinfo(np.int32).max),
        subtract_before=each(threshold if delayed and lif.reset == "subtract" else none),
        subtract_after=each(threshold if not delayed and lif.reset == "subtract" else none),
        zero_before=-1 if delayed and lif.reset in ("zero", "refractory") else 0,
        zero_after=-1 if not delayed and lif.reset == "zero" else 0,
        refractory=(0,) if lif.reset == "refractory" else (),
        delayed=delayed,
        leak_multiplier=leak[0],
        leak_shift=leak[1],
        leak_half=leak[2],
        leak_negative=leak[3],
        # The same in the padding: nothing is added there, and a neuron at rest stays silent.
        gain_mask=_mask(lif.multiplier, lif.shift),
        threshold_mask=_mask(threshold.reshape(-1)) if threshold.min() > 0 else -1,
        wide_leak=leak[4],
        q_min=lif.membrane.q_min,
        q_max=lif.membrane.q_max,
        wrap=lif.overflow == Overflow.WRAP,
        synaptic=(0,) if own else (),
        current_multiplier=kept[0],
        current_shift=kept[1],
        current_half=kept[2],
        current_negative=kept[3],
        wide_current=kept[4],
        own_decays=(0,) if decays else (),
        apart=(0,) if apart else (),
        leaks=each(lif.leak_multiplier) if decays else nothing,
        current_leaks=each(own.multiplier) if decays and own else nothing,
        several=(0,) if lif.max_spikes > 1 else (),
        most=lif.max_spikes,
        divisor=each(threshold, 1),
        beyond=int(lif.spike_test == ">"),
        start=everywhere(starts["start"]) if "start" in starts else nothing,
        current_start=everywhere(starts["current_start"]) if "current_start" in starts else nothing,
        floored=() if lif.floor is None else (0,),
        floor=nothing if lif.floor is None else each(lif.floor),
    )


def _largest(decay: Decay) -> int:
    return int(np.max(decay))


def _decay(multiplier: int, shift: int, rounding: Rounding, farthest: int) -> tuple[int, int, int, int, bool]:
    """Return A, k, what is added to every product and to negative ones, and whether a product can leave 32 bits.

    farthest: the largest magnitude that is multiplied.
    """
    half = (1 << shift) >> 1 if rounding == Rounding.NEAREST else 0
    negative = (1 << shift) - 1 if rounding == Rounding.TOWARD_ZERO else 0
    wide = farthest * multiplier + half + negative > np.iinfo(np.int32).max or shift > 31
    return multiplier, int(shift), half, negative, wide
