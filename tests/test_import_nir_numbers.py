"""Numbers of NIR files that are none, not whole, or beyond all sizes: a sentence, no traceback, no warning of NumPy."""

import warnings

import numpy as np
import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import f32, lif, write

from sastdeploy import CompileError, InputError, from_nir

INPUT, OUTPUT = {"type": "Input", "shape": np.array([1, 4, 4])}, {"type": "Output", "shape": np.array([2])}
CONV = {
    "type": "Conv2d", "weight": np.ones((2, 1, 2, 2), np.float32), "bias": f32(0, 0), "stride": 2, "padding": 0, "dilation": 1, "groups": 1,
    "input_shape": np.array([4, 4]),
}  # fmt: skip
NOT_WHOLE = "holds what is no whole number of at most 2,147,483,648"


def refused(tmp_path, **nodes):
    with warnings.catch_warnings(), pytest.raises(CompileError) as error:
        warnings.simplefilter("error")
        from_nir(write(tmp_path / "n.nir", nodes), dialect="nir")
    return str(error.value)


@pytest.mark.parametrize("size", [np.inf, np.nan, 2.5, 2**40, -(2**40)])
@pytest.mark.parametrize("field", ["stride", "padding", "dilation", "groups"])
def test_a_convolutions_sizes_are_whole(field, size, tmp_path):
    conv = CONV | {field: size}
    assert f"conv: a Conv2d that is not whole ({NOT_WHOLE})." in refused(
        tmp_path, input=INPUT, conv=conv, n=lif(), output=OUTPUT
    )


@pytest.mark.parametrize("shape", [np.inf, np.nan, 0.5])
def test_an_inputs_shape_is_whole(shape, tmp_path):
    start = {"type": "Input", "shape": np.array([1, shape, 4])}
    assert "the input's shape " in refused(tmp_path, input=start, conv=CONV, n=lif(), output=OUTPUT)


def test_an_inputs_shape_is_no_text(tmp_path):
    assert "the input's shape " in refused(
        tmp_path, input={"type": "Input", "shape": ""}, conv=CONV, n=lif(), output=OUTPUT
    )


def test_a_kernel_has_four_axes(tmp_path):
    conv = CONV | {"weight": np.ones((2, 2), np.float32)}
    assert "conv: " in refused(tmp_path, input=INPUT, conv=conv, n=lif(), output=OUTPUT)


def test_a_weight_is_no_single_number(tmp_path):
    linear = {"type": "Linear", "weight": np.float32(2.0)}
    assert "w: weight () for" in refused(tmp_path, input=INPUT, w=linear, n=lif(), output=OUTPUT)


@pytest.mark.parametrize("tau", [1e308, 1e-320])
def test_time_constants_at_the_end_of_all_numbers(tau, tmp_path):
    flat, linear = (
        {"type": "Input", "shape": np.array([2])},
        {"type": "Linear", "weight": np.ones((2, 2), np.float32)},
    )
    message = refused(tmp_path, input=flat, w=linear, n=lif(tau=np.array([tau])), output=OUTPUT)
    assert message.startswith(f"{tmp_path}/n.nir: n: ")


def test_a_framework_is_recognised_without_a_warning_of_a_tau_of_0(tmp_path):
    path = write(tmp_path / "n.nir", {"input": INPUT, "0": CONV, "1": lif(tau=f32(0.0)), "output": OUTPUT})
    with warnings.catch_warnings(), pytest.raises(InputError, match="does not say which framework wrote it"):
        warnings.simplefilter("error")
        from_nir(path)


def test_a_layer_of_no_outputs_and_empty_numbers_are_refused(tmp_path):
    nothing, flat = np.zeros((0, 2), np.float32), {"type": "Input", "shape": np.array([2])}
    linear = {"type": "Linear", "weight": nothing}
    assert "n.nir: w: a Linear that is not whole ('weight' is empty)." in refused(
        tmp_path, input=flat, w=linear, n=lif(), output=OUTPUT
    )
    empty = CONV | {"weight": np.zeros((0, 1, 3, 3), np.float32), "bias": np.zeros(0, np.float32)}
    assert "conv: a Conv2d that is not whole ('weight' is empty)." in refused(
        tmp_path, input=INPUT, conv=empty, n=lif(), output=OUTPUT
    )
    assert "n: a LIF that is not whole ('tau' is empty)." in refused(
        tmp_path, input=INPUT, conv=CONV, n=lif(tau=f32()), output=OUTPUT
    )


def test_stated_shapes_are_those_of_the_weights(tmp_path):
    linear = {"type": "Linear", "weight": np.ones((3, 2), np.float32)}
    ends = {"type": "Input", "shape": np.array([5])}, {"type": "Output", "shape": np.array([4])}
    right = {"type": "Input", "shape": np.array([1, 2])}, {"type": "Output", "shape": np.array([1, 7, 3])}
    assert refused(tmp_path, input=ends[0], w=linear, n=lif(), output=right[1]) == (
        f"{tmp_path}/n.nir: the input's shape [5]: w takes 2 values a step. Write the shape of one step."
    )
    assert refused(tmp_path, input=right[0], w=linear, n=lif(), output=ends[1]) == (
        f"{tmp_path}/n.nir: output: the output's shape [4]: the network has 3 outputs."
    )
    assert "output: the output's shape 'wide'" in refused(
        tmp_path, input=right[0], w=linear, n=lif(), output={"type": "Output", "shape": "wide"}
    )
    path = write(tmp_path / "n.nir", {"input": right[0], "w": linear, "n": lif(), "output": right[1]})
    assert len(from_nir(path, dialect="nir").classes) == 3


def test_a_node_that_no_edge_connects_is_named(tmp_path):
    nodes = {"input": INPUT, "conv": CONV, "n": lif(), "output": OUTPUT, "lost": lif()}
    path = write(tmp_path / "n.nir", nodes, [("input", "conv"), ("conv", "n"), ("n", "output")])
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir")
    assert str(error.value) == f"{path}: lost: no edge connects it to the network."


def test_names_are_printed_escaped(tmp_path):
    nodes = {"input": INPUT, "conv": CONV, "n\x1b[31m": {"type": "Wave\n"}, "output": OUTPUT}
    message = refused(tmp_path, **nodes)
    assert "n\\x1b[31m: a node of kind Wave\\n, which no engine computes." in message
    twice = {"input": INPUT, "conv": CONV, "n\n": lif(), "n\\n": lif(), "output": OUTPUT}
    with pytest.raises(InputError, match="two nodes are named"):
        from_nir(write(tmp_path / "n.nir", twice), dialect="nir")


@pytest.mark.parametrize("linear", [
    {"w": {"type": "Linear", "weight": np.array([[1e300]])}, "n": lif(r=np.float64(1e30))},
    {"v": {"type": "Linear", "weight": np.array([[1e200]])}, "w": {"type": "Linear", "weight": np.array([[1e200]])}, "n": lif()},
])  # fmt: skip
def test_numbers_that_leave_the_range_on_the_way_are_refused_without_a_warning(tmp_path, linear):
    flat = {"type": "Input", "shape": np.array([1])}
    with warnings.catch_warnings(), pytest.raises(InputError, match="a weight is not finite"):
        warnings.simplefilter("error")
        from_nir(
            write(tmp_path / "n.nir", {"input": flat, **linear, "output": {"type": "Output"}}), dialect="nir"
        )


def test_a_weight_that_is_not_finite_is_named_with_its_file(tmp_path):
    flat, linear = {"type": "Input", "shape": np.array([1])}, {"type": "Linear", "weight": f32([np.inf])}
    path = write(tmp_path / "n.nir", {"input": flat, "w": linear, "n": lif(), "output": {"type": "Output"}})
    with pytest.raises(InputError) as error:
        from_nir(path, dialect="nir")
    assert str(error.value) == f"{path}: dense w: a weight is not finite."
