"""from_module: live networks of Norse and sinabs, where they are installed."""

import numpy as np
import pytest
import torch
from test_import_modules import EXAMPLE, body
from torch import nn

from sastdeploy import CompileError, Framing, InputError, from_module
from sastdeploy.compiler.ir.interpreter import interpret


@pytest.fixture
def norse():
    return pytest.importorskip("norse.torch", reason="Norse is not installed")


@pytest.fixture
def sinabs():
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    return pytest.importorskip("sinabs.layers")


def stateful(norse, *kinds):
    """Return `body` as Norse writes it: one SequentialState."""
    first, *rest = body(*kinds)
    return norse.SequentialState(norse.SequentialState(*first), *rest)


def neurons(network):
    return [node for node in network.graph.nodes if node.kind == "lif"]


def f32(value):
    return torch.as_tensor(value, dtype=torch.float32)


@pytest.mark.parametrize("reset", ["reset_value", "reset_subtract"])
def test_norses_box_neurons_spike_by_spike(norse, reset):
    from norse.torch.functional import reset as resets
    from norse.torch.functional.lif_box import LIFBoxParameters

    kinds = [
        norse.LIFBoxCell(LIFBoxParameters(f32(rate), v_th=f32(0.2), reset_method=getattr(resets, reset)), dt=0.002)
        for rate in (50.0, 100.0)
    ]  # fmt: skip
    network = from_module(stateful(norse, *kinds), EXAMPLE)
    rules = {"reset_value": "zero", "reset_subtract": "subtract"}[reset]
    assert [(node.alpha, node.spike_test, node.reset, node.reset_delay) for node in neurons(network)] == [
        (0.9, ">", rules, 0),
        (0.8, ">", rules, 0),
    ]
    assert network.provenance["checked"]["spikes"] > 100


def test_norses_neurons_with_a_current_or_without_a_leak_spike_by_spike(norse):
    kinds = norse.LIFCell(norse.LIFParameters(v_th=f32(0.5))), norse.IAFCell(norse.IAFParameters(v_reset=f32(-0.5)))  # fmt: skip
    network = from_module(stateful(norse, *kinds), EXAMPLE)
    assert [(node.alpha, node.current_alpha) for node in neurons(network)] == [(0.9, 0.8), (1.0, None)]
    # It starts where it is reset to, and is measured from there.
    assert neurons(network)[1].threshold.tolist() == [1.5] * 5
    assert network.provenance["checked"]["spikes"] > 100


@pytest.mark.parametrize("reads", ["last", "max"])
@pytest.mark.parametrize("cell", ["LICell", "LIBoxCell"])
def test_norses_membranes_are_the_scores(norse, cell, reads):
    net = stateful(norse, norse.LIFBoxCell(norse.LIFBoxParameters(v_th=f32(0.1))), getattr(norse, cell)())
    framing = Framing(time_bins=6)
    network = from_module(net, EXAMPLE, readout=reads, framing=framing)
    assert network.provenance["checked"]["membranes"] == 4 * 12 * 5
    counts = np.random.default_rng(5).integers(0, 4, (2, 6, 2, 8, 8))
    net.double().eval()
    state, membranes = None, []
    with torch.no_grad():
        for step in torch.from_numpy(counts).double().unbind(1):
            values, state = net(step, state)
            membranes.append(values)
    rows = torch.stack(membranes, 1).numpy()
    wanted = rows[:, -1] if reads == "last" else rows.max(1)
    np.testing.assert_allclose(interpret(network.graph, counts).scores, wanted, atol=1e-5)


def test_norses_neurons_that_lose_their_state_are_refused(norse):
    net = nn.Sequential(nn.Linear(3, 2), norse.LIFCell())
    with pytest.raises(CompileError) as error:
        from_module(net, torch.zeros(1, 3))
    assert str(error.value) == (
        "module: a Sequential, which keeps no state of Norse's neurons; make it a SequentialState."
    )


def test_norses_other_cells_and_resets_are_refused_by_name(norse):
    box = norse.LIFBoxCell(norse.LIFBoxParameters(reset_method=lambda z, v, reset, th: v))
    with pytest.raises(CompileError) as error:
        from_module(norse.SequentialState(nn.Linear(3, 2), box, norse.LIFExCell()), torch.zeros(1, 3))
    assert str(error.value).splitlines() == [
        "1: a reset method '<lambda>'; engines compute reset_value and reset_subtract.",
        "2: a module norse.LIFExCell, which is not read. Networks of other frameworks come in as NIR files.",
    ]


def single(sinabs, kind, *values, **changes):
    from sinabs.activation import SingleSpike

    return getattr(sinabs, kind)(*values, spike_fn=SingleSpike, **changes)


@pytest.mark.parametrize("norm_input", [True, False])
@pytest.mark.parametrize("tau_syn", [None, 5.0])
def test_sinabs_squeezed_layers_spike_by_spike(sinabs, norm_input, tau_syn):
    from sinabs.activation import MaxSpike, MembraneReset

    first = single(
        sinabs, "LIFSqueeze", tau_mem=10.0, tau_syn=tau_syn, norm_input=norm_input, spike_threshold=f32(0.2), batch_size=1
    )  # fmt: skip
    second = sinabs.IAFSqueeze(
        spike_fn=MaxSpike(1), reset_fn=MembraneReset(), spike_threshold=torch.linspace(0.2, 0.6, 5), num_timesteps=7,
    )  # fmt: skip
    network = from_module(body(first, second), EXAMPLE)
    assert [(node.spike_test, node.reset, node.reset_delay, node.current_alpha) for node in neurons(network)] == [
        (">=", "subtract", 0, None if tau_syn is None else pytest.approx(np.exp(-1 / tau_syn))),
        (">=", "zero", 0, None),
    ]  # fmt: skip
    assert network.provenance["checked"]["spikes"] > 100


def test_sinabs_layers_over_time_and_its_sum_pool(sinabs):
    torch.manual_seed(1)
    net = nn.Sequential(
        sinabs.Repeat(nn.Conv2d(2, 3, 3)), single(sinabs, "IAF"), sinabs.Repeat(sinabs.SumPool2d(2)), nn.Flatten(2), nn.Linear(27, 4),
        single(sinabs, "LIF", tau_mem=8.0, train_alphas=True, spike_threshold=f32(0.1)),
    )  # fmt: skip
    network = from_module(net, EXAMPLE)
    assert [node.kind for node in network.graph.nodes] == [
        "input",
        "conv2d",
        "lif",
        "sum_pool",
        "dense",
        "lif",
        "counts",
    ]
    assert network.provenance["checked"]["spikes"] > 100


@pytest.mark.parametrize("norm_input", [True, False])
def test_sinabs_exponential_leak_is_read(sinabs, norm_input):
    net = body(
        single(sinabs, "LIFSqueeze", tau_mem=10.0, spike_threshold=f32(0.1), batch_size=1),
        sinabs.ExpLeakSqueeze(tau_mem=6.0, norm_input=norm_input, batch_size=1),
    )
    network = from_module(net, EXAMPLE, readout="max")
    assert network.provenance["checked"]["membranes"] == 4 * 12 * 5
    assert network.semantics["readout"]["reads"] == "max"


def test_what_no_engine_computes_of_sinabs_is_refused_by_name(sinabs):
    from sinabs.activation import MembraneReset, MembraneSubtract

    net = nn.Sequential(
        nn.Linear(3, 2), sinabs.LIF(tau_mem=10.0, min_v_mem=1.0), nn.Linear(2, 2),
        single(sinabs, "IAF", reset_fn=MembraneReset(0.5)), nn.Linear(2, 2),
        single(sinabs, "IAF", reset_fn=MembraneSubtract(0.5)), sinabs.ExpLeak(tau_mem=-2.0, min_v_mem=-1.0),
        sinabs.ALIF(tau_mem=2.0, tau_adapt=2.0),
    )  # fmt: skip
    with pytest.raises(CompileError) as error:
        from_module(net, torch.zeros(1, 3))
    assert str(error.value).splitlines() == [
        "1: min_v_mem 1; engines compute floors of at most 0.",
        "3: MembraneReset(0.5), which sinabs adds in every step, spike or not; engines reset to 0.",
        "5: a reset that subtracts 0.5, not the threshold, which no engine computes.",
        "6: min_v_mem -1 of membranes that are read, which no engine computes.",
        "tau_mem -2 to -2, must be positive.",
        "7: a module sinabs.ALIF, which is not read. Networks of other frameworks come in as NIR files.",
    ]


class Silent(nn.Module):
    """Membranes that decay otherwise than is said of them."""

    def reset(self):
        self.v = 0.0

    def forward(self, x):
        self.v = 0.5 * self.v + x
        return self.v


def test_a_membrane_that_differs_is_named(monkeypatch):
    from sastdeploy.exchange import torch_modules

    one = np.ones(1)
    for home in ("test_import_norse_sinabs", "tests"):
        kinds = torch_modules._NEURONS
        monkeypatch.setitem(kinds, (home, "Silent"), lambda where, module: torch_modules.p.Integrators(where, 0.75 * one, one, 0 * one))  # fmt: skip
        monkeypatch.setitem(kinds, (home, "Fires"), lambda where, module: torch_modules.p.Neurons(where, one, one, 0 * one, one, ">", "none", 0))  # fmt: skip
    net = nn.Sequential(Fires(), nn.Linear(1, 1, bias=False), Silent())
    net[1].weight.data[:] = 1.0
    with pytest.raises(InputError) as error:
        from_module(net, torch.zeros(1, 1))
    assert str(error.value) == (
        "1.li: the first difference is at step 1, neuron [0, 0, 0]: the graph has a membrane of 1.75, the module 1.5. Look at "
        "decay, gain and start."
    )
    with pytest.raises(InputError, match=r"^readout 'mean': unknown\. Allowed: last, max\.$"):
        from_module(net, torch.zeros(1, 1), readout="mean")


class Fires(nn.Module):
    """v += x; a spike above 1, no reset."""

    def reset(self):
        self.v = 0.0

    def forward(self, x):
        self.v = self.v + x
        return (self.v > 1).to(x)


class Picky(Fires):
    """As Fires, of another shape than it takes."""

    def forward(self, x):
        raise RuntimeError("takes no such thing")


def test_a_module_that_fails_is_no_traceback(monkeypatch):
    from sastdeploy.exchange import torch_modules

    one = np.ones(1)
    for home in ("test_import_norse_sinabs", "tests"):
        monkeypatch.setitem(torch_modules._NEURONS, (home, "Picky"), lambda where, module: torch_modules.p.Neurons(where, one, one, 0 * one, one, ">", "none", 0))  # fmt: skip
    with pytest.raises(CompileError) as error:
        from_module(nn.Sequential(nn.Linear(2, 1), Picky()), torch.zeros(1, 2))
    assert str(error.value) == (
        "the module fails on steps of 2 values (takes no such thing). Give one step's input as the example, and a module that takes one step."
    )
