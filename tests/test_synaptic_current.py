"""Neurons behind a synaptic current: by hand, in files, in every engine, and from the graph to the program."""

import pytest
from tiny_programs import counts, one_neuron

from sastdeploy import (
    CompileError,
    compile,
)
from sastdeploy.exchange.vectors.values import signals
from sastdeploy.program.counting import footprint_bytes
from sastdeploy.program.fixedpoint import Overflow, Rounding
from sastdeploy.program.records import SynapticCurrent
from sastdeploy.simulator import reference
from tests.neuron_checks import (
    assert_every_engine_agrees,
    assert_graph_and_program_agree,
    assert_neurons_refused,
    assert_program_refused,
    network,
    profile,
    two_layers,
)

HALF = SynapticCurrent(1, 1, Rounding.FLOOR)

# Counts 1, 4, 0, 2, 5 (5 clips to 4): I + bias = 4, 17, -1, 8, 17, as in the cases without a current.
COUNTS = (1, 4, 0, 2, 5)

CASES = {
    # i: 4 | 2+17 = 19 -> 15 * | 7-1 = 6 | 3+8 = 11 | 5+17 = 22 -> 15 *
    # u: 4 | 20>>3 = 2, 17 -> 15 * | 75>>3 = 9, 9+6-5 = 10 | 50>>3 = 6, 12 | 60>>3 = 7, 17 -> 15 *
    "saturates": ({}, (4, 15, 6, 11, 15), (4, 15, 10, 12, 15), (0, 1, 1, 1, 1), (0, 4)),
    # i: 4 | 19 -> -13 * | -13>>1 = -7, -8 | -4+8 = 4 | 19 -> -13 *
    # u: 4 | 2-13 = -11 | -55>>3 = -7, -15 | -75>>3 = -10, -6 | -30>>3 = -4, -17 -> 15 *
    "wraps": (
        {"overflow": Overflow.WRAP},
        (4, -13, -8, 4, -13),
        (4, -11, -15, -6, 15),
        (0, 0, 0, 0, 1),
        (1, 2),
    ),
    # i: 4 | -13 * | -(13>>1) = -6, -7 | -(7>>1) = -3, 5 | 2+17 -> -13 *
    # u, whose leak still rounds down: 4 | -11 | -7-7 = -14 | -70>>3 = -9, -4 | -20>>3 = -3, -16
    "has a rounding of its own": (
        {"overflow": Overflow.WRAP, "current": SynapticCurrent(1, 1, Rounding.TOWARD_ZERO)},
        (4, -13, -7, 5, -13),
        (4, -11, -14, -4, -16),
        (0, 0, 0, 0, 0),
        (0, 2),
    ),
    # i as first: a reset leaves it alone. u: 4 | 17 -> 15 *, then 0 | 6, 0 | 11, 0 | 15, 0
    "outlasts a reset": (
        {"reset": "zero", "reset_delay": 0},
        (4, 15, 6, 11, 15),
        (4, 0, 0, 0, 0),
        (0, 1, 1, 1, 1),
        (0, 3),
    ),
    # A = 0: a current that keeps nothing is I + bias in the membrane's range: 4, 15 *, -1, 8, 15 *
    # u: 4 | 2+15 -> 15 * | 9-1-5 = 3 | 15>>3 = 1, 9 | 45>>3 = 5, 5+15-5 = 15
    "keeps nothing": (
        {"current": SynapticCurrent(0, 1, Rounding.FLOOR)},
        (4, 15, -1, 8, 15),
        (4, 15, 3, 9, 15),
        (0, 1, 0, 1, 1),
        (0, 3),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_neuron_by_hand(case):
    changes, currents, membranes, spikes, (low, high) = CASES[case]
    program = one_neuron(**{"current": HALF, **changes})
    result = reference.run(program, counts(*COUNTS), trace=("fc",))
    assert result.traces["fc"].membranes[0, :, 0].tolist() == list(membranes)
    assert result.traces["fc"].spikes[0, :, 0].tolist() == list(spikes)
    assert (result.overflow_low.tolist(), result.overflow_high.tolist()) == ([[low]], [[high]])
    recorded = {signal.kind: signal for signal in signals(program, counts(*COUNTS))}
    assert recorded["currents"].values.reshape(-1).tolist() == list(currents)
    assert recorded["currents"].bits == 5


def test_every_engine_gives_the_same_integers(tmp_path):
    conv, dense = SynapticCurrent(3000, 12, Rounding.NEAREST), SynapticCurrent(5, 3, Rounding.TOWARD_ZERO)
    program = two_layers({"current": conv}, {"current": dense})
    _, read = assert_every_engine_agrees(program, tmp_path, version=3, spikes=100, overflows=10)
    assert [layer.lif.current for layer in read.layers] == [conv, dense]


def test_the_state_takes_a_current_more():
    # One neuron of Q5.0 and a spike bit: 6 bits, or 11, and 2 counters of the readout... of one source to 5: 3 bits.
    assert footprint_bytes(one_neuron())["state"] == 1 + 1
    assert footprint_bytes(one_neuron(current=HALF))["state"] == 2 + 1


@pytest.mark.parametrize(
    ("current", "fault"),
    [
        (SynapticCurrent(1, 16, Rounding.FLOOR), "current.shift is 16. Allowed: a whole number, 0 to 15."),
        (SynapticCurrent(5, 2, Rounding.FLOOR),
         "current.multiplier is 5. Allowed: a whole number, 0 to 4 (2^shift: no growth)."),
        (SynapticCurrent(1, 2, "floor "), "current.rounding is 'floor '. Allowed: floor, toward_zero, nearest."),
        (0.5, "current is a float. Allowed: None or a SynapticCurrent record."),
    ],
)  # fmt: skip
def test_a_current_out_of_range_is_refused(current, fault):
    assert_program_refused(one_neuron(current=current), f"layer 'fc': {fault}")


def test_a_graph_means_what_its_program_computes():
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    own = network()
    program = compile(own, profile()).program
    assert_graph_and_program_agree(own, program)


def test_hardware_without_currents_is_refused():
    with pytest.raises(CompileError) as error:
        compile(network(), "loihi_int8")
    more = "cortex_m, loihi1, loihi2, spinnaker2, xylo_a2, xylo_a3 and xylo_imu do; or state it in a profile of your own."
    assert error.value.reasons[0] == (
        f"0.lif: a synaptic current; loihi_int8 states none (neuron.synaptic_current). {more}"
    )
    with pytest.raises(CompileError, match=r"1\.lif: a synaptic current; speck states none"):
        compile(network(), "speck", neuron="profile")
    assert compile(network(), "cortex_m").program.layers[0].lif.current == SynapticCurrent(
        1 << 14, 15, Rounding.FLOOR
    )


def test_a_current_that_rounding_changes_is_warned_of():
    warnings = compile(network(0.3, 0.5), profile(leak_shift=2)).report.warnings
    assert (
        "0.lif: current_alpha 0.3 becomes 1/2^2 = 0.25; use a profile with a larger leak shift." in warnings
    )
    warnings = compile(network(0.95, 0.5), profile(leak_shift=2)).report.warnings
    assert "0.lif: current_alpha 0.95 rounds to 1, so the synaptic current never leaks." in warnings
    assert compile(network(0.0), profile()).report.warnings == ()


@pytest.mark.parametrize(("field", "value", "words"), [
    ("current_alpha", 1.5, "current_alpha 1.5 outside [0, 1]"),
    ("current_multiplier", 3, "current 3 / 2^None is no factor from 0 to 1 of a synaptic current"),
])  # fmt: skip
def test_a_graph_with_a_current_that_grows_is_refused(field, value, words):
    assert_neurons_refused(network(), field, value, f"graph: lif 0.lif: {words}.")
