"""Accuracy of a network from elsewhere, in float64 with its own spikes."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.compiler.ir.graph import stages
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.errors import InputError
from sastdeploy.recordings.frames import LabelledFrames, require_fit
from sastdeploy.recordings.splits import labelled_by_name
from sastdeploy.statistics import wilson_interval

_BATCH = 32
LARGE_GAIN = 0.3
"""Share of recordings that another order of classes must make right, to be told."""
MIN_PER_CLASS = 10
"""Recordings per class from which on an order that fits is hardly one by chance."""


@dataclass(frozen=True)
class NetworkEvaluation:
    """Share of recordings whose class is right, its 95 % interval, and the share of steps at which each layer's neurons spike.

    confusion: recordings by true class (row) and answer (column), in the order of outputs.
    """

    recordings: int
    accuracy: float
    interval: tuple[float, float]
    rates: dict[str, float]
    confusion: list[list[int]]


def evaluate_network(network: ImportedNetwork, data: LabelledFrames) -> NetworkEvaluation:
    """Return how a network does on recordings; of equal scores the first class counts. Classes of the same names are compared by name.

    Raises:
        InputError: no recording, or recordings that do not fit the network.
    """
    data = labelled_by_name(data, network.classes)
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
    sums = np.zeros(len(names))
    confusion = np.zeros((len(data.classes),) * 2, np.int64)
    for begin in range(0, len(data), _BATCH):
        outputs = interpret(network.graph, frames.select(slice(begin, begin + _BATCH)).dense())
        np.add.at(confusion, (data.labels[begin : begin + _BATCH], outputs.scores.argmax(1)), 1)
        sums += [float(spikes.mean((1, 2, 3, 4)).sum()) for spikes in outputs.spikes]
    count, correct = len(data), int(confusion.trace())
    rates = dict(zip(names, (sums / count).tolist()))
    return NetworkEvaluation(
        count, correct / count, wilson_interval(correct, count), rates, confusion.tolist()
    )


def order_warning(answer: NetworkEvaluation, classes: tuple[str, ...]) -> str:
    """Return what to tell the user where the outputs seem to stand in another order of classes, or do worse than guessing; else nothing.

    Args:
        classes: of the recordings, in the order of ``answer.confusion``'s rows.
    """
    confusion = np.array(answer.confusion)
    order = _likely_order(confusion)
    likely = int(confusion[order, np.arange(len(order))].sum()) / answer.recordings
    right = f"{100 * answer.accuracy:.2f} % of the answers are right"
    if answer.recordings >= MIN_PER_CLASS * len(classes) and likely - answer.accuracy > LARGE_GAIN:
        listed = not any("," in name for name in classes)
        named = f" {quote(','.join(classes[i] for i in order))}" if listed else ""
        return (
            f"{right}; with the outputs' classes in another order {100 * likely:.2f} % would be. If the network was trained with that order, "
            f"import it again with --classes{named}."
        )
    if answer.interval[1] < 1 / len(classes):
        return (
            f"{right}, fewer than by guessing ({100 / len(classes):.2f} %). Compare the order of its outputs with that of the classes "
            f"({', '.join(classes)}); import --classes states another."
        )
    return ""


def _likely_order(confusion: NDArray[np.int64]) -> list[int]:
    """Return the class that each output most likely stands for, the surest first: greedy, each class once."""
    left, order = confusion.copy(), [0] * len(confusion)
    for _ in order:
        row, column = divmod(int(left.argmax()), len(left))
        order[column] = row
        left[row], left[:, column] = -1, -1
    return order
