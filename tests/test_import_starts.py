"""Membranes that start elsewhere than where they are reset to, from NIR files, Norse and SpikingJelly to programs, and back."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from nir_files import cuba, f32, lif, one_neuron, run, write
from test_import_modules import EXAMPLE
from test_import_norse_sinabs import neurons, stateful
from test_membrane_readouts import cuba_li, li, read_file
from tiny_programs import counts
from tiny_programs import one_neuron as one_program
from torch import nn

from sastdeploy import Framing, compile, export_nir, from_module, from_nir, load_network
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from tests.neuron_checks import profile

# dt / tau is 1/2 in every dialect.
NORSE = {"tau": f32(2e-6)}
CUBA_NORSE = {"tau_syn": f32(2e-6), "tau_mem": f32(2e-6)}

# Dialect, neuron, values, spikes, and v at the end of every step.
GOLDEN = {
    # v 0, to 0.5: 0, 1, 2 * , 0.5 | (0.5+2)/2 = 1.25 *
    "nir: starts at 0, is reset to 0.5": ("nir", lif(v_reset=f32(0.5)), (1, 3, 0, 2), (0, 1, 0, 1), (0.5, 0.5, 0.25, 0.5)),
    # v 0, to -1: 0.5, 1.25 *, -1, -0.5
    "nir: is reset below its start": ("nir", lif(v_reset=f32(-1)), (1, 2, 0, 0), (0, 1, 0, 0), (0.5, -1, -0.5, -0.25)),
    # v 0.5 and leaks to it, to 0: 0.5 + (x + 0.5 - v) / 2
    "norse: starts at its leak": ("norse", lif(**NORSE, v_leak=f32(0.5)), (1, 1, 0, 3), (0, 1, 0, 1), (1.0, 0, 0.25, 0)),
    # v 0.5 and leaks to it; a reset takes the threshold of 1: v 1, 1.25 - 1
    "norse: subtracts the threshold itself": ("norse subtract", lif(**NORSE, v_leak=f32(0.5)), (1, 1, 0, 0), (0, 1, 0, 0), (1.0, 0.25, 0.375, 0.4375)),
    # i 1, 1.5, 0.75; v (i + 0.5 + v) / 2 from 0.5: 1, 1.5 *, 0 | (0.75+0.5) / 2 | (0.375+0.5+0.625) / 2
    "norse behind a current": ("norse", cuba(**CUBA_NORSE, v_leak=f32(0.5)), (1, 1, 0, 0), (0, 1, 0, 0), (1.0, 0, 0.625, 0.75)),
    # i 1, 1, 0.5; v (i + 0.5 + v) / 2 from 0: 0.75, 1.125 *, 0.25 | (0.5+0.5+0.25) / 2
    "nir behind a current": ("nir", cuba(v_leak=f32(0.5), v_reset=f32(0.25)), (2, 1, 0, 0), (0, 1, 0, 0), (0.75, 0.25, 0.625, 0.6875)),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_one_neuron_of_a_file_by_hand(tmp_path, case):
    name, neuron, values, spikes, membranes = GOLDEN[case]
    framework, *reset = name.split()
    path = one_neuron(tmp_path / "one.nir", neuron)
    framing = Framing(time_bins=4, clip=3)
    network = from_nir(path, dialect=framework, framing=framing, reset=reset[0] if reset else None)
    sent, found = run(network, values)
    rest = 0.0 if reset else float(neuron["v_reset"][0])
    assert sent == list(spikes)
    np.testing.assert_allclose(np.array(found) + rest, membranes, atol=1e-6)
    node = network.graph.nodes[2]
    program = compile(network, profile(starts=True, spike_test=node.spike_test, reset=node.reset, reset_delay=0)).program  # fmt: skip
    result = reference.run(program, counts(*values), trace=("w",))
    assert result.traces["w"].spikes.reshape(-1).tolist() == list(spikes)
    np.testing.assert_allclose(result.traces["w"].membranes.reshape(-1) / 2**16 + rest, membranes, atol=1e-4)


def test_what_starts_elsewhere_is_printed(tmp_path):
    path, out = (
        one_neuron(tmp_path / "one.nir", cuba(v_leak=f32(0.5), v_reset=f32(0.25))),
        str(tmp_path / "n.pt"),
    )
    done = CliRunner().invoke(
        cli, ["import", str(path), "-o", out, "--dialect", "nir"], catch_exceptions=False
    )
    assert (
        "n: alpha = 1 - dt / tau = 0.5, gain = 0.5, start = -0.25 from the reset, current decay"
        in done.output
    )
    done = CliRunner().invoke(cli, ["inspect", out, "--json"], catch_exceptions=False)
    node = json.loads(done.output)["nodes"][2]
    assert (node["start"], node["current_start"]) == ([-0.25], [0.125])
    assert load_network(out).graph.nodes[1].bias.tolist() == [0.0625]


def test_starts_that_differ_within_a_channel(tmp_path):
    """Two neurons of one channel, reset to 0.5 and -1, one of half the gain: that one's unit is half as large."""
    nodes = {
        "i": {"type": "Input", "shape": np.array([1, 1, 2])},
        "w": {"type": "Conv2d", "weight": np.ones((1, 1, 1, 1), np.float32), "bias": f32(0)},
        "n": lif(v_reset=np.array([[[0.5, -1.0]]], np.float32), r=np.array([[[1.0, 0.5]]], np.float32)),
        "o": {"type": "Output", "shape": np.array([1, 1, 2])},
    }  # fmt: skip
    network = from_nir(write(tmp_path / "n.nir", nodes), dialect="nir", framing=Framing(time_bins=4, clip=3))
    node = network.graph.nodes[2]
    assert (node.start.tolist(), node.threshold.tolist()) == ([[[-0.5, 2.0]]], [[[0.5, 4.0]]])
    shown = np.array([[1, 3], [3, 2], [0, 3], [2, 3]])
    # As by hand above; and v 0.75, 0.875, 1.1875 *, -1, 0.25
    outputs = interpret(network.graph, shown.reshape(1, 4, 1, 1, 2))
    assert outputs.spikes[0].reshape(4, 2).T.tolist() == [[0, 1, 0, 1], [0, 0, 1, 0]]
    program = compile(network, profile(starts=True, per_neuron=True, spike_test=">", reset="zero", reset_delay=0)).program  # fmt: skip
    result = reference.run(program, Frames.from_dense(shown.reshape(1, 4, 1, 1, 2)), trace=("w",))
    assert result.traces["w"].spikes.reshape(4, 2).T.tolist() == [[0, 1, 0, 1], [0, 0, 1, 0]]
    assert program.layers[0].lif.start.shape == (1, 1, 2)


@pytest.mark.parametrize("leak", [5, 8])
def test_a_programs_start_is_a_reset_of_its_file(tmp_path, leak):
    """The program's neuron starts at -3 and is reset to 0: the file's starts at 0 and is reset to 3."""
    program = one_program(
        start=np.array([-3], np.int32), reset="zero", reset_delay=0, leak_multiplier=leak, multiplier=np.array([8], np.int32),
        bias=np.zeros(1, np.int32),
    )  # fmt: skip
    export = export_nir(program, tmp_path / "p.nir", np.array([1, 0, 1, 1, 0]).reshape(1, 5, 1, 1, 1))
    read = from_nir(export.path, framing=Framing(time_bins=5, clip=4, classes=program.classes)).graph.nodes[2]
    assert (read.start.tolist(), read.threshold.tolist(), read.alpha) == ([-3.0], [5.0], leak / 8)
    assert export.differing == 0 and export.spikes > 0


@pytest.mark.parametrize(("node", "last", "largest"), [
    # Spikes 1, 1, 0, 0 of weight 8. v (x + 4 + v) / 2 from 4: 8, 10, 7, 5.5
    (li(v_leak=f32(4)), 5.5, 10.0),
    # i 8, 12, 6, 3; v (i + 4 + v) / 2 from 4: 8, 12, 11, 9
    (cuba_li(v_leak=f32(4)), 9.0, 12.0),
])  # fmt: skip
def test_membranes_that_are_read_start_at_their_leak(tmp_path, node, last, largest):
    for reads, score in (("last", last), ("max", largest)):
        path = read_file(tmp_path / "r.nir", node, weight=8.0)
        network = from_nir(path, dialect="norse", dt=1e-4, readout=reads, framing=Framing(time_bins=4))
        program = compile(network, profile(starts=True, spike_test=">", reset="zero", reset_delay=0)).program
        assert program.layers[1].lif.start.tolist() == [4 << 16]
        assert reference.run(program, counts(2, 2, 0, 0)).scores.tolist() == [[int(score * 2**16)]]


@pytest.fixture
def norse():
    return pytest.importorskip("norse.torch", reason="Norse is not installed")


def t(value):
    return torch.as_tensor(value, dtype=torch.float32)


@pytest.mark.parametrize("reset", ["reset_value", "reset_subtract"])
def test_norses_box_neurons_that_leak_to_elsewhere_spike_by_spike(norse, reset):
    from norse.torch.functional import reset as resets

    parameters = norse.LIFBoxParameters(v_th=t(0.3), v_leak=t(0.25), v_reset=t(-0.125), reset_method=getattr(resets, reset))  # fmt: skip
    network = from_module(
        stateful(norse, norse.LIFBoxCell(parameters), norse.LIFBoxCell(parameters)), EXAMPLE
    )
    above = 0.375 if reset == "reset_value" else 0.25
    assert all((node.start == above).all() for node in neurons(network))
    assert network.provenance["checked"]["spikes"] > 100


def test_norses_neurons_behind_a_current_that_leak_to_elsewhere_spike_by_spike(norse):
    first = norse.LIFCell(norse.LIFParameters(v_th=t(0.5), v_leak=t(0.25)))
    second = norse.LIFCell(norse.LIFParameters(v_th=t(0.5), v_leak=t(-0.25), v_reset=t(0.25)))
    network = from_module(stateful(norse, first, second), EXAMPLE)
    assert [float(node.start[0]) for node in neurons(network)] == [0.25, -0.5]
    np.testing.assert_allclose([node.current_start[0] for node in neurons(network)], [0.025, -0.05])
    assert network.provenance["checked"]["spikes"] > 100


@pytest.mark.parametrize("cell", ["LICell", "LIBoxCell"])
def test_norses_membranes_start_at_their_leak(norse, cell):
    from norse.torch.functional.leaky_integrator import LIParameters
    from norse.torch.functional.leaky_integrator_box import LIBoxParameters

    parameters = (LIParameters if cell == "LICell" else LIBoxParameters)(v_leak=t(0.5))
    net = stateful(norse, norse.LIFBoxCell(norse.LIFBoxParameters(v_th=t(0.1))), getattr(norse, cell)(parameters))  # fmt: skip
    network = from_module(net, EXAMPLE)
    assert network.graph.nodes[-2].start.tolist() == [0.5] * 5
    assert network.provenance["checked"]["membranes"] > 200


def test_spikingjellys_current_neuron_that_is_reset_below_zero_spikes_as_its_own():
    neuron = pytest.importorskip(
        "spikingjelly.activation_based.neuron", reason="SpikingJelly is not installed"
    )
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 8), neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=0.5, v_reset=-0.25)
    )
    network = from_module(net, torch.zeros(1, 6))
    (node,) = neurons(network)
    assert node.start is None and node.current_start.tolist() == [0.0625] * 8
    assert network.provenance["checked"]["spikes"] > 50
