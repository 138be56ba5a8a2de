"""Margins, contraction and activity: worked out by hand on one neuron, and equal to plain NumPy on small networks."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_networks import CONV, DENSE, POOL, checkpoint_of, labelled, one_neuron

from sastdeploy.analysis.activity import activity
from sastdeploy.analysis.contraction import contraction, forbidden_band, surrogate_slope
from sastdeploy.analysis.margins import margins
from sastdeploy.analysis.tally import Tally
from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture, Dense, Readout
from sastdeploy.training import states
from sastdeploy.training.inference import run


def test_margins_by_hand():
    # alpha 1/2, theta 1, drive 2, 0, 0, 4: u = 2 (fires), 1 - 1 = 0, 0, 4 (fires), so u - theta = 1, -1, -1, 3.
    record = margins(*one_neuron([2, 0, 0, 4]))
    overall = record["overall"]
    assert (overall["states"], overall["near"], overall["mean"]) == (4, 0.0, 0.5)
    assert overall["standard_deviation"] == pytest.approx(math.sqrt(2.75))
    assert (overall["minimum"], overall["maximum"]) == (-1.0, 3.0)
    counts = np.array(overall["histogram"]["counts"])
    assert np.flatnonzero(counts).tolist() == [40, 80, 119] and counts[[40, 80, 119]].tolist() == [2, 1, 1]
    assert record["layers"] == [{"name": "layers.0", **overall}]


def test_margins_at_the_threshold_are_near_and_beyond_three_above():
    # u = 4 (fires; margin 3), 2 - 1 + 4 = 5 (fires; margin 4 is above), 2.5 - 1 + 0 = 1.5 (fires; 0.5), 0.75 - 1 = -0.25
    overall = margins(*one_neuron([4, 4, 0, 0]))["overall"]
    assert (overall["histogram"]["below"], overall["histogram"]["above"]) == (0, 1)
    assert sum(overall["histogram"]["counts"]) == 3
    # u = 1, 0.5 + 1 - 1: offsets 0 and -0.5
    assert margins(*one_neuron([1, 1]))["overall"]["near"] == 0.5


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
@pytest.mark.parametrize("hard", [True, False])
def test_margins_are_those_of_the_recorded_run(architecture, hard, monkeypatch):
    checkpoint, data = checkpoint_of(architecture), labelled(architecture, 11)
    monkeypatch.setattr(states, "_MAX_RECORDINGS", 4)
    measured = margins(checkpoint, data, hard)
    membranes = run(checkpoint, data.frames, hard=hard, record=True).membranes
    offsets = [u.reshape(-1) - 1.0 for u in membranes]
    for record, offset in zip(
        [measured["overall"], *measured["layers"]], [np.concatenate(offsets), *offsets], strict=True
    ):
        assert record["states"] == len(offset)
        assert record["near"] == (np.abs(offset) <= 0.2).mean()
        assert record["mean"] == pytest.approx(offset.mean(), abs=1e-12)
        assert record["standard_deviation"] == pytest.approx(offset.std())
        assert record["histogram"]["counts"] == np.histogram(offset, 120, (-3, 3))[0].tolist()
        assert record["histogram"]["below"] == (offset < -3).sum()
        for share, value in record["quantiles"].items():
            lower, upper = (np.quantile(offset, float(share), method=m) for m in ("inverted_cdf", "higher"))
            assert lower - 1 / 1024 <= value <= upper + 1 / 1024
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


def test_the_paper_s_band():
    assert forbidden_band(0.5, 1.0, 25.0) == pytest.approx(0.15448, abs=1e-5)
    assert forbidden_band(0.5, 1.0, 1.0) is None


@given(
    st.floats(0.01, 0.99), st.floats(0.05, 4.0), st.floats(0.1, 100.0), st.floats(1e-3, 0.5)
)  # fmt: skip
def test_gamma_is_one_on_the_edge_of_the_band_and_below_one_outside(alpha, theta, slope, step):
    band = forbidden_band(alpha, theta, slope)
    if band is None:
        assert alpha + theta * surrogate_slope(0.0, slope) < 1.0
        return
    assert alpha + theta * surrogate_slope(band, slope) == pytest.approx(1.0, abs=1e-9)
    assert alpha + theta * surrogate_slope(band + step, slope) < 1.0


def test_contraction_by_hand():
    # Drive 4, 4: u = 4, then 0.5 * 4 + 4 - sigma(3) with sigma(3) = 1/2 + arctan(75) / pi; the nearest is 3 away.
    checkpoint, data = one_neuron([4, 4])
    record = contraction(checkpoint, data)
    assert record["nearest"] == 3.0
    assert record["gamma_hat"] == 0.5 + 25 / math.pi / (1 + 75.0**2)
    assert record["holds"] and "gamma < 1 holds on the visited states" in record["sentence"]
    assert record["gamma_global"] == 0.5 + 25 / math.pi
    near = contraction(*one_neuron([1, 4]))
    # u = 1 is the threshold itself: the slope is k / pi; of the two states one is in the band.
    assert (near["nearest"], near["gamma_hat"], near["in_band"]) == (0.0, 0.5 + 25 / math.pi, 0.5)
    assert not near["holds"] and near["sentence"].startswith(
        "gamma < 1 does not hold: gamma-hat = 8.458; 50 %"
    )
    flat = contraction(*one_neuron([1, 4], slope=1.0))
    assert flat["band"] is None and flat["in_band"] == 0.0
    assert flat["sentence"].startswith("gamma < 1 holds for every state, visited or not")


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_contraction_is_that_of_the_recorded_run(architecture):
    checkpoint, data = checkpoint_of(architecture), labelled(architecture, 9)
    names = [name for name in checkpoint.parameters if name.endswith("threshold")]
    checkpoint.parameters[names[-1]][0] = 1.5
    record = contraction(checkpoint, data)
    thetas = [checkpoint.parameters[name] for name in names]
    membranes = run(checkpoint, data.frames, hard=False, record=True).membranes
    offsets = [u - (theta if u.ndim == 3 else theta[:, None, None]) for u, theta in zip(membranes, thetas)]
    slopes = [25 / math.pi / (1 + (25 * z.reshape(-1)) ** 2) for z in offsets]
    every = np.concatenate(slopes)
    assert record["largest_threshold"] == 1.5
    assert record["gamma_hat"] == pytest.approx(0.5 + 1.5 * every.max(), rel=1e-12)
    assert [layer["largest_slope"] for layer in record["layers"]] == pytest.approx([s.max() for s in slopes])
    band = forbidden_band(0.5, 1.5, 25.0)
    assert record["in_band"] == np.mean(np.abs(np.concatenate([z.reshape(-1) for z in offsets])) <= band)
    for share, value in record["quantiles"].items():
        lower, upper = (np.quantile(every, float(share), method=m) for m in ("inverted_cdf", "higher"))
        assert 0.5 + 1.5 * lower * 0.997 <= value <= 0.5 + 1.5 * upper * 1.003
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_activity_by_hand():
    # Hard: u = 2 (fires), 0, 0, 4 (fires). Surrogate: u1 = 2; s1 = sigma(1); u2 = 1 - s1; u3 = u2 / 2 - s2; u4 = u3 / 2 + 4 - s3.
    record = activity(*one_neuron([2, 0, 0, 4]))
    sent, u = [], 0.0
    for drive in (2, 0, 0, 4):
        u = 0.5 * u + drive - (sent[-1] if sent else 0.0)
        sent.append(0.5 + math.atan(25 * (u - 1.0)) / math.pi)
    overall = record["overall"]
    assert overall["hard_rate"] == 0.5 and overall["silent"] == overall["silent_in_recording"] == 0.0
    assert overall["surrogate_rate"] == pytest.approx(sum(sent) / 4)
    assert overall["tail"] == pytest.approx((sent[1] + sent[2]) / sum(sent))
    assert overall["far_tail"] == pytest.approx(overall["tail"]) and overall["far_below"] == 0.5
    assert record["layers"] == [{"name": "layers.0", **overall}]


def test_a_neuron_that_never_fires_is_silent_and_all_tail():
    overall = activity(*one_neuron([0, 0, 0]))["overall"]
    assert overall["silent"] == overall["never_reaching"] == overall["tail"] == overall["far_below"] == 1.0
    assert overall["hard_rate"] == 0.0 and overall["surrogate_rate"] > 0.0


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL])
def test_activity_is_that_of_the_recorded_runs(architecture, monkeypatch):
    checkpoint, data = checkpoint_of(architecture), labelled(architecture, 11)
    monkeypatch.setattr(states, "_MAX_RECORDINGS", 4)
    measured = activity(checkpoint, data)
    surrogate, hard = (run(checkpoint, data.frames, hard=h, record=True) for h in (False, True))
    for record, s, u, fired in zip(
        measured["layers"], surrogate.spikes, surrogate.membranes, hard.spikes, strict=True
    ):
        assert record["neurons"] == s[0, 0].size
        assert record["surrogate_rate"] == pytest.approx(s.mean())
        assert record["hard_rate"] == pytest.approx(fired.mean())
        assert record["silent"] == (fired.sum((0, 1)) == 0).mean()
        assert record["silent_in_recording"] == pytest.approx((fired.sum(1) == 0).mean())
        assert record["never_reaching"] == (u < 1.0).all((0, 1)).mean()
        assert record["tail"] == pytest.approx(s[u < 1.0].sum() / s.sum())
        assert record["far_tail"] == pytest.approx(s[u < 0.5].sum() / s.sum())
        assert record["far_below"] == (u < 0.5).mean()
    neurons = [record["neurons"] for record in measured["layers"]]
    silent = [record["silent"] for record in measured["layers"]]
    assert measured["overall"]["silent"] == pytest.approx(np.average(silent, weights=neurons))
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


@given(st.lists(st.lists(st.floats(-50, 50), max_size=8), min_size=1, max_size=6).filter(any))
@example([[1.0, -(2.0**-52)]])
@settings(deadline=None)
def test_a_tally_of_pieces_is_that_of_the_whole(pieces):
    whole, joined, merged = (Tally(-20.0, 0.125, 320) for _ in range(3))
    for piece in pieces:
        part = Tally(-20.0, 0.125, 320)
        for tally in (joined, part):
            tally.add(np.array(piece, np.float64))
        merged.take(part)
    values = np.array([x for piece in pieces for x in piece])
    whole.add(values)
    for tally in (whole, joined, merged):
        assert np.array_equal(tally.counts, whole.counts) and tally.count == len(values)
        assert tally.mean == pytest.approx(values.mean(), abs=1e-9)
        assert tally.deviation == pytest.approx(values.std(), abs=1e-6)
        assert (tally.minimum, tally.maximum) == (values.min(), values.max())
    exact = np.quantile(values, 0.5, method="inverted_cdf")
    if abs(exact) < 20:
        # A value within rounding below a bin's edge counts into that bin.
        assert abs(whole.quantile(0.5) - exact) <= 0.125 + 20 * 2.0**-52
    assert values.min() <= whole.quantile(0.0) <= whole.quantile(1.0) <= values.max()


def test_large_layers_run_in_smaller_batches():
    assert states.batch_size(checkpoint_of()) == 256
    wide = Architecture("wide", (1, 1, 1), (Dense(100_000),), Readout(), 2)
    assert states.batch_size(checkpoint_of(wide)) == 2**21 // 600_000


@pytest.mark.parametrize("measure", [margins, contraction, activity])
def test_data_that_do_not_fit_are_refused(measure):
    with pytest.raises(InputError, match=r"^analysis: no recordings; at least one is needed\.$"):
        measure(checkpoint_of(), labelled(count=3).select(slice(0, 0)))
    with pytest.raises(InputError, match=r"frames: 2x4x4 in 5 bins, but the network takes 2x4x4 in 6 bins"):
        measure(checkpoint_of(), labelled(time_bins=5))
    with pytest.raises(InputError, match=r"frames: 1x8x8 in 6 bins, but the network takes 2x4x4"):
        measure(checkpoint_of(), labelled(POOL))
