"""The program as a standard ONNX graph: the same integers in any ONNX runtime, without a line of ours.

The format is specified in `sastdeploy.program`; this module writes its graph. Any change here changes the format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.fixedpoint import Overflow, Rounding
from sastdeploy.program import ConvLif, DenseLif, Lif, Program, ProgramLayer, Readout, SumPool

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET = 21
IR_VERSION = 10
DOMAIN = "sastdeploy"
FUNCTION_OPSET = 1
PER_CHANNEL = ("multiplier", "shift", "bias", "threshold")
DESCRIPTION = (
    "Integer spiking network. Input: event counts per time bin, uint8 [N, T, P, H, W]. Outputs: class scores int32 "
    "[N, K], the predicted class, and per LIF layer its spikes, membranes and overflow counts."
)


def build_model(program: Program) -> ModelProto:
    """Return the program's ONNX model, without metadata; the program is verified."""
    from onnx import helper

    functions = {name: _lif_function(name, lif) for name, lif in _lif_variants(program).items()}
    return helper.make_model(
        _main_graph(program),
        functions=[_rounded_shift_function(), *(functions[name] for name in sorted(functions))],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, FUNCTION_OPSET)],
        ir_version=IR_VERSION,
    )


def program_arrays(program: Program) -> dict[str, tuple[NDArray, int]]:
    """Return every array by its name in the file (``LAYER/weight`` ...), with the bits it is stored in (4, 8, 32)."""
    arrays: dict[str, tuple[NDArray, int]] = {}
    for part in (*program.layers, program.readout):
        if isinstance(part, SumPool):
            continue
        arrays[f"{part.name}/weight"] = (part.weight, stored_bits(part.weight_bits))
        holder = part if isinstance(part, Readout) else part.lif
        for field in PER_CHANNEL:
            if hasattr(holder, field):
                arrays[f"{part.name}/{field}"] = (getattr(holder, field), 32)
    return arrays


def stored_bits(weight_bits: int) -> int:
    """Return 4 for weights that ONNX's INT4 holds, else 8."""
    return 4 if weight_bits <= 4 else 8


def to_raw(array: NDArray, bits: int) -> bytes:
    """Return ONNX ``raw_data``: little-endian, C order; 4-bit values two to a byte, the first in the low half."""
    if bits == 32:
        return np.ascontiguousarray(array, "<i4").tobytes()
    flat = np.ascontiguousarray(array, np.int8).reshape(-1)
    if bits == 8:
        return flat.tobytes()
    halves = np.zeros(len(flat) + len(flat) % 2, np.uint8)
    halves[: len(flat)] = flat.view(np.uint8) & 0x0F
    return (halves[0::2] | (halves[1::2] << 4)).tobytes()


def from_raw(raw: bytes, shape: tuple[int, ...], bits: int) -> NDArray:
    """Return the array that `to_raw` wrote (int32 for 32 bits, else int8); the caller has checked the length."""
    if bits == 32:
        return np.frombuffer(raw, "<i4").astype(np.int32).reshape(shape)
    if bits == 8:
        return np.frombuffer(raw, np.int8).reshape(shape).copy()
    packed = np.frombuffer(raw, np.uint8)
    halves = np.stack((packed & 0x0F, packed >> 4), axis=1).reshape(-1)[: int(np.prod(shape))]
    return ((halves.astype(np.int8) ^ 8) - 8).reshape(shape)


class _Nodes:
    """Nodes in order; every call adds one and returns the name of its (first) output."""

    def __init__(self, prefix: str = "value") -> None:
        self.nodes: list[NodeProto] = []
        self.prefix = prefix

    def __call__(self, op: str, *inputs: str, out: str = "", domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = out or f"{self.prefix}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], domain=domain, **attributes))
        return out

    def multiple(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))

    def constant(self, value: int | list[int], kind: str = "INT64", out: str = "") -> str:
        from onnx import TensorProto, helper

        shape = [len(value)] if isinstance(value, list) else []
        values = value if isinstance(value, list) else [value]
        tensor = helper.make_tensor("value", getattr(TensorProto, kind), shape, values)
        return self("Constant", out=out, value=tensor)

    def attribute(self, name: str) -> str:
        """Add a constant whose value is the surrounding function's attribute ``name`` (int64)."""
        from onnx import AttributeProto, helper

        node = helper.make_node("Constant", [], [name])
        node.attribute.append(AttributeProto(name="value_int", ref_attr_name=name, type=AttributeProto.INT))
        self.nodes.append(node)
        return name

    def cast(self, x: str, kind: str, out: str = "") -> str:
        from onnx import TensorProto

        return self("Cast", x, out=out, to=getattr(TensorProto, kind))

    def floor_divide(self, x: str, unit: str, out: str = "") -> str:
        """Arithmetic shift right: ``Div`` alone would round a negative number toward zero."""
        rest = self("Mod", x, unit, fmod=0)
        return self("Div", self("Sub", x, rest), unit, out=out)


def _rounded_shift_function() -> FunctionProto:
    """``y = (x * multiplier + 2^(shift-1)) >> shift`` in int64; ``shift = 0``: ``x * multiplier``."""
    from onnx import helper

    add = _Nodes()
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


def _lif_name(lif: Lif) -> str:
    test = "ge" if lif.spike_test == ">=" else "gt"
    delay = "delayed" if lif.reset_delay else "at_once"
    return f"Lif_{lif.leak_rounding.value}_{lif.overflow.value}_{test}_{lif.reset}_{delay}"


def _lif_variants(program: Program) -> dict[str, Lif]:
    return {_lif_name(layer.lif): layer.lif for layer in program.layers if not isinstance(layer, SumPool)}


def _lif_function(name: str, lif: Lif) -> FunctionProto:
    """The LIF step of `program.Lif` for one choice of rounding, overflow, spike test and reset; numbers stay open."""
    from onnx import helper

    add = _Nodes()
    per_channel = add.constant([1, 2])
    multiplier, shift, bias, threshold = (
        add("Unsqueeze", field, per_channel, out=f"{field}_c11") for field in PER_CHANNEL
    )
    current = add("RoundedShift", "acc", multiplier, shift, out="current", domain=DOMAIN)
    bias, threshold = add.cast(bias, "INT64"), add.cast(threshold, "INT64", out="threshold_i64")
    product = add("Mul", add.cast("u", "INT64"), add.attribute("leak_multiplier"), out="leak_product")
    leak = _rescale(add, product, add.attribute("leak_unit"), lif.leak_rounding)
    if lif.reset_delay and lif.reset == "zero":
        leak = add("Where", add.cast("s", "BOOL"), add.constant(0), leak)
    v = add("Add", add("Add", leak, current), bias, out="before_reset")
    if lif.reset_delay and lif.reset == "subtract":
        v = add("Sub", v, add("Mul", threshold, add.cast("s", "INT64")), out="v")
    low, high = add.attribute("q_min"), add.attribute("q_max")
    w = _overflow(add, v, low, high, lif.overflow)
    test = "GreaterOrEqual" if lif.spike_test == ">=" else "Greater"
    fired = add(test, w, threshold, out="fired")
    if not lif.reset_delay and lif.reset == "subtract":
        w = add("Sub", w, add("Mul", threshold, add.cast(fired, "INT64")))
    elif not lif.reset_delay and lif.reset == "zero":
        w = add("Where", fired, add.constant(0), w)
    add.cast(w, "INT32", out="u_next")
    add.cast(fired, "UINT8", out="s_next")
    neurons = add.constant([1, 2, 3])
    for comparison, end, out in (("Less", low, "overflow_low"), ("Greater", high, "overflow_high")):
        outside = add.cast(add(comparison, v, end), "INT64")
        add("ReduceSum", outside, neurons, out=out, keepdims=0)
    return helper.make_function(
        DOMAIN,
        name,
        ["acc", "u", "s", *PER_CHANNEL],
        ["u_next", "s_next", "overflow_low", "overflow_high"],
        add.nodes,
        [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, FUNCTION_OPSET)],
        attributes=["leak_multiplier", "leak_unit", "q_min", "q_max"],
        doc_string="One LIF step. acc, u int32 and s uint8 [N, C, H, W]; the other inputs int32 [C]; leak_unit = "
        "2^leak_shift. Outputs u_next int32 and s_next uint8 [N, C, H, W]; updates below q_min and above q_max, int64 [N].",
    )


def _rescale(add: _Nodes, product: str, unit: str, rounding: Rounding) -> str:
    if rounding == Rounding.TOWARD_ZERO:
        size = add.floor_divide(add("Abs", product), unit)
        return add("Mul", add("Sign", product), size, out="leak")
    if rounding == Rounding.NEAREST:
        product = add("Add", product, add("Div", unit, add.constant(2)))
    return add.floor_divide(product, unit, out="leak")


def _overflow(add: _Nodes, v: str, low: str, high: str, rule: Overflow) -> str:
    if rule == Overflow.SATURATE:
        return add("Min", add("Max", v, low), high, out="w")
    size = add("Add", add("Sub", high, low), add.constant(1))
    return add("Add", add("Mod", add("Sub", v, low), size, fmod=0), low, out="w")


def _main_graph(program: Program) -> GraphProto:
    from onnx import TensorProto, helper

    add, shapes, steps = _Nodes(), program.shapes(), program.preprocessing.time_bins
    neurons = [(x, shape) for x, shape in zip(program.layers, shapes[1:]) if not isinstance(x, SumPool)]
    clip = add.constant(program.preprocessing.c_clip, "UINT8", out="c_clip")
    add("Clip", "counts", "", clip, out="clipped")
    batch = add("Shape", "counts", start=0, end=1, out="batch")
    states, results, stacked, outputs = [], [], [], []
    for layer, shape in neurons:
        name = layer.name
        size = add("Concat", batch, add.constant(list(shape)), axis=0, out=f"{name}/size")
        for state, kind in (("u_start", TensorProto.INT32), ("s_start", TensorProto.UINT8)):
            zero = helper.make_tensor("value", kind, [1], [0])
            states.append(add("ConstantOfShape", size, out=f"{name}/{state}", value=zero))
            results.append(f"{name}/{state[0]}_end")
        stacked += [f"{name}/{x}" for x in ("membrane", "spikes", "low_steps", "high_steps")]
        outputs += [
            helper.make_tensor_value_info(f"{name}/membrane", TensorProto.INT32, ["N", steps, *shape]),
            helper.make_tensor_value_info(f"{name}/spikes", TensorProto.UINT8, ["N", steps, *shape]),
            helper.make_tensor_value_info(f"{name}/overflow_low", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info(f"{name}/overflow_high", TensorProto.INT64, ["N"]),
        ]
    add.multiple(
        "Scan",
        [*states, "clipped"],
        [*results, *stacked],
        body=_step_graph(program),
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1] * len(stacked),
    )
    time = add.constant([1], out="time_axis")
    for layer, _ in neurons:
        for end in ("low", "high"):
            add(
                "ReduceSum", f"{layer.name}/{end}_steps", time, out=f"{layer.name}/overflow_{end}", keepdims=0
            )
    _add_readout(add, program, f"{neurons[-1][0].name}/spikes", time)
    classes = len(program.classes)
    return helper.make_graph(
        add.nodes,
        "program",
        [helper.make_tensor_value_info("counts", TensorProto.UINT8, ["N", steps, *shapes[0]])],
        [
            helper.make_tensor_value_info("scores", TensorProto.INT32, ["N", classes]),
            helper.make_tensor_value_info("predicted", TensorProto.INT64, ["N"]),
            *outputs,
        ],
        [_initializer(name, *stored) for name, stored in program_arrays(program).items()],
        doc_string=DESCRIPTION,
    )


def _initializer(name: str, array: NDArray, bits: int) -> TensorProto:
    from onnx import TensorProto

    kind = {4: TensorProto.INT4, 8: TensorProto.INT8, 32: TensorProto.INT32}[bits]
    return TensorProto(name=name, data_type=kind, dims=array.shape, raw_data=to_raw(array, bits))


def _step_graph(program: Program) -> GraphProto:
    """The Scan's body: states and one frame in; states, membranes, spikes and overflow counts out."""
    from onnx import TensorProto, helper

    add, x = _Nodes("step_value"), "frame"
    inputs: list[ValueInfoProto] = []
    states: list[ValueInfoProto] = []
    stacked: list[ValueInfoProto] = []
    for layer, shape in zip(program.layers, program.shapes()[1:]):
        if isinstance(layer, SumPool):
            x = _add_pool(add, layer, x, shape)
            continue
        name = layer.name
        acc = _add_sum(add, layer, x)
        parameters = [f"{name}/{field}" for field in PER_CHANNEL]
        u, x, low, high = (f"{name}/{part}" for part in ("u_now", "s_now", "low_now", "high_now"))
        add.multiple(
            _lif_name(layer.lif),
            [acc, f"{name}/u_before", f"{name}/s_before", *parameters],
            [u, x, low, high],
            domain=DOMAIN,
            leak_multiplier=layer.lif.leak_multiplier,
            leak_unit=1 << layer.lif.leak_shift,
            q_min=layer.lif.membrane.q_min,
            q_max=layer.lif.membrane.q_max,
        )
        whole = ["N", *shape]
        inputs.append(helper.make_tensor_value_info(f"{name}/u_before", TensorProto.INT32, whole))
        inputs.append(helper.make_tensor_value_info(f"{name}/s_before", TensorProto.UINT8, whole))
        states.append(helper.make_tensor_value_info(u, TensorProto.INT32, whole))
        states.append(helper.make_tensor_value_info(x, TensorProto.UINT8, whole))
        for value, out, kind, size in (
            (u, "u_out", TensorProto.INT32, whole),
            (x, "s_out", TensorProto.UINT8, whole),
            (low, "low_out", TensorProto.INT64, ["N"]),
            (high, "high_out", TensorProto.INT64, ["N"]),
        ):
            add("Identity", value, out=f"{name}/{out}")
            stacked.append(helper.make_tensor_value_info(f"{name}/{out}", kind, size))
    frame = helper.make_tensor_value_info(
        "frame", TensorProto.UINT8, ["N", *program.preprocessing.frame_shape]
    )
    return helper.make_graph(add.nodes, "step", [*inputs, frame], [*states, *stacked])


def _add_sum(add: _Nodes, layer: DenseLif | ConvLif, x: str) -> str:
    """Add ``acc``, int32 [N, C, H, W]: uint8 values up to 127 times int8 weights, exact in 8-bit kernels."""
    weight = add.cast(f"{layer.name}/weight", "INT8") if layer.weight_bits <= 4 else f"{layer.name}/weight"
    if isinstance(layer, DenseLif):
        flat = add("Flatten", x, axis=1)
        acc = add("MatMulInteger", flat, add("Transpose", weight, perm=[1, 0]))
        return add("Unsqueeze", acc, add.constant([2, 3]), out=f"{layer.name}/acc")
    pads, strides = [*layer.padding, *layer.padding], list(layer.stride)
    return add("ConvInteger", x, weight, out=f"{layer.name}/acc", pads=pads, strides=strides)


def _add_pool(add: _Nodes, layer: ProgramLayer, x: str, shape: tuple[int, int, int]) -> str:
    """Add the sums of whole windows, uint8 [N, C, H, W]."""
    channels, rows, columns = shape
    kernel = layer.kernel
    ends, axes = add.constant([rows * kernel, columns * kernel]), add.constant([2, 3])
    whole = add("Slice", x, add.constant([0, 0]), ends, axes)
    split = add("Reshape", whole, add.constant([-1, channels, rows, kernel, columns, kernel]))
    total = add("ReduceSum", add.cast(split, "INT32"), add.constant([3, 5]), keepdims=0)
    return add.cast(total, "UINT8", out=f"{layer.name}/sums")


def _add_readout(add: _Nodes, program: Program, spikes: str, time: str) -> None:
    """Add ``scores`` int32 [N, K] and ``predicted`` int64 [N] (ties to the lowest index)."""
    name = program.readout.name
    counts = add("ReduceSum", add.cast(spikes, "INT32"), time, out=f"{name}/counts", keepdims=0)
    if program.readout.global_sum_pool:
        counts = add("ReduceSum", counts, add.constant([2, 3]), keepdims=0)
    else:
        counts = add("Flatten", counts, axis=1)
    weight = add("Transpose", add.cast(f"{name}/weight", "INT32"), perm=[1, 0])
    acc = add("MatMul", counts, weight, out=f"{name}/acc")
    gained = add("RoundedShift", acc, f"{name}/multiplier", f"{name}/shift", domain=DOMAIN)
    steps = add.constant(program.preprocessing.time_bins, out="time_bins")
    bias = add("Mul", add.cast(f"{name}/bias", "INT64"), steps)
    add.cast(add("Add", gained, bias), "INT32", out="scores")
    add("ArgMax", "scores", axis=1, keepdims=0, out="predicted")
