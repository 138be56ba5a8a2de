"""Which neuron, or channel, a file's numbers are for: by their shape alone, and refused where it says two things."""

import numpy as np
import pytest
from nir_files import f32, lif, write

from sastdeploy import CompileError, from_nir
from sastdeploy.exchange.channels import at_each
from sastdeploy.exchange.dialects import DIALECTS
from sastdeploy.exchange.leaks import integrating, leaky

MAP = (4, 2, 2)
EACH = np.arange(1.0, 17.0).reshape(MAP)


def placed(values, shape=MAP):
    return at_each(np.asarray(values, float), shape, "n", "threshold")


@pytest.mark.parametrize("values, expected", [
    ([[[2.0]]], np.full(MAP, 2.0)), ([1, 2, 3, 4], np.arange(1, 5).reshape(4, 1, 1) * np.ones(MAP)),
    ([[1, 2, 3, 4]], np.arange(1, 5).reshape(4, 1, 1) * np.ones(MAP)), (EACH, EACH), (EACH[None], EACH), (EACH.reshape(-1), EACH),
    ([[[1, 2], [3, 4]]], np.ones(MAP) * [[1, 2], [3, 4]]), ([[1, 2], [3, 4]], np.ones(MAP) * [[1, 2], [3, 4]]),
    ([[[[1]], [[2]], [[3]], [[4]]]], np.arange(1, 5).reshape(4, 1, 1) * np.ones(MAP)), ([5, 6], np.ones(MAP) * [5, 6]),
])  # fmt: skip
def test_values_stand_where_their_shape_says(values, expected):
    assert (placed(values) == expected).all()


@pytest.mark.parametrize("values", [[1, 2, 3], [[1, 2, 3]], [[1], [2], [3]], [[[1], [2], [3]]]])
def test_neurons_in_a_row_stand_in_any_direction(values):
    assert (placed(values, (3, 1, 1)).reshape(-1) == [1, 2, 3]).all()


def test_positions_of_one_row_may_leave_an_axis_out():
    assert (placed([[1, 2], [3, 4], [5, 6]], (3, 1, 2)).reshape(3, 2) == [[1, 2], [3, 4], [5, 6]]).all()


@pytest.mark.parametrize("values, shape", [
    (EACH.transpose(1, 2, 0), MAP),  # channels last
    (EACH.reshape(4, 4), MAP), (EACH.reshape(1, 1, 16), MAP), ([1, 2, 3], MAP), ([[1, 2], [3, 4]], (4, 1, 1)),
])  # fmt: skip
def test_values_that_only_count_right_are_refused(values, shape):
    with pytest.raises(CompileError) as error:
        placed(values, shape)
    assert str(error.value) == (
        f"n: threshold of shape {np.shape(values)} for 4 channels of {shape[1]} x {shape[2]}; allowed are one value, one per channel "
        f"(4, 1, 1), or one per position {shape}."
    )


def test_a_row_that_fits_channels_and_columns_is_refused_unless_it_says_the_same():
    square = (2, 3, 2)
    with pytest.raises(CompileError) as error:
        placed([1, 2], square)
    assert str(error.value) == (
        "n: threshold of shape (2,) can be one per channel or one per column of 2 channels of 3 x 2; write (2, 1, 1) for channels, or all of "
        "(2, 3, 2)."
    )
    assert (placed([3, 3], square) == 3).all()


def test_a_file_gives_thresholds_by_position_where_positions_are_as_many_as_channels(tmp_path):
    thresholds = f32(1, 2, 3, 4).reshape(1, 2, 2)
    path = write(tmp_path / "x.nir", {
        "input": {"type": "Input", "shape": np.array([1, 2, 2])},
        "conv": {
            "type": "Conv2d", "input_shape": np.array([2, 2]), "weight": np.ones((4, 1, 1, 1), np.float32), "bias": np.zeros(4, np.float32),
            "stride": np.array([1, 1]), "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "groups": 1,
        },
        "n": lif(v_threshold=thresholds), "output": {"type": "Output", "shape": np.array([4, 2, 2])},
    })  # fmt: skip
    network = from_nir(path, dialect="nir")
    lifs = [node for node in network.graph.nodes if hasattr(node, "threshold")]
    assert (lifs[0].threshold == np.broadcast_to(thresholds, (4, 2, 2))).all()


@pytest.mark.parametrize("tau", [[1.0004e-4 * 2], [2e-5], [np.float32(2e-4)]])
def test_a_gain_is_kept_to_a_millionth(tau):
    rules, one, zero = DIALECTS["nir"], np.ones(1), np.zeros(1)
    r = np.array([1e-4]) if tau[0] > 1e-4 else np.array([1e-9])
    gain = integrating("n", rules, r=r / rules.dt_if * np.float64(tau[0]), v_threshold=one, v_reset=zero).gain
    assert gain == pytest.approx(r * np.float64(tau[0]), rel=1e-6) and gain > 0


def test_a_time_constant_is_kept_to_a_millionth():
    rules, one, zero = DIALECTS["nir"], np.ones(1), np.zeros(1)
    neurons = leaky(
        "n", rules, tau=np.array([1.0004e-4 * 2]), r=one, v_leak=zero, v_threshold=one, v_reset=zero
    )
    assert neurons.alpha == pytest.approx(1 - rules.dt / 2.0008e-4, rel=1e-6)


def test_numbers_of_one_node_that_would_meet_across_their_axes_are_refused():
    rules, one, zero = DIALECTS["nir"], np.ones(1), np.zeros(1)
    with pytest.raises(CompileError) as error:
        leaky(
            "n", rules, tau=np.full(4, 2e-4), r=one, v_leak=zero, v_threshold=np.ones((4, 1, 1)), v_reset=zero
        )
    assert (
        str(error.value)
        == "n: tau (4,), v_threshold (4, 1, 1): give all of them the same axes, [C, 1, 1] or [C, H, W], or one value."
    )
