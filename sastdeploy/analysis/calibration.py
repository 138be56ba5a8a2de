"""What can still be turned at deployment, without training: thresholds, the input's scale, and the surrogate's slope."""

from __future__ import annotations

from typing import Any

import numpy as np

from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.training.inference import network_of, predict
from sastdeploy.training.networks import SpikingNetwork

FACTORS = tuple(float(f) for f in 2.0 ** np.arange(-7, 2.5, 0.5))
"""Tried on thresholds and on the input: 1/128 to 4, in steps of the square root of 2."""
SLOPES = (1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
"""Factors on the surrogate's slope k: how its accuracy goes over into the hard step's."""


def calibration(checkpoint: Checkpoint, validation: LabelledFrames, test: LabelledFrames) -> dict[str, Any]:
    """Return what each change at deployment gives with hard spikes; every factor is chosen on validation recordings.

    ``threshold``: all thresholds times one factor. ``threshold_by_layer``: the same for one layer after the other,
    first to last. ``input``: the frame values times a factor (beyond 1 they leave [0, 1], which the first layer's scale
    can take up). Each with the chosen factors, and accuracy on validation and test recordings.
    ``slopes``: accuracy with surrogate spikes on validation recordings at k times each of `SLOPES`.
    """
    network = network_of(checkpoint)
    layers = list(checkpoint.architecture.lif_shapes())
    thresholds = [f"{name}.threshold" for name in layers]

    def accuracy(data: LabelledFrames, factors: dict[str, float], hard: bool = True) -> float:
        scaled = {
            name: value * np.float32(factors.get(name, 1.0)) for name, value in checkpoint.parameters.items()
        }
        network.load_arrays(scaled)
        return _accuracy(network, data, checkpoint, hard)

    def chosen(names: list[str], kept: dict[str, float]) -> dict[str, float]:
        accuracies = {f: accuracy(validation, kept | dict.fromkeys(names, f)) for f in FACTORS}
        # On ties the factor nearest to 1: change no more than needed.
        best = max(accuracies, key=lambda f: (accuracies[f], -abs(np.log(f))))
        return kept | dict.fromkeys(names, best)

    by_layer: dict[str, float] = {}
    for name in thresholds:
        by_layer = chosen([name], by_layer)
    accuracies = {
        "threshold": chosen(thresholds, {}),
        "threshold_by_layer": by_layer,
        "input": chosen([f"{layers[0]}.weight"], {}),
    }
    result: dict[str, Any] = {
        kind: {
            "factors": factors,
            "validation_hard": accuracy(validation, factors),
            "test_hard": accuracy(test, factors),
        }
        for kind, factors in accuracies.items()
    }
    network.load_arrays(checkpoint.parameters)
    slope = network.slope
    result["slopes"] = {}
    for factor in SLOPES:
        network.slope = slope * factor
        result["slopes"][f"{network.slope:g}"] = _accuracy(network, validation, checkpoint, False)
    return result


def _accuracy(network: SpikingNetwork, data: LabelledFrames, checkpoint: Checkpoint, hard: bool) -> float:
    answers = predict(network, data.frames, checkpoint.preprocessing, hard)
    return float((answers == data.labels).mean())
