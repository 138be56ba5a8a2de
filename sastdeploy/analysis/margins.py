"""How far membranes stay from their thresholds (paper, Figure 2a)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.analysis.tally import Tally
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.training.states import lif_layers, visited_states

LOW, HIGH, WIDTH = -3.0, 3.0, 0.05
"""Of the histogram; a bin holds its lower edge, the last one both."""
NEAR = 0.2
"""Half the width of the zone around the threshold that the paper calls ambiguous."""
QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_BINS = round((HIGH - LOW) / WIDTH)


def margins(checkpoint: Checkpoint, data: LabelledFrames, hard: bool = True) -> dict[str, Any]:
    """Return how ``u - theta`` is distributed over all neurons, steps and recordings, per layer and over all.

    With ``hard`` the swap-only network runs (paper, Figure 2a), otherwise the surrogate one. Each distribution holds
    ``states`` (how many), ``near`` (share with ``|u - theta| <= 0.2``), ``mean``, ``standard_deviation``, ``minimum``,
    ``maximum``, ``quantiles`` (within 1/1024), and ``histogram``: counts in bins of 0.05 from -3 to 3, and how many lie
    ``below`` and ``above``. Plain JSON values; memory does not grow with the recordings.

    Raises:
        InputError: no recordings, or frames that do not fit the network.
    """
    layers = {name: _Margins() for name in lif_layers(checkpoint)}
    for batch in visited_states(checkpoint, data.frames, hard):
        for layer in batch:
            layers[layer.name].add(layer.offset)
    overall = _Margins()
    for part in layers.values():
        overall.take(part)
    return {
        "schema": "sastdeploy.margins/1",
        "spikes": "hard" if hard else "surrogate",
        "recordings": len(data),
        "bins": {"low": LOW, "high": HIGH, "width": WIDTH},
        "near_width": NEAR,
        "overall": overall.to_dict(),
        "layers": [{"name": name, **part.to_dict()} for name, part in layers.items()],
    }


class _Margins:
    """The distribution of one layer's offsets while batches come in."""

    def __init__(self) -> None:
        self.tally = Tally(-64.0, 1 / 1024, 128 * 1024)
        self.histogram = np.zeros(_BINS, np.int64)
        self.below = self.above = self.near = 0

    def add(self, offset: NDArray[np.float64]) -> None:
        self.tally.add(offset)
        self.histogram += np.histogram(offset, _BINS, (LOW, HIGH))[0]
        self.below += int((offset < LOW).sum())
        self.above += int((offset > HIGH).sum())
        self.near += int((np.abs(offset) <= NEAR).sum())

    def take(self, other: _Margins) -> None:
        self.tally.take(other.tally)
        self.histogram += other.histogram
        self.below += other.below
        self.above += other.above
        self.near += other.near

    def to_dict(self) -> dict[str, Any]:
        return {
            "states": self.tally.count,
            "near": self.near / self.tally.count,
            "mean": self.tally.mean,
            "standard_deviation": self.tally.deviation,
            "minimum": self.tally.minimum,
            "maximum": self.tally.maximum,
            "quantiles": self.tally.quantiles(QUANTILES),
            "histogram": {"below": self.below, "counts": self.histogram.tolist(), "above": self.above},
        }
