"""SAST's gradient: two passes, exact steps, and weights that come back bit for bit."""

import numpy as np
import pytest
import torch

from sastdeploy.training.epoch import FIRST, SECOND, batches
from sastdeploy.training.settings import TrainingSettings
from sastdeploy.training.sharpness import gradient_norm, plain_gradient, sharpness_aware_gradient
from tests.small_trainings import fit, gradients, losses


def test_sast_is_the_gradient_of_b_prime_at_w_plus_eps_and_w_is_kept_bit_for_bit():
    network, first, second = losses()
    before = [p.detach().clone() for p in network.parameters()]
    plain_gradient(network, first)
    g = gradients(network)
    norm = torch.sqrt(sum((x.double() ** 2).sum() for x in g))
    with torch.no_grad():
        for p, x in zip(network.parameters(), g):
            p.add_(0.3 * x / (norm + 1e-12))
    moved = torch.sqrt(
        sum(((p.detach() - w).double() ** 2).sum() for p, w in zip(network.parameters(), before))
    )
    assert float(moved) == pytest.approx(0.3, rel=1e-4)
    plain_gradient(network, second)
    expected = gradients(network)
    with torch.no_grad():
        for p, w in zip(network.parameters(), before):
            p.copy_(w)
    sharpness_aware_gradient(network, first, second, 0.3)
    assert all(torch.equal(p, w) for p, w in zip(network.parameters(), before))
    size = float(torch.sqrt(sum((x**2).sum() for x in expected)))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-4 * size) for a, b in zip(gradients(network), expected))
    assert not all(torch.allclose(a, b, rtol=0, atol=1e-2 * size) for a, b in zip(g, expected))


def test_rho_0_on_the_same_batch_equals_the_baseline_bit_for_bit():
    network, first, _ = losses()
    plain_gradient(network, first)
    expected = gradients(network)
    sharpness_aware_gradient(network, first, first, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(gradients(network), expected))


def test_rho_0_trains_the_baseline_bit_for_bit_when_given_the_same_batches(tmp_path, monkeypatch):
    baseline = fit(tmp_path / "a.pt")
    monkeypatch.setattr("sastdeploy.training.epoch.SECOND", FIRST)
    sast = fit(tmp_path / "b.pt", TrainingSettings("sast", 0.0, epochs=3, batch_size=8))
    assert all(np.array_equal(sast.parameters[k], v) for k, v in baseline.parameters.items())


def test_a_failure_in_the_second_pass_still_restores_w():
    network, first, _ = losses()
    before = [p.detach().clone() for p in network.parameters()]

    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        sharpness_aware_gradient(network, first, fail, 0.3)
    assert all(torch.equal(p, w) for p, w in zip(network.parameters(), before))


def test_a_vanishing_gradient_does_not_divide_by_zero():
    network, _, _ = losses()
    sharpness_aware_gradient(
        network,
        lambda: 0.0 * network.value("readout.bias").sum(),
        lambda: network.value("readout.bias").sum(),
        0.3,
    )
    assert np.isfinite(gradient_norm(network))


def test_the_two_streams_of_minibatches_are_independent_and_whole():
    first = np.concatenate(list(batches(100, 8, 0, FIRST, 0)))
    second = np.concatenate(list(batches(100, 8, 0, SECOND, 0)))
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first == second).mean() < 0.2
    assert not np.array_equal(first, np.concatenate(list(batches(100, 8, 0, FIRST, 1))))
    assert not np.array_equal(first, np.concatenate(list(batches(100, 8, 1, FIRST, 0))))
