"""The C of every kind of layer: ``addI`` adds one event to its sums, ``runI`` ends its step and sends on what is not 0.

Sums are linear, so an event may be added as soon as it is sent, in any order: no list of spikes is kept. Every partial
sum lies in the range that `sastdeploy.program.limits.sum_range` proves for the whole one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sastdeploy.exchange.c99.tables import (
    Field,
    Integers,
    Table,
    filled,
    per_channel,
    signed_type,
    weight_table,
)
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.layers.current import Decay
from sastdeploy.program.layers.start import STARTS
from sastdeploy.program.layers.sums import ConvSums, DenseSums
from sastdeploy.program.layers.weights import stored_bits
from sastdeploy.program.limits import INT32_END
from sastdeploy.program.records import Delay, Lif, ProgramLayer, Readout, SumPool
from sastdeploy.windows import Shape, Window


@dataclass(frozen=True)
class LayerCode:
    """One layer, or the readout, in C.

    Args:
        weights: what they are stored as, ``INT8`` or ``INT4``; None of a layer without neurons.
        sums: the field that ``addI`` fills. fields: all that it needs in the state.
        add, run: the C functions; the readout has no ``run``.
        own: the function that adds a recurrent layer's own spikes of the step before; empty of others.
        early: whether values reach its sums before the layer before it ends its step, as further inputs or from its source, so that
            they have a place of their own.
        lasting: whether its sums outlast a step: ``runI`` clears what it has sent.
        start: the function that begins a recording where membranes or currents start elsewhere than at 0; empty of others.
    """

    weights: str | None
    tables: tuple[Table, ...]
    sums: Field
    fields: tuple[Field, ...]
    add: str
    run: str
    own: str = ""
    early: bool = False
    lasting: bool = False
    start: str = ""


def layer_code(
    layer: ProgramLayer,
    number: int,
    source: int,
    shapes: Sequence[Shape],
    largest: Sequence[int],
    steps: int,
    name: str,
    shared: str,
    calls: str = "",
    reads: str = "counts",
) -> LayerCode:
    """Return the C of layer ``number``, which hears ``source`` (`Program.sources`).

    Args:
        shapes: of the input and of every layer before it. largest: their largest values. steps: of a recording.
        name: of the program in C. shared: the union that its sums lie in, of a layer with neurons.
        calls: C that hands a spike of it to whatever hears it.
        reads: what becomes of its neurons: spikes that are sent, or ``last`` or ``max``, membranes that are the scores.
    """
    shape = shapes[source]
    outputs = math.prod(layer.output_shape(shape))
    if layer.lif is None:
        reach = layer.reach(steps)
        sums = Field(f"{'waiting' if reach else 'sum'}{number}", "uint8_t", outputs * (reach + 1))
        waits, add = _ADDS[layer.kind](layer, 0, f"{number}", source, shape, sums, name)
        send = "send_delayed.c" if reach else "send.c"
        run = filled(
            send, i=number, next=number + 1, name=name, sums=sums.path, count=outputs,
            **({"slots": reach + 1} if reach else {}),
        )  # fmt: skip
        early = layer.source is not None
        return LayerCode(None, tuple(waits), sums, (sums,), add, run, early=early, lasting=reach > 0)
    worst = layer.worst_sums(largest[source], largest)
    end, early = int(worst.max()), bool(layer.further) or layer.source is not None
    sums = Field(f"sum{number}", "int16_t" if end < 1 << 15 else "int32_t", outputs, "" if early else shared)
    membrane = layer.lif.membrane
    state = Field(f"membrane{number}", signed_type(membrane.q_min, membrane.q_max), outputs)
    kept = () if layer.lif.current is None else (Field(f"current{number}", state.type, outputs),)
    add_to, bits = _ADDS[layer.kind], layer.weight_bits
    tables, add = add_to(layer, bits, f"{number}", source, shape, sums, name)
    for place, each in enumerate(layer.further):
        more, further = add_to(
            each, bits, f"{number}_{place}", each.source, shapes[each.source], sums, name
        )  # fmt: skip
        tables, add = [*tables, *more], f"{add}\n{further}"
    send, own, several = _SENDS[reads], "", layer.lif.max_spikes > 1
    for weight in layer.own_weights:
        table, own = _add_own(weight, bits, number, sums, name, several)
        tables, kept, send = (
            [*tables, table],
            (*kept, Field(f"spiked{number}", "uint8_t", outputs)),
            _KEEPS + send,
        )
    width = len(layer.weight)
    send = send.format(
        i=number, next=number + 1, outputs=width, calls=calls,
        events=f"spike * {width}" if several else f"spike ? {width} : 0",
    )  # fmt: skip
    places = outputs // width
    more, run = _neurons(layer.lif, number, places, worst, (sums, state), name, send)
    starts, start = _start(layer.lif, number, places, state.type, name)
    fields, tables = (sums, state, *kept), [*tables, *more, *starts]
    return LayerCode(_stored(bits), tuple(tables), sums, fields, add, run, own, early, start=start)


_SENDS = {
    "counts": "if (spike) {{\n    {calls}\n}}",
    "last": "(void)spike;\nstate->class_sum[neuron] = v;",
    "max": "(void)spike;\nif (state->steps == 0 || v > state->class_sum[neuron]) {{\n    state->class_sum[neuron] = v;\n}}",
}
"""What a neuron does at the end of its step."""
_KEEPS = """state->spiked{i}[neuron] = (uint8_t)spike;
COUNT(synops[{next}], spike ? {outputs} : 0);
COUNT(synops_events[{next}], {events});
"""
"""And before that in a recurrent layer, which hears the spike in the next step."""


def spikes_sent(layer: ProgramLayer) -> str:
    """Return C for how many spikes a neuron that fired sends."""
    return "spike" if layer.lif is not None and layer.lif.max_spikes > 1 else "1"


def readout_code(
    readout: Readout, number: int, shapes: Sequence[Shape], steps: int, largest: Sequence[int], name: str
) -> LayerCode:
    """Return the C of the readout; ``run`` is the function of the scores.

    shapes: of the input and of every layer. largest: their largest values in a step.
    """
    shape = shapes[-1]
    sums = Field("class_sum", "int32_t", len(readout.weight))
    values = {"i": number, "name": name, "NAME": name.upper()}
    weights, weight = weight_table(f"weight{number}", readout.weight.T, stored_bits(readout.weight_bits))
    # With a global pool, the channel's weights are those of all its pixels.
    pixels = shape[1] * shape[2] if readout.global_sum_pool else 1
    outputs = len(readout.weight)
    first = "input" if pixels == 1 else f"input / {pixels}u"
    if readout.reads != "counts":
        run = filled("scores.c", **values, gained="sum", bias="0")
        return LayerCode(None, (), sums, (sums,), "", run)
    add = filled(
        "add_dense.c", **values, source=number, outputs=outputs, first=first, sums=sums.path, type=sums.type,
        weight=weight.replace("@", "first + n"),
    )  # fmt: skip
    tables = [weights]
    for place, each in enumerate(readout.further):
        source, bits = each.source, readout.weight_bits
        more, further = _ADDS["dense"](each, bits, f"{number}_{place}", source, shapes[source], sums, name)
        tables, add = [*tables, *more], f"{add}\n{further}"
    worst = readout.worst_sums(shape, steps, largest[-1], largest)
    gains, gained = _gained(number, readout.multiplier, readout.shift, worst)
    biases, bias = per_channel(f"bias{number}", readout.bias)
    run = filled("scores.c", **values, gained=gained, bias=bias)
    return LayerCode(_stored(readout.weight_bits), (*tables, *gains, *biases), sums, (sums,), add, run)


def _stored(weight_bits: int) -> str:
    return f"INT{stored_bits(weight_bits)}"


def _add_dense(
    part: DenseSums, bits: int, number: str, source: int, shape: Shape, sums: Field, name: str
) -> tuple[list[Table], str]:
    table, weight = weight_table(f"weight{number}", part.weight.T, stored_bits(bits))
    add = filled(
        "add_dense.c", i=number, source=source, name=name, outputs=len(part.weight), first="input", sums=sums.path,
        type=sums.type, weight=weight.replace("@", "first + n"),
    )  # fmt: skip
    return [table], add


def _add_own(
    weight: NDArray[np.int8], bits: int, number: int, sums: Field, name: str, several: bool
) -> tuple[Table, str]:
    """Return the table of a layer's recurrent weights, and ``ownI``."""
    table, element = weight_table(f"recurrent{number}", weight.T, stored_bits(bits))
    times = f"state->spiked{number}[neuron] * " if several else ""
    own = filled(
        "add_own.c", i=number, name=name, outputs=len(weight), sums=sums.path, type=sums.type,
        weight=times + element.replace("@", "first + n"),
    )  # fmt: skip
    return table, own


def _add_conv(
    part: ConvSums, bits: int, number: str, source: int, shape: Shape, sums: Field, name: str
) -> tuple[list[Table], str]:
    # [I, KH, KW, O]: what one event meets at one place lies together.
    flat = part.weight.transpose(1, 2, 3, 0)
    table, weight = weight_table(f"weight{number}", flat, stored_bits(bits))
    (height, width), outputs = part.window.kernel, len(part.weight)
    visit = filled(
        "visit_conv.c", source=source, height=height, width=width, outputs=outputs, sums=sums.path, type=sums.type,
        weight=weight.replace("@", "first + n"),
    )  # fmt: skip
    return [table], _windows(part.window, number, shape, visit, "\nuint32_t n;", name)


def _add_pool(
    part: SumPool, bits: int, number: str, source: int, shape: Shape, sums: Field, name: str
) -> tuple[list[Table], str]:
    rows, columns = part.window.output(shape)
    visit = filled("visit_pool.c", source=source, places=rows * columns, sums=sums.path)
    return [], _windows(part.window, number, shape, visit, "", name)


def _add_delay(
    part: Delay, bits: int, number: str, source: int, shape: Shape, sums: Field, name: str
) -> tuple[list[Table], str]:
    """A value waits in the slot of the step in which it arrives: as many steps on, in a ring of one more than the longest delay."""
    values = math.prod(shape)
    slots = sums.count // values
    tables, delay = per_channel(f"delay{number}", np.minimum(part.steps, slots - 1).reshape(-1))
    place = "input" if np.size(part.steps) == values else f"input / {shape[1] * shape[2]}u"
    delay = f"(uint32_t){delay.replace('[channel]', f'[{place}]')}" if tables else f"{delay}u"
    add = filled(
        "add_delay.c", i=number, name=name, delay=delay, slots=slots, sums=sums.path, count=values
    )  # fmt: skip
    return tables, add


_Add = Callable[..., tuple[list[Table], str]]
_ADDS: dict[str, _Add] = {
    "dense": _add_dense, "conv": _add_conv, "sum_pool": _add_pool, "recurrent": _add_dense, "delay": _add_delay,
}  # fmt: skip
"""Per kind: the tables of an event's way to the sums, and ``addI``, or ``addI_K`` of further input K. ``bits``: of weights, 0 of a pool."""


def _windows(window: Window, number: str, shape: Shape, visit: str, variables: str, name: str) -> str:
    rows, columns = window.output(shape)
    (height, width), (step_y, step_x), (pad_y, pad_x) = window.kernel, window.stride, window.padding
    return filled(
        "add_window.c", i=number, name=name, pixels=shape[1] * shape[2], frame_width=shape[2], pad_y=pad_y,
        pad_x=pad_x, height=height, width=width, step_y=step_y, step_x=step_x, rows=rows, columns=columns,
        variables=variables, visit=visit.rstrip("\n"),
    )  # fmt: skip


def _gained(number: int, multiplier: Integers, shift: Integers, worst: Integers) -> tuple[list[Table], str]:
    """Return C for ``(sum * multiplier + 2^(shift-1)) >> shift``, in 32 bits where they are proven to suffice."""
    multipliers, factor = per_channel(f"multiplier{number}", multiplier)
    shifts, places = per_channel(f"shift{number}", shift)
    half = np.left_shift(1, shift.astype(np.int64)) // 2
    narrow = int((worst * multiplier.astype(np.int64) + half).max()) < INT32_END
    tables = [*multipliers, *shifts]
    if not shifts and not int(shift[0]) and narrow:
        return tables, f"sum * {factor}"
    if not shifts:
        rounding = str(int(half[0]))
    elif narrow:
        rounding = f"(int32_t)(((uint32_t)1 << {places}) >> 1)"
    else:
        rounding = f"(((int64_t)1 << {places}) >> 1)"
    if narrow:
        return tables, f"floor_shift32(sum * {factor} + {rounding}, {places})"
    return tables, f"(int32_t)floor_shift64((int64_t)sum * {factor} + {rounding}, {places})"


def _decayed(
    value: str, name: str, decay: Decay, places: int, rounding: Rounding, membrane: QFormat
) -> tuple[list[Table], str]:
    """Return C for ``rescale(value * decay, places)`` of a membrane or a current, and the table of decays where channels differ."""
    tables, factor = per_channel(name, np.atleast_1d(decay))
    return tables, _rescaled(value, factor, int(np.max(decay)), places, rounding, membrane)


def _rescaled(value: str, factor: str, most: int, places: int, rounding: Rounding, membrane: QFormat) -> str:
    if places == 0:
        return f"{value} * {factor}"
    half = 1 << (places - 1) if rounding == Rounding.NEAREST else 0
    narrow = -membrane.q_min * most + half < INT32_END
    product = f"{value} * {factor}" if narrow else f"(int64_t){value} * {factor}"
    function = "toward_zero" if rounding == Rounding.TOWARD_ZERO else "floor_shift"
    term = f"{product} + {half}" if half else product
    if narrow:
        return f"{function}32({term}, {places})"
    return f"(int32_t){function}64({term}, {places})"


def _limits(number: int, variable: str, membrane: QFormat, overflow: Overflow) -> dict[str, object]:
    """Return what a template needs to bring a variable into the membrane's format."""
    low, high, saturates = membrane.q_min, membrane.q_max, overflow == Overflow.SATURATE
    return {
        "i": number,
        "low": low,
        "high": high,
        "below": f"\n{variable} = {low};" if saturates else "",
        "above": f"\n{variable} = {high};" if saturates else "",
        "wrap": "" if saturates else f"\n{variable} = wrap({variable}, {low}, {(1 << membrane.bits) - 1}u);",
    }


def _start(lif: Lif, number: int, places: int, kind: str, name: str) -> tuple[list[Table], str]:
    """Return the tables of what membranes and currents start from, and ``beginI``; empty where all start at 0."""
    tables, lines = list[Table](), []
    for field, state in zip(STARTS, ("membrane", "current")):
        if field in lif.starts():
            table, start = per_channel(f"{field}{number}", lif.starts()[field])
            tables += table
            lines.append(f"state->{state}{number}[neuron] = ({kind}){start};")
    if not lines:
        return [], ""
    return tables, filled(
        "start.c", i=number, name=name, channels=len(lif.bias), places=places, starts="\n".join(lines)
    )


def _neurons(
    lif: Lif, number: int, places: int, worst: Integers, fields: tuple[Field, Field], name: str, send: str
) -> tuple[list[Table], str]:
    """Return the tables of the neurons, and ``runI``."""
    sums, state = fields
    gains, current = _gained(number, lif.multiplier, lif.shift, worst)
    biases, bias = per_channel(f"bias{number}", lif.bias)
    thresholds, threshold = per_channel(f"threshold{number}", lif.threshold)
    limits = _limits(number, "v", lif.membrane, lif.overflow)
    driven, own, decays = f"current + {bias}", f"const int32_t current = {current};", list[Table]()
    if lif.current is not None:
        decays, kept = _decayed(
            "kept", f"current_leak{number}", lif.current.multiplier, lif.current.shift, lif.current.rounding, lif.membrane
        )  # fmt: skip
        driven = "current"
        own = filled(
            "current.c", state=f"current{number}", type=state.type, gained=current, bias=bias, decayed=kept,
            **_limits(number, "current", lif.membrane, lif.overflow),
        ).rstrip("\n")  # fmt: skip
    leaks, leak = _decayed(
        "u", f"leak{number}", lif.leak_multiplier, int(lif.leak_shift), lif.leak_rounding, lif.membrane
    )
    update, at_once = f"leak + {driven}", ""
    fired, spikes, taken = f"u {lif.spike_test} threshold", f"v {lif.spike_test} threshold", "threshold"
    again = f"({fired} ? threshold : 0)"
    if lif.max_spikes > 1:
        beyond = " - 1" if lif.spike_test == ">" else ""
        spikes, again = (f"spikes({of}{beyond}, threshold, {lif.max_spikes})" for of in "vu")
        taken, again = "spike * threshold", f"{again} * threshold"
    # A delayed reset needs no stored spikes: the test of the stored membrane gives them again (no start passes a threshold).
    if lif.reset_delay and lif.reset == "subtract":
        update += f" - {again}"
    elif lif.reset_delay and lif.reset == "zero":
        update = f"({fired} ? 0 : leak) + {driven}"
    elif lif.reset == "refractory":
        update = f"{fired} ? 0 : {update}"
    elif not lif.reset_delay and lif.reset != "none":
        change = f"v -= {taken};" if lif.reset == "subtract" else "v = 0;"
        at_once = f"\nif (spike) {{\n    {change}\n}}"
    floors, floor = per_channel(f"floor{number}", lif.floor) if lif.floor is not None else ([], "")
    if lif.floor is not None:
        at_once += f"\nif (v < {floor}) {{\n    v = {floor};\n}}"
    run = filled(
        "neurons.c", send=send, name=name, NAME=name.upper(), channels=len(lif.multiplier), places=places,
        sums=sums.path, membrane=state.path, type=state.type, current=own, threshold=threshold, leak=leak,
        update=update, spikes=spikes, at_once=at_once, **limits,
    )  # fmt: skip
    return [*gains, *biases, *thresholds, *leaks, *decays, *floors], run
