"""from_module: live recurrent layers of SpikingJelly, Norse and sinabs, spike by spike, where they are installed."""

import numpy as np
import pytest
import torch
from torch import nn

from sastdeploy import CompileError, Framing, compile, from_module, simulate
from sastdeploy.compiler.ir.interpreter import interpret
from tests.neuron_checks import profile

EXAMPLE = torch.zeros(1, 6)
FRAMING = Framing(time_bins=8)


def weights(*shape, seed=0, size=0.8):
    return torch.from_numpy(np.random.default_rng(seed).normal(0.1, size, shape).astype(np.float32))


def linear(inputs, outputs, seed=1, bias=False):
    layer = nn.Linear(inputs, outputs, bias=bias)
    layer.weight.data = weights(outputs, inputs, seed=seed)
    return layer


def recurrent_nodes(network):
    return [node for node in network.graph.nodes if node.kind == "recurrent"]


def heard(network):
    """Return how many spikes of random counts change where the layer no longer hears itself."""
    from dataclasses import replace

    counts = np.random.default_rng(3).integers(0, 3, (4, 8, *network.graph.input.shape)).astype(np.uint8)
    (node,) = recurrent_nodes(network)
    deaf = [
        replace(each, recurrent=0 * each.recurrent) if each is node else each for each in network.graph.nodes
    ]
    pairs = zip(
        interpret(network.graph, counts).spikes, interpret(network.graph.replace(tuple(deaf)), counts).spikes
    )
    return sum(int((a != b).sum()) for a, b in pairs)


@pytest.fixture
def jelly():
    return pytest.importorskip("spikingjelly.activation_based", reason="SpikingJelly is not installed")


@pytest.mark.parametrize("bias", [False, True])
def test_spikingjellys_linear_container(jelly, bias):
    from spikingjelly.activation_based import layer, neuron

    inner = neuron.LIFNode(tau=2.0, v_reset=None)
    container = layer.LinearRecurrentContainer(inner, 5, 5, bias=bias)
    container.rc.weight.data = weights(5, 10, seed=2)
    network = from_module(
        nn.Sequential(linear(6, 5), container, linear(5, 3, 4), neuron.IFNode()), EXAMPLE, framing=FRAMING
    )
    (node,) = recurrent_nodes(network)
    # Two linear maps without neurons between are one; half of the input arrives (decay_input).
    assert node.recurrent == pytest.approx(container.rc.weight.data[:, 5:].numpy() / 2)
    assert network.provenance["checked"]["spikes"] > 30 and heard(network) > 0


def test_spikingjellys_container_of_sums(jelly):
    from spikingjelly.activation_based import layer, neuron

    inner = neuron.IFNode(v_reset=0.0)
    container = layer.ElementWiseRecurrentContainer(inner, lambda y, x: x + y)
    network = from_module(nn.Sequential(linear(6, 5), container), EXAMPLE, framing=FRAMING)
    assert (recurrent_nodes(network)[0].recurrent == np.eye(5)).all() and heard(network) > 0
    container.element_wise_function = lambda y, x: x - y
    with pytest.raises(CompileError, match="1: joins its input and its output otherwise than by their sum"):
        from_module(nn.Sequential(linear(6, 5), container), EXAMPLE, framing=FRAMING)
    container = layer.ElementWiseRecurrentContainer(nn.Sequential(inner), lambda y, x: x + y)
    with pytest.raises(CompileError, match="1: around a Sequential; engines compute it around one"):
        from_module(nn.Sequential(linear(6, 5), container), EXAMPLE, framing=FRAMING)


def test_norses_recurrent_cell():
    norse = pytest.importorskip("norse.torch", reason="Norse is not installed")
    torch.manual_seed(0)
    threshold = torch.as_tensor(0.3)
    cell = norse.LIFRecurrentCell(
        6,
        5,
        norse.LIFParameters(v_th=threshold),
        input_weights=weights(5, 6),
        recurrent_weights=weights(5, 5, seed=5),
    )
    network = from_module(
        norse.SequentialState(
            cell, linear(5, 3, 4), norse.LIFBoxCell(norse.LIFBoxParameters(v_th=threshold))
        ),
        EXAMPLE,
        framing=FRAMING,
    )
    (node,) = recurrent_nodes(network)
    assert (np.diag(node.recurrent) == 0).all()
    assert network.provenance["checked"]["spikes"] > 30 and heard(network) > 0


def test_a_program_of_one_runs(jelly):
    from spikingjelly.activation_based import layer, neuron

    container = layer.LinearRecurrentContainer(neuron.LIFNode(tau=2.0, v_reset=None), 5, 5)
    container.rc.weight.data = weights(5, 10, seed=2)
    network = from_module(nn.Sequential(linear(6, 5), container), EXAMPLE, framing=FRAMING)
    program = compile(network, "cortex_m", neuron="profile").program
    counts = (
        np.random.default_rng(0).integers(0, 3, (3, 8, *program.preprocessing.frame_shape)).astype(np.uint8)
    )
    results = [simulate(program, counts, engine=engine) for engine in ("numba", "reference")]
    assert (results[0].scores == results[1].scores).all() and results[0].scores.any()


@pytest.fixture
def sinabs():
    return pytest.importorskip("sinabs.layers", reason="sinabs is not installed")


def one_linear(bias=False, seed=2):
    return linear(5, 5, seed, bias)


def state_of(net):
    """Return every value of a module and its layers, tensors as bytes with their kind and place, and what else they hold."""
    held = {}
    for where, module in net.named_modules():
        for name, value in vars(module).items():
            values = value if isinstance(value, dict) else {"": value}
            for key, each in values.items():
                plain = not isinstance(each, torch.Tensor)
                held[where, name, key] = (
                    repr(each) if plain else (each.dtype, each.data_ptr(), each.detach().numpy().tobytes(), each.requires_grad, id(each))
                )  # fmt: skip
    return held


@pytest.mark.parametrize("kind, changes, alpha", [
    ("LIFRecurrent", {"tau_mem": 5.0}, np.exp(-1 / 5.0)),
    ("LIFRecurrent", {"tau_mem": 5.0, "tau_syn": 3.0, "norm_input": False}, np.exp(-1 / 5.0)),
    ("LIFRecurrent", {"tau_mem": torch.linspace(2, 9, 5), "tau_syn": 3.0, "train_alphas": True}, None),
    ("IAFRecurrent", {"tau_syn": 4.0}, 1.0),
    ("IAFRecurrent", {}, 1.0),
])  # fmt: skip
@pytest.mark.parametrize("spike_fn", ["SingleSpike", "MultiSpike"])
def test_sinabs_recurrent_layers_spike_by_spike(sinabs, kind, changes, alpha, spike_fn):
    """The graph's recurrent weights are the layer's own times its input gain; what a step sends arrives in the next."""
    from sinabs import activation

    layer = getattr(sinabs, kind)(
        rec_connect=one_linear(), spike_threshold=torch.tensor(0.4), spike_fn=getattr(activation, spike_fn), record_states=True,
        **changes,
    )  # fmt: skip
    layer.rec_connect.weight.data *= 0.5
    net = nn.Sequential(linear(6, 5), layer, linear(5, 3, 4), sinabs.LIF(tau_mem=4.0))
    network = from_module(net, EXAMPLE, framing=FRAMING)
    (node,), neurons = recurrent_nodes(network), network.graph.nodes[2]
    assert alpha is None or neurons.alpha == pytest.approx(alpha)
    gain = (1 - neurons.alpha if layer.norm_input else 1) * (
        neurons.current_alpha if "tau_syn" in changes else 1
    )
    wanted = layer.rec_connect.weight.detach().numpy() * np.broadcast_to(gain, 5).reshape(5, 1)
    assert node.recurrent == pytest.approx(wanted) and neurons.spike_test == ">=" and neurons.reset_delay == 0
    checked = network.provenance["checked"]
    assert checked["spikes"] > 60 and checked["differences"] == 0 and heard(network) > 0


@pytest.mark.parametrize("kind, changes", [
    ("LIFRecurrent", {"tau_mem": torch.linspace(2, 9, 5)}), ("LIFRecurrent", {"tau_mem": 5.0, "tau_syn": 3.0}), ("IAFRecurrent", {}),
])  # fmt: skip
def test_a_bias_of_sinabs_rec_connect_begins_in_the_second_step(sinabs, kind, changes):
    """The graph adds it in every step, from a start that takes it out of the first."""
    connect = one_linear(bias=True)
    connect.weight.data *= 0.5
    connect.bias.data = torch.tensor([0.9, -0.7, 0.0, 0.4, -2.0])
    layer = getattr(sinabs, kind)(rec_connect=connect, spike_threshold=torch.tensor(0.4), **changes)
    network = from_module(nn.Sequential(linear(6, 5), layer), EXAMPLE, framing=FRAMING)
    neurons, nothing = network.graph.nodes[2], np.zeros((1, 8, 1, 1, 6), int)
    outputs = interpret(network.graph, nothing)
    assert neurons.start is None if "tau_syn" in changes else neurons.current_start is None
    assert outputs.membranes[0][0, 0] == pytest.approx(0) and np.abs(outputs.membranes[0][0, 1]).max() > 0.1
    assert network.provenance["checked"]["spikes"] > 30 and heard(network) > 0
    chip = profile(reset_delay=0, starts=True, recurrent=True, leak_per_channel=True, spikes_per_step=127)
    assert compile(network, chip).program.layers[0].lif.starts()


def test_sinabs_recurrent_layer_that_forgets_at_once_has_no_such_start(sinabs):
    layer = sinabs.LIFRecurrent(tau_mem=1e-3, rec_connect=one_linear(bias=True))
    with pytest.raises(CompileError, match="1: start is not finite"):
        from_module(nn.Sequential(linear(6, 5), layer), EXAMPLE, framing=FRAMING)


def test_sinabs_recurrent_layer_of_several_modules(sinabs):
    connect = nn.Sequential(nn.Flatten(), one_linear(), nn.Unflatten(1, (5,)))
    layer = sinabs.LIFRecurrent(tau_mem=5.0, rec_connect=connect, spike_threshold=torch.tensor(0.2))
    network = from_module(nn.Sequential(linear(6, 5), layer), EXAMPLE, framing=FRAMING)
    assert network.provenance["checked"]["spikes"] > 30 and heard(network) > 0


def test_what_no_engine_computes_of_sinabs_recurrent_layers_is_refused_by_name(sinabs):
    from sinabs.activation import MembraneReset

    def layer(connect, kind="LIFRecurrent", **changes):
        return getattr(sinabs, kind)(tau_mem=5.0, rec_connect=connect, **changes)

    net = nn.Sequential(
        layer(nn.Conv1d(5, 5, 1)), layer(nn.Sequential(nn.Flatten(), one_linear(), nn.ReLU())),
        layer(nn.Flatten(), min_v_mem=1.0, reset_fn=MembraneReset(0.5)), sinabs.ALIFRecurrent(5.0, 5.0, one_linear()),
    )  # fmt: skip
    with pytest.raises(CompileError) as error:
        from_module(net, EXAMPLE)
    assert str(error.value).splitlines() == [
        "0: a rec_connect of Conv1d; engines compute one Linear there.",
        "1: a rec_connect of Linear, ReLU; engines compute one Linear there.",
        "2: MembraneReset(0.5), which sinabs adds in every step, spike or not; engines reset to 0.",
        "min_v_mem 1; engines compute floors of at most 0.",
        "a rec_connect of nothing; engines compute one Linear there.",
        "3: a module sinabs.ALIFRecurrent, which is not read. Networks of other frameworks come in as NIR files.",
    ]
    one_hears_maps = nn.Sequential(sinabs.Repeat(nn.Conv1d(5, 5, 1)), layer(one_linear()))
    with pytest.raises(CompileError, match="recurrent behind the convolution 0; engines compute recurrent"):
        from_module(one_hears_maps, torch.zeros(1, 5, 5))


def trained_a_step(sinabs):
    """Return a network whose states still hang on the graph of a training step."""
    layer = sinabs.LIFRecurrent(
        tau_mem=5.0, rec_connect=one_linear(), spike_threshold=torch.tensor(0.2), record_states=True
    )
    net = nn.Sequential(linear(6, 5), layer, linear(5, 3, 4), sinabs.LIF(tau_mem=4.0))
    net(torch.rand(2, 7, 6)).sum().backward()
    assert not layer.v_mem.is_leaf
    return net.train()


def test_the_module_stays_as_it_is(sinabs):
    net = trained_a_step(sinabs)
    before = state_of(net)
    network = from_module(net, EXAMPLE, framing=FRAMING)
    assert network.provenance["checked"]["spikes"] > 30 and heard(network) > 0
    assert state_of(net) == before


@pytest.mark.parametrize("shape", [(1, 6), (1, 7)])
def test_the_module_stays_as_it_is_where_it_is_refused(sinabs, monkeypatch, shape):
    """Spikes that differ, and values that the module does not take: both found while its copy runs, or before."""
    from sastdeploy import InputError
    from sastdeploy.exchange import sinabs_neurons

    net = trained_a_step(sinabs)
    before = state_of(net)
    monkeypatch.setattr(sinabs_neurons, "_decay", lambda *_: np.full(1, 0.5))
    with pytest.raises((InputError, CompileError)):
        from_module(net, torch.zeros(shape), framing=FRAMING)
    assert state_of(net) == before


def test_a_network_fresh_from_training_is_taken():
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    leaky = snn.RLeaky(beta=0.9, threshold=0.4, init_hidden=True, linear_features=5)
    net = nn.Sequential(linear(6, 5), leaky)
    net(torch.rand(2, 6)).sum().backward()
    before = state_of(net)
    assert from_module(net, EXAMPLE, framing=FRAMING).provenance["checked"]["spikes"] > 30
    assert state_of(net) == before
