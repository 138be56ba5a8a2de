"""States that start elsewhere than at 0: by hand, in files, in every engine, in what is exported, and from the graph to the program."""

from dataclasses import replace

import numpy as np
import pytest
from program_strategies import membranes, silent
from tiny_programs import counts, one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy import (
    CompileError,
    ImportedNetwork,
    InputError,
    Preprocessing,
    compile,
    export_nir,
    load_profile,
)
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import Conv2d, Counts, Input, Lif
from sastdeploy.compiler.profiles import builtin_profiles
from sastdeploy.exchange.c99.source import write_source
from sastdeploy.exchange.vectors.export import export_vectors
from sastdeploy.exchange.vectors.values import signals
from sastdeploy.exchange.verilog.source import write_verilog
from sastdeploy.program.counting import footprint_bytes
from sastdeploy.program.file import format_version
from sastdeploy.program.fixedpoint import QFormat, Rounding
from sastdeploy.program.records import DenseLif, RecurrentLif, SynapticCurrent
from sastdeploy.simulator import reference
from tests.neuron_checks import (
    assert_edited_manifest_refused,
    assert_every_engine_agrees,
    assert_graph_and_program_agree,
    assert_neurons_refused,
    assert_program_refused,
    codes,
    network,
    profile,
    two_layers,
)

HALF = SynapticCurrent(1, 1, Rounding.FLOOR, codes(6))

# Counts 1, 4, 0, 0, 0: I + bias = 4, 17, -1, -1, -1; threshold 5, leak 5/8 rounded down, -16 to 15.
CASES = {
    # 20>>3 = 2, 6 * | 30>>3 = 3, 3+17-5 = 15 * | 75>>3 = 9, 9-1-5 = 3 | 1-1 = 0 | -1
    "delayed subtraction": ({"start": codes(4)}, (6, 15, 3, 0, -1), (1, 1, 0, 0, 0), (0, 0)),
    # -80>>3 = -10, -6 | -30>>3 = -4, 13 * | 65>>3 = 8, 8-1-5 = 2 | 1-1 = 0 | -1
    "the lowest": ({"start": codes(-16)}, (-6, 13, 2, 0, -1), (0, 1, 0, 0, 0), (0, 0)),
    # It is above the threshold and has not spiked: 75>>3 = 9, w 13 *, 0 | w 17, above: 15 *, 0 | -1 | -5>>3 = -1, -2 | -10>>3 = -2, -3
    "immediate zero, the highest": (
        {"start": codes(15), "reset": "zero", "reset_delay": 0}, (0, 0, -1, -2, -3), (1, 1, 0, 0, 0), (0, 1),
    ),
    # 9, 13 | 8+17, above: 15 | 9-1 = 8 | 5-1 = 4 | 2-1 = 1
    "no reset": ({"start": codes(15), "reset": "none"}, (13, 15, 8, 4, 1), (1, 1, 1, 0, 0), (0, 1)),
    # i/2: 3+4 = 7 | 3+17, above: 15 | 7-1 = 6 | 3-1 = 2 | 1-1 = 0. u: 7 * | 4+15-5 = 14 * | 8+6-5 = 9 * | 5+2-5 = 2 | 1+0 = 1
    "a current": ({"current": HALF}, (7, 14, 9, 2, 1), (1, 1, 1, 0, 0), (0, 1)),
    # u: 20>>3 = 2, 9 * | 45>>3 = 5, 5+15-5 = 15 * | 9+6-5 = 10 * | 6+2-5 = 3 | 1
    "both": ({"start": codes(4), "current": HALF}, (9, 15, 10, 3, 1), (1, 1, 1, 0, 0), (0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_neuron_by_hand(case):
    changes, membranes, sent, beyond = CASES[case]
    shown = counts(1, 4, 0, 0, 0)
    result = reference.run(one_neuron(**changes), shown, trace=("fc",))
    assert result.traces["fc"].membranes[0, :, 0].tolist() == list(membranes)
    assert result.traces["fc"].spikes[0, :, 0].tolist() == list(sent)
    assert (result.overflow_low.item(), result.overflow_high.item()) == beyond
    recorded = {signal.kind: signal.values.reshape(-1).tolist() for signal in signals(one_neuron(**changes), shown)}  # fmt: skip
    assert recorded["membranes"] == list(membranes)
    assert recorded.get("currents", [7, 15, 6, 2, 0]) == [7, 15, 6, 2, 0]


def chain(each=False):
    """Return a convolution, two dense layers and a recurrent one that start differently, in more positions than one vector holds.

    each: whether the neurons of the convolution's channels do.
    """
    rng = np.random.default_rng(5)
    current = SynapticCurrent(3000, 12, Rounding.NEAREST, codes(900, 0, -32768, 32767, -5))
    program = two_layers(
        {"start": codes(-32768, 299, 0, -7, 100), "current": current},
        {"start": rng.integers(-16, 5, 33).astype(np.int32), "max_spikes": 3, "membrane": QFormat(5, 0)},
        outputs=33,
    )
    first, second = program.layers
    if each:
        start = rng.integers(-(1 << 15), 300, (5, 5, 6)).astype(np.int32)
        first = replace(
            first, lif=replace(first.lif, start=start, current=replace(current, start=-start[::-1]))
        )
    own = tiny_lif(70, start=rng.integers(-16, 16, 70).astype(np.int32), reset="zero", reset_delay=0)
    weights = rng.integers(-7, 8, (70, 33)).astype(np.int8), rng.integers(-7, 8, (70, 70)).astype(np.int8)
    third = RecurrentLif("back", weights[0], 4, own, weights[1])
    alone = SynapticCurrent(7, 3, Rounding.FLOOR, rng.integers(-9, 9, 3).astype(np.int32))
    last = DenseLif("last", rng.integers(-7, 8, (3, 70)).astype(np.int8), 4, tiny_lif(3, current=alone))
    return tiny_program([first, second, third, last], tiny_readout(3), (1, 5, 6), time_bins=6)


@pytest.mark.parametrize("each", [False, True])
def test_every_engine_gives_the_same_integers(tmp_path, each):
    program = chain(each)
    _, read = assert_every_engine_agrees(program, tmp_path, version=7, spikes=1000, overflows=10)
    for layer, own in zip(read.layers, program.layers):
        assert layer.lif.starts().keys() == own.lif.starts().keys() != set()
        for name, start in own.lif.starts().items():
            assert np.array_equal(layer.lif.starts()[name], start)


@pytest.mark.parametrize(("reads", "score", "empty"), [("last", 1, -1), ("max", 15, 8)])
def test_membranes_that_are_read_start_there_too(tmp_path, reads, score, empty):
    program = one_neuron(start=codes(15))
    program = replace(program, layers=(silent(program.layers[0]),), readout=membranes(1, reads), classes=("0",))  # fmt: skip
    assert reference.run(program, counts(1, 4, 0, 0, 0)).scores.tolist() == [[score]]
    # The start itself is of no step: 9-1 = 8 | 5-1 = 4 | 2-1 = 1 | 0-1 = -1 | -1-1 = -2
    assert reference.run(program, counts(0, 0, 0, 0, 0)).scores.tolist() == [[empty - (reads == "last")]]
    assert_every_engine_agrees(program, tmp_path, version=7, spikes=-1)


def test_programs_that_start_at_zero_are_written_as_before(tmp_path):
    assert format_version(one_neuron()) == 1 and "starts" not in one_neuron().layers[0].record()["lif"]
    assert one_neuron(start=codes(1)).layers[0].record()["lif"]["starts"] == {"start": [1]}
    assert format_version(one_neuron(current=replace(HALF, start=None))) == 3
    assert_edited_manifest_refused(
        one_neuron(start=codes(1)),
        tmp_path,
        '"starts":{"start":[1]}',
        '"starts":{}',
        "there is an array too many",
    )


def test_the_parameters_take_a_start_for_each_channel():
    # Q5.0: 5 bits are a byte.
    sizes = [
        footprint_bytes(one_neuron(**changes))["parameters"]
        for changes in ({}, {"start": codes(1)}, {"start": codes(1), "current": HALF})
    ]
    assert sizes == [sizes[0], sizes[0] + 1, sizes[0] + 2]


@pytest.mark.parametrize(("changes", "fault"), [
    ({"start": codes(16)}, "start[0] is 16. Allowed: -16 to 15."),
    ({"start": codes(0)}, "start is 0 everywhere. Allowed: None, where all start at 0."),
    ({"start": codes(1, 2)}, "start is int32 of shape [2]. Allowed: int32 of shape [1], one per output channel."),
    ({"current": replace(HALF, start=codes(-17))}, "current.start[0] is -17. Allowed: -16 to 15."),
    ({"start": codes(5)}, "start of neuron [0] is 5, which passes the threshold 5. Allowed: starts that do not, where a reset comes a step after its spike."),
    ({"start": codes(6), "spike_test": ">", "reset": "zero"}, "start of neuron [0] is 6, which passes the threshold 5. Allowed: starts that do not, where a reset comes a step after its spike."),
])  # fmt: skip
def test_starts_out_of_range_are_refused(changes, fault):
    assert_program_refused(one_neuron(**changes), f"layer 'fc': {fault}")


def test_exports_say_them_or_refuse_by_name(tmp_path):
    program = one_neuron(start=codes(-3), current=HALF)
    c = write_source(program, "net")
    assert (
        "state->membrane0[neuron] = (int8_t)-3;\n            state->current0[neuron] = (int8_t)6;" in c.source
    )
    assert "memset(state, 0, sizeof *state);\n    begin0(state);\n}" in c.source
    assert "every membrane, sum and counter becomes 0, but for states that start elsewhere." in c.header
    plain = write_source(one_neuron(), "net")
    assert "begin0" not in plain.source and "becomes 0." in plain.header
    export_vectors(program, tmp_path / "v", counts(1, 4, 0, 0, 0))
    text = (tmp_path / "v" / "README.md").read_text("utf-8")
    assert "Every membrane is 0, where nothing else is said below, and no neuron" in text
    assert "- fc: membranes start at -3; currents start at 6; a current" in text
    export_vectors(one_neuron(), tmp_path / "w", counts(1, 4, 0, 0, 0))
    assert "Every membrane is 0 and no neuron" in (tmp_path / "w" / "README.md").read_text("utf-8")
    for changes in ({"start": codes(-3)}, {"current": HALF}):
        with pytest.raises(InputError) as error:
            write_verilog(one_neuron(**changes), "net")
        assert str(error.value) == (
            "layer fc: its neurons start elsewhere than at 0; the core's start there. Export it with --to c."
        )
    with pytest.raises(InputError) as error:
        export_nir(one_neuron(start=codes(-3)), tmp_path / "p.nir")
    assert str(error.value) == (
        "layer fc: its membranes start elsewhere than at 0 and are not reset to 0; a NIR file says no start. Export it with --to c."
    )


def with_starts(own, **starts):
    """Return the network whose neurons' states start at these numbers, each channel's a 64th below the one before it."""

    def started(node):
        steps = np.arange(len(node.threshold)) / 64
        return replace(node, **{name: first - steps for name, first in starts.items()})

    return replace(own, graph=own.graph.map({Lif: started}))


@pytest.mark.parametrize(
    ("test", "reset", "delay"), [(">=", "subtract", 1), (">", "zero", 0), (">=", "none", 1)]
)
@pytest.mark.parametrize("starts", [{"start": 0.75}, {"start": -2.0, "current_start": 0.5}], ids=str)
def test_a_graph_means_what_its_program_computes(test, reset, delay, starts):
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    rules = {"spike_test": test, "reset": reset, "reset_delay": delay}
    own = with_starts(network(0.5 if "current_start" in starts else None), **starts)
    own = replace(own, graph=own.graph.map({Lif: lambda node: replace(node, **rules)}))
    program = compile(own, profile(starts=True, **rules)).program
    assert program.layers[1].lif.start.tolist() == [int((starts["start"] - c / 64) * 2**16) for c in range(3)]
    assert_graph_and_program_agree(own, program)


@pytest.mark.parametrize(("field", "value", "words"), [
    ("start", np.zeros(6), "start is 0 everywhere"),
    ("start", np.ones(2), "start is float64 [2], not float64 [6]"),
    ("start", np.full(6, np.nan), "a start is not finite"),
    ("current_start", np.ones(6), "current_start without a synaptic current"),
    ("start_q", np.ones(6, np.int32), "start_q without start"),
])  # fmt: skip
def test_graphs_whose_starts_mean_nothing_are_refused(field, value, words):
    assert_neurons_refused(network(None), field, value, f"graph: lif 0.lif: {words}.")


def test_hardware_that_states_no_starts_is_refused():
    own = with_starts(network(None), start=0.5)
    for neuron in ("network", "profile"):
        with pytest.raises(CompileError) as error:
            compile(own, "loihi_int8", neuron=neuron)
        assert error.value.reasons[0].startswith(
            "0.lif: starts elsewhere than at 0; loihi_int8 states no such starts (neuron.starts). cortex_m, loihi1, loihi2, "
            "speck, spinnaker2 and xylo_a2 do; or state it in a profile of your own."
        )
    assert compile(own, "cortex_m").program.layers[0].lif.start.any()
    assert [name for name in builtin_profiles() if load_profile(name).starts] == [
        "cortex_m", "loihi1", "loihi2", "speck", "spinnaker2", "xylo_a2",
    ]  # fmt: skip


def test_starts_that_a_format_or_a_delayed_reset_cannot_hold_are_named():
    own = with_starts(network(None), start=200.0)
    with pytest.raises(CompileError, match=r"0\.lif, neuron 0: start 200 does not fit Q8\.16 \(-128 to 128\)\. Use at least 9 integer bits"):  # fmt: skip
        compile(own, profile(starts=True))
    with pytest.raises(CompileError) as error:
        compile(with_starts(network(None), start=1.5), profile(starts=True))
    assert error.value.reasons[0].startswith(
        "0.lif, neuron 0: starts at 1.5, which passes its threshold 1; where a reset comes a step after its spike, that is a spike before "
        "the first step. Use a profile that resets at once."
    )


def test_a_start_within_a_channel_that_passes_its_threshold_is_named():
    starts = np.zeros((2, 2, 4))
    starts[1, 0, 2] = 3.0
    nodes = [
        Input("input", (1, 2, 4), 4, 3, 1.0), Conv2d("a", np.ones((2, 1, 1, 1)), np.zeros(2)),
        Lif("a.lif", 0.5, np.array([1.0, 2.0]), reset_delay=1, start=starts), Counts("readout", np.eye(16), np.zeros(16)),
    ]  # fmt: skip
    own = ImportedNetwork(
        Graph("own", tuple(nodes)), Preprocessing((4, 2, 1), (4, 2), 4, 3, 3.0), tuple(map(str, range(16)))
    )
    with pytest.raises(CompileError, match=r"^a\.lif, neuron 10: starts at 3, which passes its threshold 2;"):
        compile(own, profile(starts=True, per_neuron=True))


def test_a_start_that_reaches_its_threshold_by_rounding_alone_stays_below():
    own = with_starts(network(None), start=1.0 - 2**-12)
    coarse = profile(starts=True, membrane=QFormat(8, 8))
    assert compile(own, coarse).program.layers[1].lif.start.tolist() == [255, 252, 248]
    nothing = compile(with_starts(network(None), start=2**-12), profile(starts=True, membrane=QFormat(8, 1)))
    assert nothing.program.layers[0].lif.start is None and format_version(nothing.program) == 1
