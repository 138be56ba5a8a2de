"""Floors of membranes: by hand, in files, in every engine, in what is exported, and from the graph to the program."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_programs import counts, one_neuron, three_neurons, tiny_lif, tiny_program, tiny_readout

from sastdeploy import CompileError, InputError, compile, export_nir, export_vectors, load_profile
from sastdeploy.compiler.ir.nodes import Lif
from sastdeploy.compiler.profiles import builtin_profiles
from sastdeploy.exchange.c99.export import write_source
from sastdeploy.exchange.verilog.export import write_verilog
from sastdeploy.program.counting import footprint_bytes
from sastdeploy.program.file import format_version
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import RecurrentLif, SynapticCurrent
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

HALF = SynapticCurrent(1, 1, Rounding.FLOOR)
BELOW = {"bias": codes(-9), "floor": codes(-3)}

# Counts 0, 0, 4, 1, 4: I + bias = -9, -9, 9, -4, 9; threshold 5, leak 5/8 rounded down, -16 to 15.
CASES = {
    # -9 | -2-9 = -11 | -2+9 = 7 * | 4-4-5 = -5 | -2+9 = 7 *
    "delayed subtraction": (BELOW, (-3, -3, 7, -3, 7), (0, 0, 1, 0, 1), (0, 0)),
    "at 0, zero at once": (
        {**BELOW, "floor": codes(0), "reset": "zero", "reset_delay": 0}, (0, 0, 0, 0, 0), (0, 0, 1, 0, 1), (0, 0),
    ),
    # -9 | -11 | -2+9 = 7 * | 0, whatever arrives | 0+9 = 9 *
    "refractory": ({**BELOW, "reset": "refractory"}, (-3, -3, 7, 0, 9), (0, 0, 1, 0, 1), (0, 0)),
    # -80>>3 = -10, -19: counted, -16, and then -3
    "after saturation, from below": ({**BELOW, "start": codes(-16)}, (-3, -3, 7, -3, 7), (0, 0, 1, 0, 1), (1, 0)),
    # -19 wraps to 13 * | 8-9-5 = -6
    "after a wrap": (
        {**BELOW, "start": codes(-16), "overflow": Overflow.WRAP}, (13, -3, 7, -3, 7), (1, 0, 1, 0, 1), (1, 0),
    ),
    # i -9 | -5-9 = -14 | -7+9 = 2 | 1-4 = -3 | -2+9 = 7; u -9 | -2-14 | -2+2 = 0 | -3 | -2+7 = 5 *
    "leaves the current alone": ({**BELOW, "current": HALF}, (-3, -3, 0, -3, 5), (0, 0, 0, 0, 1), (0, 0)),
    # 7 > 5, so 1 leaves 2 | 10>>3 = 1, 1-4 = -3 | -2+9 = 7 *, 2
    "several at once": (
        {**BELOW, "max_spikes": 3, "spike_test": ">", "reset_delay": 0}, (-3, -3, 2, -3, 2), (0, 0, 1, 0, 1), (0, 0),
    ),
    # No membrane lies below the format: -9 | -6-9 = -15 | -10+9 = -1 | -1-4 = -5 | -4+9 = 5 *
    "at the format's end": ({**BELOW, "floor": codes(-16)}, (-9, -15, -1, -5, 5), (0, 0, 0, 0, 1), (0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_neuron_by_hand(tmp_path, case):
    changes, membranes, sent, beyond = CASES[case]
    result = reference.run(one_neuron(**changes), counts(0, 0, 4, 1, 4), trace=("fc",))
    assert result.traces["fc"].membranes[0, :, 0].tolist() == list(membranes)
    assert result.traces["fc"].spikes[0, :, 0].tolist() == list(sent)
    assert (result.overflow_low.item(), result.overflow_high.item()) == beyond
    assert_every_engine_agrees(one_neuron(**changes), tmp_path, version=7, spikes=-1)


@pytest.mark.parametrize("each", [False, True])
def test_every_engine_gives_the_same_integers(tmp_path, each):
    rng = np.random.default_rng(6)
    form = (5, 5, 6) if each else (5,)
    current = SynapticCurrent(codes(9, 12, 16, 3, 8), 4, Rounding.NEAREST)
    program = two_layers(
        {"floor": rng.integers(-200, 1, form).astype(np.int32), "current": current, "leak_shift": 4},
        {"floor": rng.integers(-16, 1, 33).astype(np.int32), "max_spikes": 3, "reset_delay": 0},
        outputs=33,
    )
    _, read = assert_every_engine_agrees(program, tmp_path, version=7, spikes=500)
    for layer, own in zip(read.layers, program.layers):
        assert np.array_equal(layer.lif.floor, own.lif.floor)
    shown = np.random.default_rng(1).integers(0, 5, (4, 6, 1, 5, 6))
    from sastdeploy.recordings.frames import Frames

    frames = Frames.from_dense(shown)
    plain = replace(
        program,
        layers=tuple(replace(layer, lif=replace(layer.lif, floor=None)) for layer in program.layers),
    )
    assert not np.array_equal(reference.run(program, frames).scores, reference.run(plain, frames).scores)


def test_recurrent_layers_agree_in_every_engine(tmp_path):
    rng = np.random.default_rng(5)
    weight, own = (rng.integers(-7, 8, shape).astype(np.int8) for shape in ((9, 30), (9, 9)))
    neurons = tiny_lif(9, floor=-np.arange(9, dtype=np.int32), membrane=QFormat(8, 8), threshold=np.full(9, 30, np.int32))  # fmt: skip
    program = tiny_program(
        [RecurrentLif("fc", weight, 4, neurons, own)], tiny_readout(9), (1, 5, 6), time_bins=8
    )
    assert_every_engine_agrees(program, tmp_path, version=7, spikes=60)


def test_programs_without_it_are_written_as_before(tmp_path):
    assert format_version(one_neuron()) == 1 and "shapes" not in one_neuron().layers[0].record()["lif"]
    assert one_neuron(**BELOW).layers[0].record()["lif"]["shapes"] == {"floor": [1]}
    assert_edited_manifest_refused(
        one_neuron(**BELOW), tmp_path, '"shapes":{"floor":[1]}', '"shapes":{}', "there is an array too many"
    )


def test_the_parameters_take_one_for_each_channel():
    # Q5.0: 5 bits are a byte.
    with_one, without = (footprint_bytes(one_neuron(**changes))["parameters"] for changes in (BELOW, {}))
    assert with_one == without + 1


@pytest.mark.parametrize(("changes", "fault"), [
    ({"floor": codes(-17)}, "floor[0] is -17. Allowed: -16 to 0."),
    ({"floor": codes(1)}, "floor[0] is 1. Allowed: -16 to 0."),
    ({"floor": codes(-1, -2)}, "floor is int32 of shape [2]. Allowed: int32 of shape [1], one per output channel."),
])  # fmt: skip
def test_floors_out_of_range_are_refused(changes, fault):
    assert_program_refused(one_neuron(**changes), f"layer 'fc': {fault}")


def test_exports_say_it_or_refuse_by_name(tmp_path):
    program = one_neuron(**BELOW, reset_delay=0)
    source = write_source(program, "net").source
    assert (
        "v -= threshold;\n            }\n            if (v < -3) {\n                v = -3;\n            }\n"
        in source
    )
    assert "v < -16" in source and "v = -3" not in write_source(one_neuron(), "net").source
    each = three_neurons(floor=codes(0, -1, -2).reshape(1, 1, 3))
    assert "if (v < floor0[neuron]) {" in write_source(each, "net").source
    export_vectors(program, tmp_path / "v", counts(0, 0, 4, 1, 4))
    readme = (tmp_path / "v" / "README.md").read_text("utf-8")
    assert "reset subtract, in the step of the spike; after the step, u is at least -3." in readme
    with pytest.raises(InputError) as error:
        write_verilog(program, "net")
    assert str(error.value) == (
        "layer fc: its membranes have a floor; the core's have none but their format's lower end. Export it with --to c."
    )
    with pytest.raises(InputError) as error:
        export_nir(program, tmp_path / "p.nir")
    assert str(error.value) == (
        "layer fc: its membranes have a floor, which no NIR node says. Export it with --to c."
    )


def with_floors(own, first=-0.25):
    """Return the network whose neurons' floors are these, each channel's a 64th below the one before it."""

    def floored(node):
        return replace(node, floor=first - np.arange(len(node.threshold)) / 64)

    return replace(own, graph=own.graph.map({Lif: floored}))


@pytest.mark.parametrize(
    ("test", "reset", "delay"),
    [(">=", "subtract", 1), (">", "zero", 0), (">=", "none", 1), (">", "refractory", 1)],
)
@pytest.mark.parametrize("current_alpha", [None, 0.5])
def test_a_graph_means_what_its_program_computes(test, reset, delay, current_alpha):
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    rules = {"spike_test": test, "reset": reset, "reset_delay": delay}
    own = with_floors(network(current_alpha))
    own = replace(own, graph=own.graph.map({Lif: lambda node: replace(node, **rules)}))
    program = compile(own, profile(floor=True, **rules)).program
    assert program.layers[1].lif.floor.tolist() == [-(16 + c) * 1024 for c in range(3)]
    assert_graph_and_program_agree(own, program)


@pytest.mark.parametrize(("field", "value", "words"), [
    ("floor", np.ones(6), "floors must be finite, and at most 0"),
    ("floor", np.full(6, -np.inf), "floors must be finite, and at most 0"),
    ("floor", -np.ones(2), "floor is float64 [2], not float64 [6]"),
    ("floor_q", -np.ones(6, np.int32), "floor_q without floor"),
])  # fmt: skip
def test_graphs_whose_floors_mean_nothing_are_refused(field, value, words):
    assert_neurons_refused(network(None), field, value, f"graph: lif 0.lif: {words}.")


def test_hardware_that_states_none_is_refused():
    own = with_floors(network(None))
    for neuron in ("network", "profile"):
        with pytest.raises(CompileError) as error:
            compile(own, "loihi_int8", neuron=neuron)
        assert error.value.reasons[0].startswith(
            "0.lif: a floor of its membranes; loihi_int8 states none (neuron.floor). cortex_m, speck and spinnaker2 do; or "
            "state it in a profile of your own."
        )
    assert compile(own, "cortex_m").program.layers[0].lif.floor.max() < 0
    assert [name for name in builtin_profiles() if load_profile(name).floor] == [
        "cortex_m", "speck", "spinnaker2",
    ]  # fmt: skip


def test_floors_below_the_format_are_its_lower_end_or_none():
    coarse = profile(floor=True, membrane=QFormat(8, 8))
    assert compile(with_floors(network(None), -127.99), coarse).program.layers[0].lif.floor.tolist() == [
        -32765, *[-32768] * 5,
    ]  # fmt: skip
    program = compile(with_floors(network(None), -1e6), coarse).program
    assert program.layers[0].lif.floor is None and format_version(program) == 1
