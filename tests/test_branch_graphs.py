"""Nodes of a graph that stand side by side: their meaning, what passes leave of them, limits, text, files, and refusals."""

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
    save_network,
)
from sastdeploy.compiler.ir.graph import Graph, check_graph, stages
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import (
    AvgPool,
    Conv2d,
    Counts,
    Delay,
    Dense,
    Input,
    Lif,
    Readout,
    Recurrent,
    SumPool,
)
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.compiler.passes.check_limits import check_limits
from sastdeploy.exchange.agreement import require_spikes
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference


def network(divisor=1.0, kind=Dense):
    """Return two layers that hear the input, the second through a delay, and one that hears both, in 64ths."""
    rng = np.random.default_rng(4)
    one, two, three, skip = (rng.integers(-60, 120, shape) / 64 for shape in ((6, 8), (5, 8), (3, 5), (3, 6)))
    own = {} if kind is Dense else {"recurrent": -np.eye(5)}
    nodes = [
        Input("input", (1, 2, 4), 5, 3, divisor), Dense("0", one, np.full(6, 0.25)), Lif("0.lif", 0.5, np.ones(6)),
        Delay("wait", 1, source="input"), kind("1", two, np.full(5, -0.25), **own), Lif("1.lif", 0.5, np.ones(5)),
        Dense("2", three, np.full(3, -0.5), further=(Dense("0.lif", skip, np.zeros(3)),)), Lif("2.lif", 0.5, np.ones(3)),
        Counts("readout", np.eye(3), np.zeros(3)),
    ]  # fmt: skip
    preprocessing = Preprocessing((4, 2, 1), (4, 2), 5, 3, max(divisor, 3.0))
    return ImportedNetwork(Graph("beside", tuple(nodes)), preprocessing, ("a", "b", "c"))


def changed(**nodes):
    """Return the graph with other nodes in the place of those of these names."""
    graph = network().graph
    return graph.replace(tuple(nodes.get(f"n{node.name}", node) for node in graph.nodes))


def node_of(name):
    return next(node for node in network().graph.nodes if node.name == name)


@pytest.mark.parametrize("kind", [Dense, Recurrent])
def test_a_graph_means_what_its_program_computes(kind):
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    own = network(kind=kind)
    program = compile(own, profile(recurrent=True, delays=1)).program
    assert program.sources() == (0, 0, 2, 3, 4)
    assert [layer.source for layer in program.layers] == [None, 0, None, None]
    assert_graph_and_program_agree(own, program, names=("0", "1", "2"))


def test_the_graph_by_hand():
    """Counts 4, 0, 2; neurons of leak 0.5 that spike at 4 and are reset a step later: one takes them whole, one twice; one adds both."""
    further = (Dense("a.lif", 3 * np.ones((1, 1)), np.zeros(1)),)
    nodes = (
        Input("input", (1, 1, 1), 3, 4, 1.0), Dense("a", np.ones((1, 1)), np.zeros(1)), Lif("a.lif", 0.5, 4 * np.ones(1)),
        Dense("b", 2 * np.ones((1, 1)), np.zeros(1), source="input"), Lif("b.lif", 0.5, 4 * np.ones(1)),
        Dense("c", np.ones((1, 1)), np.ones(1), further=further), Lif("c.lif", 0.5, 4 * np.ones(1)),
    )  # fmt: skip
    graph = Graph("by hand", (*nodes, Counts("readout", np.eye(1), np.zeros(1))))
    check_graph(graph)
    found = interpret(graph, np.array([4, 0, 2]).reshape(1, 3, 1, 1, 1))
    # a: 4, a spike | 2+0-4 | -1+2; b: 8, a spike | 4+0-4 | 0+4, a spike; c: 1 + 1 + 3, a spike | 2.5+1-4 | -0.25+1+1
    assert [u.reshape(3).tolist() for u in found.membranes] == [[4, -2, 1], [8, 0, 4], [5, -0.5, 1.75]]
    assert [s.reshape(3).tolist() for s in found.spikes] == [[1, 0, 0], [1, 0, 1], [1, 0, 0]]


def test_scales_go_the_way_of_the_values():
    """Frames divided by 4 reach two branches, one of which is pooled to a mean; each gain holds what its own inputs are worth."""
    rng = np.random.default_rng(0)
    first, second, third, skip = (
        rng.normal(0.5, 1, shape) for shape in ((2, 1, 3, 3), (2, 1, 3, 3), (3, 2, 1, 1), (3, 2, 2, 2))
    )
    nodes = (
        Input("input", (1, 4, 4), 5, 4, 4.0), Conv2d("a", first, np.zeros(2), padding=(1, 1)), Lif("a.lif", 0.5, np.ones(2)),
        Conv2d("b", second, np.zeros(2), padding=(1, 1), source="input"), Lif("b.lif", 0.5, np.ones(2)), AvgPool("pool", 2, source="a.lif"),
        Conv2d("c", third, np.zeros(3), further=(Conv2d("b.lif", skip / 4, np.zeros(3), stride=(2, 2)),)), Lif("c.lif", 0.5, np.ones(3)),
        Readout("readout", rng.normal(size=(2, 12)), np.zeros(2)),
    )  # fmt: skip
    own = ImportedNetwork(Graph("scales", nodes), Preprocessing((4, 4, 1), (4, 4), 5, 4, 4.0), ("a", "b"))
    program = compile(own, profile(weight_bits=8)).program
    assert [(layer.name, layer.source) for layer in program.layers if layer.source is not None] == [
        ("b", 0),
        ("pool", 1),
    ]
    assert [stage.largest for stage in stages(own.graph)] == [4, 4, 4, 5]
    unit = {
        layer.name: layer.weight * layer.lif.multiplier[0] / 2.0 ** layer.lif.shift[0] / 2**16
        for layer in program.layers
        if layer.lif
    }
    for name, weight in (("a", first), ("b", second), ("c", third)):
        assert np.abs(unit[name] * 4 - weight).max() < 0.04
    shown = rng.integers(0, 5, (8, 5, 1, 4, 4))
    meant = interpret(own.graph, shown)
    computed = reference.run(program, Frames.from_dense(shown), trace=("a", "b", "c"))
    for name, spikes in zip("abc", meant.spikes, strict=True):
        ours = computed.traces[name].spikes.reshape(spikes.shape)
        assert spikes.sum() > 50 and (ours != spikes).mean() < 0.02


def test_spikes_of_another_framework_are_held_against_the_branches():
    graph = network().graph
    shown = np.random.default_rng(0).integers(0, 4, (3, 5, 1, 2, 4))
    spikes = list(interpret(graph, shown).spikes)
    assert require_spikes(graph, shown.astype(np.float64), spikes, "the file")["differences"] == 0
    spikes[1] = 1 - spikes[1]
    with pytest.raises(InputError, match=r"^1\.lif: the first difference is at step 0"):
        require_spikes(graph, shown.astype(np.float64), spikes, "the file")


def test_limits_count_every_layer_that_hears_a_source():
    own, wide = network().graph, profile(delays=1)
    assert check_limits(own, replace(wide, limits={"fan_out": 11, "fan_in": 11})) is own
    with pytest.raises(CompileError) as error:
        check_limits(own, replace(wide, limits={"fan_out": 2, "fan_in": 10}))
    assert [reason.split(";")[0] for reason in error.value.reasons] == [
        "input, into 0 and 1: 11 targets per source", "2: 11 sources per neuron", "1, into 2: 3 targets per source",
        "0, into 2: 3 targets per source", "2, into readout: 3 targets per source",
    ]  # fmt: skip
    assert [stage.heard for stage in stages(own)] == [("input",), ("input",), ("1", "0"), ("2",)]
    assert [stage.before for stage in stages(own)] == [(1, 2, 4), (1, 2, 4), (5, 1, 1), (3, 1, 1)]


def test_the_report_gives_each_layer_its_own_operations():
    layers = compile(network(), profile(delays=1)).report.layers
    # Eight inputs at five steps, to six neurons and to five; through the delay they are the second layer's.
    assert [layer.largest_ksynops for layer in layers[:2]] == [5 * 8 * 6 / 1000, 5 * 8 * 5 / 1000]
    assert [layer.largest_ksynops for layer in layers[2:]] == [5 * (5 + 6) * 3 / 1000, 5 * 3 * 3 / 1000]
    without = network().graph.map(
        {Dense: lambda node: replace(node, source="input" if node.name == "1" else node.source)}
    )
    straight = without.replace(tuple(node for node in without.nodes if node.name != "wait"))
    direct = compile(replace(network(), graph=straight), profile()).report.layers
    assert [layer.largest_ksynops for layer in direct] == [layer.largest_ksynops for layer in layers]


def test_text_and_files_hold_sources(tmp_path):
    own = network()
    text, tensors = print_graph(own.graph)
    assert 'wait = delay {"steps": 1, "source": "input"}' in text and text.count("source") == 1
    assert parse_graph(text, tensors) == own.graph
    save_network(tmp_path / "net.pt", own)
    assert load_network(tmp_path / "net.pt").graph == own.graph
    pooled = Graph("p", (SumPool("pool", 2, source="x"),))
    assert 'pool = sum_pool {"kernel": 2, "stride": 2, "source": "x"}' in print_graph(pooled)[0]
    assert pooled != Graph("p", (SumPool("pool", 2),))
    with pytest.raises(
        InputError,
        match=r"graph: delay wait: source 'x': no input or spiking neurons of that name before it\.",
    ):
        parse_graph(text.replace('"source": "input"', '"source": "x"'), tensors)


NONE = "no input or spiking neurons of that name before it"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"nwait": Delay("wait", 1, source="2.lif")}, f"delay wait: source '2.lif': {NONE}"),
        ({"nwait": Delay("wait", 1, source="0")}, f"delay wait: source '0': {NONE}"),
        ({"nwait": Delay("wait", 1, source="0.lif")}, "delay wait: source '0.lif' stands before it; leave it out there"),
        ({"nwait": SumPool("wait", 1, source="input")}, "sum_pool wait: source 'input' is the input, which it cannot take"),
        ({"n1": replace(node_of("1"), source="input")}, "delay wait: nothing hears it, neither a node behind it nor a further input"),
        ({"n2": replace(node_of("2"), further=())}, "lif 0.lif: nothing hears it, neither a node behind it nor a further input"),
        ({"n0.lif": Delay("0.lif", 1, source="input")}, "delay 0.lif: source 'input' stands before it; leave it out there"),
        ({"nreadout": replace(node_of("readout"), weight=np.eye(3, 5), source="1.lif")},
         "counts readout: a readout hears the node before it; it has no source"),
        ({"n2": replace(node_of("2"), source="wait")}, f"dense 2: source 'wait': {NONE}"),
    ],
)  # fmt: skip
def test_graphs_with_other_sources_are_refused(nodes, message):
    graph = changed(**nodes)
    if "n0.lif" in nodes:
        graph = graph.replace((graph.nodes[0], *graph.nodes[2:]))
    with pytest.raises(InputError) as error:
        check_graph(graph)
    assert str(error.value) == f"graph: {message}."


def test_a_further_input_has_no_source():
    node = node_of("2")
    further = (replace(node.further[0], source="input"),)
    with pytest.raises(InputError) as error:
        check_graph(changed(n2=replace(node, further=further)))
    assert (
        str(error.value) == "graph: dense 2: further input '0.lif' has a source; its name says what it takes."
    )
