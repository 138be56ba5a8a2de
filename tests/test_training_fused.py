"""The fused training kernels against plain torch, their definition."""

from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_allocations import counted_allocations
from without_jit import JIT_ONLY

from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture, Dense, Neuron, Readout
from sastdeploy.networks.builtin import builtin
from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training.fused import fits, run_lif_fused
from sastdeploy.training.inference import frame_values, network_inputs
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.neurons import run_lif
from sastdeploy.training.optimiser import adam
from sastdeploy.training.sparse import SparseFrames, _sorted
from sastdeploy.training.sparse_kernels import pieces, sum_inputs, sum_rows
from tests.small_networks import CONV, DENSE, POOL, checkpoint_of, labelled


def gradients_of(network, x):
    network.zero_grad(set_to_none=True)
    scores = network(x)
    scores.square().sum().backward()
    return [scores.detach(), *(p.grad.clone() for p in network.parameters())]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 3), st.integers(1, 40),
    st.sampled_from([0.0, 0.5, 0.875, 1.0]), st.sampled_from([1.0, 25.0]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_one_layer_equals_the_plain_one(steps, recordings, neurons, alpha, slope, hard, seed):
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(steps, recordings, neurons, generator=generator)
    threshold = torch.rand(neurons, generator=generator) + 0.5
    weight = torch.randn(steps, recordings, neurons, generator=generator)
    exact = current.double().requires_grad_()
    s, u = run_lif(exact, threshold.double(), alpha, slope, hard)
    fused_current = current.clone().requires_grad_()
    fused_s, fused_u = run_lif_fused(fused_current * 1.0, threshold, alpha, slope, hard)
    # Membranes: a few float32 roundings per step. Spikes: those, times the surrogate's steepest slope k / pi.
    assert torch.allclose(fused_u.double(), u.detach(), rtol=0, atol=4e-6 * float(u.detach().abs().max() + 1))
    if hard:
        near = (u.detach() - threshold).abs() < 1e-4
        assert torch.equal(fused_s.double()[~near], s.detach()[~near])
        return
    assert torch.allclose(fused_s.double(), s.detach(), rtol=0, atol=4e-5)
    (s * weight).sum().backward()
    (fused_s * weight).sum().backward()
    scale = float(exact.grad.abs().max()) + 1e-30
    assert torch.allclose(fused_current.grad.double(), exact.grad, rtol=0, atol=1e-3 * scale)


def test_channels_may_lie_last_in_memory():
    """A layer's spikes, membranes and gradient do not depend on where the channels lie."""
    generator = torch.Generator().manual_seed(0)
    threshold = (torch.rand(3, generator=generator) + 0.5).view(-1, 1, 1)
    drive = torch.randn(4, 2, 3, 5, 6, generator=generator)
    weight = torch.randn(4, 2, 3, 5, 6, generator=generator)
    last = drive.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(drive.shape)
    assert not last.is_contiguous()
    results = []
    for form in (drive, last):
        current = form.clone(memory_format=torch.preserve_format).requires_grad_()
        s, u = run_lif_fused(current * 1.0, threshold, 0.5, 25.0, False)
        (s * weight).sum().backward()
        results.append((s.detach(), u, current.grad))
    for one, other in zip(*results):
        assert torch.equal(one, other)
    expected = run_lif(drive.double(), threshold.double(), 0.5, 25.0, False)
    assert torch.allclose(results[1][0].double(), expected[0], atol=4e-5)


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_networks_at_their_initial_weights_agree_within_rounding(architecture):
    data, preprocessing = labelled(architecture, 8), checkpoint_of(architecture).preprocessing
    results = []
    for fused in (True, False):
        network = SpikingNetwork(architecture, fused)
        network.initialise(torch.Generator().manual_seed(3))
        results.append(
            gradients_of(network, network_inputs(network, data.frames, preprocessing)(slice(None)))
        )
    for fused_part, plain in zip(*results):
        fused_part = fused_part if fused_part.shape == plain.shape else fused_part.t()
        assert torch.allclose(fused_part, plain, rtol=0, atol=1e-5 * float(plain.abs().max()))


def test_initial_weights_do_not_depend_on_the_kernels():
    arrays = []
    for fused in (True, False):
        network = SpikingNetwork(DENSE, fused)
        network.initialise(torch.Generator().manual_seed(5))
        arrays.append(network.parameters_as_arrays())
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


@pytest.mark.parametrize("width", [1, 8, 13, 200])
def test_gradients_are_the_same_bits_every_time_and_on_any_number_of_threads(width):
    wide = Architecture("wide", (2, 4, 4), (Dense(width), Dense(5)), Readout(), 3)
    data, preprocessing = labelled(wide, 20), checkpoint_of(wide).preprocessing
    network = SpikingNetwork(wide)
    network.initialise(torch.Generator().manual_seed(1))
    x = SparseFrames(data.frames, preprocessing).draw(slice(None))
    first, before = gradients_of(network, x), numba.get_num_threads()
    try:
        for threads in range(1, before + 1):
            numba.set_num_threads(threads)
            for one, other in zip(first, gradients_of(network, x)):
                assert torch.equal(one, other)
    finally:
        numba.set_num_threads(before)


def test_what_the_kernels_do_not_take_runs_in_plain_torch():
    assert fits(torch.zeros(1)) and not fits(torch.zeros(1, dtype=torch.float64))
    assert not SpikingNetwork(DENSE, fused=False).takes_sparse and not SpikingNetwork(CONV).takes_sparse
    network = SpikingNetwork(DENSE)
    network.initialise(torch.Generator().manual_seed(0))
    x = torch.rand(2, 6, 2, 4, 4)
    plain = SpikingNetwork(DENSE, fused=False)
    plain.load_arrays(network.parameters_as_arrays())
    with torch.no_grad():
        assert torch.equal(network.double()(x.double()), plain.double()(x.double()))


def test_a_second_backward_pass_is_refused_not_wrong():
    current = torch.ones(2, 1, 3, requires_grad=True)
    s, _ = run_lif_fused(current * 1.0, torch.ones(3), 0.5, 25.0, False)
    s.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass only"):
        s.sum().backward()


def test_recordings_without_events_and_empty_batches():
    network = SpikingNetwork(DENSE)
    network.initialise(torch.Generator().manual_seed(0))
    empty = Frames.from_dense(np.zeros((2, 6, 2, 4, 4), np.uint8))
    preprocessing = checkpoint_of(DENSE).preprocessing
    gradients = gradients_of(network, SparseFrames(empty, preprocessing).draw(slice(None)))
    assert not gradients[1].any()
    dense = network(frame_values(empty, slice(None), preprocessing))
    assert torch.allclose(gradients[0], dense.detach(), atol=1e-6)


def test_settings_name_the_kernels():
    from sastdeploy.training.settings import TrainingSettings

    assert TrainingSettings().to_dict()["kernels"] == "fused"
    with pytest.raises(InputError, match=r"kernels 'cuda': unknown\. Allowed: fused, torch, packed\."):
        TrainingSettings(kernels="cuda")
    assert Neuron().slope == 25.0


def sparse_digits(recordings, seed):
    """Return frames of N-MNIST's size with 8 % of the inputs active, counts 1 to 3, and what a count is worth."""
    rng = np.random.default_rng(seed)
    shape = (recordings, 10, 2, 34, 34)
    counts = (rng.random(shape) < 0.08) * rng.integers(1, 4, shape)
    return Frames.from_dense(counts.astype(np.uint8)), Preprocessing((34, 34, 2), (34, 34), 10, 3, 3.0)


def three_ways(name, recordings, seed, scale):
    """Return scores and gradients by parameter: of the fused kernels, of plain torch, and of plain torch in float64."""
    results, (frames, preprocessing) = [], sparse_digits(recordings, seed)
    for fused, dtype in ((True, torch.float32), (False, torch.float32), (False, torch.float64)):
        network = SpikingNetwork(builtin(name, frames.shape, 10), fused)
        # Drawn in float32, so that all three have the same weights.
        network.initialise(torch.Generator().manual_seed(seed), scale)
        network.to(dtype)
        if dtype == torch.float64:
            x = frame_values(frames, slice(None), preprocessing, dtype)
        else:
            x = network_inputs(network, frames, preprocessing)(slice(None))
        scores, *gradients = gradients_of(network, x)
        names = network.learnable_by_name()
        results.append([scores, *(network.as_kept(n, g) for n, g in zip(names, gradients))])
    return results


def distance(part, exact):
    """Return how far gradients lie from float64's: Euclidean, all parameters together."""
    return sum(float((one.double() - e).square().sum()) for one, e in zip(part[1:], exact[1:])) ** 0.5


SMALL_BATCHES = pytest.mark.parametrize(
    ("name", "recordings", "seeds"), [("fc_0p40m", 16, range(5)), ("conv_0p42m", 1, range(2))]
)


@SMALL_BATCHES
def test_the_papers_networks_at_their_initial_weights_agree_within_the_stated_bound(name, recordings, seeds):
    for seed in seeds:
        fused, plain, exact = three_ways(name, recordings, seed, 1.0)
        for one, other, e in zip(fused, plain, exact):
            largest = float(e.abs().max())
            assert largest > 0
            assert float((one - other).abs().max()) <= 1e-5 * largest
            assert float((one.double() - e).abs().max()) <= 1e-5 * largest
        assert 0 < distance(fused, exact) <= distance(plain, exact)


@SMALL_BATCHES
def test_with_large_weights_fused_and_plain_lie_about_as_far_from_float64(name, recordings, seeds):
    """Four times the initial weights: a last bit is amplified in both, in which of them more is chance."""
    ratios = []
    for seed in seeds:
        fused, plain, exact = three_ways(name, recordings, seed, 4.0)
        ratios.append(distance(fused, exact) / distance(plain, exact))
    assert np.exp(np.mean(np.log(ratios))) <= 2.5


@pytest.mark.parametrize(("width", "columns"), [(168, 168), (13, 16)])
def test_the_sparse_layer_reads_one_row_per_active_input_and_per_pair_of_inputs(width, columns):
    """Counted by the kernels themselves: where all rows and values are 1, the sums of all columns are the numbers read."""
    frames, preprocessing = sparse_digits(3, 0)
    x = SparseFrames(frames, preprocessing).draw(slice(None))
    ones = replace(x, worth=np.ones_like(x.worth))
    active = frames.dense().reshape(30, 2312) > 0
    shape, padded = pieces(width)
    assert padded == columns
    out = np.empty((30, columns), np.float32)
    rows, none = np.ones((2312, columns), np.float32), np.zeros(columns, np.float32)
    sum_inputs(x.start, x.stop, x.index, x.count, ones.worth, x.which, rows, none, *shape, out)
    assert out.sum(dtype=np.float64) == active.sum() * columns
    # Backward: a gradient row is read once for both inputs of a pair, and goes to each of them that is active.
    ends, entry = _sorted(x)
    lists = np.diff(ends.astype(np.int64), prepend=0)[:-1].reshape(-1, 4)
    assert lists[:, :3].sum() == active.reshape(30, -1, 2).any(axis=2).sum() < active.sum()
    gradient, out = np.ones((30, columns), np.float32), np.empty((2312, columns), np.float32)
    sum_rows(ends, entry, ones.worth, x.which, gradient, *shape, out)
    assert out.sum(dtype=np.float64) == active.sum() * columns


@JIT_ONLY
@pytest.mark.parametrize("architecture", [DENSE, CONV])
def test_a_training_step_asks_for_no_more_memory_in_kernels_than_the_first_and_for_none_per_recording(
    architecture,
):
    data, preprocessing = labelled(architecture, 40), checkpoint_of(architecture).preprocessing
    network = SpikingNetwork(architecture)
    network.initialise(torch.Generator().manual_seed(0))
    optimiser, draw = adam(network, 1e-4), network_inputs(network, data.frames, preprocessing)
    gradients_of(network, draw(slice(2)))
    optimiser.step(0.0)
    counts = []
    with counted_allocations() as now:
        for chosen in (slice(2), slice(2), slice(0, 8), slice(0, 40)):
            before = now()
            gradients_of(network, draw(chosen))
            optimiser.step(1e-3)
            counts.append(now() - before)
    assert counts[0] == counts[1] == counts[2] == counts[3] > 0
