"""from_module: live networks of the frameworks, where they are installed, and plain layers."""

import numpy as np
import pytest
import torch
from torch import nn

from sastdeploy import CompileError, InputError
from sastdeploy.exchange import torch_modules
from sastdeploy.exchange.agreement import require_agreement


def body(first, second):
    torch.manual_seed(3)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 2.0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, groups=2), norm, first),
        nn.AvgPool2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 5), second,
    )  # fmt: skip


EXAMPLE = torch.zeros(1, 2, 8, 8)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_snntorch_spike_by_spike(reset):
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    kinds = [
        snn.Leaky(beta=0.9, threshold=0.7, init_hidden=True, reset_mechanism=reset),
        snn.Leaky(beta=0.8, threshold=torch.linspace(0.1, 0.5, 5), init_hidden=True, reset_mechanism=reset),
    ]
    network = torch_modules.from_module(body(*kinds), EXAMPLE)
    lifs = [node for node in network.graph.nodes if node.kind == "lif"]
    assert [(node.alpha, node.spike_test, node.reset, node.reset_delay) for node in lifs] == [
        (0.9, ">", reset, 1),
        (0.8, ">", reset, 1),
    ]
    assert network.provenance["checked"]["spikes"] > 100


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_snntorchs_synaptic_spike_by_spike(reset):
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    kinds = [
        snn.Synaptic(alpha=a, beta=0.8, threshold=2.0, init_hidden=True, reset_mechanism=reset) for a in (0.7, 0.4)
    ]  # fmt: skip
    network = torch_modules.from_module(body(*kinds), EXAMPLE)
    lifs = [node for node in network.graph.nodes if node.kind == "lif"]
    assert [(node.alpha, node.current_alpha) for node in lifs] == [(0.8, 0.7), (0.8, 0.4)]
    assert network.provenance["checked"]["spikes"] > 100


@pytest.mark.parametrize("v_reset", [None, 0.0])
def test_spikingjellys_cuba_neuron_spike_by_spike(v_reset):
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed")
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    kinds = [
        neuron.CUBALIFNode(c_decay=0.6, v_decay=decay, v_threshold=0.5, v_reset=v_reset)
        for decay in (0.75, 0.5)
    ]
    network = torch_modules.from_module(body(*kinds), EXAMPLE)
    assert network.provenance["checked"]["spikes"] > 100


@pytest.mark.parametrize(("mechanism", "delay"), [("zero", 0), ("none", 0), ("zero", 1)])
def test_snntorchs_reset_at_once_spike_by_spike(mechanism, delay):
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    common = {"init_hidden": True, "reset_mechanism": mechanism, "reset_delay": bool(delay), "threshold": 0.4}
    kinds = [snn.Leaky(beta=0.9, **common), snn.Synaptic(alpha=0.6, beta=0.8, **common)]
    network = torch_modules.from_module(body(*kinds), EXAMPLE)
    assert network.provenance["checked"]["spikes"] > 100
    neurons = [node for node in network.graph.nodes if node.kind == "lif"]
    assert [node.reset_delay for node in neurons] == [delay, delay]
    recurrent = snn.RLeaky(beta=0.9, linear_features=6, **common)
    net = nn.Sequential(nn.Linear(5, 6), recurrent)
    net[0].weight.data *= 3
    assert torch_modules.from_module(net, torch.zeros(1, 5)).provenance["checked"]["spikes"] > 20


def test_snntorchs_subtraction_at_once_is_refused():
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    net = nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True, reset_delay=False))
    with pytest.raises(
        CompileError, match="1: reset_delay=False subtracts once more, a step later, from a membrane"
    ):
        torch_modules.from_module(net, torch.zeros(1, 3))


@pytest.mark.parametrize("v_reset", [None, 0.0, -0.25])
@pytest.mark.parametrize("decay_input", [True, False])
def test_spikingjelly_spike_by_spike(v_reset, decay_input):
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed")
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    net = body(
        neuron.LIFNode(tau=3.0, decay_input=decay_input, v_reset=v_reset, v_threshold=0.5),
        neuron.IFNode(v_reset=v_reset, v_threshold=0.4),
    )
    network = torch_modules.from_module(net, EXAMPLE)
    assert network.provenance["checked"]["spikes"] > 100


def test_a_wrong_reset_is_named_with_what_would_agree():
    """The planted error: a graph that resets a step later than the module."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False), Integrator())
    net[0].weight.data[:] = 1.0
    torch_modules._NEURONS["test_import_modules", "Integrator"] = torch_modules._NEURONS[
        "tests", "Integrator"
    ] = planted
    try:
        with pytest.raises(InputError) as error:
            torch_modules.from_module(net, torch.zeros(1, 1))
    finally:
        for home in ("test_import_modules", "tests"):
            del torch_modules._NEURONS[home, "Integrator"]
    assert "0.lif: the first difference is at step " in str(error.value)
    assert str(error.value).endswith("Spike test '>=', reset 'zero' and reset delay 0 would agree.")


class Integrator(nn.Module):
    """v += x; a spike at v >= 2, then v = 0."""

    def reset(self):
        self.v = 0.0

    def forward(self, x):
        v = self.v + x
        spikes = (v >= 2).to(x)
        self.v = v * (1 - spikes)
        return spikes


def planted(where, module):
    one, zero = np.ones(1), np.zeros(1)
    return torch_modules.p.Neurons(where, one, one, zero, 2 * one, ">=", "subtract", 0)


def test_modules_that_are_not_read_are_named():
    net = nn.Sequential(
        nn.BatchNorm1d(3), nn.Linear(3, 2), nn.ReLU(), nn.Conv2d(1, 1, 3, padding_mode="circular")
    )
    with pytest.raises(CompileError) as error:
        torch_modules.from_module(net, torch.zeros(1, 3))
    assert str(error.value).splitlines() == [
        "0: a normalisation that follows no weighted layer, or keeps no statistics.",
        "2: a module torch.ReLU, which is not read. Networks of other frameworks come in as NIR files.",
        "3: padding 'circular'; engines pad with zeros.",
    ]
    assert callable(require_agreement)
