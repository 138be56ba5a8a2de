"""Statistics of numbers that pass by in batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Tally:
    """Count, mean, standard deviation, extremes and quantiles of all numbers added; memory does not grow with them.

    Mean and deviation are exact within rounding. Quantiles come from bins of width ``step`` on ``[low, low + bins *
    step)`` and are within one step of the exact ones there; beyond, they lie between the range's end and the extreme.
    """

    def __init__(self, low: float, step: float, bins: int) -> None:
        self.low, self.step, self.bins = low, step, bins
        self.counts = np.zeros(bins + 2, np.int64)
        self.count, self.mean, self._squares = 0, 0.0, 0.0
        self.minimum, self.maximum = math.inf, -math.inf

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in all numbers of an array."""
        if values.size == 0:
            return
        places = np.clip(np.floor((values.reshape(-1) - self.low) / self.step), -1, self.bins) + 1
        self.counts += np.bincount(places.astype(np.int64), minlength=self.bins + 2)
        mean = float(values.mean())
        self._merge(values.size, mean, float(np.square(values - mean).sum()))
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))

    def take(self, other: Tally) -> None:
        """Take in all that another tally of the same bins has seen."""
        self.counts += other.counts
        self._merge(other.count, other.mean, other._squares)
        self.minimum, self.maximum = (
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    def _merge(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        if total == 0:
            return
        apart = mean - self.mean
        self._squares += squares + apart * apart * self.count * count / total
        self.mean += apart * count / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Standard deviation of all numbers (divided by their count)."""
        return math.sqrt(self._squares / self.count)

    def quantile(self, share: float) -> float:
        """Return the number below which this share of all numbers lies (at least one number)."""
        until = np.cumsum(self.counts)
        place = int(np.searchsorted(until, share * self.count))
        before = int(until[place - 1]) if place > 0 else 0
        within = (share * self.count - before) / max(1, int(self.counts[place]))
        lower = self.low + (place - 1) * self.step if place > 0 else self.minimum
        upper = self.low + place * self.step if place <= self.bins else self.maximum
        return float(np.clip(lower + within * (upper - lower), self.minimum, self.maximum))

    def quantiles(self, shares: Sequence[float]) -> dict[str, float]:
        """Return quantiles by their shares, as in ``{"0.5": ...}``."""
        return {f"{share:g}": self.quantile(share) for share in shares}
