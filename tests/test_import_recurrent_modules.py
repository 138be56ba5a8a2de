"""from_module: live recurrent layers of SpikingJelly, Norse and sinabs, spike by spike, where they are installed."""

import numpy as np
import pytest
import torch
from torch import nn

from sastdeploy import CompileError, Framing, compile, from_module, simulate
from sastdeploy.compiler.ir.interpreter import interpret

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
