"""The neuron and the network: order of a step, exact gradients, fresh state."""

import math

import numpy as np
import pytest
import torch

from sastdeploy.networks.architecture import Architecture, AvgPool, Conv, Dense, Neuron, Readout
from sastdeploy.training.inference import frame_values, network_of, run
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.neurons import heaviside, run_lif, surrogate
from tests.small_networks import CONV, DENSE, POOL, checkpoint_of, labelled


def test_the_surrogate_by_hand():
    # sigma(0) = 1/2; sigma(1/25) = 1/2 + arctan(1) / pi = 3/4; sigma(-1) = 1/2 - arctan(25) / pi = 0.012727...
    x = torch.tensor([0.0, 0.04, -1.0], dtype=torch.float64)
    assert surrogate(x, 25.0).tolist() == pytest.approx([0.5, 0.75, 0.012726], abs=1e-6)
    assert heaviside(torch.tensor([-1e-9, 0.0, 1.0])).tolist() == [0.0, 1.0, 1.0]


def test_the_surrogates_slope_is_k_over_pi_at_most():
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    surrogate(x, 25.0).sum().backward()
    assert float(x.grad) == pytest.approx(25 / math.pi)


def lif(currents, **options):
    current = torch.tensor(currents, dtype=torch.float64).view(-1, 1, 1)
    spikes, membranes = run_lif(
        current, torch.ones(1, dtype=torch.float64), options.get("alpha", 0.5), 25.0, True
    )
    return spikes.view(-1).tolist(), membranes.view(-1).tolist()


def test_the_order_of_a_step_by_hand():
    # alpha 1/2, theta 1, currents 1.5, 0.5, 0.5, 1.0:
    # t0: u = 1.5            -> spike
    # t1: u = 0.75 + 0.5 - 1 = 0.25   (the reset comes one step later, and theta is not decayed)
    # t2: u = 0.125 + 0.5 = 0.625
    # t3: u = 0.3125 + 1 = 1.3125     -> spike
    # At once (u = 0.5 after the spike): t1 would be 0.75, t2 0.875, t3 1.4375. Decaying theta: the same as at once.
    assert lif([1.5, 0.5, 0.5, 1.0]) == ([1, 0, 0, 1], [1.5, 0.25, 0.625, 1.3125])


def test_a_membrane_exactly_at_the_threshold_fires():
    assert lif([1.0, 0.5])[0] == [1, 0]


@pytest.mark.parametrize("layers", [
    (Dense(4), Dense(3)), (Conv(2, 3, 2, 1), Dense(3)), (Conv(2, 3, 1, 1), AvgPool(2), Dense(3)),
])  # fmt: skip
def test_the_gradient_through_time_is_exact(layers):
    architecture = Architecture("a", (1, 4, 4), layers, Readout(), 2, Neuron(slope=5.0))
    network = SpikingNetwork(architecture, fused=False).double()
    network.initialise(torch.Generator().manual_seed(0))
    names = list(dict(network.named_parameters()))
    x = torch.rand(2, 4, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2

    def scores(*parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters)), (x,))

    assert torch.autograd.gradcheck(scores, tuple(p.detach().requires_grad_() for p in network.parameters()))


def test_global_average_pooling_and_its_gradient():
    network = SpikingNetwork(CONV, fused=False).double()
    network.initialise(torch.Generator().manual_seed(0))
    x = torch.rand(2, 3, 2, 9, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: network(v), (x,), fast_mode=True)


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_calls_are_independent(architecture):
    network = network_of(checkpoint_of(architecture))
    x = frame_values(labelled(architecture, 4).frames, slice(None), checkpoint_of(architecture).preprocessing)
    with torch.no_grad():
        first = network(x)
        network(torch.ones_like(x))
        assert torch.equal(network(x), first)
        # Another batch size may group float sums differently; state left over would show far above this.
        assert torch.allclose(network(x[:2]), first[:2], atol=1e-5)


def test_hard_evaluation_changes_the_spike_and_nothing_else():
    checkpoint, data = checkpoint_of(), labelled(count=6)
    hard = run(checkpoint, data.frames, record=True)
    assert set(np.unique(hard.spikes[0])) <= {0.0, 1.0} and 0 < hard.spikes[0].mean() < 1
    steep = checkpoint_of(DENSE)
    surrogate = SpikingNetwork(
        Architecture(DENSE.name, DENSE.input_shape, DENSE.layers, DENSE.readout, 3, Neuron(slope=1e9))
    ).double()
    surrogate.load_arrays(steep.parameters)
    x = frame_values(data.frames, slice(None), checkpoint.preprocessing, torch.float64)
    with torch.no_grad():
        assert np.allclose(surrogate(x).numpy(), hard.scores, atol=1e-5)


def test_frame_values_by_hand():
    data = labelled(count=2)
    counts = data.frames.dense()
    fixed = frame_values(data.frames, slice(None), checkpoint_of(c_clip=2, divisor=4.0).preprocessing)
    assert np.array_equal(fixed.numpy(), np.minimum(counts, 2) / np.float32(4))
    own = checkpoint_of().preprocessing
    relative = frame_values(
        data.frames, slice(None), type(own)(**{**own.__dict__, "normalisation": "sample_max"}), torch.float64
    )
    assert np.allclose(relative.numpy(), counts / counts.max(axis=(1, 2, 3, 4), keepdims=True))


def test_frames_keep_what_a_networks_clip_cuts_off():
    from sastdeploy.recordings.frames import Frames

    frames, own = (
        Frames.from_dense(np.array([51, 255]).reshape(1, 1, 1, 1, 2)),
        checkpoint_of(c_clip=127, divisor=127.0),
    )
    clipped = frame_values(frames, slice(None), own.preprocessing, torch.float64)
    assert clipped.reshape(-1).tolist() == [51 / 127, 1.0]
    largest = type(own.preprocessing)(**{**own.preprocessing.__dict__, "normalisation": "sample_max"})
    assert frame_values(frames, slice(None), largest, torch.float64).reshape(-1).tolist() == [0.2, 1.0]


def test_a_recording_without_events_is_all_zero():
    from sastdeploy.recordings.frames import Frames

    empty = Frames.from_dense(np.zeros((2, 6, 2, 4, 4), np.uint8))
    assert not frame_values(empty, slice(None), checkpoint_of().preprocessing).any()
    assert run(checkpoint_of(), empty).scores.shape == (2, 3)


@pytest.mark.parametrize("normalisation", ["fixed", "sample_max"])
def test_sparse_frames_give_the_dense_sums_and_gradients(normalisation):
    from sastdeploy.recordings.preprocessing import Preprocessing
    from sastdeploy.training.sparse import SparseFrames

    data = labelled(count=9)
    preprocessing = Preprocessing((4, 4, 2), (4, 4), 6, 3, 5.0, normalisation)
    chosen = np.array([8, 0, 3, 3])
    # A steep surrogate multiplies a last bit's difference by up to 8 per layer and step; small weights keep it visible.
    network = network_of(checkpoint_of(spread=0.05))
    results = []
    for x in (
        frame_values(data.frames, chosen, preprocessing),
        SparseFrames(data.frames, preprocessing).draw(chosen),
    ):
        network.zero_grad(set_to_none=True)
        scores = network(x)
        scores.square().sum().backward()
        results.append([scores.detach(), *(p.grad.clone() for p in network.parameters())])
    for dense, sparse in zip(*results):
        # float32 sums in another order: a few units in the last place of the largest term
        assert torch.allclose(dense, sparse, rtol=0, atol=2e-5 * float(dense.abs().max()))


def test_sparse_sums_do_not_depend_on_the_number_of_threads():
    import numba

    from sastdeploy.networks.architecture import Architecture
    from sastdeploy.training.sparse import SparseFrames

    wide = Architecture("wide", (2, 4, 4), (Dense(150),), Readout(), 3)
    checkpoint, data = checkpoint_of(wide), labelled(wide, 20)
    network, before = network_of(checkpoint), numba.get_num_threads()
    gradients = []
    try:
        for threads in range(1, before + 1):
            numba.set_num_threads(threads)
            network.zero_grad(set_to_none=True)
            network(
                SparseFrames(data.frames, checkpoint.preprocessing).draw(slice(None))
            ).square().sum().backward()
            gradients.append(network.learnable["layers_0_weight"].grad.clone())
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(gradients[0], other) for other in gradients)
