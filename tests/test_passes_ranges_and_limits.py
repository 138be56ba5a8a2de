"""Thresholds, biases, ranges and limits: what does not fit is refused by name, and proven widths are tight."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_networks import CONV, POOL, checkpoint_of

from sastdeploy.compiler.compile import PASSES, run_passes
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.nodes import Conv2d, Dense, Input, Lif, Readout, SumPool
from sastdeploy.compiler.passes.check_limits import check_limits
from sastdeploy.compiler.passes.fit_thresholds_and_biases import fit_thresholds_and_biases
from sastdeploy.compiler.passes.prove_ranges import node_sums, prove_ranges, signed_width
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.errors import CompileError
from sastdeploy.program.fixedpoint import QFormat

LOIHI = load_profile("loihi_int8")


def graph_of(weight_q, c_clip=1, *, bias=None, theta=None, readout=None, multiplier=1, shift=0, steps=10):
    """Return a graph as it stands before the range proof, from integer weights ``[N, J]``."""
    weight_q = np.asarray(weight_q, np.int8)
    n, j = weight_q.shape
    readout = np.ones((2, n), np.int8) if readout is None else np.asarray(readout, np.int8)

    def filled(codes, biases):
        channels = len(codes)
        return {
            "weight": codes.astype(np.float64), "bias": np.zeros(channels), "weight_bits": 8, "weight_q": codes,
            "weight_scale": np.ones(channels), "multiplier": np.full(channels, multiplier, np.int32),
            "shift": np.full(channels, shift, np.int32), "bias_q": np.full(channels, biases, np.int32),
        }  # fmt: skip

    return Graph(
        "g",
        (
            Input("input", (j, 1, 1), steps, c_clip, 1.0),
            Dense("fc", **filled(weight_q, bias or 0)),
            Lif("fc.lif", 0.5, np.ones(n), threshold_q=np.full(n, theta or 256, np.int32)),
            Readout("readout", **filled(readout, 0)),
        ),
    )


def refusal(operation, *arguments) -> str:
    with pytest.raises(CompileError) as caught:
        operation(*arguments)
    return str(caught.value)


def fitted(membrane, theta=1.0, bias=0.0, readout_bias=0.0):
    graph = Graph(
        "g",
        (
            Input("input", (1, 1, 1), 2, 1, 1.0),
            Dense("fc", np.ones((2, 1)), np.array([0.0, bias])),
            Lif("fc.lif", 0.5, np.array([1.0, theta])),
            Readout("readout", np.ones((2, 2)), np.array([0.0, readout_bias])),
        ),
    )
    profile = replace(LOIHI, membrane=QFormat.parse(membrane))
    return fit_thresholds_and_biases(graph, profile)


def test_thresholds_and_biases_round_half_to_even():
    # Q4.4, step 1/16: 2.5/16 -> 2, 3.5/16 -> 4; -1.5/16 -> -2.
    graph = fitted("Q4.4", theta=2.5 / 16, bias=3.5 / 16, readout_bias=-1.5 / 16)
    assert graph.nodes[2].threshold_q.tolist() == [16, 2]
    assert graph.nodes[1].bias_q.tolist() == [0, 4]
    assert graph.nodes[3].bias_q.tolist() == [0, -2]


def test_a_threshold_that_rounds_to_zero_is_refused():
    # Half a step is a tie, and 0 is even: 1/32 in Q4.4 is 0. With 5 fractional bits it is 1.
    assert refusal(fitted, "Q4.4", 1 / 32) == (
        "fc.lif, neuron 1: threshold 0.03125 rounds to 0 in Q4.4 (step 0.0625), so it would fire always. Use at least 5 "
        "fractional bits, or raise the threshold to 0.0625 or more."
    )
    # One that no power of two of a float reaches, too.
    assert "Use at least 1063 fractional bits" in refusal(fitted, "Q4.4", 1e-320)
    assert "Use at least 1074 fractional bits" in refusal(fitted, "Q4.4", 5e-324)
    assert fitted("Q4.5", 1 / 32).nodes[2].threshold_q.tolist() == [32, 1]
    assert fitted("Q4.4", 0.04).nodes[2].threshold_q.tolist() == [16, 1]


@pytest.mark.parametrize(
    ("what", "value", "text", "bits"),
    [
        ("theta", 8.0, "fc.lif, neuron 1: threshold 8 does not fit Q4.4 (-8 to 7.9375).", 5),
        ("theta", 1e30, "fc.lif, neuron 1: threshold 1e+30 does not fit Q4.4 (-8 to 7.9375).", 101),
        ("bias", 8.0, "fc, neuron 1: bias 8 does not fit Q4.4 (-8 to 7.9375).", 5),
        # 7.98 lies between 7.9375 and 8 and rounds to 8.
        ("bias", 7.98, "fc, neuron 1: bias 7.98 does not fit Q4.4 (-8 to 7.9375).", 5),
        ("bias", -8.04, "fc, neuron 1: bias -8.04 does not fit Q4.4 (-8 to 7.9375).", 5),
    ],
)
def test_what_the_membrane_cannot_hold_is_refused(what, value, text, bits):
    assert refusal(lambda: fitted("Q4.4", **{what: value})) == (
        f"{text} Use at least {bits} integer bits, or train with smaller values."
    )
    if bits < 20:
        fitted(f"Q{bits}.4", **{what: value})


def test_the_ends_of_the_format_fit():
    assert fitted("Q4.4", bias=-8.0).nodes[1].bias_q.tolist() == [0, -128]
    assert fitted("Q4.4", bias=7.9375, theta=7.9375).nodes[2].threshold_q.tolist() == [16, 127]


def test_the_readouts_bias_has_32_bits():
    assert fitted("Q4.4", readout_bias=1e6).nodes[3].bias_q.tolist() == [0, 16_000_000]
    assert refusal(lambda: fitted("Q4.4", readout_bias=-2e8)) == (
        "readout, class 1: bias -2e+08 does not fit 32 bits with 4 fractional ones. Train with smaller biases, or choose a "
        "membrane format with fewer fractional bits."
    )


@pytest.mark.parametrize(
    ("low", "high", "width"),
    [(0, 0, 1), (0, 1, 2), (-1, 0, 1), (-2, 0, 2), (-128, 127, 8), (-128, 128, 9), (-129, 0, 9), (0, 127, 8)],
)
def test_signed_width_by_hand(low, high, width):
    assert signed_width(low, high) == width


CODES = arrays(np.int8, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.integers(-127, 127))


@settings(max_examples=100, deadline=None)
@given(CODES, st.integers(1, 127), st.integers(0, 2**32 - 1))
def test_the_proof_is_attained_and_never_exceeded(codes, c_clip, seed):
    graph = prove_ranges(graph_of(codes, c_clip), replace(LOIHI, accumulator_bits=32))
    node = graph.nodes[1]
    width = node.accumulator_bits
    low, high = node_sums(node, c_clip)
    wide = codes.astype(np.int64)
    for channel, row in enumerate(wide):
        assert row @ np.where(row > 0, c_clip, 0) == high[channel]
        assert row @ np.where(row < 0, c_clip, 0) == low[channel]
    x = np.random.default_rng(seed).integers(0, c_clip + 1, (50, codes.shape[1]))
    partial = np.cumsum(x[:, None, :] * wide, axis=2)
    # Every partial sum stays inside too, in whichever order hardware adds.
    assert (partial >= low[:, None]).all() and (partial <= high[:, None]).all()
    assert (partial >= -(1 << (width - 1))).all() and (partial < 1 << (width - 1)).all()
    # One bit less would not hold the worst sum.
    assert width == 1 or low.min() < -(1 << (width - 2)) or high.max() >= 1 << (width - 2)


def test_an_accumulator_too_narrow_is_refused_with_the_worst_sum():
    # Neuron 1: 3 * (100 + 27) = 381 needs 10 bits; neuron 0: 3 * -90 = -270 also needs 10.
    graph = graph_of([[-90, 10], [100, 27]], c_clip=3)
    assert prove_ranges(graph, replace(LOIHI, accumulator_bits=10)).nodes[1].accumulator_bits == 10
    assert refusal(prove_ranges, graph, replace(LOIHI, accumulator_bits=9)) == (
        "fc, neuron 1: its sum can reach 381 (inputs up to 3) and needs 10 bits; loihi_int8's accumulator has 9. Inputs "
        "up to 2 would fit. Use a wider accumulator, fewer weight bits, fewer inputs per neuron, or train with a smaller clip."
    )
    assert "fc, neuron 0: its sum can reach -381 " in refusal(
        prove_ranges, graph_of([[-100, -27]], c_clip=3), replace(LOIHI, accumulator_bits=9)
    )


def test_a_refusal_names_the_neuron_whose_negative_side_is_the_worst():
    text = refusal(
        prove_ranges,
        graph_of([[127, 0], [-100, -27], [3, -126]], c_clip=3),
        replace(LOIHI, accumulator_bits=9),
    )
    # 3 * 127 = 381 and 3 * -127 = -381: two's complement holds one more below zero, so the positive one is worse.
    assert text.startswith("fc, neuron 0: its sum can reach 381 (inputs up to 3) and needs 10 bits;")
    text = refusal(
        prove_ranges, graph_of([[126, 0], [-100, -27], [3, 90]], c_clip=3), replace(LOIHI, accumulator_bits=9)
    )
    assert text.startswith("fc, neuron 1: its sum can reach -381 (inputs up to 3) and needs 10 bits;")


def test_the_largest_update_that_32_bits_hold_and_one_more():
    # 127 * 4 * 127 * 32767 = 2,113,995,772; |leak| 2^15, theta 256; the bias fills up to 2^31 - 1.
    bias = 2**31 - 1 - 127 * 4 * 127 * 32767 - 2**15 - 256
    options = {"c_clip": 127, "multiplier": 32767, "readout": [[1], [1]], "steps": 1}
    prove_ranges(graph_of([[127] * 4], bias=bias, **options), LOIHI)
    text = refusal(prove_ranges, graph_of([[127] * 4], bias=bias + 1, **options), LOIHI)
    assert "can reach 2,147,483,648; 32 bits hold less than 2,147,483,648." in text
    assert (signed_width(0, 2**31 - 1), signed_width(0, 2**31), signed_width(-(2**31), 0)) == (32, 33, 32)


def test_the_inputs_that_would_fit_do_and_one_more_does_not():
    narrow = replace(LOIHI, accumulator_bits=9)
    for codes, fits in (([[-128 // 2, 3]], 4), ([[64, -3]], 3), ([[127, 127]], 1)):
        text = refusal(prove_ranges, graph_of(codes, c_clip=100), narrow)
        assert f"Inputs up to {fits} would fit. " in text
        prove_ranges(graph_of(codes, c_clip=fits), narrow)
        refusal(prove_ranges, graph_of(codes, c_clip=fits + 1), narrow)
    # Where one spike at each input is too much already, no number is named.
    assert "would fit" not in refusal(prove_ranges, graph_of([[127, 127, 127]], c_clip=2), narrow)


def test_every_reason_is_told_at_once():
    graph = graph_of(
        [[-90, 10], [100, 27]], c_clip=3, readout=[[127, 127], [1, 1]], multiplier=32767, steps=600
    )
    limits = {**dict.fromkeys(LOIHI.limits), "fan_in": 1, "fan_out": 1, "neurons": 1}
    narrow = replace(LOIHI, accumulator_bits=9, limits=limits)
    advice = "Use a smaller network, or a profile of a larger chip. [pass check_limits]"
    assert refusal(run_passes, graph, narrow, (prove_ranges, check_limits)).splitlines() == [
        "fc, neuron 1: its sum can reach 381 (inputs up to 3) and needs 10 bits; loihi_int8's accumulator has 9. Inputs "
        "up to 2 would fit. Use a wider accumulator, fewer weight bits, fewer inputs per neuron, or train with a smaller "
        "clip. [pass prove_ranges, after none]",
        "readout, class 0: the score over 600 steps can reach 4,993,690,800; 32 bits hold less than 2,147,483,648. Use a "
        "membrane with fewer fractional bits, or train with smaller weights and biases. [pass prove_ranges, after none]",
        f"fc: 2 sources per neuron; loihi_int8 allows 1 (limits.fan_in). {advice}",
        f"input, into fc: 2 targets per source; loihi_int8 allows 1 (limits.fan_out). {advice}",
        f"readout: 2 sources per neuron; loihi_int8 allows 1 (limits.fan_in). {advice}",
        f"fc, into readout: 2 targets per source; loihi_int8 allows 1 (limits.fan_out). {advice}",
        f"g: 2 neurons in all; loihi_int8 allows 1 (limits.neurons). {advice}",
    ]
    # Limits alone: named as ever.
    wide = replace(narrow, accumulator_bits=32)
    small = graph_of([[1, 1], [1, 1]])
    assert refusal(run_passes, small, wide, (prove_ranges, check_limits)).splitlines()[0] == (
        "fc: 2 sources per neuron; loihi_int8 allows 1 (limits.fan_in). Use a smaller network, or a profile of a larger "
        "chip. [pass check_limits, after prove_ranges]"
    )


def test_every_threshold_and_bias_that_does_not_fit_is_told():
    assert refusal(fitted, "Q4.4", 9.0, -20.0, 1e9).splitlines() == [
        "fc, neuron 1: bias -20 does not fit Q4.4 (-8 to 7.9375). Use at least 6 integer bits, or train with smaller values.",
        "fc.lif, neuron 1: threshold 9 does not fit Q4.4 (-8 to 7.9375). Use at least 5 integer bits, or train with smaller "
        "values.",
        "readout, class 1: bias 1e+09 does not fit 32 bits with 4 fractional ones. Train with smaller biases, or choose a "
        "membrane format with fewer fractional bits.",
    ]


def test_pools_and_time_enlarge_what_arrives():
    # A pool of 2 x 2 spikes reaches 4; POOL's dense layer sees 3 * 4 * 4 of them.
    graph = run_passes(graph_from_checkpoint(checkpoint_of(POOL)), LOIHI, PASSES)
    dense = next(node for node in graph.nodes if isinstance(node, Dense))
    low, high = node_sums(dense, 4)
    assert dense.accumulator_bits == signed_width(int(low.min()), int(high.max()))
    # CONV's readout sums 6 steps of 3 x 3 positions.
    graph = run_passes(graph_from_checkpoint(checkpoint_of(CONV)), LOIHI, PASSES)
    low, high = node_sums(graph.nodes[-1], 6 * 9)
    assert graph.nodes[-1].accumulator_bits == signed_width(int(low.min()), int(high.max()))


def test_an_update_that_32_bits_cannot_hold_is_refused():
    # 127 * 127 * 32767 = 528,498,943 fits; five such inputs do not: 5 * that + 2^15 + 256.
    assert prove_ranges(graph_of([[127]], 127, multiplier=32767, readout=[[1], [1]]), LOIHI)
    assert refusal(prove_ranges, graph_of([[127] * 5], 127, multiplier=32767, readout=[[1], [1]]), LOIHI) == (
        "fc, neuron 0: the membrane update |leak| + |I| + |bias| + theta can reach 2,642,527,739; 32 bits hold less than "
        "2,147,483,648. Use a membrane with fewer fractional bits, or train with smaller weights and biases."
    )


def test_a_score_that_32_bits_cannot_hold_is_refused():
    # 127 * 600 steps * 32767 = 2,496,845,400.
    graph = graph_of([[1]], multiplier=32767, readout=[[1], [127]], steps=600)
    assert refusal(prove_ranges, graph, LOIHI) == (
        "readout, class 1: the score over 600 steps can reach 2,496,845,400; 32 bits hold less than 2,147,483,648. Use a "
        "membrane with fewer fractional bits, or train with smaller weights and biases."
    )


def test_ranges_are_proven_last():
    graph = graph_of([[1]])
    for position, change in ((1, {"weight_q": None}), (1, {"multiplier": None}), (2, {"threshold_q": None})):
        nodes = list(graph.nodes)
        nodes[position] = replace(nodes[position], **change)
        assert "ranges are proven after" in refusal(prove_ranges, graph.replace(tuple(nodes)), LOIHI)


@pytest.mark.parametrize(
    ("key", "limit", "message"),
    [
        ("neurons", 2, "g: 3 neurons in all; loihi_int8 allows 2 (limits.neurons)."),
        ("fan_in", 3, "fc: 4 sources per neuron; loihi_int8 allows 3 (limits.fan_in)."),
        ("fan_out", 2, "input, into fc: 3 targets per source; loihi_int8 allows 2 (limits.fan_out)."),
        # 3 * 4 + 2 * 3 weights of 8 bits.
        (
            "memory_bytes",
            17,
            "g: 18 bytes of packed weights in all; loihi_int8 allows 17 (limits.memory_bytes).",
        ),
    ],
)
def test_a_stated_limit_holds_and_none_states_none(key, limit, message):
    graph = graph_of(np.ones((3, 4)))
    none = dict.fromkeys(LOIHI.limits)
    assert check_limits(graph, replace(LOIHI, limits=none)) is graph
    assert check_limits(graph, replace(LOIHI, limits={**none, key: limit + 1})) is graph
    assert refusal(check_limits, graph, replace(LOIHI, limits={**none, key: limit})) == (
        f"{message} Use a smaller network, or a profile of a larger chip."
    )


def test_int4_weights_are_packed_two_to_a_byte():
    graph = graph_of(np.ones((1, 3)))  # 3 weights: 2 bytes; readout 2 weights: 1 byte
    none = dict.fromkeys(LOIHI.limits)
    profile = replace(LOIHI, weight_bits=4, limits={**none, "memory_bytes": 3})
    assert check_limits(graph, profile) is graph
    assert "3 bytes" in refusal(check_limits, graph, replace(profile, limits={**none, "memory_bytes": 2}))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
def test_a_convolutions_fan_out_is_counted_not_estimated(size, kernel, stride, padding, channels):
    if size + 2 * padding < kernel:
        return
    node = Conv2d(
        "c",
        np.ones((channels, 1, kernel, kernel)),
        np.zeros(channels),
        stride=(stride,) * 2,
        padding=(padding,) * 2,
    )
    outputs = (size + 2 * padding - kernel) // stride + 1
    counted = np.zeros((size, size), int)
    for row in range(outputs):
        for column in range(outputs):
            for a in range(kernel):
                for b in range(kernel):
                    y, x = row * stride + a - padding, column * stride + b - padding
                    if 0 <= y < size and 0 <= x < size:
                        counted[y, x] += channels
    assert node.fan_out((1, size, size)) == counted.max()


def test_a_pool_passes_the_largest_value_on():
    nodes = graph_of([[1, 1]]).nodes
    # Two pools cannot follow each other here; one of 2 x 2 after a LIF layer of 2 x 2 makes 4.
    conv = Conv2d("c", np.ones((1, 1, 1, 1)), np.zeros(1), weight_bits=8, weight_q=np.ones((1, 1, 1, 1), np.int8),
                  weight_scale=np.ones(1), multiplier=np.ones(1, np.int32), shift=np.zeros(1, np.int32),
                  bias_q=np.zeros(1, np.int32))  # fmt: skip
    lif = Lif("c.lif", 0.5, np.ones(1), threshold_q=np.ones(1, np.int32))
    dense = replace(nodes[1], weight_q=np.array([[127]], np.int8), weight=np.array([[127.0]]))
    graph = Graph(
        "g",
        (Input("input", (1, 2, 2), 2, 1, 1.0), conv, lif, SumPool("p", 2), dense, nodes[2],
         replace(nodes[3], weight=np.ones((2, 1)), weight_q=np.ones((2, 1), np.int8))),
    )  # fmt: skip
    assert prove_ranges(graph, LOIHI).nodes[4].accumulator_bits == signed_width(0, 4 * 127)


def test_the_neuron_named_is_the_worst_of_either_sign():
    graph = graph_of([[120, 0], [-127, -1], [10, 10]], c_clip=3)
    assert refusal(prove_ranges, graph, replace(LOIHI, accumulator_bits=9)).startswith(
        "fc, neuron 1: its sum can reach -384 (inputs up to 3) and needs 10 bits; loihi_int8's accumulator has 9."
    )
    # -384 and +383 need the same 10 bits: the first of the two is named.
    graph = graph_of([[127, 0], [-127, -1], [-127, -1]], c_clip=3)
    assert refusal(prove_ranges, graph, replace(LOIHI, accumulator_bits=9)).startswith(
        "fc, neuron 1: its sum can reach -384"
    )
