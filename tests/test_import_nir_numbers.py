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
