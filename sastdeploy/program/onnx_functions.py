"""The program's arithmetic as ONNX local functions: the rounded shift and the LIF step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sastdeploy.program.fixedpoint import Overflow, Rounding
from sastdeploy.program.layers.lif import PER_CHANNEL, Lif
from sastdeploy.program.onnx_nodes import DOMAIN, FUNCTION_OPSET, OPSET, Nodes

if TYPE_CHECKING:
    from onnx import FunctionProto


def rounded_shift_function() -> FunctionProto:
    """``y = (x * multiplier + 2^(shift-1)) >> shift`` in int64; ``shift = 0``: ``x * multiplier``."""
    from onnx import helper

    add = Nodes()
    unit = add("BitShift", add.constant(1, "UINT64"), add.cast("shift", "UINT64"), direction="LEFT")
    unit = add.cast(unit, "INT64", out="unit")
    half = add("Div", unit, add.constant(2), out="half")
    product = add("Mul", add.cast("x", "INT64"), add.cast("multiplier", "INT64"), out="product")
    add.floor_divide(add("Add", product, half), unit, out="y")
    return helper.make_function(
        DOMAIN,
        "RoundedShift",
        ["x", "multiplier", "shift"],
        ["y"],
        add.nodes,
        [helper.make_opsetid("", OPSET)],
        doc_string="y = (x * multiplier + 2^(shift-1)) >> shift in int64; x * multiplier where shift is 0.",
    )


def lif_function_name(lif: Lif) -> str:
    test = "ge" if lif.spike_test == ">=" else "gt"
    delay = "delayed" if lif.reset_delay else "at_once"
    current = "" if lif.current is None else f"_current_{lif.current.rounding.value}"
    decays = "".join(f"_own_{name}" for name in lif.decays())
    several = "_several" if lif.max_spikes > 1 else ""
    floor = "" if lif.floor is None else "_floor"
    each = "".join(f"_each_{name}" for name in lif.per_neuron())
    neuron = f"{lif.leak_rounding.value}_{lif.overflow.value}_{test}_{lif.reset}_{delay}"
    return f"Lif_{neuron}{current}{decays}{several}{floor}{each}"


def lif_function(name: str, lif: Lif, sign_node: bool = False) -> FunctionProto:
    """The LIF step of `program.Lif` for one choice of roundings, overflow, spike test and reset; numbers stay open.

    ``sign_node``: rounding toward zero as programs were written before; the node ``Sign`` of ONNX Runtime 1.23 takes the low 32
    bits of an int64 alone.
    """
    from onnx import helper

    add = Nodes()
    per_channel = add.constant([1, 2])

    def along_map(name: str) -> str:
        """Return values [C] as [C, 1, 1]; [C, H, W] as they are."""
        return name if name in lif.per_neuron() else add("Unsqueeze", name, per_channel, out=f"{name}_c11")

    multiplier, shift, bias, threshold = map(along_map, PER_CHANNEL)

    def decay(name: str) -> str:
        """Return a decay's multiplier, int64: an attribute, or those that differ."""
        if name not in lif.decays():
            return add.attribute(name)
        return add.cast(along_map(name), "INT64")

    current = add("RoundedShift", "acc", multiplier, shift, out="current", domain=DOMAIN)
    bias, threshold = add.cast(bias, "INT64"), add.cast(threshold, "INT64", out="threshold_i64")
    ends: tuple[str, str] | None = None
    whole = ""
    if lif.current is not None:
        ends = (add.attribute("q_min"), add.attribute("q_max"))
        product = add("Mul", add.cast("i", "INT64"), decay("current_multiplier"), out="current_product")
        kept = _rescale(add, product, add.attribute("current_unit"), lif.current.rounding, "kept", sign_node)
        whole = add("Add", add("Add", kept, current), bias, out="current_sum")
        current = _overflow(add, whole, ends[0], ends[1], lif.overflow, "current_now")
        add.cast(current, "INT32", out="i_next")
    product = add("Mul", add.cast("u", "INT64"), decay("leak_multiplier"), out="leak_product")
    leak = _rescale(add, product, add.attribute("leak_unit"), lif.leak_rounding, "leak", sign_node)
    if lif.reset_delay and lif.reset == "zero":
        leak = add("Where", add.cast("s", "BOOL"), add.constant(0), leak)
    if lif.current is None:
        v = add("Add", add("Add", leak, current), bias, out="before_reset")
    else:
        v = add("Add", leak, current, out="before_reset")
    if lif.reset == "refractory":
        v = add("Where", add.cast("s", "BOOL"), add.constant(0), v, out="v")
    if lif.reset_delay and lif.reset == "subtract":
        v = add("Sub", v, add("Mul", threshold, add.cast("s", "INT64")), out="v")
    low, high = ends or (add.attribute("q_min"), add.attribute("q_max"))
    w = _overflow(add, v, low, high, lif.overflow, "w")
    test = "GreaterOrEqual" if lif.spike_test == ">=" else "Greater"
    fired = add(test, w, threshold, out="fired")
    sent = _several(add, lif, w, threshold) if lif.max_spikes > 1 else fired
    if not lif.reset_delay and lif.reset == "subtract":
        w = add("Sub", w, add("Mul", threshold, add.cast(sent, "INT64")))
    elif not lif.reset_delay and lif.reset == "zero":
        w = add("Where", fired, add.constant(0), w)
    if lif.floor is not None:
        w = add("Max", w, add.cast(along_map("floor"), "INT64"))
    add.cast(w, "INT32", out="u_next")
    add.cast(sent, "UINT8", out="s_next")
    neurons = add.constant([1, 2, 3])
    for comparison, end, out in (("Less", low, "overflow_low"), ("Greater", high, "overflow_high")):
        outside = add.cast(add(comparison, v, end), "INT64")
        if whole:
            outside = add("Add", outside, add.cast(add(comparison, whole, end), "INT64"))
        add("ReduceSum", outside, neurons, out=out, keepdims=0)
    doc = (
        "One LIF step. acc, u int32 and s uint8 [N, C, H, W]; the other inputs int32 [C]; leak_unit = "
        "2^leak_shift. Outputs u_next int32 and s_next uint8 [N, C, H, W]; updates below q_min and above q_max, int64 [N]."
    )
    if lif.per_neuron():
        doc += f" {', '.join(lif.per_neuron())}: [C, H, W]."
    more, several = lif.current is not None, ["max_spikes"] if lif.max_spikes > 1 else []
    attributes = [
        "leak_multiplier",
        "leak_unit",
        "q_min",
        "q_max",
        *_CURRENT_ATTRIBUTES[: 2 * more],
        *several,
    ]
    return helper.make_function(
        DOMAIN,
        name,
        ["acc", "u", "s", *["i"] * more, *PER_CHANNEL, *lif.decays(), *lif.floors()],
        ["u_next", "s_next", "overflow_low", "overflow_high", *["i_next"] * more],
        add.nodes,
        [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, FUNCTION_OPSET)],
        attributes=[name for name in attributes if name not in lif.decays()],
        doc_string=f"{doc} i, i_next: the synaptic current, int32 [N, C, H, W]." if more else doc,
    )


def _several(add: Nodes, lif: Lif, w: str, threshold: str) -> str:
    """Return the spikes that membranes send, int64: a quotient that is cut off, as negative ones are no spikes however they round."""
    if lif.spike_test == ">":
        w = add("Sub", w, add.constant(1))
    number = add("Div", w, threshold)
    return add("Min", add("Max", number, add.constant(0)), add.attribute("max_spikes"), out="sent")


_CURRENT_ATTRIBUTES = ("current_multiplier", "current_unit")


def _rescale(add: Nodes, product: str, unit: str, rounding: Rounding, out: str, sign_node: bool) -> str:
    if rounding == Rounding.TOWARD_ZERO:
        size = add.floor_divide(add("Abs", product), unit)
        if sign_node:
            return add("Mul", add("Sign", product), size, out=out)
        return add("Where", add("Less", product, add.constant(0)), add("Neg", size), size, out=out)
    if rounding == Rounding.NEAREST:
        product = add("Add", product, add("Div", unit, add.constant(2)))
    return add.floor_divide(product, unit, out=out)


def _overflow(add: Nodes, v: str, low: str, high: str, rule: Overflow, out: str) -> str:
    if rule == Overflow.SATURATE:
        return add("Min", add("Max", v, low), high, out=out)
    size = add("Add", add("Sub", high, low), add.constant(1))
    return add("Add", add("Mod", add("Sub", v, low), size, fmod=0), low, out=out)
