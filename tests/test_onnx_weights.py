"""Weights of QONNX and QCDQ files: the trainer's integers and scales take the place of a NIR file's weights."""

import gzip
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import cli
from nir_files import f32, lif, write
from onnx import TensorProto, helper, numpy_helper

from sastdeploy import CompileError, Framing, InputError, compile, from_nir, load_network, load_profile
from sastdeploy.compiler.ir.nodes.synapses import Synapses
from sastdeploy.exchange.onnx_weights import read_trained_weights, with_trained_weights
from sastdeploy.exchange.parts import Linear, Scale

FIXTURES = Path(__file__).parent / "fixtures" / "brevitas"
"""Files of brevitas 0.13.4, of a convolution and a linear layer with snnTorch's neurons between."""
FORMS, QUANTIZERS = ("qonnx", "qcdq"), ("tensor4", "channel8")
SETTINGS = {"dialect": "nir", "framing": Framing(time_bins=4)}


def own(quantizer):
    with np.load(FIXTURES / f"{quantizer}.npz") as arrays:
        return dict(arrays)


def onnx_file(folder, quantizer, form):
    path = folder / f"{quantizer}.{form}.onnx"
    path.write_bytes(gzip.decompress((FIXTURES / f"{path.name}.gz").read_bytes()))
    return path


def nir_file(folder, arrays, change=0.0):
    whole = np.array([2, 4, 4])
    conv = {
        "type": "Conv2d", "weight": arrays["float0"] + np.float32(change), "bias": arrays["bias0"], "stride": np.array([1, 1]),
        "padding": np.array([1, 1]), "dilation": np.array([1, 1]), "groups": np.array(1),
    }  # fmt: skip
    return write(folder / "net.nir", {
        "input": {"type": "Input", "shape": whole}, "conv": conv, "a": lif(v_threshold=f32(0.5)),
        "flat": {"type": "Flatten", "start_dim": np.array(1), "end_dim": np.array(-1), "input_type": np.array([3, 4, 4])},
        "fc": {"type": "Linear", "weight": arrays["float3"]}, "b": lif(v_threshold=f32(0.5)),
        "output": {"type": "Output", "shape": np.array([5])},
    })  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_brevitas_wrote_is_what_its_layers_use(tmp_path, quantizer, form):
    arrays = own(quantizer)
    for number, found in zip((0, 3), read_trained_weights(onnx_file(tmp_path, quantizer, form)), strict=True):
        assert (found.codes == arrays[f"codes{number}"]).all() and found.bits == int(quantizer[-1])
        assert (found.weight.astype(np.float32) == arrays[f"value{number}"]).all()


@pytest.mark.parametrize("form", FORMS)
def test_the_integers_are_the_programs(tmp_path, form):
    arrays = own("tensor4")
    path = onnx_file(tmp_path, "tensor4", form)
    network = from_nir(nir_file(tmp_path, arrays), weights=path, **SETTINGS)
    for profile in (load_profile("loihi_int8"), load_profile("aggressive_int4")):
        program = compile(network, profile, neuron="profile").program
        for layer, number in zip(program.layers, (0, 3), strict=True):
            assert (layer.weight == arrays[f"codes{number}"].reshape(layer.weight.shape)).all()
    assert not any(
        "was trained with" in text
        for text in compile(network, "loihi_int8", neuron="profile").report.warnings
    )
    without = compile(
        from_nir(nir_file(tmp_path, arrays), **SETTINGS), "loihi_int8", neuron="profile"
    ).program
    assert np.abs(without.layers[0].weight).max() == 127


def test_weights_of_another_network_are_refused(tmp_path):
    arrays, path = own("tensor4"), onnx_file(tmp_path, "tensor4", "qonnx")
    with pytest.raises(
        CompileError, match=r"does not hold the rounded weights of 'conv': at \[.*\] the network has"
    ) as caught:
        from_nir(nir_file(tmp_path, arrays, change=1.0), weights=path, **SETTINGS)
    assert "steps of" in str(caught.value) and "same trained network" in str(caught.value)
    found = read_trained_weights(path)
    with pytest.raises(
        CompileError, match=r"w.onnx: holds weights of 2 layers; the network has 1. Export all of its layers"
    ):
        with_trained_weights([Linear("fc", arrays["float3"]), Scale("s", np.ones(1))], found, "w.onnx")
    with pytest.raises(CompileError, match=r"has weights \[3, 2, 3, 3\]; 'fc' of the network has \[5, 48\]"):
        with_trained_weights([Linear("fc", arrays["float3"])] * 2, found, "w.onnx")


def test_import_takes_them(tmp_path, capsys):
    source, weights, out = (
        nir_file(tmp_path, own("tensor4")),
        onnx_file(tmp_path, "tensor4", "qcdq"),
        tmp_path / "net.pt",
    )
    words = ("import", source, "-o", out, "--dialect", "nir", "--weights", weights)
    code, shown, _ = cli(capsys, *words)
    assert code == 0 and f"Wrote {out}" in shown
    layers = [node for node in load_network(out).graph.nodes if isinstance(node, Synapses)]
    assert [layer.trained_bits for layer in layers[:2]] == [4, 4]
    code, _, error = cli(capsys, *words[:3], weights, *words[4:])
    assert code == 3 and f"{weights.name}: is itself what this command reads" in error
    (tmp_path / "net.net").write_bytes(source.read_bytes())
    code, _, error = cli(
        capsys, "import", tmp_path / "net.net", "-o", tmp_path / "o.pt", "--weights", weights
    )
    assert (
        code == 3
        and "a .net file says its neurons in full; --weights is for NIR files. Leave it out." in error
    )


WEIGHT = np.array([[0.5, -1.5, 2.5], [0.4, 1.0, 9.0]], np.float32)


def saved(folder, nodes, tensors, kind="Gemm", **attributes):
    """Write a file of one layer, whose weights ``w`` the nodes make of ``x``."""
    layer = helper.make_node(kind, ["in", "w"], ["out"], name="layer", **attributes)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("in", "out")]
    graph = helper.make_graph([*nodes, layer], "g", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph), folder / "w.onnx")
    return folder / "w.onnx"


def quant(bits=3, scale=1.0, zero=0.0, **attributes):
    attributes = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes}
    node = helper.make_node(
        "Quant", ["x", "s", "z", "b"], ["w"], name="q", domain="qonnx.custom_op.general", **attributes
    )
    return [node], {"x": WEIGHT, "s": np.float32(scale), "z": np.float32(zero), "b": np.float32(bits)}


@pytest.mark.parametrize(
    "attributes, bits, expected",
    [
        ({}, 3, [[0, -2, 2], [0, 1, 3]]),  # halves to even, clipped to -4 to 3
        ({"rounding_mode": "FLOOR"}, 3, [[0, -2, 2], [0, 1, 3]]),
        ({"rounding_mode": "CEIL"}, 3, [[1, -1, 3], [1, 1, 3]]),
        ({"rounding_mode": "ROUND_TO_ZERO"}, 3, [[0, -1, 2], [0, 1, 3]]),
        ({"signed": 0}, 4, [[0, 0, 2], [0, 1, 7]]),  # 0 to 7, which take four bits as signed numbers
        ({"signed": 0, "narrow": 1}, 4, [[0, 0, 2], [0, 1, 6]]),
    ],
)  # fmt: skip
def test_quant_by_hand(tmp_path, attributes, bits, expected):
    (found,) = read_trained_weights(saved(tmp_path, *quant(**attributes), transB=1))
    assert found.codes.tolist() == expected and found.bits == bits and (found.scale == 1).all()


def test_products_take_their_weights_the_other_way_round(tmp_path):
    nodes, tensors = quant(scale=0.5)
    (gemm,) = read_trained_weights(saved(tmp_path, nodes, tensors))
    (product,) = read_trained_weights(saved(tmp_path, nodes, tensors, "MatMul"))
    # 0.4 / 0.5 is 0.8, and 2.5 / 0.5 is clipped.
    assert gemm.codes.T.tolist() == product.codes.T.tolist() == [[1, -3, 3], [1, 2, 3]]


def linear(codes, zero=0, between=(), **attributes):
    made = {"x": np.asarray(codes, np.int8), "s": np.float32([0.5, 0.25]), "z": np.full(2, zero, np.int8)}
    last = between[-1].output[0] if between else "x"
    return [
        *between,
        helper.make_node("DequantizeLinear", [last, "s", "z"], ["w"], name="d", **attributes),
    ], made


def test_scales_per_channel_by_hand(tmp_path):
    codes = [[1, -2, 3], [4, 5, -6]]
    (found,) = read_trained_weights(saved(tmp_path, *linear(codes, axis=0), transB=1))
    assert found.weight.tolist() == [[0.5, -1.0, 1.5], [1.0, 1.25, -1.5]] and found.bits == 8


def test_quantize_clip_dequantize_by_hand(tmp_path):
    between = [
        helper.make_node("QuantizeLinear", ["x", "h", "z"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "h", "z"], ["t"]),
        helper.make_node("Transpose", ["t"], ["w"], perm=[1, 0]),
    ]
    tensors = {"x": WEIGHT, "h": np.float32(0.5), "z": np.int8(0), "low": np.int8(-3), "high": np.int8(3)}
    (found,) = read_trained_weights(saved(tmp_path, between, tensors, "MatMul"))
    assert found.codes.tolist() == [[1, -3, 3], [1, 2, 3]] and found.bits == 3


@pytest.mark.parametrize(
    "made, message",
    [
        (quant(zero=1.0), "weights of 'q' are integers that do not lie around 0, which no engine computes. Export the layer"),
        (quant(bits=1), "weights of 'q' have 1.0 bits; allowed: whole numbers, 2 to 32"),
        (quant(bits=2.5), "have 2.5 bits"),
        (quant(scale=0.0), "have a scale that is no positive number"),
        (quant(rounding_mode="HALF_UP"), "are rounded by 'HALF_UP'; allowed: ROUND, FLOOR"),
        (linear(WEIGHT, zero=3, axis=0), "do not lie around 0"),
        (linear([[1, 2, 3, 4]] * 3, axis=0), r"have shape \[3, 4\], and their scale \[2, 1\]"),
        (linear(WEIGHT, axis=0, between=[helper.make_node("Abs", ["x"], ["a"], name="abs")]), "weights of 'abs' pass through 'Abs'"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_said(tmp_path, made, message):
    with pytest.raises(InputError, match=message):
        read_trained_weights(saved(tmp_path, *made, transB=1))


def test_files_that_are_no_such_file(tmp_path):
    (tmp_path / "w.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match=r"w.onnx: is no valid ONNX file .*export_qonnx or export_onnx_qcdq"):
        read_trained_weights(tmp_path / "w.onnx")
    with pytest.raises(InputError, match="holds no layer with quantized weights"):
        read_trained_weights(saved(tmp_path, [], {"w": WEIGHT}))
    path = saved(tmp_path, *quant())
    model = onnx.load(path)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="'x' lies in another file"):
        read_trained_weights(path)


def test_layers_that_are_not_quantized_keep_their_place(tmp_path):
    nodes, tensors = quant()
    plain = helper.make_node("MatMul", ["in", "p"], ["mid"], name="plain")
    computed = helper.make_node("MatMul", ["mid", "in"], ["other"], name="computed")
    path = saved(tmp_path, [plain, computed, *nodes], {**tensors, "p": WEIGHT})
    first, second = read_trained_weights(path)
    assert first is None and second.codes.shape == (3, 2)
    parts = [Linear("one", np.ones((2, 2))), Linear("two", WEIGHT.T)]
    changed = with_trained_weights(parts, [first, second], "w.onnx")
    assert changed[0] is parts[0] and changed[1].bits == 3


def test_products_that_no_float32_holds_are_infinite_without_a_warning_of_numpy(tmp_path):
    nodes, tensors = quant(bits=8, scale=3e38)
    (found,) = read_trained_weights(saved(tmp_path, nodes, {**tensors, "x": np.array([[3e38]], np.float32)}))
    assert found.weight.tolist() == [[float(np.float32(3e38))]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(replace(found, codes=np.array([[2.0]])).weight).all()
