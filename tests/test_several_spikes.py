"""Neurons that send several spikes in a step: by hand, in files, in every engine, in what is counted, and from the graph to the program."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_programs import counts, one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy import CompileError, InputError, compile, load_profile
from sastdeploy.compiler.ir.nodes import Lif as Node
from sastdeploy.compiler.ir.nodes.lif import spikes_sent
from sastdeploy.compiler.profiles import builtin_profiles
from sastdeploy.exchange.c99.source import write_source
from sastdeploy.exchange.vectors.export import export_vectors
from sastdeploy.exchange.vectors.values import signals
from sastdeploy.exchange.verilog.source import write_verilog
from sastdeploy.program.check import check_program
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.file import format_version
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.layers.lif import spikes
from sastdeploy.program.records import (
    SPIKE_TESTS,
    ConvLif,
    DenseLif,
    FurtherConv,
    FurtherDense,
    RecurrentLif,
    SumPool,
)
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from sastdeploy.simulator.metrics import summarise
from sastdeploy.simulator.neurobench import neurobench, synops_by_definition
from sastdeploy.simulator.result import spike_counts
from tests.neuron_checks import (
    assert_edited_manifest_refused,
    assert_every_engine_agrees,
    assert_graph_and_program_agree,
    assert_neurons_refused,
    assert_program_refused,
    network,
    profile,
)

SIX_BITS = {"membrane": QFormat(6, 0), "max_spikes": 127}
NO_BIAS = {**SIX_BITS, "bias": np.zeros(1, np.int32)}

# Counts 1, 4, 0, 2, 5 (5 clips to 4): I = 5, 18, 0, 9, 18; threshold 5, leak 5/8 rounded down, -32 to 31.
COUNTS = (1, 4, 0, 2, 5)

CASES = {
    # 5-1 = 4 | 20>>3 = 2, 2+17 = 19, 3 | 95>>3 = 11, 11-1-15 = -5 | -25>>3 = -4, 4 | 2+17 = 19, 3
    "delayed subtraction": (SIX_BITS, (4, 19, -5, 4, 19), (0, 3, 0, 0, 3)),
    # 4 | 19, 2 of 3 | 11-1-10 = 0 | 8, 1 | 40>>3 = 5, 5+17-5 = 17, 2 of 3
    "two at most": ({**SIX_BITS, "max_spikes": 2}, (4, 19, 0, 8, 17), (0, 2, 0, 1, 2)),
    # 5, not above it | 25>>3 = 3, 21, 4 | 13-20 = -7 | -35>>3 = -5, 4 | 2+18 = 20: 3 leave 5, not above it
    "delayed subtraction, above": ({**NO_BIAS, "spike_test": ">"}, (5, 21, -7, 4, 20), (0, 4, 0, 0, 3)),
    # w 5, 1 leave 0 | 18, 3 leave 3 | 1 | 9, 1 leave 4 | 2+18 = 20, 4 leave 0
    "immediate subtraction": ({**NO_BIAS, "reset_delay": 0}, (0, 3, 1, 4, 0), (1, 3, 0, 1, 4)),
    # w 5, none | 21, 4 leave 1 | 0 | 9, 1 leave 4 | 20, 3 leave 5
    "immediate subtraction, above": (
        {**NO_BIAS, "reset_delay": 0, "spike_test": ">"},
        (5, 1, 0, 4, 5),
        (0, 4, 0, 1, 3),
    ),
    # w 18 in the end: 3, of which 2 leave 8 | 5+18 = 23: 2 of 4 leave 13
    "immediate subtraction, two at most": (
        {**NO_BIAS, "reset_delay": 0, "max_spikes": 2},
        # 0 | 18, 8 | 40>>3 = 5, 5, 1, 0 | 9, 4 | 20, 10
        (0, 8, 0, 4, 10),
        (1, 2, 1, 1, 2),
    ),
    # 5 | 18 | 0 | 9 | 18: nothing is left of any step that spiked
    "delayed zero": ({**NO_BIAS, "reset": "zero"}, (5, 18, 0, 9, 18), (1, 3, 0, 1, 3)),
    "immediate zero": ({**NO_BIAS, "reset": "zero", "reset_delay": 0}, (0, 0, 0, 0, 0), (1, 3, 0, 1, 3)),
    # 5 | 3+18 = 21 | 105>>3 = 13 | 65>>3 = 8, 17 | 85>>3 = 10, 28
    "no reset": ({**NO_BIAS, "reset": "none"}, (5, 21, 13, 17, 28), (1, 4, 2, 3, 5)),
}


@pytest.mark.parametrize("case", CASES)
def test_one_neuron_by_hand(case):
    changes, membranes, sent = CASES[case]
    program = one_neuron(**changes)
    result = reference.run(program, counts(*COUNTS), trace=("fc",))
    assert result.traces["fc"].membranes[0, :, 0].tolist() == list(membranes)
    assert result.traces["fc"].spikes[0, :, 0].tolist() == list(sent)
    assert result.overflow_high.tolist() == result.overflow_low.tolist() == [[0]]
    recorded = {signal.kind: signal for signal in signals(program, counts(*COUNTS))}
    assert recorded["spikes"].values.reshape(-1).tolist() == list(sent)
    assert recorded["spikes"].bits == max(sent).bit_length()


def test_they_end_at_127_and_the_rest_stays_in_the_membrane():
    # I = (100 acc + 1) >> 1: 600 of 4. -1 | -1+599 = 598, 127 | 373-1-127 = 245, 127 | 153-1-127 = 25, 25 | 15-1-25 = -11
    program = one_neuron(
        multiplier=np.array([100], np.int32), threshold=np.array([1], np.int32), membrane=QFormat(11, 0), max_spikes=127,
    )  # fmt: skip
    result = reference.run(program, counts(0, 4, 0, 0, 0), trace=("fc",))
    assert result.traces["fc"].membranes[0, :, 0].tolist() == [-1, 598, 245, 25, -11]
    assert result.traces["fc"].spikes[0, :, 0].tolist() == [0, 127, 127, 25, 0]


@given(
    st.integers(-(2**23), 2**23 - 1), st.integers(1, 2**23 - 1), st.sampled_from(SPIKE_TESTS), st.integers(1, 127),
    st.integers(-1, 1), st.integers(1, 130),
)  # fmt: skip
def test_a_neuron_spikes_as_often_as_its_test_passes(u, threshold, test, most, off, times):
    near = min(threshold * times + off, 2**23 - 1)
    for membrane in (u, near):
        left, number = membrane, 0
        while number < most and (left >= threshold if test == ">=" else left > threshold):
            left, number = left - threshold, number + 1
        lif = tiny_lif(threshold=np.array([threshold], np.int32), spike_test=test, max_spikes=most)
        assert spikes(lif, np.array([[[membrane]]])).item() == number
        node = Node("n", 1.0, np.array([threshold / 64]), spike_test=test, max_spikes=most)
        assert spikes_sent(node, np.array([[[[membrane / 64]]]])).item() == number


def chain(**changes):
    """Return layers of every kind whose neurons send several spikes, with a pool, further inputs and a recurrent layer."""
    rng = np.random.default_rng(3)

    def weights(*shape):
        return rng.integers(-7, 8, shape).astype(np.int8)

    def neurons(channels, spikes, **own):
        fields = {
            "membrane": QFormat(12, 0), "threshold": rng.integers(4, 30, channels).astype(np.int32), "max_spikes": spikes,
        }  # fmt: skip
        return tiny_lif(channels, **{**fields, **own, **changes})

    layers = [
        ConvLif("conv", weights(5, 1, 3, 3), 4, (1, 1), (1, 1), neurons(5, 7, reset_delay=0)),
        SumPool("pool", 2),
        ConvLif(
            "next", weights(70, 5, 1, 1), 4, (1, 1), (0, 0), neurons(70, 31),
            # Onto 2 x 3 positions: of 5 x 6 values every second of both axes, and rows 0 and 4.
            further=(FurtherConv(1, weights(70, 5, 2, 2), (2, 2)), FurtherConv(0, weights(70, 1, 1, 2), (4, 2))),
        ),
        RecurrentLif(
            "back", weights(9, 70 * 6), 4, neurons(9, 127, threshold=rng.integers(1, 4, 9).astype(np.int32)),
            weights(9, 9), further=(FurtherDense(0, weights(9, 30)),),
        ),
        DenseLif("once", weights(4, 9), 4, neurons(4, 1), further=(FurtherDense(3, weights(4, 70 * 6)),)),
        DenseLif("last", weights(3, 4), 4, neurons(3, 3, reset="zero")),
    ]  # fmt: skip
    return tiny_program(layers, tiny_readout(3), (1, 5, 6), time_bins=6)


@pytest.mark.parametrize("changes", [{}, {"reset_delay": 0, "spike_test": ">"}, {"reset": "zero"}], ids=str)
def test_every_engine_gives_the_same_integers(tmp_path, changes):
    program = chain(**changes)
    _, read = assert_every_engine_agrees(program, tmp_path, version=6, spikes=1000)
    assert [layer.lif.max_spikes for layer in read.layers if layer.lif] == [7, 31, 127, 1, 3]
    result = reference.run(program, shown(), trace=("back",))
    assert result.traces["back"].spikes.max() > 31 and (result.events[:, 1:] > result.spikes).sum() > 8


def shown():
    return Frames.from_dense(np.random.default_rng(0).integers(0, 5, (3, 6, 1, 5, 6)))


def test_programs_of_one_spike_are_written_as_before(tmp_path):
    for most, version in ((1, 1), (2, 6)):
        program = one_neuron(max_spikes=most)
        assert format_version(program) == version
        assert ("max_spikes" in program.layers[0].record()["lif"]) == (most > 1)


def test_a_file_that_says_too_many_is_refused(tmp_path):
    old, new = '"max_spikes":127', '"max_spikes":128'
    message = "the content hash does not match|max_spikes is 128"
    assert_edited_manifest_refused(one_neuron(max_spikes=127), tmp_path, old, new, message)


@pytest.mark.parametrize("most", [0, 128, True, 2.0, None])
def test_a_number_out_of_range_is_refused(most):
    fault = f"max_spikes is {most}. Allowed: a whole number, 1 to 127."
    assert_program_refused(one_neuron(max_spikes=most), f"layer 'fc': {fault}")


def test_scores_and_operations_count_every_spike():
    # Spikes 1, 3, 0, 1, 4 in four steps. Scores: (5 * 18 + 2 >> 2) + 5, and (5 * -27 + 2 >> 2).
    program = one_neuron(**NO_BIAS, reset_delay=0)
    result = reference.run(program, counts(*COUNTS))
    assert result.scores.tolist() == [[28, -34]]
    assert (result.active.tolist(), result.events.tolist()) == ([[4, 4]], [[11, 9]])
    assert (result.synops[:, 1].tolist(), result.synops_events[:, 1].tolist()) == ([8], [18])
    assert result.neuron_spikes[0].tolist() == [4] and spike_counts(program, result).tolist() == [[9]]
    figures = summarise(program, result)
    assert figures["activation_sparsity"] == pytest.approx(0.2)
    (layer,) = figures["layers"]
    assert (layer["spikes_per_recording"], layer["spike_rate"], layer["always_firing"]) == (9, 1.8, 0)
    assert synops_by_definition(program, result) == {
        "sastdeploy": 4 + 8,
        "neurobench": 4 + 8,
        "sinabs": 11 + 18,
    }
    # Values other than 1 are multiplied: the input's, and now the neuron's too.
    assert neurobench(program, result)["synaptic_operations"] == {
        "effective_acs": 0, "effective_macs": 4 + 8, "dense": 5 * (1 + 2),
    }  # fmt: skip
    assert largest_synops(program)[1].tolist() == [5 * 4, 5 * 2 * 127]


def test_operations_elsewhere_where_a_pool_follows():
    program = chain()
    frames = shown()
    result = reference.run(program, frames, trace=("conv",))
    sent = result.traces["conv"].spikes.astype(np.int64)
    # Every neuron lies in one window of the pool, but those of the last row, which it drops.
    inside = sent.reshape(3, 6, 5, 5, 6)[..., :4, :]
    into_pool, values = np.count_nonzero(inside), int(inside.sum())
    figures = synops_by_definition(program, result)
    assert values > into_pool > 100
    assert figures["neurobench"] * 3 == pytest.approx(result.synops_nonzero.sum() - into_pool)
    assert figures["sinabs"] * 3 == pytest.approx(result.synops_events.sum() - values)
    operations = neurobench(program, result)["synaptic_operations"]
    assert (operations["effective_acs"] + operations["effective_macs"]) * 3 == pytest.approx(
        result.synops_nonzero.sum() - into_pool
    )
    # What the convolution sent past the pool was multiplied, as it sent more than ones in every recording.
    assert (result.active[:, 1] < result.events[:, 1]).all()
    once = result.active[:, 5] == result.events[:, 5]
    assert once.all() and operations["effective_acs"] * 3 == pytest.approx(result.synops_nonzero[:, 5].sum())


def test_a_state_holds_the_bits_of_its_spikes():
    # Q5.0 and 1, or 7 bits; counters of the readout up to 5, or 5 * 127.
    assert footprint_bytes(one_neuron())["state"] == 1 + 1
    assert footprint_bytes(one_neuron(max_spikes=127))["state"] == 2 + 2


END = {"multiplier": np.full(2, 32767, np.int32), "shift": np.zeros(2, np.int32), "membrane": QFormat(24, 0)}


@pytest.mark.parametrize("kind", ["next", "further", "recurrent", "readout"])
def test_sums_of_several_spikes_that_leave_32_bits_are_refused(kind):
    def program(most):
        first = DenseLif("a", np.ones((200, 1), np.int8), 8, tiny_lif(200, max_spikes=most))
        heard = np.full((2, 200), 100, np.int8)
        if kind == "readout":
            weight = np.full((2, 200), 100, np.int8)
            return tiny_program(
                [first],
                tiny_readout(200, weight=weight, weight_bits=8, multiplier=np.full(2, 20000, np.int32)),
            )
        if kind == "recurrent":
            own = RecurrentLif("b", np.ones((200, 1), np.int8), 8, replace(first.lif, multiplier=np.full(200, 32767, np.int32), shift=np.zeros(200, np.int32), membrane=QFormat(24, 0)), np.full((200, 200), 100, np.int8))  # fmt: skip
            return tiny_program([own], tiny_readout(200))
        if kind == "further":
            second = DenseLif("s", np.ones((2, 200), np.int8), 8, tiny_lif(2))
            third = DenseLif(
                "b", np.ones((2, 2), np.int8), 8, tiny_lif(2, **END), further=(FurtherDense(1, heard),)
            )
            return tiny_program([first, second, third], tiny_readout(2))
        return tiny_program([first, DenseLif("b", heard, 8, tiny_lif(2, **END))], tiny_readout(2))

    check_program(program(1))
    where = "readout 'readout': the score" if kind == "readout" else "layer 'b': the membrane update"
    with pytest.raises(InputError, match=rf"{where} of output \d+ can reach \d+\. Allowed: below 2\^31"):
        check_program(program(127))


def test_a_pool_adds_up_to_127():
    program = chain()
    layers = (
        replace(program.layers[0], lif=replace(program.layers[0].lif, max_spikes=32)),
        *program.layers[1:],
    )
    with pytest.raises(
        InputError,
        match=r"layer 'pool': a window of 2 x 2 inputs up to 32 sums to 128\. Allowed: sums up to 127\.",
    ):
        check_program(replace(program, layers=layers))


def test_c_sends_their_number_vectors_say_it_and_verilog_refuses_them(tmp_path):
    c = write_source(one_neuron(max_spikes=31), "net").source
    assert "spike = spikes(v, threshold, 31);" in c and "add1(state, neuron, spike);" in c
    assert "spikes(" not in write_source(one_neuron(), "net").source
    export_vectors(one_neuron(max_spikes=31, spike_test=">"), tmp_path / "v", counts(*COUNTS))
    assert (
        "ceil(v / threshold) - 1 spikes where v > threshold, 31 at most, each taking a threshold where the reset subtracts; reset"
        in (tmp_path / "v" / "README.md").read_text()
    )
    with pytest.raises(InputError) as error:
        write_verilog(one_neuron(max_spikes=31), "net")
    assert str(error.value) == (
        "layer fc: its neurons send up to 31 spikes in a step; the core's send one. Export it with --to c."
    )


def several(own, most=127):
    return replace(own, graph=own.graph.map({Node: lambda node: replace(node, max_spikes=most)}))


@pytest.mark.parametrize(
    ("test", "reset", "delay"), [(">=", "subtract", 1), (">", "subtract", 0), (">", "zero", 1)]
)
@pytest.mark.parametrize("current_alpha", [None, 0.5])
def test_a_graph_means_what_its_program_computes(test, reset, delay, current_alpha):
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    rules = {"spike_test": test, "reset": reset, "reset_delay": delay}
    own = several(network(current_alpha), 3)
    own = replace(own, graph=own.graph.map({Node: lambda node: replace(node, **rules)}))
    program = compile(own, profile(spikes_per_step=31, **rules)).program
    assert [layer.lif.max_spikes for layer in program.layers] == [3, 3]
    assert reference.run(program, frames_of_the_graph(), trace=("0",)).traces["0"].spikes.max() == 3
    assert_graph_and_program_agree(own, program)


def frames_of_the_graph():
    return Frames.from_dense(np.random.default_rng(0).integers(0, 4, (6, 5, 1, 2, 4)))


@pytest.mark.parametrize("most", [0, 128, True, 2.0])
def test_a_graph_of_another_number_is_refused(most):
    assert_neurons_refused(
        network(),
        "max_spikes",
        most,
        f"graph: lif 0.lif: max_spikes {most} is no whole number from 1 to 127.",
    )


def test_the_other_spike_test_cannot_stand_for_several_spikes():
    """``u > theta`` is ``u >= theta + 1`` of one spike; of several the threshold is the step between them."""
    own = several(network(None))
    own = replace(own, graph=own.graph.map({Node: lambda node: replace(node, spike_test=">", reset="zero")}))
    chip = profile(spike_test=">=", reset="zero", spikes_per_step=127)
    with pytest.raises(CompileError, match="spike test '>'"):
        compile(own, chip)
    assert_neurons_refused(own, "threshold_step", 1, "graph: lif 0.lif: threshold step 1.")


def test_hardware_of_fewer_spikes_is_refused_or_followed():
    chip = profile(spikes_per_step=31)
    with pytest.raises(CompileError) as error:
        compile(several(network(None)), chip)
    assert list(error.value.reasons) == [
        "0.lif: up to 127 spikes in a step; loihi_int8 does 31 (neuron.spikes_per_step).",
        "1.lif: up to 127 spikes in a step; loihi_int8 does 31 (neuron.spikes_per_step).",
        "Use a profile with the network's neuron (cortex_m and spinnaker2), or follow the hardware and its other spikes (--neuron profile).",
    ]
    followed = compile(several(network(None)), chip, neuron="profile")
    assert [layer.lif.max_spikes for layer in followed.program.layers] == [31, 31]
    assert followed.report.warnings[0] == (
        "spikes in a step: trained with up to 127, loihi_int8 does 31. The program follows the hardware; expect other spikes than in "
        "training."
    )
    assert compile(several(network(None), 31), chip).program.layers[0].lif.max_spikes == 31
    assert [name for name in builtin_profiles() if load_profile(name).spikes_per_step > 1] == [
        "cortex_m", "spinnaker2", "xylo_a2", "xylo_a3", "xylo_imu",
    ]  # fmt: skip
    assert load_profile("xylo_a2").spikes_per_step == 31


def test_a_sum_of_several_spikes_that_an_accumulator_cannot_hold_names_what_fits():
    own = several(network(None))
    with pytest.raises(CompileError, match=r"1, neuron \d: its sum can reach [\d,]+ \(inputs up to 127\) and needs 17 bits; .* has 16\. Inputs up to \d+ would fit\."):  # fmt: skip
        compile(own, profile(spikes_per_step=127, accumulator_bits=16))
    assert compile(own, profile(spikes_per_step=127, accumulator_bits=17)).program.layers
