"""Several spikes in a step from elsewhere: NIR files of sinabs and rockpool by hand, files of our own, and live networks of sinabs."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from nir_files import f32, lif, one_neuron
from test_export_nir import counts_for, exact_program, read_back
from test_import_modules import EXAMPLE, body
from torch import nn

from sastdeploy import (
    CompileError,
    Framing,
    InputError,
    compile,
    export_nir,
    from_module,
    from_nir,
    load_network,
)
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.exchange.recorded import check_recorded
from sastdeploy.program.records import DenseLif
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from tests.nir_files import run

# A decay of 1/2 and a threshold of 2, subtracted at once; sinabs takes half of its input (norm_input), rockpool all of it.
SINABS, ROCKPOOL = (lif(tau=dt / np.log(2), v_threshold=f32(2.0)) for dt in (1.0, 1e-3))

# A weight makes 10, 0, 0, 30 and 600 of the counts, of which sinabs takes half.
GOLDEN = {
    # 5: 2 leave 1 | 0.5 | 0.25 | 15.125: 7 leave 1.125 | 300.5625: 127 leave 46.5625
    ("sinabs", None): ([2, 0, 0, 6, 120], [2, 0, 0, 7, 127], [1.0, 0.5, 0.25, 1.125, 46.5625]),
    ("rockpool", "many"): ([2, 0, 0, 6, 120], [2, 0, 0, 7, 127], [1.0, 0.5, 0.25, 1.125, 46.5625]),
    # 15.125: 3 leave 9.125 | 4.5625: 2 leave 0.5625
    ("rockpool", 3): ([2, 0, 0, 6, 0], [2, 0, 0, 3, 2], [1.0, 0.5, 0.25, 9.125, 0.5625]),
    # 5: 1 leaves 3 | 4: 1 leaves 2
    ("sinabs", "one"): ([2, 1], [1, 1], [3.0, 2.0]),
}


def neuron_of(dialect, folder):
    return one_neuron(folder / "one.nir", *((SINABS, 5.0) if dialect == "sinabs" else (ROCKPOOL, 2.5)))


@pytest.mark.parametrize(("dialect", "most"), GOLDEN)
def test_one_neuron_of_a_file_by_hand(tmp_path, dialect, most):
    values, spikes, membranes = GOLDEN[dialect, most]
    framing = Framing(time_bins=len(values), clip=127)
    network = from_nir(neuron_of(dialect, tmp_path), dialect=dialect, spikes_per_step=most, framing=framing)
    found = run(network, values)
    assert found[0] == spikes
    np.testing.assert_allclose(found[1], membranes, atol=1e-9)
    assert network.graph.nodes[2].max_spikes == {None: 127, "many": 127, "one": 1}.get(most, most)


@pytest.mark.parametrize("most", [0, 128, True, 2.5, "two"])
def test_another_number_is_refused(tmp_path, most):
    with pytest.raises(InputError) as error:
        from_nir(one_neuron(tmp_path / "one.nir", SINABS), dialect="sinabs", spikes_per_step=most)
    said = f"'{most}'" if isinstance(most, str) else most
    assert str(error.value) == f"spikes per step {said}: unknown. Allowed: one, many, 1 to 127."


def test_the_command_takes_one_many_or_a_number(tmp_path):
    path, out = one_neuron(tmp_path / "one.nir", SINABS), tmp_path / "net.pt"
    for words, most in ((("many",), 127), (("one",), 1), (("31",), 31), ((), 127)):
        given = ["--spikes-per-step", *words] if words else []
        done = CliRunner().invoke(
            cli, ["import", str(path), "-o", str(out), "--dialect", "sinabs", "--force", *given]
        )
        assert done.exit_code == 0, done.output
        assert load_network(out).graph.nodes[2].max_spikes == most
        assert (f"up to {most} spikes" in done.output) == (most > 1)
    for word, said in (
        ("128", "128"),
        ("0", "0"),
        ("two", "'two'"),
        ("-1", "'-1'"),
        ("1" * 30, f"'{'1' * 30}'"),
    ):
        done = CliRunner().invoke(
            cli, ["import", str(path), "-o", str(out), "--dialect", "sinabs", "--spikes-per-step", word]
        )
        assert type(done.exception) is InputError
        assert str(done.exception) == f"spikes per step {said}: unknown. Allowed: one, many, 1 to 127."


def test_recorded_spikes_are_compared_by_number(tmp_path):
    values, spikes, _ = GOLDEN["sinabs", None]
    path = neuron_of("sinabs", tmp_path)
    network = from_nir(path, dialect="sinabs", framing=Framing(time_bins=5, clip=1))
    shown = np.array(values, float).reshape(1, -1, 1)

    def recorded(sent):
        np.savez(tmp_path / "own.npz", input=shown, n=np.array(sent, float).reshape(1, -1, 1))
        return tmp_path / "own.npz"

    checked = check_recorded(network, recorded(spikes))
    assert (checked["spikes"], checked["differences"], checked["ties"]) == (136, 0, 0)
    with pytest.raises(InputError) as error:
        check_recorded(network, recorded([2, 0, 0, 6, 127]))
    assert str(error.value) == (
        "w.lif: the first difference is at step 3, neuron [0, 0, 0]: the graph sends 7 with a membrane of 1.125, the framework 6. No other "
        "spike test, reset, delay or number of spikes agrees: look at decay, gain and threshold."
    )
    # One spike a step, of the same neuron: 5, then 1.5.
    once = from_nir(path, dialect="sinabs", framing=Framing(time_bins=3, clip=1), spikes_per_step="one")
    shown = shown[:, :3]
    with pytest.raises(InputError, match=r"reset delay 0, with up to 127 spikes in a step, would agree\.$"):
        check_recorded(once, recorded([2, 0, 0]))


def test_a_tie_is_one_spike_more_or_less(tmp_path):
    # 3 thresholds exactly: 2 or 3 spikes may be rounding; 1 is not.
    path = one_neuron(tmp_path / "one.nir", SINABS)
    network = from_nir(path, dialect="sinabs", framing=Framing(time_bins=1, clip=1))
    for sent, ties in ((3, 0), (2, 1), (4, None), (1, None)):
        np.savez(tmp_path / "own.npz", input=np.full((1, 1, 1), 12.0), n=np.full((1, 1, 1), float(sent)))
        if ties is None:
            with pytest.raises(InputError, match=f"the graph sends 3 with a membrane of 0, the framework {sent}"):  # fmt: skip
                check_recorded(network, tmp_path / "own.npz")
        else:
            assert check_recorded(network, tmp_path / "own.npz")["ties"] == ties


@pytest.mark.parametrize("spike_test", [">=", ">"])
@pytest.mark.parametrize(("reset", "delay"), [("subtract", 1), ("subtract", 0), ("zero", 0)])
def test_our_own_files_give_every_spike_back(tmp_path, spike_test, reset, delay):
    # A pool of 3 x 2 values stands behind the first neurons.
    program = exact_program(spike_test=spike_test, reset=reset, reset_delay=delay, max_spikes=21)
    counts = counts_for(program)
    exported = export_nir(program, tmp_path / "p.nir", counts)
    assert exported.differing == 0 and exported.spikes > 50
    with h5py.File(exported.path) as file:
        own = json.loads(file["node/metadata/sastdeploy"][()])
    assert own["spikes_per_step"] == own["layers"][0]["max_spikes"] == 21
    network = read_back(program, exported.path)
    assert [node.max_spikes for node in network.graph.nodes if node.kind == "lif"] == [21, 21]
    assert max(spikes.max() for spikes in interpret(network.graph, counts).spikes) > 1


def test_files_of_one_spike_say_nothing_of_it_and_a_wrong_number_is_refused(tmp_path):
    exported = export_nir(exact_program(), tmp_path / "p.nir")
    with h5py.File(exported.path) as file:
        assert "spikes_per_step" not in json.loads(file["node/metadata/sastdeploy"][()])
    exported = export_nir(exact_program(max_spikes=2), tmp_path / "q.nir")
    for wrong in (0, 128, "many", True, 2.0):
        with h5py.File(exported.path, "a") as file:
            own = json.loads(file["node/metadata/sastdeploy"][()])
            file["node/metadata/sastdeploy"][()] = json.dumps({**own, "spikes_per_step": wrong})
        with pytest.raises(InputError, match=r"its metadata say spikes_per_step = .*Allowed: 1 to 127\."):
            read_back(exact_program(max_spikes=2), exported.path)


def test_neurons_of_different_numbers_are_no_nir_file(tmp_path):
    program = exact_program(max_spikes=3)
    *layers, last = program.layers
    assert isinstance(last, DenseLif)
    other = replace(last, lif=replace(last.lif, max_spikes=4))
    with pytest.raises(InputError, match="layer fc: max_spikes is 4, and 3 in conv"):
        export_nir(replace(program, layers=(*layers, other)), tmp_path / "p.nir")


@pytest.fixture
def sinabs():
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    return pytest.importorskip("sinabs.layers")


def most_spikes(network):
    return [node.max_spikes for node in network.graph.nodes if node.kind == "lif"]


@pytest.mark.parametrize("norm_input", [True, False])
@pytest.mark.parametrize("tau_syn", [None, 5.0])
@pytest.mark.parametrize("most", [None, 3])
def test_sinabs_layers_spike_by_spike(sinabs, norm_input, tau_syn, most):
    from sinabs.activation import MaxSpike, MembraneReset, MultiSpike

    first = sinabs.LIFSqueeze(
        tau_mem=10.0, tau_syn=tau_syn, norm_input=norm_input, spike_threshold=f32_of(0.1), batch_size=1,
        spike_fn=MultiSpike if most is None else MaxSpike(most),
    )  # fmt: skip
    second = sinabs.IAFSqueeze(
        spike_fn=MaxSpike(5), reset_fn=MembraneReset(), spike_threshold=torch.linspace(0.2, 0.6, 5), num_timesteps=7,
    )  # fmt: skip
    network = from_module(body(first, second), EXAMPLE)
    assert most_spikes(network) == [most or 127, 5]
    checked = network.provenance["checked"]
    assert checked["spikes"] > 1000 and checked["differences"] == 0


def f32_of(value):
    return torch.as_tensor(value, dtype=torch.float32)


def test_sinabs_default_and_its_end(sinabs):
    from sinabs.activation import MaxSpike

    kinds = [sinabs.IAF(), *(sinabs.IAF(spike_fn=MaxSpike(most)) for most in (None, 200, 1))]
    layers = [part for kind in kinds for part in (nn.Linear(3, 3), kind)]
    torch.manual_seed(0)
    assert most_spikes(from_module(nn.Sequential(*layers), torch.zeros(1, 3))) == [127, 127, 127, 1]
    with pytest.raises(CompileError) as error:
        from_module(nn.Sequential(nn.Linear(3, 3), sinabs.IAF(spike_fn=MaxSpike(0))), torch.zeros(1, 3))
    assert str(error.value) == (
        "1: spike_fn MaxSpike, which no engine computes. Build its neurons with SingleSpike, MultiSpike or MaxSpike of at least 1."
    )


def test_more_spikes_than_engines_send_are_a_difference(sinabs):
    net = nn.Sequential(nn.Linear(1, 1, bias=False), sinabs.IAF(spike_threshold=f32_of(0.0078125)))
    net[0].weight.data[:] = 1.0
    with pytest.raises(InputError) as error:
        from_module(net, torch.zeros(1, 1))
    assert str(error.value) == (
        "0.lif: the first difference is at step 0, neuron [0, 0, 0]: the graph sends 127 with a membrane of 2.0078125, the module 384. "
        "Engines send up to 127 in a step."
    )


def test_a_live_network_of_sinabs_becomes_a_program(sinabs):
    first = sinabs.LIFSqueeze(tau_mem=10.0, spike_threshold=f32_of(0.1), batch_size=1)
    net = body(first, sinabs.IAFSqueeze(batch_size=1))
    net[1] = nn.Identity()
    net[4] = nn.Linear(256, 5)
    network = from_module(net, EXAMPLE, framing=Framing(time_bins=6, clip=3))
    program = compile(network, "cortex_m", neuron="profile").program
    assert [layer.lif.max_spikes for layer in program.layers] == [127, 127]
    shown = Frames.from_dense(np.random.default_rng(0).integers(0, 4, (2, 6, 2, 8, 8)))
    assert (
        reference.run(program, shown, trace=(program.layers[0].name,))
        .traces[program.layers[0].name]
        .spikes.max()
        > 2
    )
