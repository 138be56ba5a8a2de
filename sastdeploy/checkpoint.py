"""Checkpoint: architecture, parameters, preprocessing and provenance in one safe file (.pt)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.architecture import Architecture
from sastdeploy.frames import Preprocessing

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and all that is needed to evaluate or compile it.

    Args:
        architecture: the network, for its input shape and class count.
        parameters: float32 arrays: ``layers.{i}.weight`` (dense ``[N, J]``, conv ``[O, I, K, K]``),
            ``layers.{i}.bias`` ``[C]``, ``layers.{i}.threshold`` ``[C]`` for every Dense and Conv at position i of
            ``architecture.layers``; ``readout.weight`` ``[K, J]`` and ``readout.bias`` ``[K]``.
        preprocessing: how recordings became frames.
        classes: class names in label order.
        dataset: name of the training data set.
        training: method, rho, epochs, seed, chosen epoch and its validation figures.
        provenance: command, versions, data hash, commit if any.
    """

    architecture: Architecture
    parameters: dict[str, NDArray[np.float32]]
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    dataset: str
    training: dict[str, Any]
    provenance: dict[str, Any]
