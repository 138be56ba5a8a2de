"""The graph: what the verifier refuses, and a text form that parses back to the equal graph."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import CONV, DENSE, POOL, checkpoint_of

from sastdeploy.compiler.compile import PASSES, run_passes
from sastdeploy.compiler.ir.graph import Graph, check_graph, shapes
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.nodes import Conv2d, Dense, Input, Lif, Readout, SumPool
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.errors import InputError


def tiny() -> Graph:
    """Return two inputs, two neurons, two classes."""
    return Graph(
        "tiny",
        (
            Input("input", (2, 1, 1), 3, 2, 4.0),
            Dense("fc", np.array([[0.5, -0.25], [1.0, 0.0]]), np.array([0.125, 0.0])),
            Lif("fc.lif", 0.5, np.array([1.0, 1.0])),
            Readout("readout", np.array([[1.0, -1.0], [0.0, 0.5]]), np.array([0.0, 0.25])),
        ),
    )


def test_the_text_of_a_tiny_graph():
    text, tensors = print_graph(tiny())
    assert text.splitlines() == [
        "graph tiny",
        'input = input {"shape": [2, 1, 1], "time_bins": 3, "c_clip": 2, "divisor": 4.0}',
        'fc = dense {"weight": {"f8[2,2]": [0.5, -0.25, 1.0, 0.0]}, "bias": {"f8[2]": [0.125, 0.0]}}',
        'fc.lif = lif {"alpha": 0.5, "threshold": {"f8[2]": [1.0, 1.0]}}',
        'readout = readout {"weight": {"f8[2,2]": [1.0, -1.0, 0.0, 0.5]}, "bias": {"f8[2]": [0.0, 0.25]}}',
    ]
    assert tensors == {}


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda a: a.name)
def test_every_stage_of_every_graph_parses_back_to_itself(architecture):
    graph = graph_from_checkpoint(checkpoint_of(architecture))
    for count in range(len(PASSES) + 1):
        stage = run_passes(graph, load_profile("loihi_int8"), PASSES[:count])
        text, tensors = print_graph(stage)
        again = parse_graph(text, tensors)
        assert again == stage
        assert print_graph(again)[0] == text
        assert max(map(len, text.splitlines())) < 2000


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), st.floats(1e-6, 0.999999))
def test_every_real_survives_the_text(weights, alpha):
    graph = tiny()
    nodes = list(graph.nodes)
    nodes[1] = replace(nodes[1], weight=np.array(weights).reshape(2, 2))
    nodes[2] = replace(nodes[2], alpha=alpha)
    graph = graph.replace(tuple(nodes))
    assert parse_graph(*print_graph(graph)) == graph


def test_graphs_that_differ_in_one_value_are_not_equal():
    graph = tiny()
    for position, change in (
        (0, {"divisor": 5.0}),
        (1, {"weight": np.array([[0.5, -0.25], [1.0, 1e-300]])}),
        (2, {"spike_test": ">"}),
        (3, {"weight_bits": 8}),
    ):
        nodes = list(graph.nodes)
        nodes[position] = replace(nodes[position], **change)
        assert graph != graph.replace(tuple(nodes))
    assert graph == tiny()
    assert graph != Graph("other", graph.nodes)
    assert graph != graph.replace(graph.nodes[:-1])


BAD_TEXT = {
    "no head": ("graph tiny\n", "", "g: line 1: expected 'graph NAME'."),
    "unknown kind": ("= lif", "= lfi", "g: line 4: not a node (unknown kind 'lfi'; allowed: input, dense, "),
    "unknown field": ('"alpha"', '"alhpa"', "g: line 4: not a node ("),
    "no fields": ('fc.lif = lif {"alpha": 0.5, "threshold": {"f8[2]": [1.0, 1.0]}}', "fc.lif", "g: line 4: not a node ("),
    "a number too large": ("[0.125, 0.0]", "[1" + "0" * 400 + ", 0.0]", "g: line 3: not a node (int too large to convert to float)."),
    "nested deep": ("[0.125, 0.0]", "[" * 100_000, "g: line 3: not a node (maximum recursion depth exceeded"),
    "unknown dtype": ("f8[2]", "f4[2]", "g: line 3: not a node ('f4')."),
    "too few values": ("[0.125, 0.0]", "[0.125]", "g: line 3: not a node (cannot reshape"),
    "missing tensor": ('{"f8[2]": [0.125, 0.0]}', '"f8[2]@beef"', "g: line 3: not a node (tensor beef is missing)."),
    "text for number": ('"alpha": 0.5', '"alpha": "x"', "g: a value has the wrong type"),
    "no factor": ('"alpha": 0.5', '"alpha": null', "graph: lif fc.lif: alpha is missing."),
    "a huge divisor": ('"divisor": 4.0', '"divisor": 1' + "0" * 400, "graph: input input: divisor " + "1".ljust(77, "0") + "...; allowed"),
    "a field twice": ('"alpha": 0.5', '"alpha": 0.5, "alpha": 0.25', "g: line 4: not a node ('alpha' stands twice)."),
    "meaningless": ('"alpha": 0.5', '"alpha": 1.5', "graph: lif fc.lif: alpha 1.5 outside [0, 1]."),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TEXT)
def test_a_wrong_text_is_refused(case):
    before, after, message = BAD_TEXT[case]
    text, tensors = print_graph(tiny())
    assert before in text
    with pytest.raises(InputError) as caught:
        parse_graph(text.replace(before, after, 1), tensors, "g")
    assert str(caught.value).startswith(message)


def test_a_tensor_of_another_shape_is_refused():
    graph = graph_from_checkpoint(checkpoint_of(DENSE))
    text, tensors = print_graph(graph)
    digest = next(iter(tensors))
    with pytest.raises(InputError, match=f"tensor {digest} is not"):
        parse_graph(text, {**tensors, digest: np.zeros(3)})


CONV_NODE = Conv2d("fc", np.zeros((2, 2, 1, 1)), np.zeros(2))
Q8 = {"weight_bits": 8, "weight_q": np.zeros((2, 2), np.int8), "weight_scale": np.ones(2)}
INVALID = {
    "divisor": (0, {"divisor": 1.5}, "input input: divisor 1.5; allowed: 2 to 1e+12, or 1."),
    "clip": (0, {"c_clip": 128, "divisor": 200.0}, "input input: c_clip must be 1 to 127, time_bins at least 1."),
    "no time": (0, {"time_bins": 0}, "input input: c_clip must be 1 to 127, time_bins at least 1."),
    "nan weight": (1, {"weight": np.array([[0, np.nan], [0, 0]])}, "dense fc: a weight is not finite."),
    "bias length": (1, {"bias": np.zeros(3)}, "dense fc: bias must be finite [C]."),
    "inf bias": (1, {"bias": np.array([0, np.inf])}, "dense fc: bias must be finite [C]."),
    "sources": (1, {"weight": np.zeros((2, 3))}, "dense fc: weight (2, 3) for 2 sources."),
    "axes": (1, {"weight": np.zeros((2, 2, 1))}, "dense fc: weight has 3 axes, not 2."),
    "gain": (1, {"gain": 0.0}, "dense fc: gain 0.0 must be positive."),
    "threshold": (2, {"threshold": np.array([1.0, 0.0])}, "lif fc.lif: thresholds must be positive."),
    "thresholds": (2, {"threshold": np.ones(3)}, "lif fc.lif: threshold (3,) for 2 channels."),
    "test": (2, {"spike_test": "=="}, "lif fc.lif: spike test '=='."),
    "reset": (2, {"reset": "soft"}, "lif fc.lif: reset 'soft'."),
    "delay": (2, {"reset_delay": 2}, "lif fc.lif: reset delay 2."),
    "code range": (1, {**Q8, "weight_bits": 4, "weight_q": np.array([[8, 0], [0, 0]], np.int8)},
                   "dense fc: a weight code of 8 exceeds 7."),
    "code type": (1, {**Q8, "weight_q": np.zeros((2, 2), np.int16)},
                  "dense fc: weight_q is int16 [2, 2], not int8 [2, 2]."),
    "code bits": (1, {**Q8, "weight_bits": 9}, "dense fc: weight_bits is 9, not 2 to 8."),
    "no scale": (1, {**Q8, "weight_scale": None}, "dense fc: weight_scale must be positive [C] beside weight_q."),
    "multiplier": (1, {"multiplier": np.array([0, 1], np.int32)}, "dense fc: multiplier[0] is 0, outside 1 to 32767."),
    "shift": (1, {"shift": np.array([0, 47], np.int32)}, "dense fc: shift[1] is 47, outside 0 to 46."),
    "bias code": (1, {"bias_q": np.zeros(2)}, "dense fc: bias_q is float64 [2], not int32 [2]."),
    "theta code": (2, {"threshold_q": np.array([1, 0], np.int32)},
                   "lif fc.lif: threshold_q[1] is 0, outside 1 to 8388607."),
    "leak": (2, {"leak_multiplier": 17, "leak_shift": 4}, "lif fc.lif: leak 17 / 2^4 is no factor from 0 to 1."),
    "half a leak": (2, {"leak_multiplier": 1}, "lif fc.lif: leak_multiplier and leak_shift go together."),
    "name twice": (2, {"name": "fc"}, "dense fc: names must be unique and not empty."),
    "no name": (2, {"name": ""}, "lif : names must be unique and not empty."),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID)
def test_the_verifier_refuses(case):
    position, change, message = INVALID[case]
    nodes = list(tiny().nodes)
    nodes[position] = replace(nodes[position], **change)
    with pytest.raises(InputError) as caught:
        check_graph(Graph("tiny", tuple(nodes)))
    assert str(caught.value) == f"graph: {message}"


def test_the_verifier_holds_the_order():
    graph = tiny()
    first, dense, lif, readout = graph.nodes
    for nodes, message in (
        ((), "graph: empty: must begin with an input."),
        ((dense, lif, readout, first), "graph: dense fc: must begin with an input."),
        ((first, dense, lif, dense), "graph: dense fc: must end with a readout."),
        ((first, dense, dense, readout), "graph: dense fc: names must be unique and not empty."),
        ((first, lif, dense, readout), "graph: lif fc.lif: may not follow input input."),
        ((first, dense, SumPool("pool", 1), readout), "graph: sum_pool pool: may not follow dense fc."),
    ):
        with pytest.raises(InputError) as caught:
            check_graph(graph.replace(nodes))
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.zeros((2, 3, 1, 1))}, "weight (2, 3, 1, 1) for 2 input channels"),
        ({"weight": np.zeros((2, 2, 2, 2))}, "kernel (2, 2) is larger than its padded input"),
        ({"stride": (0, 1)}, "stride (0, 1) must be at least 1, padding (0, 0) at least 0"),
        ({"padding": (-1, 0)}, "stride (1, 1) must be at least 1, padding (-1, 0) at least 0"),
    ],
)
def test_the_verifier_holds_convolutions(change, message):
    nodes = list(tiny().nodes)
    nodes[1] = CONV_NODE
    check_graph(tiny().replace(tuple(nodes)))
    nodes[1] = replace(CONV_NODE, **change)
    with pytest.raises(InputError) as caught:
        check_graph(tiny().replace(tuple(nodes)))
    assert str(caught.value) == f"graph: conv2d fc: {message}."


def test_shapes_follow_stride_padding_and_pools():
    conv = graph_from_checkpoint(checkpoint_of(CONV))
    # 9 with padding 1, kernel 3, stride 2: (9 + 2 - 3) // 2 + 1 = 5; then kernel 3 without padding: 3.
    assert shapes(conv) == ((2, 9, 9), (4, 5, 5), (4, 5, 5), (5, 3, 3), (5, 3, 3), (3, 1, 1))
    pool = graph_from_checkpoint(checkpoint_of(POOL))
    assert shapes(pool)[3] == (3, 4, 4)
