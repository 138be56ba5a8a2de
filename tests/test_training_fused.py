"""The fused training kernels against plain torch, their definition."""

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy.architecture import Architecture, Dense, Neuron, Readout
from sastdeploy.errors import InputError
from sastdeploy.frames import Frames
from sastdeploy.training.fused import fits, run_lif_fused
from sastdeploy.training.inference import frame_values, network_inputs
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.neurons import run_lif
from sastdeploy.training.sparse import SparseFrames
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
    found = []
    for form in (drive, last):
        current = form.clone(memory_format=torch.preserve_format).requires_grad_()
        s, u = run_lif_fused(current * 1.0, threshold, 0.5, 25.0, False)
        (s * weight).sum().backward()
        found.append((s.detach(), u, current.grad))
    for one, other in zip(*found):
        assert torch.equal(one, other)
    expected = run_lif(drive.double(), threshold.double(), 0.5, 25.0, False)
    assert torch.allclose(found[1][0].double(), expected[0], atol=4e-5)


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


def test_an_input_outside_the_frame_is_refused_before_a_kernel_reads_it():
    data = labelled(DENSE, 2)
    index = data.frames.index.copy()
    index[1] = 32
    frames = Frames(**{**data.frames.__dict__, "index": index})
    with pytest.raises(InputError, match="input 32 lies outside the frame's 32 inputs"):
        SparseFrames(frames, checkpoint_of(DENSE).preprocessing).draw(slice(None))


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
    with pytest.raises(InputError, match=r"kernels 'cuda': unknown\. Allowed: fused, torch\."):
        TrainingSettings(kernels="cuda")
    assert Neuron().slope == 25.0
