"""snnTorch's reset to zero behind a current and in recurrent layers: it drops the whole step after a spike, the current's own decay apart."""

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import cuba, f32, lif, one_neuron, run, write

from sastdeploy import Framing, InputError, from_nir
from sastdeploy.cli.main import cli
from sastdeploy.exchange.recorded import check_recorded

ENDS = {"a": {"type": "Input", "shape": [1]}, "b": {"type": "Output", "shape": [1]}}
EDGES = [("a", "i"), ("i", "n"), ("n", "b"), ("n", "w"), ("w", "n")]
LINEAR = {"type": "Linear", "weight": f32([1.0])}
CURRENT = cuba(r=f32(2.0), w_in=f32(2.0), v_threshold=f32(2.0))


def recurrent(path, neuron):
    """Write one neuron that hears itself with weight 1."""
    return write(path, {**ENDS, "i": LINEAR, "n": neuron, "w": LINEAR}, EDGES)


def resets(network):
    return [node.reset for node in network.graph.nodes if node.kind == "lif"]


# Decays 1/2, threshold 2, > : how a file is written, inputs, spikes and membranes, as snnTorch 1.0.0 gives them.
GOLDEN = {
    # m: 3 * | 0 + 2 | 1 + 2 * | 0 + 4 *: the membrane alone is dropped
    "alone": (lambda p: one_neuron(p, lif(r=f32(2.0), v_threshold=f32(2.0))), "zero", [3, 2, 2, 4], [1, 0, 1, 1], [3, 2, 3, 4]),
    # i: 3 | 3.5 | 1.75 | 4.875; m: 3 * | 0 | 1.75 | 0.875 + 4.875 *
    "behind a current": (lambda p: one_neuron(p, CURRENT), "refractory", [3, 2, 0, 4], [1, 0, 0, 1], [3, 0, 1.75, 5.75]),
    # m: 3 * | 0, and neither 2 nor the spike that came back | 2 | 1 + 4 *
    "recurrent": (lambda p: recurrent(p, lif(r=f32(2.0), v_threshold=f32(2.0))), "refractory", [3, 2, 2, 4], [1, 0, 0, 1], [3, 0, 2, 5]),
    # i: 3 | 1.5 + 2 + 1 | 2.25 | 1.125 + 4; m: 3 * | 0 | 2.25 * | 0
    "recurrent behind a current": (lambda p: recurrent(p, CURRENT), "refractory", [3, 2, 0, 3], [1, 0, 1, 0], [3, 0, 2.25, 0]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_one_neuron_by_hand(tmp_path, case):
    written, reset, values, spikes, membranes = GOLDEN[case]
    path = written(tmp_path / "one.nir")
    network = from_nir(path, dialect="snntorch", reset="zero", framing=Framing(time_bins=4))
    assert resets(network) == [reset]
    assert run(network, values) == (spikes, membranes)


@pytest.mark.parametrize("case", GOLDEN)
def test_live_neurons_give_the_golden_values(case):
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    _, _, values, spikes, membranes = GOLDEN[case]
    common = {"beta": 0.5, "threshold": 2.0, "reset_mechanism": "zero", "init_hidden": True}
    own = {"V": 1.0, "all_to_all": False} if "recurrent" in case else {}
    if "current" in case.removeprefix("recurrent"):
        common["alpha"] = 0.5
    kind = {(0, 0): snn.Leaky, (0, 1): snn.Synaptic, (1, 0): snn.RLeaky, (1, 1): snn.RSynaptic}
    neuron = kind[bool(own), "alpha" in common](**common, **own).double()
    shown = []
    with torch.no_grad():
        for value in values:
            sent = neuron(torch.full((1, 1), float(value), dtype=torch.float64))
            shown.append((int(sent), float(neuron.mem)))
    assert shown == list(zip(spikes, membranes, strict=True))


def test_other_dialects_and_other_delays_keep_their_reset(tmp_path):
    path = one_neuron(tmp_path / "one.nir", CURRENT)
    assert resets(from_nir(path, dialect="nir", reset="zero")) == ["zero"]
    assert resets(from_nir(path, dialect="snntorch", reset="zero", reset_delay=0)) == ["zero"]
    assert resets(from_nir(path, dialect="snntorch")) == ["subtract"]
    assert resets(from_nir(path, dialect="norse", dt=1e-4, reset="refractory", reset_delay=1)) == [
        "refractory"
    ]


def test_the_likely_cause_names_it(tmp_path):
    values, spikes = (np.array([row])[..., None] for row in ([3, 2, 0, 4], [1, 0, 0, 1]))
    path = tmp_path / "own.npz"
    np.savez(path, input=values, n=spikes)
    source = one_neuron(tmp_path / "one.nir", CURRENT)
    call = [
        "import",
        str(source),
        "-o",
        str(tmp_path / "net.pt"),
        "--dialect",
        "snntorch",
        "--check",
        str(path),
    ]
    done = CliRunner().invoke(cli, call)
    assert type(done.exception) is InputError
    assert str(done.exception).endswith("Spike test '>', reset 'refractory' and reset delay 1 would agree.")
    done = CliRunner().invoke(cli, [*call, "--reset", "refractory"])
    assert done.exit_code == 0 and "refractory, delay 1" in done.output


def modules(torch, snn):
    """Return a network of all four kinds of snnTorch's neurons, with numbers of each neuron, as its exporter asks for."""
    torch.manual_seed(1)

    def each(size, *names):
        return {name: torch.linspace(0.6, 0.8, size) for name in names}

    common = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": True}
    own = {"all_to_all": True}
    return torch.nn.Sequential(
        torch.nn.Linear(6, 9), snn.Leaky(**each(9, "beta", "threshold"), **common),
        torch.nn.Linear(9, 8), snn.Synaptic(**each(8, "alpha", "beta", "threshold"), **common),
        torch.nn.Linear(8, 7), snn.RLeaky(**each(7, "beta", "threshold"), linear_features=7, **own, **common),
        torch.nn.Linear(7, 5), snn.RSynaptic(**each(5, "alpha", "beta", "threshold"), linear_features=5, **own, **common),
    )  # fmt: skip


def test_a_live_network_spike_by_spike():
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    from sastdeploy.exchange.torch_modules import from_module

    network = from_module(modules(torch, snn), torch.zeros(1, 6))
    assert resets(network) == ["zero", "refractory", "refractory", "refractory"]
    checked = network.provenance["checked"]
    assert (checked["differences"], checked["ties"]) == (0, 0) and checked["spikes"] > 200


@pytest.mark.filterwarnings("ignore:nirtorch:DeprecationWarning")
def test_its_file_with_reset_to_zero_spike_by_spike(tmp_path):
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    nir = pytest.importorskip("nir")
    from snntorch.export_nir import export_to_nir

    from sastdeploy.exchange.running import outputs_of

    net = modules(torch, snn)
    nir.write(tmp_path / "net.nir", export_to_nir(net, torch.zeros(1, 6), ignore_dims=[0]))
    network = from_nir(tmp_path / "net.nir", dialect="snntorch", reset="zero", framing=Framing(time_bins=12))
    assert resets(network) == ["zero", "refractory", "refractory", "refractory"]
    values = np.random.default_rng(0).integers(0, 4, (3, 12, 6)).astype(np.float64)
    sent = outputs_of(net, [net[number] for number in (1, 3, 5, 7)], values)
    names = [neuron["name"] for neuron in network.semantics["neurons"]]
    spikes = dict(zip(names, sent, strict=True))
    np.savez(tmp_path / "own.npz", input=values, **spikes)
    checked = check_recorded(network, tmp_path / "own.npz")
    assert (checked["differences"], checked["ties"]) == (0, 0) and checked["spikes"] > 100
