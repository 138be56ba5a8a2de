"""Figures over seeds and over recordings: means, intervals, paired differences, rank correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_T95 = (math.inf, 12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814)
"""Student's t, two-sided 95 %, by degrees of freedom; beyond the list its last value is kept, a little more than needed."""


@dataclass(frozen=True)
class Sample:
    """One figure, measured once per seed; ``seeds`` ascending."""

    seeds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds (divided by n - 1); None for one seed."""
        if len(self.values) < 2:
            return None
        return float(np.std(self.values, ddof=1))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean (Student's t); None for one seed."""
        return interval(self.values)

    @property
    def p_value(self) -> float | None:
        """Return the two-sided p of Student's t that the mean is 0; None for one seed, or values that are all equal."""
        if not self.deviation:
            return None
        n = len(self.values)
        return student_p(self.mean / (self.deviation / math.sqrt(n)), n - 1)

    def paired_difference(self, other: Sample) -> Sample | None:
        """Return the differences self - other of the seeds that both have; None if they share none."""
        theirs = dict(zip(other.seeds, other.values))
        pairs = [(s, v - theirs[s]) for s, v in zip(self.seeds, self.values) if s in theirs]
        return Sample(tuple(s for s, _ in pairs), tuple(v for _, v in pairs)) if pairs else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "mean": self.mean, "deviation": self.deviation, "interval": self.interval,
            "by_seed": {str(seed): value for seed, value in zip(self.seeds, self.values)},
        }  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean (Student's t); None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    half = _T95[min(n, len(_T95)) - 1] * float(np.std(values, ddof=1)) / math.sqrt(n)
    middle = math.fsum(values) / n
    return middle - half, middle + half


def student_p(t: float, freedom: int) -> float:
    """Return the chance of a Student's t at least as far from 0, to both sides.

    Args:
        freedom: degrees of freedom, at least 1.

    References:
        M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for k in range(odd, freedom - 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (k + 1) / (k + 2)
    within = math.sin(angle) * total
    return 1 - abs(2 / math.pi * (angle + within) if odd else within)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values corrected for their number, in the same order.

    References:
        S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = largest
    return corrected


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation (ties share their mean rank); None where it has no meaning.

    That is for fewer than three pairs, and where all of x or all of y are equal.
    """
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = np.sort(values)
    low, high = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return [(a + b - 1) / 2 for a, b in zip(low, high)]


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, in [0, 1]; ``(0, 1)`` without trials.

    Args:
        successes: 0 to ``trials``. z: normal quantile, 1.96 for 95 %.

    References:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    scale = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # At the ends the interval touches 0 or 1 exactly; rounding must not cross them.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def paired_interval(gains: int, losses: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the score interval of the difference ``(gains - losses) / trials`` of two proportions on the same trials.

    It has a width where no pair differs, ``z^2 / (trials + z^2)`` to both sides, and stays in [-1, 1]; ``(-1, 1)``
    without trials.

    Args:
        gains: trials where the first succeeds and the second fails. losses: the reverse. z: normal quantile.

    References:
        T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design", Statistics in Medicine 17 (1998) 891-908.
    """
    if trials == 0:
        return -1.0, 1.0
    # Turned about 0, so that both ends come out of one search and mirror each other exactly.
    return -_upper_end(losses, gains, trials, z), _upper_end(gains, losses, trials, z)


def _upper_end(gains: int, losses: int, trials: int, z: float) -> float:
    """Return the largest difference that the score test does not refuse; its statistic falls with the difference."""
    low, high = (gains - losses) / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(gains, losses, trials, middle) > -z else (low, middle)
    return high


def _score(gains: int, losses: int, trials: int, difference: float) -> float:
    """Return the score statistic of a true difference, with the likeliest share of losses under it."""
    b = -gains - losses + (2 * trials - gains + losses) * difference
    c = -losses * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 8 * trials * c, 0.0)) - b) / (4 * trials)
    variance = trials * (2 * share + difference * (1 - difference))
    distance = gains - losses - trials * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)
