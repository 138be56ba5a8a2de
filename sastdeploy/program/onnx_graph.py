"""The program as a standard ONNX graph: the same integers in any ONNX runtime, without a line of ours.

The format is specified in `sastdeploy.program.records`; this module writes its graph. Any change here changes the format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import NDArray

from sastdeploy.program.arrays import PER_CHANNEL, program_arrays, to_raw
from sastdeploy.program.onnx_functions import (
    DOMAIN,
    FUNCTION_OPSET,
    OPSET,
    Nodes,
    lif_function,
    lif_function_name,
    rounded_shift_function,
)
from sastdeploy.program.records import ConvLif, DenseLif, Lif, Program, SumPool

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

IR_VERSION = 10
DESCRIPTION = (
    "Integer spiking network. Input: event counts per time bin, uint8 [N, T, P, H, W]. Outputs: class scores int32 "
    "[N, K], the predicted class, and per LIF layer its spikes, membranes and overflow counts."
)


def build_model(program: Program) -> ModelProto:
    """Return the program's ONNX model, without metadata; the program is verified."""
    from onnx import helper

    functions = {name: lif_function(name, lif) for name, lif in _lif_variants(program).items()}
    return helper.make_model(
        _main_graph(program),
        functions=[rounded_shift_function(), *(functions[name] for name in sorted(functions))],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, FUNCTION_OPSET)],
        ir_version=IR_VERSION,
    )


def _lif_variants(program: Program) -> dict[str, Lif]:
    return {
        lif_function_name(layer.lif): layer.lif for layer in program.layers if not isinstance(layer, SumPool)
    }


def _main_graph(program: Program) -> GraphProto:
    from onnx import TensorProto, helper

    add, shapes, steps = Nodes(), program.shapes(), program.preprocessing.time_bins
    neurons = [(x, shape) for x, shape in zip(program.layers, shapes[1:]) if not isinstance(x, SumPool)]
    clip = add.constant(program.preprocessing.c_clip, "UINT8", out="c_clip")
    clipped = add("Clip", "counts", "", clip, out="clipped")
    # Time goes first and comes back second: many runtimes scan along axis 0 only.
    add("Transpose", clipped, perm=[1, 0, 2, 3, 4], out="frames")
    batch = add("Shape", "counts", start=0, end=1, out="batch")
    states, results, stacked, outputs = [], [], [], []
    for layer, shape in neurons:
        name = layer.name
        size = add("Concat", batch, add.constant(list(shape)), axis=0, out=f"{name}/size")
        for state, kind in (("u_start", TensorProto.INT32), ("s_start", TensorProto.UINT8)):
            zero = helper.make_tensor("value", kind, [1], [0])
            states.append(add("ConstantOfShape", size, out=f"{name}/{state}", value=zero))
            results.append(f"{name}/{state[0]}_end")
        stacked += [f"{name}/{x}" for x in ("membrane_steps", "spikes_steps", "low_steps", "high_steps")]
        outputs += [
            helper.make_tensor_value_info(f"{name}/membrane", TensorProto.INT32, ["N", steps, *shape]),
            helper.make_tensor_value_info(f"{name}/spikes", TensorProto.UINT8, ["N", steps, *shape]),
            helper.make_tensor_value_info(f"{name}/overflow_low", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info(f"{name}/overflow_high", TensorProto.INT64, ["N"]),
        ]
    add.multiple(
        "Scan",
        [*states, "frames"],
        [*results, *stacked],
        body=_step_graph(program),
        num_scan_inputs=1,
    )
    time = add.constant([0], out="time_axis")
    for layer, _ in neurons:
        for trace in ("membrane", "spikes"):
            name = f"{layer.name}/{trace}"
            add("Transpose", f"{name}_steps", perm=[1, 0, 2, 3, 4], out=name)
        for end in ("low", "high"):
            add(
                "ReduceSum", f"{layer.name}/{end}_steps", time, out=f"{layer.name}/overflow_{end}", keepdims=0
            )
    _add_readout(add, program, f"{neurons[-1][0].name}/spikes_steps", time)
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

    add, x = Nodes("step_value"), "frame"
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
            lif_function_name(layer.lif),
            [acc, f"{name}/u_before", f"{name}/s_before", *parameters],
            [u, x, low, high],
            domain=DOMAIN,
            leak_multiplier=layer.lif.leak_multiplier,
            leak_unit=1 << layer.lif.leak_shift,
            q_min=layer.lif.membrane.q_min,
            q_max=layer.lif.membrane.q_max,
        )
        whole: list[str | int | None] = ["N", *shape]
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


def _add_sum(add: Nodes, layer: DenseLif | ConvLif, x: str) -> str:
    """Add ``acc``, int32 [N, C, H, W]: exact in every 8-bit kernel, as the values end at 127."""
    weight = f"{layer.name}/weight"
    if isinstance(layer, DenseLif):
        weight = add.cast(weight, "INT8") if layer.weight_bits <= 4 else weight
        flat = add("Flatten", x, axis=1)
        acc = add("MatMulInteger", flat, add("Transpose", weight, perm=[1, 0]))
        return add("Unsqueeze", acc, add.constant([2, 3]), out=f"{layer.name}/acc")
    pads, strides = [*layer.padding, *layer.padding], list(layer.stride)
    # ONNX Runtime 1.23 convolves only unsigned weights: the same integers, counted from a zero point of 128.
    shifted = add.cast(add("Add", add.cast(weight, "INT32"), add.constant(128, "INT32")), "UINT8")
    zero = add.constant(128, "UINT8")
    return add("ConvInteger", x, shifted, "", zero, out=f"{layer.name}/acc", pads=pads, strides=strides)


def _add_pool(add: Nodes, layer: SumPool, x: str, shape: tuple[int, int, int]) -> str:
    """Add the sums of whole windows, uint8 [N, C, H, W]."""
    channels, rows, columns = shape
    kernel = layer.kernel
    ends, axes = add.constant([rows * kernel, columns * kernel]), add.constant([2, 3])
    whole = add("Slice", x, add.constant([0, 0]), ends, axes)
    split = add("Reshape", whole, add.constant([-1, channels, rows, kernel, columns, kernel]))
    total = add("ReduceSum", add.cast(split, "INT32"), add.constant([3, 5]), keepdims=0)
    return add.cast(total, "UINT8", out=f"{layer.name}/sums")


def _add_readout(add: Nodes, program: Program, spikes: str, time: str) -> None:
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
