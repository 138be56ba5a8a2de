"""The one-pass Adam against torch's, its definition."""

import numba
import numpy as np
import pytest
import torch

from sastdeploy.networks.architecture import Architecture, Dense, Neuron, Readout
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import _PIECE, FusedAdam, PlainAdam, adam
from sastdeploy.training.sharpness import gradient_norm
from tests.small_networks import CONV, DENSE

LARGE = Architecture("large", (2, 34, 34), (Dense(5),), Readout(), 10, Neuron())
"""Its first weight is more than two of the optimiser's pieces, and not a whole number of them."""


def network_of(architecture, fused=True, seed=0):
    network = SpikingNetwork(architecture, fused)
    network.initialise(torch.Generator().manual_seed(seed))
    return network


def give_gradients(network, step, without=()):
    for i, parameter in enumerate(network.parameters()):
        drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * step + i))
        parameter.grad = None if i in without else drawn * 10.0 ** (i - 2)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("architecture", [DENSE, CONV, LARGE])
def test_steps_equal_those_of_torch_within_rounding(architecture, weight_decay):
    networks = [network_of(architecture) for _ in range(2)]
    fused, plain = FusedAdam(networks[0], weight_decay), PlainAdam(networks[1], weight_decay)
    for step in range(20):
        for network in networks:
            give_gradients(network, step)
        rate = 1e-2 / (step + 1)
        assert fused.step(rate) == pytest.approx(plain.step(rate), rel=1e-6)
    for ours, theirs in zip(*(network.parameters() for network in networks)):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_large_network_crosses_pieces():
    numbers = next(network_of(LARGE).parameters()).numel()
    assert numbers > 2 * _PIECE and numbers % _PIECE


def test_first_step_worked_out_by_hand():
    network = network_of(DENSE)
    before = [p.detach().clone() for p in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, -2.0)
    numbers = sum(p.numel() for p in before)
    # Both means are corrected to the gradient itself and its square: the step is the rate, against the sign.
    assert FusedAdam(network, 0.0).step(0.25) == pytest.approx(2.0 * numbers**0.5)
    for parameter, old in zip(network.parameters(), before):
        assert torch.allclose(parameter, old + 0.25, atol=1e-6)


def test_norm_is_that_of_the_gradients_before_the_step():
    network = network_of(CONV)
    give_gradients(network, 0)
    expected = gradient_norm(network)
    assert FusedAdam(network, 0.0).step(1e-3) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", [FusedAdam, PlainAdam])
def test_a_parameter_without_gradient_stays(kind):
    network = network_of(DENSE)
    give_gradients(network, 0, without=(0,))
    first = next(network.parameters()).detach().clone()
    kind(network, 0.1).step(1e-2)
    assert torch.equal(next(network.parameters()), first)


@pytest.mark.parametrize("kind", [FusedAdam, PlainAdam])
def test_state_goes_on_with_the_same_bits(kind):
    whole, first = network_of(DENSE), network_of(DENSE)
    steady, early = kind(whole, 0.1), kind(first, 0.1)
    for step in range(3):
        for network, optimiser in ((whole, steady), (first, early)):
            give_gradients(network, step)
            optimiser.step(1e-2)
    second = network_of(DENSE, seed=5)
    second.load_arrays(first.parameters_as_arrays())
    late = kind(second, 0.1)
    late.load_state_dict(early.state_dict())
    for network, optimiser in ((whole, steady), (second, late)):
        give_gradients(network, 3)
        optimiser.step(1e-2)
    for ours, theirs in zip(whole.parameters(), second.parameters()):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="this machine gives Numba one thread")
def test_bits_do_not_depend_on_the_number_of_threads():
    ended = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        try:
            network = network_of(LARGE)
            optimiser = FusedAdam(network, 0.1)
            for step in range(3):
                give_gradients(network, step)
                norm = optimiser.step(1e-2)
        finally:
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        ended.append((norm, network.parameters_as_arrays()))
    assert ended[0][0] == ended[1][0]
    assert all(np.array_equal(ended[0][1][name], ended[1][1][name]) for name in ended[0][1])


def test_kernels_choose_the_optimiser():
    assert isinstance(adam(network_of(DENSE), 0.0), FusedAdam)
    assert isinstance(adam(network_of(DENSE, fused=False), 0.0), PlainAdam)
