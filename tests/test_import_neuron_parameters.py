"""Numbers that differ between the neurons of a channel: from files and frameworks, through graph and passes, to programs and back."""

import json

import numpy as np
import pytest
import torch
from nir_files import f32, lif, write
from torch import nn

from sastdeploy import (
    CompileError,
    Framing,
    ImportedNetwork,
    Preprocessing,
    compile,
    export_nir,
    from_module,
    from_nir,
)
from sastdeploy.cli.network_tables import network_record, print_network
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Conv2d, Counts, Input, Lif
from sastdeploy.exchange.chain import graph_of
from sastdeploy.exchange.parts import Branch, Convolution, Delaying, Integrators, Neurons, Pooling, Scale
from sastdeploy.program.file import format_version
from tests.neuron_checks import assert_graph_and_program_agree, assert_neurons_refused, profile

RNG = np.random.default_rng(5)
FOR_EACH = {"per_neuron": True, "leak_per_channel": True}


def quarters(low, high):
    return RNG.integers(4 * low, 4 * high + 1, (2, 2, 4)) / 4


def network(**changes):
    """Return a convolution of 64ths with two channels of 2 x 4 neurons, every one with numbers of its own, in quarters."""
    neurons = {
        "alpha": quarters(0, 1),
        "threshold": quarters(1, 3),
        "current_alpha": quarters(0, 1),
        **changes,
    }
    bias = neurons.pop("bias", quarters(-1, 1))
    nodes = [
        Input("input", (1, 2, 4), 4, 3, 1.0),
        Conv2d("a", RNG.integers(-30, 100, (2, 1, 3, 3)) / 64, bias, padding=(1, 1)),
        Lif("a.lif", **neurons),
    ]
    graph = Graph("own", (*nodes, Counts("readout", np.eye(16), np.zeros(16))))
    return ImportedNetwork(graph, Preprocessing((4, 2, 1), (4, 2), 4, 3, 3.0), tuple(map(str, range(16))))


@pytest.mark.parametrize("changes", [
    {}, {"current_alpha": None}, {"current_alpha": 0.5, "alpha": np.array([0.25, 0.5])}, {"bias": np.zeros(2), "max_spikes": 3},
])  # fmt: skip
def test_a_graph_means_what_its_program_computes(changes):
    own = network(**changes)
    program = compile(own, profile(**FOR_EACH, spikes_per_step=3)).program
    assert program.layers[0].lif.threshold.shape == (2, 2, 4) and format_version(program) == 7
    assert_graph_and_program_agree(own, program, names=("a",), steps=4, spikes=50)


def test_numbers_that_round_to_one_in_each_channel_are_one():
    near = np.broadcast_to(np.array([0.5, 0.75]).reshape(2, 1, 1), (2, 2, 4)) + RNG.random((2, 2, 4)) / 1e4
    own = network(alpha=near, threshold=near, bias=near, current_alpha=None)
    program = compile(
        own, profile(**FOR_EACH, leak_shift=8, membrane=profile().membrane.parse("Q8.8")), neuron="profile"
    ).program
    assert program.layers[0].lif.threshold.tolist() == program.layers[0].lif.bias.tolist() == [128, 192]
    assert program.layers[0].lif.leak_multiplier.tolist() == [128, 192] and format_version(program) == 4


def test_hardware_with_one_number_a_channel_is_refused():
    more = "cortex_m and spinnaker2 do; or state it in a profile of your own."
    with pytest.raises(CompileError) as error:
        compile(network(current_alpha=None), "loihi_int8", neuron="profile")
    assert error.value.reasons[0].startswith(
        f"a.lif: thresholds, decays and biases that differ within a channel; loihi_int8 states one of each per channel (neuron.per_neuron). {more}"
    )
    for chip in ("cortex_m", "spinnaker2"):
        assert compile(network(), chip).program.layers[0].lif.bias.shape == (2, 2, 4)


def test_messages_name_the_neuron():
    thresholds = np.ones((2, 2, 4))
    thresholds[1, 0, 2] = 1e-9
    with pytest.raises(CompileError, match=r"a\.lif, neuron 10: threshold 1e-09 rounds to 0"):
        compile(network(threshold=thresholds), profile(**FOR_EACH))
    alphas = np.full((2, 2, 4), 0.5)
    alphas[1, 1, 3] = 0.3
    warnings = compile(network(alpha=alphas), profile(**FOR_EACH, leak_shift=2)).report.warnings
    assert any(
        warning.startswith("a.lif, neuron 15: alpha 0.3 becomes 1/2^2 = 0.25;") for warning in warnings
    )


@pytest.mark.parametrize(("field", "value", "words"), [
    ("alpha", np.full((2, 2, 4), 0.5), "alpha is one number in each channel, not [C]"),
    ("alpha", np.full((2, 4, 2), 0.5), "alpha is float64 [2, 4, 2], not float64 [2] or [2, 2, 4]"),
    ("alpha", np.linspace(0.5, 1.5, 16).reshape(2, 2, 4), "alpha 1.0333333333333332 outside [0, 1]"),
    ("threshold", np.ones((2, 2, 4)), "threshold is one number in each channel, not [C]"),
    ("threshold", np.ones((2, 4, 2)), "threshold (2, 4, 2) for 2 channels"),
    ("threshold", np.linspace(0.0, 1.0, 16).reshape(2, 2, 4), "thresholds must be positive"),
    ("threshold_q", np.arange(16, dtype=np.int32).reshape(2, 2, 4), "threshold_q[0] is 0, outside 1 to 8388607"),
])  # fmt: skip
def test_graphs_with_numbers_that_mean_nothing_are_refused(field, value, words):
    assert_neurons_refused(network(), field, value, f"graph: lif a.lif: {words}.")


def test_tables_and_json_say_the_ends_and_all_numbers(capsys):
    own = network(alpha=np.linspace(0.25, 0.75, 16).reshape(2, 2, 4))
    print_network(own, "n")
    assert "0.25 to 0.75" in capsys.readouterr().out
    assert json.loads(json.dumps(network_record(own)))["nodes"][2]["alpha"][1][1][3] == 0.75


def stepped(part, x, weight, bias):
    """Return the spikes ``[T, 1, 2, 4]`` of neurons as they are written, step by step, for inputs ``[T, 1, 2, 4]`` times a weight."""
    u = i = s = np.zeros((1, 2, 4))
    spikes = []
    for step in x:
        driven = part.gain * (weight * step + bias)
        i = driven if part.current_alpha is None else part.current_alpha * i + driven
        kept = part.alpha * u
        if part.reset_delay and part.reset == "zero":
            kept = np.where(s > 0, 0, kept)
        u = (
            kept
            + i
            + part.offset
            - (part.threshold * s if part.reset_delay and part.reset == "subtract" else 0)
        )
        s = np.clip(np.floor(u / part.threshold), 0, part.max_spikes)
        if not part.reset_delay:
            u = np.where(s > 0, 0, u) if part.reset == "zero" else u - part.threshold * s
        spikes.append(s)
    return np.array(spikes)


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("most", [1, 5])
@pytest.mark.parametrize("current", [None, 0.5])
def test_a_gain_of_each_neuron_is_the_unit_of_its_membrane(delay, reset, most, current):
    """Gains are powers of two, so that both ways to compute are exact; with a current the offset is none."""
    rng = np.random.default_rng(3)

    def each(*values):
        return rng.choice(values, (1, 2, 4))

    offset = each(0, 0.125, -0.25) if current is None else np.zeros(1)
    kept = None if current is None else each(0.25, current)
    part = Neurons(
        "n", each(0.5, 0.75), each(0.25, 0.5, 1.0), offset, each(1.0, 1.5, 2.0), ">=", reset, delay, current_alpha=kept, max_spikes=most
    )  # fmt: skip
    weights = Convolution("w", np.full((1, 1, 1, 1), 1.5), np.array([0.25]), (1, 1), (0, 0), (1, 1), 1)
    graph = graph_of("n", Input("input", (1, 2, 4), 12, 3, 1.0), [weights, part])
    assert graph.nodes[1].weight.tolist() == [[[[1.5]]]] and graph.nodes[2].threshold.shape == (1, 2, 4)
    x = rng.integers(0, 4, (12, 1, 2, 4))
    spikes = interpret(graph, x[None]).spikes[0][0]
    assert np.array_equal(spikes, stepped(part, x, 1.5, 0.25)) and spikes.sum() > 20
    assert spikes.max() > 1 or most == 1


def one_weight(weight=1.5, bias=0.25):
    return Convolution("w", np.full((1, 1, 1, 1), weight), np.array([bias]), (1, 1), (0, 0), (1, 1), 1)


FACTOR = np.array([[[0.5, 1, 2, 4], [1, 0.25, 2, 1]]])


@pytest.mark.parametrize(("before", "bias", "nodes"), [
    ([one_weight(), Scale("s", FACTOR)], 0.25, ["conv2d"]),
    ([one_weight(0.75, 0.125), Scale("s", 2 * FACTOR)], 0.25, ["conv2d"]),
    ([one_weight(0.75), Scale("r", np.array([2.0])), Scale("s", FACTOR / 2), Scale("t", np.full((1, 2, 4), 2.0))], 0.5, ["conv2d"]),
    ([one_weight(bias=0.0), Scale("s", FACTOR), Delaying("d", np.ones(1))], 0.0, ["delay", "conv2d"]),
    ([Scale("s", 1.5 * FACTOR)], 0.0, ["conv2d"]),
    ([Scale("r", FACTOR), Scale("s", np.full((1, 2, 4), 1.5))], 0.0, ["conv2d"]),
])  # fmt: skip
@pytest.mark.parametrize("gain", [np.array([0.5]), np.array([[[1, 2, 0.5, 1], [1, 1, 4, 1.0]]])])
def test_a_factor_of_each_neuron_is_its_gain(before, bias, nodes, gain):
    """Behind the weights of a map, or before neurons without weights: the spikes of neurons that take the factor, step by step."""
    offset, start = np.array([[[0.25, 0, -0.25, 0], [0, 0, 0.125, 0]]]), np.array([[[0.5, 0, 0, -1], [0, 1, 0, 0.0]]])  # fmt: skip
    part = Neurons("n", np.array([0.5]), gain, offset, np.array([1.5]), ">=", "zero", 0, start=start)
    graph = graph_of("n", Input("input", (1, 2, 4), 12, 3, 1.0), [*before, part])
    assert [node.kind for node in graph.nodes[1:-2]] == nodes and graph.nodes[-2].threshold.shape == (1, 2, 4)
    x = np.random.default_rng(6).integers(0, 4, (12, 1, 2, 4))
    spikes = interpret(graph, x[None]).spikes[0][0]
    late = int("delay" in nodes)
    came = np.concatenate([0 * x[:late], x[: len(x) - late]])
    u, wanted = start, []
    for step in came:
        u = 0.5 * u + gain * FACTOR * (1.5 * step + bias) + offset
        wanted.append(u >= 1.5)
        u = np.where(wanted[-1], 0, u)
    assert np.array_equal(spikes, wanted) and 10 < spikes.sum() < spikes.size


def test_a_factor_of_each_pooled_value_before_neurons_without_weights():
    first = Neurons("m", np.zeros(1), np.ones(1), np.zeros(1), np.ones(1), ">=", "none", 0)
    pool = Pooling("p", (1, 2), (1, 2), (0, 0), False)
    second = Neurons("n", np.zeros(1), np.ones(1), np.zeros(1), np.full(1, 2.0), ">=", "none", 0)
    factor = np.array([[[1.0, 2.0], [0.5, 4.0]]])
    graph = graph_of("n", Input("input", (1, 2, 4), 4, 3, 1.0), [first, pool, Scale("s", factor), second])
    x = np.random.default_rng(6).integers(0, 2, (4, 1, 2, 4))
    spikes = interpret(graph, x[None]).spikes[1][0]
    assert np.array_equal(spikes, factor * x.reshape(4, 1, 2, 2, 2).sum(-1) >= 2) and spikes.any()


@pytest.mark.parametrize(("parts", "words"), [
    ([one_weight(), Scale("s", -FACTOR)],
     "s: factor differs within a channel and is -4 somewhere; engines measure membranes in units of it, so it must be positive."),
    ([Scale("s", FACTOR - 0.25)],
     "n: the factor before it differs within a channel and is 0 somewhere; engines measure membranes in units of it, so it must be positive."),
    ([Scale("s", FACTOR), one_weight()], "w: the factor before it differs within channel 0; engines compute one per channel."),
    ([one_weight(), Scale("s", FACTOR * np.inf)], "s: factor is not finite."),
    ([one_weight(), Scale("s", FACTOR * 1e200), Scale("t", FACTOR * 1e200)], "n: an input gain that is not finite with the factors before it."),
])  # fmt: skip
def test_factors_within_a_channel_that_no_gain_can_be_are_refused(parts, words):
    neurons = Neurons("n", np.ones(1), np.ones(1), np.zeros(1), np.ones(1), ">", "zero", 0)
    with pytest.raises(CompileError) as error:
        graph_of("n", Input("input", (1, 2, 4), 4, 3, 1.0), [*parts, neurons])
    assert list(error.value.reasons) == [words]


@pytest.mark.parametrize(("own", "other"), [((Scale("s", FACTOR),), ()), ((), (Scale("s", FACTOR),))])
def test_a_factor_within_a_channel_of_one_of_several_inputs_is_refused(own, other):
    branch = Branch(None, (one_weight(), *other))
    neurons = Neurons(
        "n", np.ones(1), np.ones(1), np.zeros(1), np.ones(1), ">", "zero", 0, branches=(branch,)
    )
    with pytest.raises(CompileError) as error:
        graph_of("n", Input("input", (1, 2, 4), 4, 3, 1.0), [one_weight(), *own, neurons])
    assert list(error.value.reasons) == [
        "n: sums currents of which some have a factor that differs within a channel; engines have one gain for all that a neuron hears."
    ]


@pytest.mark.parametrize(("part", "words"), [
    (Neurons("n", np.ones(1), np.array([[[1.0, -0.5]]]), np.zeros(1), np.ones(1), ">", "zero", 0),
     "n: an input gain that differs within channel 0 and is -0.5 somewhere; engines measure such membranes in units of it, so it must be positive."),
    (Integrators("n", np.ones(1), np.array([[[1.0, 0.5]]]), np.zeros(1)),
     "n: an input gain that differs within channel 0, of membranes that are read; engines share weights within a channel. "
     "Use one gain per channel."),
    (Neurons("n", np.ones(1), np.array([[[1.0, 0.0]]]), np.zeros(1), np.ones(1), ">", "zero", 0),
     "n: an input gain of 0, so that nothing reaches its neurons."),
    (Neurons("n", np.ones(1), np.array([[[1e290, 1e-30]]]), np.zeros(1), np.ones(1), ">", "zero", 0),
     "n: an input gain that differs within channel 0 by more than any float holds."),
])  # fmt: skip
def test_gains_within_a_channel_that_no_unit_can_be_are_refused(part, words):
    with pytest.raises(CompileError) as error:
        graph_of("n", Input("input", (1, 1, 2), 4, 3, 1.0), [part])
    assert list(error.value.reasons) == [words]


def test_a_file_with_numbers_for_each_neuron(tmp_path):
    """NIR's dt is 1e-4: decays 1/2 and 3/4, gains 1/2 and 1/4, offsets 0 and 1/4; the second membrane is measured in half of its unit."""
    nodes = {
        "i": {"type": "Input", "shape": np.array([1, 1, 2])},
        "w": {"type": "Conv2d", "weight": np.full((1, 1, 1, 1), 8, np.float32), "bias": f32(0)},
        "n": lif(tau=np.array([[[2e-4, 4e-4]]]), v_threshold=np.array([[[7.5, 4.5]]]), v_leak=np.array([[[0, 1.0]]])),
        "o": {"type": "Output", "shape": np.array([1, 1, 2])},
    }  # fmt: skip
    own = from_nir(
        write(tmp_path / "n.nir", nodes), dialect="nir", framing=Framing(time_bins=4, clip=1, divisor=1.0)
    )
    _, weights, neurons, _ = own.graph.nodes
    assert weights.weight.item() == 4 and weights.bias.tolist() == [[[0, 0.5]]]
    assert neurons.alpha.tolist() == [[[0.5, 0.75]]] and neurons.threshold.tolist() == [[[7.5, 9]]]
    outputs = interpret(own.graph, np.ones((1, 4, 1, 1, 2), int))
    # 4, 6, 7, 7.5 is not above; 2.25, 3.9375, 5.203125 * and zero, 2.25.
    assert outputs.membranes[0].reshape(4, 2).T.tolist() == [[4, 6, 7, 7.5], [4.5, 7.875, 0, 4.5]]


def test_a_program_comes_back_from_nir_whole(tmp_path):
    own = network(current_alpha=None, alpha=np.clip(quarters(0, 1), 0.25, 0.75))
    program = compile(own, profile(**FOR_EACH)).program
    exported = export_nir(program, tmp_path / "p.nir")
    assert exported.spikes > 50 and exported.differing == 0
    read = from_nir(exported.path, framing=Framing(time_bins=4, clip=3, classes=program.classes))
    again = compile(read, profile(**FOR_EACH)).program.layers[0].lif
    for name, values in program.layers[0].lif.per_neuron().items():
        assert np.array_equal(getattr(again, name), values), name
    assert program.layers[0].lif.per_neuron().keys() == {"threshold", "bias", "leak_multiplier"}


def test_snntorchs_beta_and_threshold_for_each_neuron_spike_as_its_own():
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    torch.manual_seed(0)
    beta, threshold = (
        torch.linspace(0.2, 0.9, 72).reshape(2, 6, 6),
        torch.linspace(0.3, 1.0, 72).flip(0).reshape(2, 6, 6),
    )
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), snn.Leaky(beta=beta, threshold=threshold, init_hidden=True), nn.Conv2d(2, 3, 3),
        snn.Synaptic(alpha=torch.rand(3, 4, 4), beta=torch.rand(3, 4, 4), threshold=0.3, init_hidden=True),
    )  # fmt: skip
    own = from_module(net, torch.zeros(1, 1, 8, 8))
    assert own.graph.nodes[2].alpha.shape == own.graph.nodes[2].threshold.shape == (2, 6, 6)
    assert own.graph.nodes[4].current_alpha.shape == (3, 4, 4) and own.graph.nodes[4].threshold.shape == (3,)
    assert own.provenance["checked"]["spikes"] > 500 and own.provenance["checked"]["differences"] == 0
    program = compile(own, "cortex_m", neuron="profile").program
    assert [set(layer.lif.per_neuron()) for layer in program.layers] == [
        {"threshold", "leak_multiplier"}, {"leak_multiplier", "current_multiplier"}
    ]  # fmt: skip


def test_norses_time_constants_for_each_neuron_spike_as_its_own():
    norse = pytest.importorskip("norse.torch", reason="Norse is not installed")
    torch.manual_seed(0)
    rates, levels = (
        torch.linspace(200, 800, 72).reshape(2, 6, 6),
        torch.linspace(0.2, 0.6, 72).reshape(2, 6, 6),
    )
    parameters = norse.LIFBoxParameters(tau_mem_inv=rates, v_th=levels)
    net = norse.SequentialState(nn.Conv2d(1, 2, 3), norse.LIFBoxCell(parameters))
    net[0].weight.data.abs_()
    own = from_module(net, torch.zeros(1, 1, 8, 8))
    assert own.graph.nodes[2].alpha.shape == own.graph.nodes[2].threshold.shape == (2, 6, 6)
    assert own.provenance["checked"]["spikes"] > 200 and own.provenance["checked"]["differences"] == 0


@pytest.mark.parametrize("norm_input", [True, False])
def test_sinabs_time_constants_for_each_neuron_spike_as_its_own(norm_input):
    """Several spikes in a step, which take a threshold each; with ``norm_input`` the gains differ too."""
    layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed")
    torch.manual_seed(0)
    times = torch.linspace(2, 20, 72).reshape(2, 6, 6)
    neurons = layers.LIF(tau_mem=times, spike_threshold=torch.tensor(0.2), norm_input=norm_input)
    net = nn.Sequential(layers.Repeat(nn.Conv2d(1, 2, 3)), neurons)
    for weight in net.parameters():
        weight.data.abs_()
    own = from_module(net, torch.zeros(1, 1, 8, 8))
    assert own.graph.nodes[2].alpha.shape == (2, 6, 6)
    assert own.graph.nodes[2].threshold.shape == ((2, 6, 6) if norm_input else (2,))
    assert own.provenance["checked"]["spikes"] > 500 and own.provenance["checked"]["differences"] == 0
