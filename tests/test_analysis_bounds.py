"""Section 4's bounds: never violated on random networks, and every constant against an independent way to it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_networks import CONV, DENSE, POOL, checkpoint_of, labelled, one_neuron

from sastdeploy.analysis import convergence as convergence_module
from sastdeploy.analysis.bounds import bounds, state_bounds
from sastdeploy.analysis.contraction import surrogate_slope
from sastdeploy.analysis.convergence import convergence_floor
from sastdeploy.analysis.lipschitz import geometric_sum, lipschitz_bound
from sastdeploy.analysis.power import operator_norm
from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Neuron
from sastdeploy.recordings.frames import Frames
from sastdeploy.training.derivatives import (
    attack,
    hessian_product,
    initial_checkpoint,
    linear_maps,
    loss_gradient,
)
from sastdeploy.training.inference import frame_values, network_of, run
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.states import input_values

NETWORKS = st.sampled_from([DENSE, CONV, POOL])
SEEDS = st.integers(0, 2**32 - 1)


def with_neuron(architecture, **changes):
    return replace(architecture, neuron=replace(Neuron(), **changes))


def matrix(each):
    """Return a linear map's matrix, column by column."""
    columns = np.eye(int(np.prod(each.shape)))
    return np.stack([each.apply(column.reshape(each.shape)).reshape(-1) for column in columns], axis=1)


def norms_of(checkpoint):
    return {each.name: np.linalg.norm(matrix(each), 2) for each in linear_maps(checkpoint)}


def layers_of(checkpoint):
    return {name: norm for name, norm in norms_of(checkpoint).items() if name != "readout"}


@given(SEEDS, st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_power_iteration_finds_the_largest_singular_value(seed, rows, columns):
    a = np.random.default_rng(seed).normal(size=(rows, columns))
    norm = operator_norm(lambda x: a @ x, lambda y: a.T @ y, (columns,), np.random.default_rng(seed + 1))
    exact = np.linalg.norm(a, 2)
    assert norm.value <= exact * (1 + 1e-12)
    # Close singular values take long, but then either is close to the norm.
    assert norm.value == pytest.approx(exact, rel=1e-5)


def test_power_iteration_says_when_it_was_stopped_early():
    a = np.diag([1.0, 0.999])
    norm = operator_norm(lambda x: a @ x, lambda x: a @ x, (2,), np.random.default_rng(0), most=3)
    assert norm.iterations == 3 and norm.residual > 1e-6
    zero = operator_norm(lambda x: 0 * x, lambda x: 0 * x, (2,), np.random.default_rng(0))
    assert (zero.value, zero.residual) == (0.0, 0.0)


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_linear_maps_and_their_norms(architecture):
    checkpoint = checkpoint_of(architecture)
    rng = np.random.default_rng(5)
    for each in linear_maps(checkpoint):
        a = matrix(each)
        x, y = rng.normal(size=each.shape), rng.normal(size=a.shape[0])
        image = each.apply(x)
        np.testing.assert_allclose(each.transposed(y.reshape(image.shape)).reshape(-1), a.T @ y, atol=1e-12)
        norm = operator_norm(each.apply, each.transposed, each.shape, rng)
        assert norm.value == pytest.approx(np.linalg.norm(a, 2), rel=1e-6) and norm.residual <= 1e-6


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_the_maps_are_those_of_the_network(architecture):
    checkpoint, data = checkpoint_of(architecture), labelled(architecture, 3)
    ran = run(checkpoint, data.frames, hard=True, record=True)
    sent = [
        frame_values(data.frames, slice(None), checkpoint.preprocessing, torch.float64).numpy(),
        *ran.spikes,
    ]
    maps = linear_maps(checkpoint)
    for each, before, membrane in zip(maps, sent, ran.membranes):
        bias = checkpoint.parameters[f"{each.name}.bias"].astype(np.float64)
        first = each.apply(before[0, 0].reshape(each.shape))
        current = first.reshape(membrane[0, 0].shape) + (bias if membrane.ndim == 3 else bias[:, None, None])
        np.testing.assert_allclose(current, membrane[0, 0], atol=1e-12)
    scores = maps[-1].apply(ran.spikes[-1][0].mean(0).reshape(maps[-1].shape))
    np.testing.assert_allclose(scores + checkpoint.parameters["readout.bias"], ran.scores[0], atol=1e-12)


@given(SEEDS, NETWORKS, st.floats(0.05, 2.0), st.floats(0.05, 0.95), st.floats(0.2, 2.0), st.booleans())
@settings(deadline=None, max_examples=60)
def test_no_membrane_is_ever_above_its_bound(seed, architecture, spread, alpha, theta, hard):
    architecture = with_neuron(architecture, alpha=alpha, threshold=theta)
    checkpoint, data = checkpoint_of(architecture, seed, spread), labelled(architecture, 5, seed)
    values = np.concatenate(list(input_values(checkpoint, data.frames)))
    largest_input = np.linalg.norm(values.reshape(*values.shape[:2], -1), axis=2).max()
    limits = state_bounds(checkpoint, float(largest_input), layers_of(checkpoint))
    membranes = run(checkpoint, data.frames, hard=hard, record=True).membranes
    for (together, one), u in zip(limits.values(), membranes, strict=True):
        assert np.linalg.norm(u.reshape(*u.shape[:2], -1), axis=2).max() <= together * (1 + 1e-9)
        assert np.abs(u).max() <= one * (1 + 1e-9)


def test_the_state_bound_by_hand():
    # Weight 4, no bias, theta 1, inputs of at most 1: 4 + 1 per step, times 1, or 1 + 1/2 + 1/4 for three steps.
    checkpoint, _ = one_neuron([4])
    assert state_bounds(checkpoint, 1.0, {"layers.0": 4.0}) == {"layers.0": (5.0, 5.0)}
    checkpoint, _ = one_neuron([4, 4, 4])
    assert state_bounds(checkpoint, 1.0, {"layers.0": 4.0})["layers.0"] == pytest.approx((8.75, 8.75))


def both_runs(checkpoint, seed, share):
    """Return scores, values and offsets of two random sets of recordings, the second near the first."""
    first = labelled(checkpoint.architecture, 6, seed)
    counts = first.frames.dense()
    other = np.random.default_rng(seed).binomial(counts, share)
    runs = []
    for frames in (first.frames, Frames.from_dense(other)):
        ran = run(checkpoint, frames, hard=False, record=True)
        thetas = [v for name, v in checkpoint.parameters.items() if name.endswith("threshold")]
        offsets = [
            u - (theta if u.ndim == 3 else theta[:, None, None]) for u, theta in zip(ran.membranes, thetas)
        ]
        runs.append((ran.scores, np.concatenate(list(input_values(checkpoint, frames))), offsets))
    return runs


def largest_ratio(first, second):
    moved = np.linalg.norm((second[1] - first[1]).reshape(len(first[1]), -1), axis=1)
    changed = np.linalg.norm(second[0] - first[0], axis=1)
    assume((moved > 0).any())
    return float((changed[moved > 0] / moved[moved > 0]).max())


def bound_of(checkpoint, slopes, shared=False):
    norms = norms_of(checkpoint)
    readout = norms.pop("readout")
    neuron = checkpoint.architecture.neuron
    pairs = list(zip(slopes, norms.values(), strict=True))
    if shared:
        pairs = [(max(slopes), max(norms.values()))] * len(pairs)
    return lipschitz_bound(readout, pairs, neuron.alpha, neuron.threshold, checkpoint.preprocessing.time_bins)


@given(SEEDS, NETWORKS, st.floats(0.05, 2.0), st.floats(0.05, 30.0), st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=60)
def test_scores_never_move_farther_than_the_global_bound_allows(seed, architecture, spread, slope, share):
    # gamma < 1 where the slope is below 1.57; above, the finite sum must hold all the same.
    checkpoint = checkpoint_of(with_neuron(architecture, slope=slope), seed, spread)
    first, second = both_runs(checkpoint, seed, share)
    slopes = [slope / math.pi] * len(first[2])
    tight, papers = (bound_of(checkpoint, slopes, shared) for shared in (False, True))
    assert largest_ratio(first, second) <= 10**tight * (1 + 1e-9)
    assert tight <= papers + 1e-12


@given(SEEDS, NETWORKS, st.floats(0.01, 0.08), st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=60)
def test_scores_never_move_farther_than_the_local_bound_allows(seed, architecture, spread, share):
    # The paper's slope of 25, and small weights: membranes stay below the forbidden band, so gamma < 1 with local B_1.
    checkpoint = checkpoint_of(architecture, seed, spread)
    first, second = both_runs(checkpoint, seed, share)
    slopes = []
    for one, other in zip(first[2], second[2]):
        # sigma' between the two membranes is largest at the offset nearest to 0 of the segment between them.
        nearest = np.where(one * other > 0, np.minimum(np.abs(one), np.abs(other)), 0.0).min()
        slopes.append(surrogate_slope(float(nearest), 25.0))
    assume(0.5 + max(slopes) < 1.0)
    assert largest_ratio(first, second) <= 10 ** bound_of(checkpoint, slopes) * (1 + 1e-9)


def test_the_lipschitz_formula_by_hand():
    # M_out 2, T = 4, two layers with B_1 = 0.25 and M_A = 3, alpha = 0.5, theta = 1: gamma = 0.75,
    # S_4 = (1 - 0.75^4) / 0.25 = 2.734375; L_x = 2 (0.25 * 3 * 2.734375)^2 / 2.
    assert geometric_sum(0.75, 4) == 2.734375
    expected = 2 * (0.25 * 3 * 2.734375) ** 2 / 2
    assert 10 ** lipschitz_bound(2.0, [(0.25, 3.0)] * 2, 0.5, 1.0, 4) == pytest.approx(expected)
    # gamma = 8.5: S_3 = 1 + 8.5 + 72.25 = 81.75; and a thousand steps leave the range of floats, not of the logarithm
    assert 10 ** lipschitz_bound(1.0, [(8.0, 1.0)], 0.5, 1.0, 3) == pytest.approx(8 * 81.75 / math.sqrt(3))
    assert lipschitz_bound(1.0, [(8.0, 1.0)], 0.5, 1.0, 1000) == pytest.approx(
        math.log10(8) + 999 * math.log10(8.5) + math.log10(1 / (1 - 1 / 8.5)) - 1.5
    )
    assert lipschitz_bound(0.0, [(8.0, 1.0)], 0.5, 1.0, 3) == -math.inf
    assert geometric_sum(1e200, 4) == math.inf


def test_the_floor_by_hand():
    # 3 * 2^2 * 0.5^2 + 2 * 0.1 * 2 * 5
    assert convergence_floor(2.0, 0.5, 0.1, 5.0) == pytest.approx(3.0 + 2.0)


def gentle_checkpoint(architecture=DENSE):
    return checkpoint_of(with_neuron(architecture, slope=2.0), spread=0.4)


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_hessian_products_are_differences_of_gradients(architecture, monkeypatch):
    from sastdeploy.training import derivatives

    monkeypatch.setattr(derivatives, "batch_size", lambda checkpoint: 3)
    checkpoint, data = gentle_checkpoint(architecture), labelled(architecture, 8)
    count, product = hessian_product(checkpoint, data)
    network = network_of(checkpoint, torch.float64)
    assert count == sum(p.numel() for p in network.parameters())
    direction = np.random.default_rng(1).normal(size=count)

    def gradient(step):
        moved = network_of(checkpoint, torch.float64)
        torch.nn.utils.vector_to_parameters(
            torch.nn.utils.parameters_to_vector(moved.parameters()) + step * torch.from_numpy(direction),
            moved.parameters(),
        )
        x = frame_values(data.frames, slice(None), checkpoint.preprocessing, torch.float64)
        loss = torch.nn.functional.cross_entropy(moved(x), torch.tensor(data.labels))
        return np.concatenate([g.reshape(-1) for g in torch.autograd.grad(loss, tuple(moved.parameters()))])

    np.testing.assert_allclose(loss_gradient(checkpoint, data), gradient(0.0), atol=1e-12)
    difference = (gradient(1e-5) - gradient(-1e-5)) / 2e-5
    np.testing.assert_allclose(product(direction), difference, rtol=1e-5, atol=1e-7)


def test_the_initial_checkpoint_is_what_training_began_with():
    checkpoint = checkpoint_of(training={**checkpoint_of().training, "seed": 7})
    network = SpikingNetwork(DENSE)
    network.initialise(torch.Generator().manual_seed(7))
    for name, value in network.parameters_as_arrays().items():
        assert np.array_equal(initial_checkpoint(checkpoint).parameters[name], value)


def test_the_attack_finds_more_than_chance_and_stays_within_the_bound():
    checkpoint, data = gentle_checkpoint(), labelled(count=5)
    changes = attack(checkpoint, data.frames, np.random.default_rng(0), restarts=3, steps=40)
    again = attack(checkpoint, data.frames, np.random.default_rng(0), restarts=3, steps=40)
    assert changes == again and len(changes) == 5
    x = frame_values(data.frames, slice(None), checkpoint.preprocessing, torch.float64)
    network = network_of(checkpoint, torch.float64)
    rng, chance = np.random.default_rng(1), 0.0
    with torch.no_grad():
        for _ in range(200):
            d = torch.from_numpy(rng.normal(0, 0.05, tuple(x.shape)))
            ratio = (network(x + d) - network(x)).norm(dim=1) / d.flatten(1).norm(dim=1)
            chance = max(chance, float(ratio.max()))
    largest = max(change.ratio for change in changes)
    assert 2 * chance < largest <= 10 ** bound_of(checkpoint, [2.0 / math.pi] * 2)


def test_an_attack_on_a_network_that_cannot_change_finds_nothing():
    checkpoint = checkpoint_of()
    checkpoint.parameters["readout.weight"][:] = 0.0
    assert [
        change.ratio
        for change in attack(checkpoint, labelled(count=2).frames, np.random.default_rng(0), 1, 3)
    ] == [0, 0]
    record = bounds(checkpoint, labelled(count=3), limit=3)
    assert record["lipschitz"]["log10_bound_over_found"] is None
    assert "No change of input was found that changes the scores." in record["lipschitz"]["sentence"]
    assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_a_record_agrees_with_its_parts(architecture):
    checkpoint, data = checkpoint_of(architecture), labelled(architecture, 12)
    whole = bounds(checkpoint, data, seed=3, limit=8)
    assert (
        json.loads(json.dumps(whole, allow_nan=False)) == whole == bounds(checkpoint, data, seed=3, limit=8)
    )
    norms = norms_of(checkpoint)
    for record in whole["operator_norms"]:
        assert record["value"] == pytest.approx(norms[record["name"]], rel=1e-6)
    for layer in whole["states"]["layers"]:
        assert (
            layer["norm_visited"] <= layer["norm_bound"]
            and layer["largest_visited"] <= layer["largest_bound"]
        )
    lipschitz = whole["lipschitz"]
    assert lipschitz["largest_found"] <= lipschitz["global"]["bound"]
    assert 0 < lipschitz["deletions"]["ratio"] <= lipschitz["largest_found"]
    assert lipschitz["one_event"] == pytest.approx(1 / 3) and lipschitz["deletions"]["moved"] >= 1 / 3
    assert lipschitz["global"]["gamma"] == pytest.approx(0.5 + 25 / math.pi)
    assert lipschitz["local"]["log10_bound"] <= lipschitz["global"]["log10_bound"]
    assert "The theorem's assumption fails" in lipschitz["sentence"]
    convergence = whole["convergence"]
    assert convergence["floor"] == convergence_floor(
        convergence["beta_at_least"], 0.0, 1e-3, convergence["noise_variance"]
    )


def test_a_network_that_contracts_is_said_to():
    record = bounds(checkpoint_of(with_neuron(DENSE, slope=0.5), spread=0.05), labelled(count=8), limit=8)
    assert record["lipschitz"]["local"]["assumption_holds"]
    assert record["lipschitz"]["sentence"].startswith("gamma = 0.6386 < 1 on the visited states")
    assert record["lipschitz"]["sentence"].endswith("less than the scores' whole range.")
    assert "is not excluded" in record["convergence"]["sentence"]


def test_minibatch_noise_by_hand(monkeypatch):
    gradients = iter(np.array([[1.0, 0.0], [3.0, 0.0], [1.0, 2.0], [3.0, 2.0]]))
    monkeypatch.setattr(convergence_module, "_MINIBATCHES", 4)
    monkeypatch.setattr(convergence_module, "loss_gradient", lambda checkpoint, data: next(gradients))
    # Mean (2, 1), squared distances 2 each: 8 / 3 for minibatches of 2; a quarter of it for batches of 8.
    noise = convergence_module._noise(checkpoint_of(), labelled(count=8), 8, np.random.default_rng(0))
    assert noise == pytest.approx(8 / 3 / 4)


@pytest.mark.parametrize(("count", "limit"), [(1, 8), (8, 1), (8, 0)])
def test_bounds_need_two_recordings(count, limit):
    with pytest.raises(
        InputError, match=rf"^bounds: limit {limit} of {count} recordings; at least 2 are needed"
    ):
        bounds(checkpoint_of(), labelled(count=count), limit=limit)


def test_bounds_refuse_what_does_not_fit():
    with pytest.raises(InputError, match="at least one is needed"):
        bounds(checkpoint_of(), labelled(count=3).select(slice(0, 0)))
    with pytest.raises(InputError, match="but the network takes 2x4x4 in 6 bins"):
        bounds(checkpoint_of(), labelled(POOL))
