"""The sparse first layer against dense products: neighbouring inputs, wide numbers, every width."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training import fused
from sastdeploy.training.inference import frame_values
from sastdeploy.training.sparse import SparseFrames, SparseLinear, _sorted


def frames_of(recordings, bins, inputs, share, seed) -> Frames:
    counts = np.random.default_rng(seed).poisson(share, (recordings, bins, 1, 1, inputs))
    return Frames.from_dense(np.minimum(counts, 255).astype(np.uint8))


def sums_and_gradients(frames, preprocessing, width, seed):
    """Return (sparse, dense) pairs of the layer's sums and of both gradients; dense in float64."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(frames.inputs, width, generator=generator).t().requires_grad_()
    bias = torch.randn(width, generator=generator).requires_grad_()
    out = SparseLinear.apply(weight, bias, SparseFrames(frames, preprocessing).draw(slice(None)))
    given_gradient = torch.randn(out.shape, generator=generator)
    results = [out.detach(), *torch.autograd.grad(out, (weight, bias), given_gradient)]
    x = (
        frame_values(frames, slice(None), preprocessing, torch.float64)
        .transpose(0, 1)
        .flatten(0, 1)
        .flatten(1)
    )
    w, g = weight.detach().double(), given_gradient.double()
    return zip(results, [x @ w.T + bias.detach().double(), g.T @ x, g.sum(0)])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.sampled_from([0.0, 0.3, 3.0]),
    st.sampled_from([1, 13, 24, 200]), st.sampled_from(["fixed", "sample_max"]), st.integers(0, 99),
)  # fmt: skip
def test_sums_and_gradients_are_the_dense_ones(recordings, bins, inputs, share, width, normalisation, seed):
    frames = frames_of(recordings, bins, inputs, share, seed)
    preprocessing = Preprocessing((inputs, 1, 1), (inputs, 1), bins, 3, 4.0, normalisation)
    for result, exact in sums_and_gradients(frames, preprocessing, width, seed):
        # Sums of at most a dozen float32 terms.
        assert torch.allclose(result.double(), exact, rtol=0, atol=1e-5 * float(exact.abs().max() + 1))


@pytest.mark.parametrize(("recordings", "inputs"), [(3, 40_001), (70_000, 3)])
def test_many_inputs_and_many_rows_take_wider_numbers(recordings, inputs):
    frames = frames_of(recordings, 1, inputs, 0.2, 0)
    preprocessing = Preprocessing((inputs, 1, 1), (inputs, 1), 1, 3, 4.0)
    assert _sorted(SparseFrames(frames, preprocessing).draw(slice(None)))[1].dtype == (
        np.uint64 if recordings > 1 << 16 else np.uint32
    )
    for result, exact in sums_and_gradients(frames, preprocessing, 8, 0):
        # The longest sums, of 70,000 rows, are added one after another.
        assert torch.allclose(result.double(), exact, rtol=0, atol=1e-4 * float(exact.abs().max() + 1))


def test_values_are_sorted_by_pair_of_inputs():
    """Two rows: inputs 0, 1, 4 with counts 1, 2, 3, and inputs 1, 2, 3 with counts 4, 5, 6."""
    counts = np.array([[[1, 2, 0, 0, 3]], [[0, 4, 5, 6, 0]]], np.uint8).reshape(2, 1, 1, 1, 5)
    x = SparseFrames(Frames.from_dense(counts), Preprocessing((5, 1, 1), (5, 1), 1, 9, 9.0)).draw(slice(None))
    ends, entry = _sorted(x)
    lists = np.split(entry, ends[:-1])[:12]
    first, second, both = ([part.tolist() for part in lists[kind::4]] for kind in range(3))
    assert first == [[], [], [0 << 16 | 3]]
    assert second == [[1 << 16 | 4 << 8], [], []]
    assert both == [[0 << 16 | 2 << 8 | 1], [1 << 16 | 6 << 8 | 5], []]


def test_a_gradient_that_is_the_same_at_every_step_gives_the_same_bits():
    generator = torch.Generator().manual_seed(0)
    drive, one = torch.randn(5, 3, 20, generator=generator), torch.randn(1, 3, 20, generator=generator)
    results = []
    for gradient in (one.expand(5, 3, 20), one.expand(5, 3, 20).clone()):
        current = drive.clone().requires_grad_()
        spikes, _ = fused.run_lif_fused(current * 1.0, torch.ones(20), 0.5, 25.0, False)
        spikes.backward(gradient)
        results.append(current.grad)
    assert torch.equal(*results)


def test_chosen_recordings_count_from_the_end_and_may_be_a_mask():
    preprocessing = Preprocessing((7, 1, 1), (7, 1), 3, 9, 9.0)
    draw = SparseFrames(frames_of(5, 3, 7, 1.0, 0), preprocessing).draw
    for chosen, same in ((np.array([-1, 0]), np.array([4, 0])), (np.arange(5) > 2, np.array([3, 4]))):
        drawn, expected = draw(chosen), draw(same)
        assert np.array_equal(drawn.start, expected.start) and np.array_equal(drawn.stop, expected.stop)
