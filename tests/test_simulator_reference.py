"""The arithmetic by hand: one neuron over five steps for every rounding, overflow, reset and spike test."""

import numpy as np
import pytest
from tiny_programs import counts, one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy.errors import SimulationError
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from sastdeploy.simulator.result import differences

# Counts 1, 4, 0, 2, 5 (5 clips to 4); acc = 3 x = 3, 12, 0, 6, 12; I = (3 acc + 1) >> 1 = 5, 18, 0, 9, 18.
COUNTS = (1, 4, 0, 2, 5)

CASES = {
    # 0+5-1 = 4 | 20>>3 = 2, 2+18-1 = 19 -> 15 * | 75>>3 = 9, 9+0-1-5 = 3 | 15>>3 = 1, 1+9-1 = 9 *
    # | 45>>3 = 5, 5+18-1-5 = 17 -> 15 *
    "delayed subtraction": ({}, (4, 15, 3, 9, 15), (0, 1, 0, 1, 1), 2),
    # 4 | 19 -> 19-32 = -13 | -65>>3 = -9, -9-1 = -10 | -50>>3 = -7, -7+9-1 = 1 | 5>>3 = 0, 17 -> -15
    "wrap, floor": ({"overflow": Overflow.WRAP}, (4, -13, -10, 1, -15), (0, 0, 0, 0, 0), 2),
    # 4 | -13 | -(65>>3) = -8, -9 | -(45>>3) = -5, 3 | 15>>3 = 1, 18 -> -14
    "wrap, toward zero": (
        {"overflow": Overflow.WRAP, "leak_rounding": Rounding.TOWARD_ZERO},
        (4, -13, -9, 3, -14),
        (0, 0, 0, 0, 0),
        2,
    ),
    # 4 | 24>>3 = 3, 20 -> -12 | (-60+4)>>3 = -7, -8 | (-40+4)>>3 = -5, 3 | 19>>3 = 2, 19 -> -13
    "wrap, nearest": (
        {"overflow": Overflow.WRAP, "leak_rounding": Rounding.NEAREST},
        (4, -12, -8, 3, -13),
        (0, 0, 0, 0, 0),
        2,
    ),
    # 4 | 15 * | 0+0-1 = -1 | -5>>3 = -1, -1+9-1 = 7 * | 0+18-1 = 17 -> 15 *
    "delayed zero": ({"reset": "zero"}, (4, 15, -1, 7, 15), (0, 1, 0, 1, 1), 2),
    # 4 | 15 * | 9-1 = 8 * | 40>>3 = 5, 13 * | 65>>3 = 8, 25 -> 15 *
    "no reset": ({"reset": "none"}, (4, 15, 8, 13, 15), (0, 1, 1, 1, 1), 2),
    # 4 | w 15 *, 10 | 50>>3 = 6, w 5 *, 0 | w 8 *, 3 | 15>>3 = 1, w 18 -> 15 *, 10
    "immediate subtraction": ({"reset_delay": 0}, (4, 10, 0, 3, 10), (0, 1, 1, 1, 1), 2),
    # 4 | 10 * | w 5, not above 5 | 25>>3 = 3, w 11 *, 6 | 30>>3 = 3, w 20 -> 15 *, 10
    "immediate subtraction, above": (
        {"reset_delay": 0, "spike_test": ">"},
        (4, 10, 5, 6, 10),
        (0, 1, 0, 1, 1),
        2,
    ),
    # 4 | w 15 *, 0 | -1 | -1, w 7 *, 0 | w 17 -> 15 *, 0
    "immediate zero": ({"reset_delay": 0, "reset": "zero"}, (4, 0, -1, 0, 0), (0, 1, 0, 1, 1), 2),
    # without a reset the moment means nothing
    "immediate, none": ({"reset_delay": 0, "reset": "none"}, (4, 15, 8, 13, 15), (0, 1, 1, 1, 1), 2),
    # r = 0: I = 3 acc = 9, 36, 0, 18, 36 | 8 * | 5-5+36-1 = 35 -> 15 * | 9-5-1 = 3 | 1+18-1 = 18 -> 15 *
    # | 9-5+35 = 39 -> 15 *
    "no shift": ({"shift": np.array([0], np.int32)}, (8, 15, 3, 15, 15), (1, 1, 0, 1, 1), 3),
    # k = 0, A = 1: nothing leaks: 4 | 4+17 = 21 -> 15 * | 15-1-5 = 9 * | 9-5+8 = 12 * | 12-5+17 = 24 -> 15 *
    "no leak": ({"leak_multiplier": 1, "leak_shift": 0}, (4, 15, 9, 12, 15), (0, 1, 1, 1, 1), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_one_neuron_by_hand(case):
    changes, membrane, spikes, above = CASES[case]
    result = reference.run(one_neuron(**changes), counts(*COUNTS), trace=("fc",))
    assert result.traces["fc"].membranes[0, :, 0].tolist() == list(membrane)
    assert result.traces["fc"].spikes[0, :, 0].tolist() == list(spikes)
    assert result.overflow_high.tolist() == [[above]]
    assert result.overflow_low.tolist() == [[0]]
    assert result.neuron_spikes[0].tolist() == [sum(spikes)]
    assert result.spikes.tolist() == [[sum(spikes)]]


def test_the_lower_end_saturates_and_is_counted():
    # weight -3 on count 4: acc -12, I = (-36+1)>>1 = -18 (floor of -17.5); -19 -> -16, then -80>>3 = -10, -29 -> -16
    layer = DenseLif("fc", np.array([[-3]], np.int8), 4, tiny_lif())
    program = tiny_program([layer], tiny_readout(), time_bins=2)
    result = reference.run(program, counts(4, 4), trace=("fc",))
    assert result.traces["fc"].membranes.reshape(-1).tolist() == [-16, -16]
    assert result.overflow_low.tolist() == [[2]]


def test_scores_and_operations_of_one_neuron():
    result = reference.run(one_neuron(), counts(*COUNTS))
    # 3 spikes: (2*3*5 + 2) >> 2 = 8, + 5*1 = 13;  (-3*3*5 + 2) >> 2 = -43 >> 2 = -11
    assert result.scores.tolist() == [[13, -11]]
    assert result.scores.dtype == np.int32
    assert result.predicted.tolist() == [0]
    # input: 4 non-zero bins with 1+4+2+4 = 11 events to 1 neuron; layer: 3 spikes to 2 classes
    assert result.active.tolist() == [[4, 3]]
    assert result.events.tolist() == [[11, 3]]
    assert result.synops.tolist() == [[4, 6]]
    assert result.synops_events.tolist() == [[11, 6]]
    assert result.synops_nonzero.tolist() == [[4, 6]]


def test_equal_scores_go_to_the_lowest_class():
    readout = tiny_readout(classes=3, bias=np.array([-4, 0, 0], np.int32), weight=np.zeros((3, 1), np.int8))
    program = tiny_program(one_neuron().layers, readout, classes=3)
    assert reference.run(program, counts(*COUNTS)).predicted.tolist() == [1]


def test_zero_weights_leave_the_third_figure():
    layer = DenseLif("fc", np.array([[3], [0]], np.int8), 4, tiny_lif(2))
    readout = tiny_readout(inputs=2, weight=np.array([[1, 0], [0, 0]], np.int8))
    result = reference.run(tiny_program([layer], readout), counts(*COUNTS))
    assert result.synops.tolist() == [[8, 6]]
    assert result.synops_nonzero.tolist() == [[4, 3]]


def convolution(outputs=2):
    weight = np.ones((outputs, 1, 3, 3), np.int8)
    weight[-1, 0, 0, 0] = 0
    return ConvLif("conv", weight, 4, (2, 2), (1, 1), tiny_lif(outputs, bias=np.zeros(outputs, np.int32)))


def test_convolution_fan_out_counts_borders_and_stride():
    # 3x3 input, kernel 3, stride 2, padding 1: outputs at rows -1..1 and 1..3, so a corner reaches 1 position,
    # an edge's middle 2, the centre all 4; times 2 channels. Element (0, 0) of channel 1 is 0: it is met where an
    # input lies on the upper left of a window, which is only the centre, at output (1, 1).
    program = tiny_program([convolution()], tiny_readout(8), frame=(1, 3, 3), time_bins=1)
    expected = {(0, 0): (2, 2), (0, 1): (4, 4), (1, 1): (8, 7), (2, 2): (2, 2), (2, 1): (4, 4)}
    for (y, x), (fan_out, nonzero) in expected.items():
        dense = np.zeros((1, 1, 1, 3, 3), np.int64)
        dense[0, 0, 0, y, x] = 3
        result = reference.run(program, Frames.from_dense(dense))
        assert (result.synops[0, 0], result.synops_events[0, 0], result.synops_nonzero[0, 0]) == (
            fan_out,
            3 * fan_out,
            nonzero,
        )


def test_convolution_is_a_correlation_not_a_flipped_one():
    # one input at the centre with count 2 meets element (2, 2) at output (0, 0) and (0, 0) at output (1, 1)
    weight = np.arange(-4, 5, dtype=np.int8).reshape(1, 1, 3, 3)
    lif = tiny_lif(
        multiplier=np.array([1], np.int32), shift=np.array([0], np.int32), bias=np.array([0], np.int32)
    )
    layer = ConvLif("conv", weight, 4, (2, 2), (1, 1), lif)
    program = tiny_program([layer], tiny_readout(4), frame=(1, 3, 3), time_bins=1)
    dense = np.zeros((1, 1, 1, 3, 3), np.int64)
    dense[0, 0, 0, 1, 1] = 2
    result = reference.run(program, Frames.from_dense(dense), trace=("conv",))
    assert result.traces["conv"].membranes.reshape(-1).tolist() == [8, 4, -4, -8]


def test_pool_drops_incomplete_windows_and_grades_what_it_passes_on():
    # conv 1x1 with a huge gain: every active input spikes. 3x3 spikes pooled by 2: one window of 4, five dropped.
    layer = ConvLif("conv", np.full((1, 1, 1, 1), 5, np.int8), 4, (1, 1), (0, 0), tiny_lif())
    fc = DenseLif("fc", np.array([[1]], np.int8), 4, tiny_lif())
    program = tiny_program([layer, SumPool("pool", 2), fc], tiny_readout(), frame=(1, 3, 3), time_bins=1)
    result = reference.run(program, Frames.from_dense(np.full((1, 1, 1, 3, 3), 4)), trace=("fc",))
    assert result.active.tolist() == [[9, 9, 1, 1]]
    assert result.events.tolist() == [[36, 9, 4, 1]]
    assert result.synops.tolist() == [[9, 4, 1, 2]]
    assert result.synops_events.tolist() == [[36, 4, 4, 2]]
    # acc = 4, I = 13 >> 1 = 6, u = 5: at the threshold
    assert result.traces["fc"].membranes.tolist() == [[[5]]]
    assert result.neuron_spikes[1].tolist() == [1]


def test_state_starts_again_for_every_recording():
    frames = Frames.from_dense(np.array([COUNTS, COUNTS]).reshape(2, 5, 1, 1, 1))
    result = reference.run(one_neuron(), frames, trace=("fc",))
    assert result.traces["fc"].membranes[0].tolist() == result.traces["fc"].membranes[1].tolist()


def test_silence_gives_bias_only():
    program = one_neuron(bias=np.array([5], np.int32), membrane=QFormat(5, 0))
    result = reference.run(program, counts(0, 0, 0, 0, 0), trace=("fc",))
    # 5 * | 25>>3 = 3, 3+5-5 = 3 | 15>>3 = 1, 6 * | 30>>3 = 3, 3+5-5 = 3 | 1, 6 *
    assert result.traces["fc"].membranes.reshape(-1).tolist() == [5, 3, 6, 3, 6]
    assert result.synops.tolist() == [[0, 6]]


def test_a_score_beyond_32_bits_is_refused():
    readout = tiny_readout(bias=np.array([2**30, 0], np.int32))
    with pytest.raises(SimulationError, match=r"readout: a class score of \d+ does not fit 32 bits"):
        reference.run(tiny_program(one_neuron().layers, readout), counts(*COUNTS))


def test_differences_names_what_differs():
    left = reference.run(one_neuron(), counts(*COUNTS), trace=("fc",))
    right = reference.run(one_neuron(spike_test=">"), counts(1, 4, 0, 2, 4), trace=("fc",))
    assert differences(left, right) == []
    other = reference.run(one_neuron(reset="none"), counts(*COUNTS), trace=("fc",))
    assert differences(left, other) == [
        "scores", "active", "events", "synops", "synops_events", "synops_nonzero", "neuron_spikes",
        "membranes of fc", "spikes of fc",
    ]  # fmt: skip
    assert differences(left, reference.run(one_neuron(), counts(*COUNTS))) == ["traces"]
