"""The program as a standard ONNX graph: the same integers in any ONNX runtime, without a line of ours.

The format is specified in `sastdeploy.program.records`; this module writes its graph. Any change here changes the format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.arrays import program_arrays, to_raw
from sastdeploy.program.layers.further import name_of
from sastdeploy.program.layers.lif import PER_CHANNEL, Lif
from sastdeploy.program.onnx_functions import lif_function, lif_function_name, rounded_shift_function
from sastdeploy.program.onnx_nodes import DOMAIN, FUNCTION_OPSET, OPSET, Nodes
from sastdeploy.program.records import Program

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

IR_VERSION = 10
DESCRIPTION = (
    "Integer spiking network. Input: event counts per time bin, uint8 [N, T, P, H, W]. Outputs: class scores int32 "
    "[N, K], the predicted class, and per LIF layer its spikes, membranes and overflow counts."
)


def build_model(program: Program, sign_node: bool = False) -> ModelProto:
    """Return the program's ONNX model, without metadata; the program is verified. ``sign_node``: as in `lif_function`."""
    from onnx import helper

    functions = {name: lif_function(name, lif, sign_node) for name, lif in _lif_variants(program).items()}
    return helper.make_model(
        _main_graph(program),
        functions=[rounded_shift_function(), *(functions[name] for name in sorted(functions))],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, FUNCTION_OPSET)],
        ir_version=IR_VERSION,
    )


def _lif_variants(program: Program) -> dict[str, Lif]:
    lifs = [layer.lif for layer in program.layers if layer.lif is not None]
    return {lif_function_name(lif): lif for lif in lifs}


def _main_graph(program: Program) -> GraphProto:
    from onnx import TensorProto, helper

    add, shapes, steps = Nodes(), program.shapes(), program.preprocessing.time_bins
    neurons = [(x, shape) for x, shape in zip(program.layers, shapes[1:]) if x.lif is not None]
    clip = add.constant(program.preprocessing.c_clip, "UINT8", out="c_clip")
    clipped = add("Clip", "counts", "", clip, out="clipped")
    # Time goes first and comes back second: many runtimes scan along axis 0 only.
    add("Transpose", clipped, perm=[1, 0, 2, 3, 4], out="frames")
    batch = add("Shape", "counts", start=0, end=1, out="batch")
    states, results, stacked, outputs = [], [], [], []
    for layer, shape in zip(program.layers, shapes[1:]):
        name = layer.name
        if layer.lif is None:
            if reach := layer.reach(steps):
                size = add("Concat", batch, add.constant([reach, *shape]), axis=0, out=f"{name}/size")
                zero = helper.make_tensor("value", TensorProto.UINT8, [1], [0])
                states.append(add("ConstantOfShape", size, out=f"{name}/line_start", value=zero))
                results.append(f"{name}/line_end")
            continue
        size = add("Concat", batch, add.constant(list(shape)), axis=0, out=f"{name}/size")
        starts = {_STARTS[field]: (field, array.ndim) for field, array in layer.lif.starts().items()}
        for state, kind in _states(layer.lif):
            if state in starts:
                field, axes = starts[state]
                start = f"{name}/{field}"
                if axes == 1:
                    start = add("Unsqueeze", start, add.constant([1, 2]))
                states.append(add("Expand", start, size, out=f"{name}/{state}_start"))
            else:
                zero = helper.make_tensor("value", kind, [1], [0])
                states.append(add("ConstantOfShape", size, out=f"{name}/{state}_start", value=zero))
            results.append(f"{name}/{state}_end")
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
    sent = {number: f"{layer.name}/spikes_steps" for number, layer in enumerate(program.layers, 1)}
    program.readout.add_scores(add, neurons[-1][0].name, time, steps, {0: "frames", **sent})
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


def _attributes(lif: Lif) -> dict[str, Any]:
    """Return the numbers of a layer's neurons that are none per channel, by the function's attributes."""
    shared = {
        "leak_multiplier": lif.leak_multiplier, "leak_unit": 1 << lif.leak_shift, "q_min": lif.membrane.q_min,
        "q_max": lif.membrane.q_max, **({"max_spikes": lif.max_spikes} if lif.max_spikes > 1 else {}),
    }  # fmt: skip
    if lif.current is None:
        return shared
    return {
        **shared,
        "current_multiplier": lif.current.multiplier,
        "current_unit": 1 << lif.current.shift,
    }


def _states(lif: Lif) -> list[tuple[str, int]]:
    """Return the names and ONNX types of what neurons keep from step to step."""
    from onnx import TensorProto

    states = [("u", int(TensorProto.INT32)), ("s", int(TensorProto.UINT8))]
    return states if lif.current is None else [*states, ("i", int(TensorProto.INT32))]


_STARTS = {"start": "u", "current_start": "i"}
"""States by the arrays that they start from, where that is not 0."""


def _initializer(name: str, array: NDArray[np.signedinteger], bits: int) -> TensorProto:
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
    shapes, values = program.shapes(), [x]
    for layer, source, shape in zip(program.layers, program.sources(), shapes[1:]):
        name, x, before = layer.name, values[source], shapes[source]
        if layer.lif is None:
            steps = program.preprocessing.time_bins
            x = layer.add_sent(add, x, before, steps)
            values.append(x)
            if reach := layer.reach(steps):
                line: list[str | int | None] = ["N", reach, *before]
                inputs.append(helper.make_tensor_value_info(f"{name}/line_before", TensorProto.UINT8, line))
                states.append(helper.make_tensor_value_info(f"{name}/line_now", TensorProto.UINT8, line))
            continue
        acc = layer.add_sums(add, x, before)
        for number, each in enumerate(layer.further):
            field = name_of(number)
            more = each.add_products(
                add, values[each.source], f"{name}/{field}", layer.weight_bits, f"{name}/acc_{field}"
            )
            acc = add("Add", acc, more)
        decays = layer.lif.decays()
        parameters = [f"{name}/{field}" for field in (*PER_CHANNEL, *decays, *layer.lif.floors())]
        u, x, low, high = (f"{name}/{part}" for part in ("u_now", "s_now", "low_now", "high_now"))
        own = _states(layer.lif)
        add.multiple(
            lif_function_name(layer.lif),
            [acc, *(f"{name}/{state}_before" for state, _ in own), *parameters],
            [u, x, low, high, *(f"{name}/{state}_now" for state, _ in own[2:])],
            domain=DOMAIN,
            **{key: value for key, value in _attributes(layer.lif).items() if key not in decays},
        )
        whole: list[str | int | None] = ["N", *shape]
        for state, kind in own:
            inputs.append(helper.make_tensor_value_info(f"{name}/{state}_before", kind, whole))
            states.append(helper.make_tensor_value_info(f"{name}/{state}_now", kind, whole))
        for value, out, kind, dims in (
            (u, "u_out", TensorProto.INT32, whole),
            (x, "s_out", TensorProto.UINT8, whole),
            (low, "low_out", TensorProto.INT64, ["N"]),
            (high, "high_out", TensorProto.INT64, ["N"]),
        ):
            add("Identity", value, out=f"{name}/{out}")
            stacked.append(helper.make_tensor_value_info(f"{name}/{out}", kind, dims))
        values.append(x)
    frame = helper.make_tensor_value_info(
        "frame", TensorProto.UINT8, ["N", *program.preprocessing.frame_shape]
    )
    return helper.make_graph(add.nodes, "step", [*inputs, frame], [*states, *stacked])
