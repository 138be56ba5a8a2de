"""SAST's rivals: hard forward, annealed slope, ASAM, random steps, weight decay, quantized weights."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.errors import InputError
from sastdeploy.program.fixedpoint import tensor_scale, weight_codes
from sastdeploy.training.fused import run_lif_fused
from sastdeploy.training.inference import frame_values
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.neurons import run_lif
from sastdeploy.training.quantized import quantized_weights
from sastdeploy.training.settings import TrainingSettings
from sastdeploy.training.sharpness import (
    plain_gradient,
    random_direction_gradient,
    sharpness_aware_gradient,
)
from tests.small_networks import DENSE, labelled
from tests.small_trainings import PRE, fit, gradients, losses


def log_of(path):
    return [json.loads(line) for line in path.with_name(path.name + ".jsonl").read_text("utf-8").splitlines()]


def test_hard_spikes_forward_take_the_surrogates_gradient_by_hand():
    # One neuron, two steps, alpha 1/2, theta 1, k 2: u = 1.5 (spike), then 0.75 + 0.5 - 1 = 0.25 (none).
    current = torch.tensor([1.5, 0.5], dtype=torch.float64).view(2, 1, 1).requires_grad_()
    s, u = run_lif(current, torch.ones(1, dtype=torch.float64), 0.5, 2.0, True)
    assert s.flatten().tolist() == [1.0, 0.0] and u.flatten().tolist() == [1.5, 0.25]
    s.sum().backward()

    def slope(x):
        return 2 / math.pi / (1 + (2 * x) ** 2)

    second = slope(0.25 - 1)
    assert current.grad.flatten().tolist() == pytest.approx(
        [slope(0.5) + second * (0.5 - slope(0.5)), second]
    )
    plain = current.detach().clone().float()
    fused = plain.clone().requires_grad_()
    spikes, _ = run_lif_fused(fused * 1.0, torch.ones(1), 0.5, 2.0, True)
    spikes.sum().backward()
    assert torch.allclose(fused.grad.double(), current.grad, atol=1e-6) and torch.equal(
        spikes.double(), s.detach()
    )


def test_both_kernels_train_with_hard_spikes(tmp_path):
    settings = {"epochs": 1, "batch_size": 16, "forward": "hard"}
    one = fit(tmp_path / "a.pt", TrainingSettings(**settings))
    other = fit(tmp_path / "b.pt", TrainingSettings(**settings, kernels="torch"))
    surrogate = fit(tmp_path / "c.pt", TrainingSettings(epochs=1, batch_size=16))
    for name, value in one.parameters.items():
        assert np.allclose(value, other.parameters[name], atol=1e-4)
    assert not np.allclose(
        one.parameters["layers.0.weight"], surrogate.parameters["layers.0.weight"], atol=1e-4
    )


def test_asam_moves_each_weight_in_proportion_to_itself():
    network, first, second = losses()
    before = [p.detach().clone() for p in network.parameters()]
    plain_gradient(network, first)
    g = gradients(network)
    norm = torch.sqrt(sum(((w.abs() * x).double() ** 2).sum() for w, x in zip(before, g)))
    with torch.no_grad():
        for p, w, x in zip(network.parameters(), before, g):
            p.add_(0.5 * w * w * x / norm)
    plain_gradient(network, second)
    expected = gradients(network)
    with torch.no_grad():
        for p, w in zip(network.parameters(), before):
            p.copy_(w)
    sharpness_aware_gradient(network, first, second, 0.5, adaptive=True)
    assert all(torch.equal(p, w) for p, w in zip(network.parameters(), before))
    size = float(torch.sqrt(sum((x**2).sum() for x in expected)))
    assert all(torch.allclose(x, y, atol=1e-4 * size) for x, y in zip(gradients(network), expected))


def test_a_random_step_has_its_length_and_is_drawn_anew_each_time():
    network, first, _ = losses()
    before = [p.detach().clone() for p in network.parameters()]
    moved = []

    def loss():
        moved.append([p.detach().clone() for p in network.parameters()])
        return first()

    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        random_direction_gradient(network, loss, 0.3, generator)
        assert all(torch.equal(p, w) for p, w in zip(network.parameters(), before))
        distance = sum(((p - w).double() ** 2).sum() for p, w in zip(moved[-1], before))
        assert math.sqrt(float(distance)) == pytest.approx(0.3, rel=1e-4)
    assert not torch.equal(moved[0][0], moved[1][0])
    random_direction_gradient(network, loss, 0.3, torch.Generator().manual_seed(5))
    assert torch.equal(moved[0][0], moved[2][0])


def test_the_slope_is_annealed_in_equal_factors_and_kept_in_the_checkpoint(tmp_path):
    settings = TrainingSettings(epochs=3, batch_size=16, slope_end=100.0)
    assert [settings.slope(epoch, 25.0) for epoch in range(3)] == pytest.approx([25.0, 50.0, 100.0])
    assert TrainingSettings().slope(7, 25.0) == 25.0
    checkpoint = fit(tmp_path / "a.pt", settings)
    slopes = [record["slope"] for record in log_of(tmp_path / "a.pt")]
    assert slopes == pytest.approx([25.0, 50.0, 100.0])
    assert checkpoint.architecture.neuron.slope == slopes[checkpoint.training["selected"]["epoch"]]


def test_weight_decay_shrinks_and_the_initial_scale_multiplies(tmp_path):
    one, other = SpikingNetwork(DENSE), SpikingNetwork(DENSE)
    one.initialise(torch.Generator().manual_seed(3))
    other.initialise(torch.Generator().manual_seed(3), 2.0)
    for p, q in zip(one.parameters(), other.parameters()):
        assert torch.allclose(2 * p, q)
    options = {"epochs": 3, "batch_size": 16, "learning_rate": 0.01}
    free = fit(tmp_path / "a.pt", TrainingSettings(**options))
    held = fit(tmp_path / "b.pt", TrainingSettings(**options, weight_decay=5.0))
    name = "layers.0.weight"
    assert np.abs(held.parameters[name]).sum() < 0.9 * np.abs(free.parameters[name]).sum()


def test_weights_are_held_at_the_compilers_values_and_come_back():
    network, first, _ = losses()
    before = [p.detach().clone() for p in network.parameters()]
    with quantized_weights(network, 4):
        inside = network.parameters_as_arrays()
        plain_gradient(network, first)
        held = gradients(network)
    assert all(torch.equal(p, w) for p, w in zip(network.parameters(), before))
    exact = network.parameters_as_arrays()
    for name, value in inside.items():
        if name.endswith("weight"):
            scale = tensor_scale(np.abs(exact[name]).max(), 4)
            codes = weight_codes(exact[name].astype(np.float64), scale, 4)
            assert np.abs(codes).max() == 7 and np.array_equal(value, (codes * scale).astype(np.float32))
        else:
            assert np.array_equal(value, exact[name])
    plain_gradient(network, first)
    assert not torch.equal(held[0], gradients(network)[0])
    with pytest.raises(InputError, match="weight width 9"), quantized_weights(network, 9):
        pass


def test_quantized_epochs_are_selected_and_compile_without_further_rounding(tmp_path):
    settings = TrainingSettings(epochs=4, batch_size=8, quantize_bits=4, quantize_epochs=1)
    checkpoint = fit(tmp_path / "a.pt", settings)
    assert checkpoint.training["selected"]["epoch"] == 3
    program = compile(checkpoint, load_profile("aggressive_int4")).program
    weight = checkpoint.parameters["layers.0.weight"]
    scale = np.abs(weight).max() / 7
    assert np.array_equal(program.layers[0].weight.reshape(weight.shape), np.rint(weight / scale))
    assert np.allclose(program.layers[0].weight.reshape(weight.shape) * scale, weight, rtol=1e-6)


@pytest.mark.parametrize("options", [
    {"method": "random", "rho": 0.2}, {"method": "asam", "rho": 0.5}, {"forward": "hard"}, {"slope_end": 80.0},
    {"quantize_bits": 4, "quantize_epochs": 3}, {"weight_decay": 0.1},
])  # fmt: skip
def test_every_rival_resumes_with_the_same_bits(tmp_path, options):
    from sastdeploy.networks.checkpoint import checkpoint_hash

    settings = TrainingSettings(epochs=4, batch_size=16, **options)
    whole = fit(tmp_path / "a.pt", settings)

    class Stop(Exception):
        pass

    def stop(record):
        if record["epoch"] == 1:
            raise Stop

    with pytest.raises(Stop):
        fit(tmp_path / "b.pt", settings, report=stop)
    assert checkpoint_hash(fit(tmp_path / "b.pt", settings, resume=True)) == checkpoint_hash(whole)


def test_the_loss_of_a_hard_forward_pass_is_that_of_the_deployed_network():
    network = SpikingNetwork(DENSE)
    network.initialise(torch.Generator().manual_seed(0))
    data = labelled()
    x, y = frame_values(data.frames, slice(0, 8), PRE), torch.tensor(data.labels[:8])
    with torch.no_grad():
        deployed = float(F.cross_entropy(network(x, True), y))
    assert plain_gradient(network, lambda: F.cross_entropy(network(x, True), y)) == deployed
    assert any(float(p.grad.abs().max()) > 0 for p in network.parameters())
