"""Delays in a graph: its meaning, what passes leave of it, profiles that hold it, its text and files, and NIR."""

from dataclasses import replace

import numpy as np
import pytest
from neuron_checks import assert_graph_and_program_agree, profile

from sastdeploy import (
    CompileError,
    ImportedNetwork,
    InputError,
    Preprocessing,
    compile,
    load_network,
    load_profile,
    save_network,
)
from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import AvgPool, Conv2d, Counts, Delay, Dense, Input, Lif, Recurrent
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference


def steps_of(*values):
    return np.array(values, np.int32)


def network(divisor=1.0, bins=5, kind=Dense, waits=(2, 1)):
    """Return two layers with a delay behind the input, one for each of its values, and one behind the first layer, in 64ths."""
    rng = np.random.default_rng(4)
    first, second = (rng.integers(-60, 120, shape) / 64 for shape in ((6, 8), (3, 6)))
    behind = np.array([0, waits[0], 1, 0, 1, 1, 0, waits[0]], np.int32)
    own = {} if kind is Dense else {"recurrent": -np.eye(3)}
    nodes = [
        Input("input", (1, 2, 4), bins, 3, divisor), Delay("input.delay", behind), Dense("0", first, np.full(6, 0.25)),
        Lif("0.lif", 0.5, np.ones(6)), Delay("0.delay", waits[1]), kind("1", second, np.full(3, -0.5), **own), Lif("1.lif", 0.5, np.ones(3)),
        Counts("readout", np.eye(3), np.zeros(3)),
    ]  # fmt: skip
    preprocessing = Preprocessing((4, 2, 1), (4, 2), bins, 3, max(divisor, 3.0))
    return ImportedNetwork(Graph("wait", tuple(nodes)), preprocessing, ("a", "b", "c"))


@pytest.mark.parametrize("kind", [Dense, Recurrent])
def test_a_graph_means_what_its_program_computes(kind):
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    own = network(kind=kind)
    program = compile(own, profile(recurrent=True, delays=2)).program
    assert [layer.kind for layer in program.layers][:3] == ["delay", "dense", "delay"]
    assert_graph_and_program_agree(own, program, spikes=30)
    without = own.graph.map({Delay: lambda node: Delay(node.name, 0)})
    shown = np.random.default_rng(0).integers(0, 4, (6, 5, 1, 2, 4))
    assert not np.array_equal(interpret(without, shown).scores, interpret(own.graph, shown).scores)
    assert without != own.graph


def test_the_graph_by_hand():
    """Counts 4, 0, 2 arrive in bins 1 to 3; neurons of leak 0.5 that take them whole and spike at 4, the second a bin later."""
    nodes = (
        Input("input", (1, 1, 1), 4, 4, 1.0), Delay("wait", 1), Dense("a", np.ones((1, 1)), np.zeros(1)), Lif("a.lif", 0.5, 4 * np.ones(1)),
        Delay("wait too", 1), Dense("b", 3 * np.ones((1, 1)), np.ones(1)), Lif("b.lif", 0.5, 4 * np.ones(1)),
    )  # fmt: skip
    graph = Graph("by hand", (*nodes, Counts("readout", np.eye(1), np.zeros(1))))
    check_graph(graph)
    found = interpret(graph, np.array([4, 0, 2, 4]).reshape(1, 4, 1, 1, 1))
    # a: 0 | 4, a spike | 2+0-4 | -1+2; b: 1 | 0.5+1 | 0.75+3+1, a spike | 2.375+1-4
    assert found.membranes[0].reshape(4).tolist() == [0, 4, -2, 1]
    assert found.membranes[1].reshape(4).tolist() == [1, 1.5, 4.75, -0.625]


def test_scales_go_past_a_delay():
    """Frames divided by 4 and a mean over windows stand in the next gain, whatever waits between."""
    rng = np.random.default_rng(0)
    nodes = (
        Input("input", (1, 4, 4), 5, 4, 4.0), Delay("d0", 1), Conv2d("c", rng.normal(0.5, 1, (2, 1, 3, 3)), np.zeros(2)),
        Lif("c.lif", 0.5, np.ones(2)), Delay("d1", steps_of(0, 1)), AvgPool("pool", 2), Delay("d2", steps_of(1, 0)),
        Dense("fc", rng.normal(0.5, 1, (3, 2)), np.zeros(3)), Lif("fc.lif", 0.5, np.ones(3)), Counts("readout", np.eye(3), np.zeros(3)),
    )  # fmt: skip
    own = ImportedNetwork(
        Graph("scales", nodes), Preprocessing((4, 4, 1), (4, 4), 5, 4, 4.0), ("a", "b", "c")
    )
    program = compile(own, profile(weight_bits=8, delays=1)).program
    unit = [
        layer.weight * layer.lif.multiplier[0] / 2.0 ** layer.lif.shift[0] / 2**16
        for layer in program.layers
        if layer.lif
    ]
    for layer, worth, name in zip(unit, (4, 4), ("c", "fc")):
        (node,) = (each for each in nodes if each.name == name)
        assert np.abs(layer * worth - node.weight).max() < 0.02
    shown = rng.integers(0, 5, (8, 5, 1, 4, 4))
    meant, computed = (
        interpret(own.graph, shown),
        reference.run(program, Frames.from_dense(shown), trace=("c", "fc")),
    )
    ours = computed.traces["c"].spikes.reshape(meant.spikes[0].shape)
    assert meant.spikes[0].sum() > 50 and (ours != meant.spikes[0]).mean() < 0.02


def test_a_profile_says_how_long_values_wait():
    own = network(waits=(70, 3))
    reasons = {
        0: [
            f"{name}: a delay of {steps} steps; loihi_int8 states none (neuron.delays). {who}; or state it in a profile "
            "of your own."
            for name, steps, who in (
                ("input.delay", 70, "cortex_m does"),
                ("0.delay", 3, "cortex_m and loihi1 do"),
            )
        ],
        62: [
            "input.delay: a delay of 70 steps; loihi_int8 delays by at most 62 (neuron.delays). cortex_m does; or state it in a profile of "
            "your own."
        ],
    }
    for delays, wanted in reasons.items():
        for neuron in ("network", "profile"):
            with pytest.raises(CompileError) as error:
                compile(own, profile(delays=delays), neuron=neuron)
            assert [
                reason.split(" [pass")[0] for reason in error.value.reasons if "delay" in reason
            ] == wanted
    compile(own, profile(delays=70))
    assert compile(network(waits=(0, 0)), profile(delays=1)).program.layers[2].steps == 0
    assert {name: load_profile(name).delays for name in ("loihi1", "cortex_m", "loihi_int8", "xylo_a2")} == {
        "loihi1": 62, "cortex_m": 1000, "loihi_int8": 0, "xylo_a2": 0,
    }  # fmt: skip


@pytest.mark.parametrize("value", ["-1", "1001", "true", "1.5"])
def test_profiles_that_delay_otherwise_are_refused(tmp_path, value):
    from sastdeploy.compiler.profiles import profile_path

    text = profile_path("loihi1").read_text()
    old = "delays: {value: 62"
    assert text.count(old) == 1
    (tmp_path / "own.yaml").write_text(text.replace(old, f"delays: {{value: {value}"))
    with pytest.raises(InputError, match=r"neuron\.delays\.value"):
        load_profile(tmp_path / "own.yaml")


def test_text_and_files_hold_delays(tmp_path):
    own = network()
    text, tensors = print_graph(own.graph)
    assert (
        '0.delay = delay {"steps": 1}' in text and 'input.delay = delay {"steps": {"i4[8]": [0, 2, 1' in text
    )
    assert parse_graph(text, tensors) == own.graph
    save_network(tmp_path / "net.pt", own)
    assert load_network(tmp_path / "net.pt").graph == own.graph
    with pytest.raises(InputError) as error:
        replace(
            own, graph=own.graph.map_spiking(lambda node: replace(node, leak_multiplier=128, leak_shift=8))
        )
    assert str(error.value) == (
        "network wait: 0.lif: leak_multiplier is what compile finds; no network holds it. Import the network again."
    )
    with pytest.raises(InputError, match=r"delay 0\.delay: steps is -1; allowed: a whole number, 0 to 1000"):
        parse_graph(text.replace('{"steps": 1}', '{"steps": -1}'), tensors)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (lambda n: (*n[:3], Delay("d", 1), *n[3:]), "delay d: may not follow dense 0"),
        (lambda n: (*n[:-1], Delay("d", 1), n[-1]), "counts readout: may not follow delay d"),
        (lambda n: (*n[:1], Delay("d", steps_of(0, 1)), *n[2:]),
         "delay d: steps is int32 of shape [2]; allowed: int32 of shape [1] or [8], one per channel or value"),
        (lambda n: (*n[:5], replace(n[5], further=(Dense("input.delay", np.ones((3, 8)), np.zeros(3)),)), *n[6:]),
         "dense 1: further input 'input.delay': no input or spiking neurons of that name before it"),
    ],
)  # fmt: skip
def test_graphs_with_other_delays_are_refused(nodes, message):
    with pytest.raises(InputError) as error:
        check_graph(Graph("wait", tuple(nodes(network().graph.nodes))))
    assert str(error.value) == f"graph: {message}."
