"""Floors of membranes from NIR files (``floor``) and sinabs' ``min_v_mem``, to programs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from nir_files import f32, lif, one_neuron, run, write
from tiny_programs import counts

from sastdeploy import CompileError, Framing, InputError, compile, from_nir
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.simulator import reference
from tests.neuron_checks import profile

SINABS = lif(tau=1.0 / np.log(2) * np.ones(1), v_leak=f32(-1))

# Dialect, neuron, floor, spikes, and v at the end of every step, of values 0, 0, 4, 0; every decay is 1/2.
GOLDEN = {
    # -0.5 | -0.625 | -0.125 + 1.5 = 1.375 * | -0.5
    "reset to 0": ("nir", lif(v_leak=f32(-1)), -0.25, (0, 0, 1, 0), (-0.25, -0.25, 0, -0.25)),
    # v 0, to -0.5: -0.5 | -0.75 | -0.3125 + 1.5 = 1.1875 * | -0.75
    "reset below its start": ("nir", lif(v_leak=f32(-1), v_reset=f32(-0.5)), -0.625, (0, 0, 1, 0), (-0.5, -0.625, -0.5, -0.625)),
    # 1.375 - 1 | 0.1875 - 0.5
    "reset by subtraction": ("sinabs", SINABS, -0.25, (0, 0, 1, 0), (-0.25, -0.25, 0.375, -0.25)),
    # at 0: 1.5 - 1 | 0.25 - 0.5
    "at 0": ("sinabs", SINABS, 0.0, (0, 0, 1, 0), (0, 0, 0.5, 0)),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_one_neuron_of_a_file_by_hand(tmp_path, case):
    name, neuron, floor, spikes, membranes = GOLDEN[case]
    path = one_neuron(tmp_path / "one.nir", neuron)
    network = from_nir(path, dialect=name, floor=floor, framing=Framing(time_bins=4, clip=4))
    values, rest = (0, 0, 4, 0), float(neuron["v_reset"][0])
    sent, found = run(network, values)
    assert sent == list(spikes)
    np.testing.assert_allclose(np.array(found) + rest, membranes, atol=1e-6)
    node = network.graph.nodes[2]
    chip = profile(
        floor=True, starts=True, spike_test=node.spike_test, reset=node.reset, reset_delay=0, spikes_per_step=127,
    )  # fmt: skip
    program = compile(network, chip).program
    result = reference.run(program, counts(*values), trace=("w",))
    assert result.traces["w"].spikes.reshape(-1).tolist() == list(spikes)
    np.testing.assert_allclose(result.traces["w"].membranes.reshape(-1) / 2**16 + rest, membranes, atol=1e-4)


def test_the_command_takes_and_prints_it(tmp_path):
    path, out = one_neuron(tmp_path / "one.nir", SINABS), str(tmp_path / "n.pt")
    call = ["import", str(path), "-o", out, "--dialect", "sinabs", "--floor"]
    done = CliRunner().invoke(cli, [*call, "-0.25"], catch_exceptions=False)
    assert done.exit_code == 0 and "gain = 0.5, floor = -0.25" in done.output
    done = CliRunner().invoke(cli, ["inspect", out, "--json"], catch_exceptions=False)
    assert json.loads(done.output)["nodes"][2]["floor"] == [-0.25]
    done = CliRunner().invoke(cli, [*call, "nan", "--force"])
    assert type(done.exception) is InputError
    assert str(done.exception) == "floor nan: no finite number. Leave it out where membranes have none."


def test_a_floor_above_the_reset_is_refused(tmp_path):
    path = one_neuron(tmp_path / "one.nir", lif(v_reset=f32(-0.5)))
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir", floor=-0.25)
    assert str(error.value).endswith(
        "n: a floor of -0.25, above -0.5, where it is reset to; no engine computes that."
    )


def test_a_floor_above_0_without_a_reset_is_refused(tmp_path):
    with pytest.raises(CompileError) as error:
        from_nir(one_neuron(tmp_path / "one.nir", lif()), dialect="nir", reset="none", floor=0.5)
    assert str(error.value).endswith("n: a floor of 0.5, above 0; no engine computes that.")


def test_a_floor_that_no_neuron_can_have_is_refused(tmp_path):
    path = one_neuron(tmp_path / "one.nir", {"type": "Threshold", "threshold": f32(1.0)})
    from_nir(path, dialect="nir")
    with pytest.raises(InputError) as error:
        from_nir(path, dialect="nir", floor=-0.5)
    assert str(error.value) == f"{path}: floor -0.5: no neurons here can have one. Leave it out."


@pytest.mark.parametrize(("changes", "message"), [
    ({"reset": "half"}, "reset 'half': unknown. Allowed: subtract, zero, none, refractory."),
    ({"reset_delay": 2}, "reset delay 2: unknown. Allowed: 0, 1."), ({"gain": "r"}, "gain 'r': unknown. Allowed: file, one, leak."),
])  # fmt: skip
def test_what_a_dialect_cannot_be_is_refused(changes, message, tmp_path):
    with pytest.raises(InputError) as error:
        from_nir(one_neuron(tmp_path / "one.nir", lif()), dialect="nir", **changes)
    assert str(error.value) == message


def test_the_own_dialect_is_for_own_files(tmp_path):
    path = one_neuron(tmp_path / "one.nir", lif())
    with pytest.raises(InputError) as error:
        from_nir(path, dialect="sastdeploy")
    assert str(error.value) == (
        f"{path}: its metadata do not say that 'sastdeploy export --to nir' wrote it. Name the dialect of the framework that did "
        "(--dialect): snntorch, spikingjelly, norse, sinabs, rockpool, lava, nir."
    )


def test_floors_that_differ_within_a_channel(tmp_path):
    """Two neurons of one channel, one of half the gain: that one's unit is half as large, so its floor is twice as low."""
    nodes = {
        "i": {"type": "Input", "shape": np.array([1, 1, 2])},
        "w": {"type": "Conv2d", "weight": np.ones((1, 1, 1, 1), np.float32), "bias": f32(0)},
        "n": lif(r=np.array([[[1.0, 0.5]]], np.float32)),
        "o": {"type": "Output", "shape": np.array([1, 1, 2])},
    }  # fmt: skip
    network = from_nir(write(tmp_path / "n.nir", nodes), dialect="nir", floor=-0.25)
    assert network.graph.nodes[2].floor.tolist() == [[[-0.25, -0.5]]]
    chip = profile(floor=True, spike_test=">", reset="zero", reset_delay=0)
    with pytest.raises(CompileError, match="thresholds and floors that differ within a channel"):
        compile(network, chip)
    program = compile(network, replace(chip, per_neuron=True)).program
    assert program.layers[0].lif.floor.tolist() == [[[-(2**14), -(2**15)]]]


@pytest.fixture
def sinabs():
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    return pytest.importorskip("sinabs.layers")


def agrees(network, floors):
    """The live network's spikes are the graph's, its floors hold membranes, and without them other spikes come out."""
    checked = network.provenance["checked"]
    assert (checked["differences"], checked["ties"]) == (0, 0) and checked["spikes"] > 50
    lifs = [node for node in network.graph.nodes if node.kind == "lif"]
    assert [node.floor[0] for node in lifs] == pytest.approx(floors)
    values = np.random.default_rng(3).integers(0, 4, (16, 40, *network.graph.input.shape))
    outputs = interpret(network.graph, values)
    assert [membranes.min() for membranes in outputs.membranes] == pytest.approx(floors)
    plain = interpret(network.graph.map_spiking(lambda node: replace(node, floor=None)), values)
    assert any((a != b).any() for a, b in zip(outputs.spikes, plain.spikes))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("tau_syn", [None, 4.0])
def test_sinabs_layers_spike_by_spike(sinabs, tau_syn, several):
    import torch
    from sinabs.activation import MembraneReset, MultiSpike, SingleSpike
    from test_import_modules import EXAMPLE, body

    from sastdeploy.exchange.torch_modules import from_module

    spikes = {"spike_fn": MultiSpike if several else SingleSpike, "batch_size": 1}
    first = sinabs.LIFSqueeze(
        tau_mem=10.0, tau_syn=tau_syn, norm_input=False, spike_threshold=torch.tensor(0.2), min_v_mem=-0.3, **spikes
    )  # fmt: skip
    second = sinabs.IAFSqueeze(
        reset_fn=MembraneReset(), spike_threshold=torch.tensor(0.4), min_v_mem=-0.1, **spikes
    )
    network = from_module(body(first, second), EXAMPLE)
    agrees(network, [-0.3, -0.1])
    assert [neuron["computed"].count("floor = ") for neuron in network.semantics["neurons"]] == [1, 1]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "changes"), [
    ("LIFRecurrent", {"tau_mem": 5.0, "norm_input": False}), ("LIFRecurrent", {"tau_mem": 5.0, "tau_syn": 3.0}), ("IAFRecurrent", {}),
])  # fmt: skip
def test_sinabs_recurrent_layers_spike_by_spike(sinabs, kind, changes, bias):
    import torch

    from sastdeploy.exchange.torch_modules import from_module

    torch.manual_seed(6)
    layer = getattr(sinabs, kind)(
        rec_connect=torch.nn.Linear(5, 5, bias=bias), spike_threshold=torch.tensor(0.2), min_v_mem=-0.15, **changes
    )  # fmt: skip
    layer.rec_connect.weight.data *= 0.4
    network = from_module(torch.nn.Sequential(torch.nn.Linear(6, 5), layer), torch.zeros(1, 6))
    agrees(network, [-0.15])


def test_a_sinabs_network_runs_on_speck(sinabs):
    import torch
    from sinabs.activation import SingleSpike

    from sastdeploy.exchange.torch_modules import from_module

    torch.manual_seed(2)
    layer = sinabs.IAFSqueeze(
        spike_fn=SingleSpike, spike_threshold=torch.tensor(1.0), min_v_mem=-1.0, batch_size=1
    )
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, bias=False), layer)
    program = compile(from_module(net, torch.zeros(1, 1, 6, 6)), "speck").program
    neurons = program.layers[0].lif
    assert np.array_equal(neurons.floor, -neurons.threshold)
