"""Neurons that drop a whole step after a spike (reset ``refractory``): by hand, in files, in every engine, and where they are refused."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_programs import counts, one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy import CompileError, InputError, compile, export_vectors, load_profile
from sastdeploy.compiler.profiles import profile_path
from sastdeploy.exchange.c99.export import write_source
from sastdeploy.exchange.dialects import dialect
from sastdeploy.exchange.verilog.export import write_verilog
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import RecurrentLif, SynapticCurrent
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

REFRACTORY = {"reset": "refractory"}
HALF = SynapticCurrent(1, 1, Rounding.FLOOR)
# Counts 1, 4, 0, 2, 5 (5 clips to 4): I + bias = 4, 17, -1, 8, 17. Threshold 5, leak u * 5 >> 3, Q5.0 = [-16, 15].
COUNTS = (1, 4, 0, 2, 5)

CASES = {
    # 4 | 20>>3 = 2, 19 -> 15 * | 0 | 8 * | 0, and not 17
    "drops a step": ({}, (4, 15, 0, 8, 0), (0, 1, 0, 1, 0), 1),
    # nothing that is dropped overflows: 4 | 19 -> -13 | -65>>3 = -9, -10 | -50>>3 = -7, 1 | 0, 17 -> -15
    "wraps": ({"overflow": Overflow.WRAP}, (4, -13, -10, 1, -15), (0, 0, 0, 0, 0), 2),
    # i goes on: 4 | 19 -> 15 * | 6 | 3+8 = 11 | 5+17 -> 15 *; u: 4 | 2+15 -> 15 * | 0 | 11 * | 0
    "leaves the current alone": ({"current": HALF}, (4, 15, 0, 11, 0), (0, 1, 0, 1, 0), 3),
    # three spikes are dropped as one is: 15 > 2 * 5, so 2 spikes
    "after several spikes": ({"max_spikes": 31, "spike_test": ">"}, (4, 15, 0, 8, 0), (0, 2, 0, 1, 0), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_one_neuron_by_hand(case):
    changes, membranes, spikes, high = CASES[case]
    result = reference.run(one_neuron(**REFRACTORY, **changes), counts(*COUNTS), trace=("fc",))
    assert result.traces["fc"].membranes[0, :, 0].tolist() == list(membranes)
    assert result.traces["fc"].spikes[0, :, 0].tolist() == list(spikes)
    assert (result.overflow_low.tolist(), result.overflow_high.tolist()) == ([[0]], [[high]])


def test_every_engine_gives_the_same_integers(tmp_path):
    current = {"current": SynapticCurrent(5, 3, Rounding.TOWARD_ZERO), "max_spikes": 3}
    program = two_layers(REFRACTORY, {**REFRACTORY, **current})
    _, read = assert_every_engine_agrees(program, tmp_path, version=7, spikes=60)
    assert [layer.lif.reset for layer in read.layers] == ["refractory", "refractory"]


def test_recurrent_layers_agree_in_every_engine(tmp_path):
    rng = np.random.default_rng(5)
    weight, own = (rng.integers(-7, 8, shape).astype(np.int8) for shape in ((9, 30), (9, 9)))
    neurons = tiny_lif(9, **REFRACTORY, membrane=QFormat(8, 8), threshold=np.full(9, 30, np.int32))
    layer = RecurrentLif("fc", weight, 4, neurons, own)
    program = tiny_program([layer], tiny_readout(9), (1, 5, 6), time_bins=8)
    assert_every_engine_agrees(program, tmp_path, version=7, spikes=60)


def refractory_network(**changes):
    own = network(**changes)
    graph = own.graph.map_spiking(lambda node: replace(node, reset="refractory"))
    return replace(own, graph=graph)


@pytest.mark.parametrize("current_alpha", [None, 0.5])
def test_the_graph_means_what_the_program_computes(current_alpha):
    own = refractory_network(current_alpha=current_alpha)
    program = compile(own, profile(reset="refractory")).program
    assert_graph_and_program_agree(own, program)


def test_software_holds_it_and_other_profiles_refuse_or_replace_it():
    own = refractory_network(current_alpha=None)
    for chip in ("cortex_m", "spinnaker2"):
        for neuron in ("network", "profile"):
            program = compile(own, chip, neuron=neuron).program
            assert {layer.lif.reset for layer in program.layers} == {"refractory"}
    with pytest.raises(CompileError) as error:
        compile(own, "loihi_int8")
    assert error.value.reasons[0] == "cuba: reset 'refractory'; loihi_int8 does 'subtract' (neuron.reset)."
    compilation = compile(own, "loihi_int8", neuron="profile")
    assert {layer.lif.reset for layer in compilation.program.layers} == {"subtract"}
    assert compilation.report.warnings[0].startswith(
        "reset: trained with 'refractory', loihi_int8 does 'subtract'."
    )


def test_a_profile_may_offer_several_resets(tmp_path):
    text = profile_path("cortex_m").read_text()
    chip = tmp_path / "chip.yaml"
    chip.write_text(text.replace("[subtract, zero, none, refractory]", "[zero, subtract]"))
    read = load_profile(chip)
    assert read.offered("reset") == ("zero", "subtract")
    with pytest.raises(CompileError) as error:
        compile(refractory_network(current_alpha=None), read)
    assert "reset 'refractory'; cortex_m does 'zero', 'subtract' (neuron.reset)." in str(error.value)
    for reset, message in (
        ("[]", "neuron.reset.value"), ("[zero, half]", "neuron.reset.value"), ("half", "neuron.reset.value"),
    ):  # fmt: skip
        chip.write_text(text.replace("[subtract, zero, none, refractory]", reset))
        with pytest.raises(InputError, match=message):
            load_profile(chip)
    chip.write_text(text.replace("reset_delay: {value: [1, 0]", "reset_delay: {value: 0"))
    with pytest.raises(
        InputError, match="reset 'refractory' acts in the step after a spike; give reset_delay 1"
    ):
        load_profile(chip)


def test_without_delay_it_is_refused():
    assert_program_refused(
        one_neuron(**REFRACTORY, reset_delay=0),
        "layer 'fc': reset_delay is 0. Allowed: 1 where reset is refractory.",
    )
    assert_neurons_refused(
        refractory_network(), "reset_delay", 0,
        "graph: lif 0.lif: reset 'refractory' with reset delay 0; it acts in the step after a spike.",
    )  # fmt: skip
    with pytest.raises(InputError) as error:
        dialect("norse", reset="refractory")
    assert str(error.value) == (
        "reset 'refractory' with reset delay 0: it acts in the step after a spike. Give it the delay 1 (--reset-delay 1)."
    )


def test_c_and_vectors_write_it_and_verilog_refuses_it(tmp_path):
    program = one_neuron(**REFRACTORY)
    assert "int32_t v = u >= threshold ? 0 : leak + current + " in write_source(program, "net").source
    export_vectors(program, tmp_path / "v", counts(*COUNTS))
    readme = (tmp_path / "v" / "README.md").read_text()
    assert "reset refractory, in the next step: v is 0 there, whatever arrives." in readme
    with pytest.raises(InputError) as error:
        write_verilog(program, "net")
    assert str(error.value) == (
        "layer fc: reset refractory; the core's neurons do none, subtract, zero. Export it with --to c."
    )
