"""Accuracy of a network from elsewhere, in float64 with its own spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.compiler.ir.graph import stages
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.errors import InputError
from sastdeploy.recordings.frames import LabelledFrames, require_fit
from sastdeploy.statistics import wilson_interval

_BATCH = 32


@dataclass(frozen=True)
class NetworkEvaluation:
    """Share of recordings whose class is right, its 95 % interval, and the share of steps at which each layer's neurons spike."""

    recordings: int
    accuracy: float
    interval: tuple[float, float]
    rates: dict[str, float]


def evaluate_network(network: ImportedNetwork, data: LabelledFrames) -> NetworkEvaluation:
    """Return how a network does on recordings; of equal scores the first class counts.

    Raises:
        InputError: no recording, or recordings that do not fit the network.
    """
    frames, start = data.frames, network.graph.input
    if len(data) == 0:
        raise InputError("evaluate: no recording. Give at least one.")
    if len(data.classes) != len(network.classes):
        raise InputError(
            f"evaluate: recordings of {len(data.classes)} classes do not fit the network's {len(network.classes)}."
        )
    require_fit(
        frames, start.shape, start.time_bins, "the network", "Load recordings of its form (--dataset)."
    )
    names = [stage.spiking.name for stage in stages(network.graph) if stage.spiking]
    correct, sums = 0, np.zeros(len(names))
    for begin in range(0, len(data), _BATCH):
        outputs = interpret(network.graph, frames.select(slice(begin, begin + _BATCH)).dense())
        correct += int((outputs.scores.argmax(1) == data.labels[begin : begin + _BATCH]).sum())
        sums += [float(spikes.mean((1, 2, 3, 4)).sum()) for spikes in outputs.spikes]
    count = len(data)
    return NetworkEvaluation(
        count, correct / count, wilson_interval(correct, count), dict(zip(names, (sums / count).tolist()))
    )
