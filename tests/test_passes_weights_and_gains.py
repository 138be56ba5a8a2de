"""Folding, quantization, gains and leaks: bounds for every input, and values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import AvgPool, Conv2d, Dense, Input, Lif, Readout, SumPool
from sastdeploy.compiler.passes.fit_gains import fit_gain, fit_gains, too_small
from sastdeploy.compiler.passes.fit_leaks import fit_leaks
from sastdeploy.compiler.passes.fit_thresholds_and_biases import fit_thresholds_and_biases
from sastdeploy.compiler.passes.fold_scales import fold_scales
from sastdeploy.compiler.passes.quantize_weights import quantize_weights
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.errors import CompileError
from sastdeploy.program.fixedpoint import QFormat, weight_limit
from sastdeploy.program.limits import MAX_SHIFT

LOIHI = load_profile("loihi_int8")


def graph_of(weight, **changes) -> Graph:
    weight = np.asarray(weight, np.float64)
    return Graph(
        "g",
        (
            Input("input", (weight.shape[1], 1, 1), 2, 1, 1.0),
            Dense("fc", weight, np.zeros(len(weight)), **changes),
            Lif("fc.lif", 0.5, np.ones(len(weight))),
            Readout("readout", np.ones((2, len(weight))), np.zeros(2)),
        ),
    )


def quantized(weight, bits=8, granularity="per_tensor", scale="any", **changes) -> Dense:
    profile = replace(LOIHI, weight_bits=bits, granularity=granularity, scale=scale)
    return quantize_weights(graph_of(weight, **changes), profile).nodes[1]


def test_folding_moves_every_divisor_into_the_next_gain():
    graph = Graph(
        "g",
        (
            Input("input", (1, 8, 8), 2, 4, 5.0),
            Conv2d("a", np.ones((2, 1, 3, 3)), np.zeros(2), padding=(1, 1)),
            Lif("a.lif", 0.5, np.ones(2)),
            AvgPool("p", 2),
            Conv2d("b", np.ones((3, 2, 3, 3)), np.zeros(3)),
            Lif("b.lif", 0.5, np.ones(3)),
            Readout("readout", np.ones((2, 3)), np.zeros(2), pool="average"),
        ),
    )
    nodes = fold_scales(graph, LOIHI).nodes
    assert nodes[0].divisor == 1.0
    assert nodes[1].gain == 1 / 5  # the frames' divisor
    assert isinstance(nodes[3], SumPool) and nodes[3].kernel == 2
    assert nodes[4].gain == 1 / 4  # a mean of 2 x 2
    assert (nodes[6].pool, nodes[6].gain) == ("sum", 1 / 4)  # 8 x 8 pooled: 4 x 4; kernel 3: a mean of 2 x 2


def test_weights_by_hand():
    # INT4: s = 1.75 / 7 = 0.25; -0.375 / 0.25 = -1.5 and 0.625 / 0.25 = 2.5 are ties: to even, -2 and 2.
    node = quantized([[1.75, -0.375], [0.625, 0.0]], bits=4)
    assert node.weight_q.tolist() == [[7, -2], [2, 0]]
    assert node.weight_scale.tolist() == [0.25, 0.25]
    # Per channel: the second row has its own s = 0.625 / 7.
    node = quantized([[1.75, -0.375], [0.625, 0.0]], bits=4, granularity="per_channel")
    assert node.weight_q.tolist() == [[7, -2], [7, 0]]
    assert node.weight_scale.tolist() == [0.25, 0.625 / 7]


def test_power_of_two_scales_are_rounded_up_so_that_nothing_clips():
    # 1 / 7 goes up to 1/4: 1.0 becomes 4, not 8 as 1/8 would give, which INT4 cannot hold.
    node = quantized([[1.0, -0.5]], bits=4, scale="power_of_two")
    assert (node.weight_scale.tolist(), node.weight_q.tolist()) == ([0.25], [[4, -2]])
    # A scale that is a power of two already stays one.
    assert quantized([[1.75]], bits=4, scale="power_of_two").weight_scale.tolist() == [0.25]


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("scale", ["any", "power_of_two"])
def test_a_tensor_of_zeros_has_scale_one(granularity, scale):
    node = quantized(np.zeros((2, 3)), granularity=granularity, scale=scale)
    assert not node.weight_q.any() and node.weight_scale.tolist() == [1.0, 1.0]


REALS = st.floats(-4, 4, width=32)


@settings(max_examples=200, deadline=None)
@given(
    arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=REALS),
    st.integers(2, 8),
    st.sampled_from(["per_tensor", "per_channel"]),
    st.sampled_from(["any", "power_of_two"]),
)
def test_a_dequantized_weight_is_within_half_a_step(weight, bits, granularity, scale):
    node = quantized(weight, bits, granularity, scale)
    steps = node.weight_scale[:, None]
    assert (np.abs(node.effective_weight - weight) <= steps / 2 * (1 + 1e-12)).all()
    assert np.abs(node.weight_q.astype(int)).max() <= weight_limit(bits)
    if granularity == "per_tensor":
        assert len(set(node.weight_scale)) == 1
    if scale == "power_of_two":
        assert (np.frexp(node.weight_scale)[0] == 0.5).all()
    elif granularity == "per_channel":
        full = np.abs(node.weight_q.astype(int)).max(1) == weight_limit(bits)
        assert (full | (weight == 0).all(1)).all()


def test_gains_by_hand():
    # 0.3 * 2^16 = 19660.8 -> 19661 < 2^15; 2^17 would give 39322.
    assert fit_gain(0.3, "x") == (19661, 16)
    assert fit_gain(1.0, "x") == (1, 0)
    assert fit_gain(0.25, "x") == (1, 2)
    assert fit_gain(8.0, "x") == (8, 0)
    # 32767.6 rounds to 32768 = 2^15 at r = 0, which M may not be, and r cannot be smaller.
    with pytest.raises(CompileError):
        fit_gain(32767.6, "x")
    # The same mantissa at r = 15 becomes 16384 at r = 14: the same value.
    assert fit_gain(32767.6 / 2**15, "x") == (16384, 14)
    assert fit_gain(32767.0, "x") == (32767, 0)
    assert fit_gain(2.0**-46, "x") == (1, 46)


@settings(max_examples=500, deadline=None)
@given(st.floats(2.0**-32, 16383.0))
def test_a_gain_is_exact_to_14_bits_where_the_shift_is_not_capped(gain):
    multiplier, shift = fit_gain(gain, "x")
    assert 0 < multiplier < 2**15 and 0 <= shift <= MAX_SHIFT
    achieved = multiplier / 2**shift
    if multiplier == 1 or shift == 0:
        assert achieved == gain or shift == 0
    else:
        # r as large as allowed: one more would need M of 2^15 or more.
        assert round(gain * 2.0 ** (shift + 1)) >= 2**15 or shift == MAX_SHIFT
    if shift < MAX_SHIFT:
        assert abs(achieved / gain - 1) <= 2**-14


@settings(max_examples=100, deadline=None)
@given(st.floats(2.0**-46, 2.0**-33))
def test_a_gain_at_the_shifts_end_is_off_by_half_a_unit_at_most(gain):
    multiplier, shift = fit_gain(gain, "x")
    assert abs(multiplier / 2**shift - gain) <= 2.0**-47


@pytest.mark.parametrize("gain", [2.0**15, 1e9, 2.0**-48, 1e-300, 5e-324])
def test_a_gain_that_no_multiplier_holds_is_refused(gain):
    with pytest.raises(CompileError) as caught:
        fit_gain(gain, "fc, channel 3")
    assert str(caught.value) == (
        f"fc, channel 3: gain {gain:.4g} membrane LSBs per unit of the sum cannot be held as M / 2^r with 0 < M < 2^15 "
        f"and 0 <= r <= 46. Rescale the layer's weights and thresholds, or choose another membrane format."
    )


@pytest.mark.parametrize("scale", ["any", "power_of_two"])
@pytest.mark.parametrize(("weight", "gain"), [(1e308, "inf"), (1e300, "2.0\\d+e\\+300|2.6\\d+e\\+300")])
def test_weights_as_large_as_floats_hold_are_refused_by_their_gain(scale, weight, gain):
    """No warning of NumPy comes before: here each is an error."""
    profile = replace(LOIHI, scale=scale)
    with pytest.raises(CompileError, match=f"fc, channel 0: gain ({gain}) membrane LSBs per unit of the sum"):
        fit_gains(quantize_weights(graph_of([[weight]]), profile), profile)


@pytest.mark.parametrize("scale", ["any", "power_of_two"])
@pytest.mark.parametrize("weight", [5e-324, 1e-320, 4e-306])
def test_weights_as_small_as_floats_hold_become_zeros(scale, weight):
    from sastdeploy.compiler.report import _gain_error

    profile = replace(LOIHI, scale=scale)
    node = fit_gains(quantize_weights(graph_of([[weight, -weight]]), profile), profile).nodes[1]
    assert (node.weight_q.tolist(), node.multiplier.tolist(), _gain_error(node)) == ([[0, 0]], [1], 0.0)


@pytest.mark.parametrize(("changed", "words"), [
    ({"bias": np.array([1e308])}, r"fc, neuron 0: bias 1e\+308 does not fit Q8\.8"),
    ({"threshold": np.array([1e308])}, r"fc\.lif, neuron 0: threshold 1e\+308 does not fit Q8\.8"),
])  # fmt: skip
def test_numbers_as_large_as_floats_hold_are_refused_by_their_format(changed, words):
    graph = graph_of([[1.0]])
    nodes = [
        replace(each, **{k: v for k, v in changed.items() if hasattr(each, k)}) for each in graph.nodes[1:3]
    ]
    with pytest.raises(CompileError, match=words):
        fit_thresholds_and_biases(graph.replace((graph.nodes[0], *nodes, graph.nodes[3])), LOIHI)


def test_gains_take_the_scale_the_fold_and_the_membranes_fraction():
    # max|W| = 127/64: s = 1/64; gain 1/2 folded; n = 8: g = 1/2 * 1/64 * 256 = 2, a power of two.
    graph = quantize_weights(graph_of([[127 / 64, 0.5]], gain=0.5), LOIHI)
    node = fit_gains(graph, LOIHI).nodes[1]
    assert (node.fraction_bits, node.multiplier.tolist(), node.shift.tolist()) == (8, [2], [0])
    # g = 1/3 * 1/64 * 256 = 4/3: M = round(4/3 * 2^14) = 21845.
    graph = quantize_weights(graph_of([[127 / 64, 0.5]], gain=1 / 3), LOIHI)
    node = fit_gains(graph, LOIHI).nodes[1]
    assert (node.multiplier.tolist(), node.shift.tolist()) == ([21845], [14])


def test_a_channel_without_weights_needs_no_gain():
    # Scale 1 for zeros: 2^16 units, more than any multiplier holds, of a sum that is always 0.
    fine = replace(LOIHI, membrane=QFormat(6, 16), granularity="per_channel")
    graph = quantize_weights(graph_of([[1.0, 0.5], [0.0, 0.0]]), fine)
    node = fit_gains(graph, fine).nodes[1]
    assert (node.multiplier[1], node.shift[1]) == (1, 0) and node.multiplier[0] > 1


@pytest.mark.parametrize("scale", ["any", "power_of_two"])
def test_a_channel_whose_sums_stay_below_half_a_step_gets_weights_of_zero(scale):
    profile = replace(LOIHI, granularity="per_channel", scale=scale)
    graph = quantize_weights(graph_of([[1.0, 0.5], [1e-15, -1e-15], [1e-40, 0.0]]), profile)
    node = fit_gains(graph, profile).nodes[1]
    assert node.weight_q[0].any() and not node.weight_q[1:].any()
    assert graph.nodes[1].weight_q[1].any()  # the pass changes no graph that it is given
    assert (node.multiplier[1:].tolist(), node.shift[1:].tolist()) == ([1, 1], [0, 0])


def test_the_smallest_gain_that_is_held_and_the_largest_that_is_not():
    assert not too_small(2.0**-46) and not too_small(2.0**-47 * 1.01) and too_small(2.0**-47)
    # A sum of 32 bits at the largest gain that is not held: far below half an LSB.
    assert 2.0**31 * 2.0**-47 < 0.5


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-3, 1.0), st.floats(0.01, 4.0))
def test_power_of_two_profiles_need_no_multiplier(fold, largest):
    shifting = replace(LOIHI, scale="power_of_two")
    graph = quantize_weights(graph_of([[largest, -largest / 3]], gain=fold), shifting)
    node = fit_gains(graph, shifting).nodes[1]
    # Above 1, M / 2^r with r >= 0 is a power of two; else it is a plain shift.
    assert int(node.multiplier[0]).bit_count() == 1
    assert node.multiplier[0] == 1 or node.shift[0] == 0
    exact = node.gain * node.weight_scale[0] * 256
    assert node.multiplier[0] / 2.0 ** node.shift[0] == pytest.approx(exact, rel=1e-15)


def test_gains_before_weights_are_refused():
    with pytest.raises(CompileError) as caught:
        fit_gains(graph_of([[1.0]]), LOIHI)
    assert str(caught.value) == "fc: gains are fitted after weights are quantized. Order the passes so."


@pytest.mark.parametrize(
    ("alpha", "shift", "multiplier"),
    [
        (0.5, 12, 2048),
        (0.5, 4, 8),
        (0.9, 12, 3686),  # 3686.4
        (0.9, 4, 14),  # 14.4
        (0.5, 0, 0),  # a tie: to even
        (0.999, 4, 16),  # 15.98: never leaks
        (0.001, 4, 0),
    ],
)
def test_leaks_by_hand(alpha, shift, multiplier):
    graph = graph_of([[1.0]])
    nodes = list(graph.nodes)
    nodes[2] = replace(nodes[2], alpha=alpha)
    node = fit_leaks(graph.replace(tuple(nodes)), replace(LOIHI, leak_shift=shift)).nodes[2]
    assert (node.leak_multiplier, node.leak_shift) == (multiplier, shift)


def test_the_neuron_becomes_the_profiles():
    profile = replace(LOIHI, spike_test=">", reset="zero", reset_delay=0)
    node = fit_leaks(graph_of([[1.0]]), profile).nodes[2]
    assert (node.spike_test, node.reset, node.reset_delay) == (">", "zero", 0)
