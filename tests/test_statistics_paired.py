"""The interval of a difference between proportions on the same recordings."""

import math

import numpy as np
import pytest

from sastdeploy.statistics import paired_interval


@pytest.mark.parametrize(("gains", "losses", "trials", "low", "high"), [
    # Airway hyper-responsiveness of 21 children before and after a transplantation (Bentur et al. 2009), in Fagerland,
    # Lydersen and Laake, Statistics in Medicine 33 (2014): -0.517 to -0.026.
    (1, 7, 21, -0.517, -0.026),
    (7, 1, 21, 0.026, 0.517),
])  # fmt: skip
def test_published_values(gains, losses, trials, low, high):
    assert paired_interval(gains, losses, trials) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize("trials", [1, 10, 300, 10_000])
def test_without_a_differing_pair_it_has_a_width_by_hand(trials):
    # The likeliest share of losses under a true difference d > 0 is 0, so the statistic is -n d / sqrt(n d (1 - d)).
    side = 1.96**2 / (trials + 1.96**2)
    assert paired_interval(0, 0, trials) == pytest.approx((-side, side), rel=1e-12)


def test_the_ends_are_where_the_likeliest_shares_give_the_quantile():
    # The score statistic written out, with the constrained shares found by search instead of by formula.
    gains, losses, trials = 40, 20, 160
    for end, z in zip(paired_interval(gains, losses, trials), (1.96, -1.96)):
        shares = np.linspace(max(0.0, -end), (1 - end) / 2, 2_000_001)[1:-1]
        likelihood = (
            gains * np.log(shares + end)
            + losses * np.log(shares)
            + (trials - gains - losses) * np.log(1 - 2 * shares - end)
        )
        share = shares[np.argmax(likelihood)]
        statistic = (gains - losses - trials * end) / math.sqrt(trials * (2 * share + end - end**2))
        assert statistic == pytest.approx(z, abs=1e-4)


def test_it_contains_the_difference_mirrors_and_stays_within_its_ends():
    rng = np.random.default_rng(0)
    for _ in range(200):
        trials = int(rng.integers(1, 400))
        gains = int(rng.integers(0, trials + 1))
        losses = int(rng.integers(0, trials - gains + 1))
        low, high = paired_interval(gains, losses, trials)
        assert -1 <= low < (gains - losses) / trials + 1e-12 and (gains - losses) / trials - 1e-12 < high <= 1
        assert low < high
        assert paired_interval(losses, gains, trials) == (-high, -low)
    assert paired_interval(0, 0, 0) == (-1.0, 1.0)
    assert paired_interval(9, 0, 9)[1] == 1.0


def test_for_many_pairs_it_is_the_normal_interval():
    low, high = paired_interval(30_000, 20_000, 1_000_000)
    half = 1.96 * math.sqrt(0.05 - 0.01**2) / 1000
    assert (low, high) == pytest.approx((0.01 - half, 0.01 + half), abs=2e-6)
