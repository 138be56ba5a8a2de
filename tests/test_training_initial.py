"""The initialisation that starts alive: every layer spikes at step 0, with the same bits each time, as the checkpoint says."""

import numpy as np
import pytest
import torch

from sastdeploy.networks.architecture import Neuron
from sastdeploy.networks.builtin import builtin
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training.derivatives import initial_checkpoint
from sastdeploy.training.inference import SpikeCounts, frame_values, network_inputs
from sastdeploy.training.initial import ALIVE_RATE, alive_factors
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.settings import METHODS, TrainingSettings
from tests.small_networks import CONV, DENSE, POOL, checkpoint_of, labelled
from tests.small_trainings import PRE, fit


def fresh(architecture, fused=True):
    network = SpikingNetwork(architecture, fused)
    network.initialise(torch.Generator().manual_seed(0))
    return network


def spikes_of(network, x):
    counts = SpikeCounts()
    with torch.no_grad():
        network(x, True, counts)
    counts.end_batch()
    return counts.counts


def test_every_layer_of_conv_0p42m_spikes_at_step_0():
    rng = np.random.default_rng(0)
    frames = Frames.from_dense(rng.poisson(0.05, (2, 4, 2, 34, 34)).astype(np.uint8))
    x = frame_values(frames, slice(0, 2), Preprocessing((34, 34, 2), (34, 34), 4, 3, 3.0))
    network = fresh(builtin("conv_0p42m", (2, 34, 34), 10))
    assert 0 in spikes_of(network, x)  # the paper's initialisation: at least one layer is silent
    alive_factors(network, x)
    neurons = (68 * 17 * 17, 136 * 9 * 9, 272 * 5 * 5)
    rates = [count / (2 * 4 * size) for count, size in zip(spikes_of(network, x), neurons)]
    assert all(ALIVE_RATE <= rate < 1.3 * ALIVE_RATE for rate in rates)


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda a: a.name)
def test_each_factor_is_the_smallest_of_its_grid_for_both_kernels(architecture):
    frames = labelled(architecture, count=12).frames
    network = fresh(architecture)
    weights = network.parameters_as_arrays()
    factors = alive_factors(network, network_inputs(network, frames, PRE)(slice(0, 12)))
    plain = fresh(architecture, fused=False)
    x = frame_values(frames, slice(0, 12), PRE)
    assert factors == alive_factors(plain, x)
    assert all(np.log2(factor) * 8 == round(np.log2(factor) * 8) for factor in factors.values())
    for name, value in network.parameters_as_arrays().items():
        factor = 1.0 if name.endswith("threshold") else factors.get(name.rsplit(".", 1)[0], 1.0)
        assert np.allclose(value, weights[name] * factor, rtol=1e-6)
    # One step of the grid down, the layer sends too little.
    for number, name in enumerate(factors):
        with torch.no_grad():
            for part in ("weight", "bias"):
                plain.value(f"{name}.{part}").mul_(2.0**-0.125)
        record = []
        with torch.no_grad():
            plain(x, True, record)
            assert float(record[number][0].mean()) < ALIVE_RATE
            for part in ("weight", "bias"):
                plain.value(f"{name}.{part}").mul_(2.0**0.125)


def test_a_layer_that_nothing_can_bring_to_spike_keeps_its_weights():
    network = fresh(DENSE)
    with torch.no_grad():
        network.value("layers.0.weight").abs_().neg_()
        network.value("layers.0.bias").abs_().neg_()
    before = network.parameters_as_arrays()
    factors = alive_factors(network, network_inputs(network, labelled().frames, PRE)(slice(0, 8)))
    assert factors["layers.0"] == 1.0
    assert np.array_equal(network.parameters_as_arrays()["layers.0.weight"], before["layers.0.weight"])


def test_it_is_the_same_each_time_and_stands_in_the_checkpoint(tmp_path):
    settings = TrainingSettings(epochs=1, batch_size=16, init="alive")
    one, other = fit(tmp_path / "a.pt", settings), fit(tmp_path / "b.pt", settings)
    assert checkpoint_hash(one) == checkpoint_hash(other)
    training = load_checkpoint(tmp_path / "a.pt").training
    assert training["init"] == "alive" and set(training["init_factors"]) == {"layers.0", "layers.1"}
    # What analysis takes for the weights that training began with are the scaled ones.
    began = initial_checkpoint(one).parameters
    drawn = fresh(DENSE).parameters_as_arrays()
    for name in ("layers.0", "layers.1"):
        factor = training["init_factors"][name]
        assert np.allclose(began[f"{name}.weight"], factor * drawn[f"{name}.weight"], rtol=1e-6)
    assert np.array_equal(began["readout.weight"], drawn["readout.weight"])


def test_the_default_is_the_papers_and_adds_nothing_to_a_checkpoint(tmp_path):
    assert TrainingSettings().init == "paper" and "init" not in TrainingSettings().to_dict()
    assert "init_factors" not in fit(tmp_path / "a.pt", TrainingSettings(epochs=1, batch_size=16)).training
    assert Neuron() == DENSE.neuron and checkpoint_of().architecture == DENSE


def test_rho_is_the_papers_where_a_method_has_one():
    assert [TrainingSettings(method).rho for method in METHODS] == [0.0, 0.3, 0.3, 0.3]
    assert TrainingSettings("sast", 0.0).rho == 0.0 and "rho" in TrainingSettings("sast").to_dict()
