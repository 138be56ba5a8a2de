"""What a float network visits: membranes and spikes of every layer, batch by batch, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import Frames
from sastdeploy.training.inference import check_fit, frame_values, network_of

_MAX_STATES, _MAX_RECORDINGS = 2**21, 256
"""Per batch: membranes of the largest layer (16 MiB in float64), and recordings."""


@dataclass(frozen=True)
class LayerStates:
    """One LIF layer on one batch, float64 ``[B, T, ...]``: ``offset`` is u - theta, ``spikes`` what it sent."""

    name: str
    membrane: NDArray[np.float64]
    offset: NDArray[np.float64]
    spikes: NDArray[np.float64]


def visited_states(checkpoint: Checkpoint, frames: Frames, hard: bool) -> Iterator[tuple[LayerStates, ...]]:
    """Yield every LIF layer's states on one batch of recordings after another, in float64.

    The batch size follows from the network alone, so that memory does not grow with the recordings.

    Raises:
        InputError: no recordings, or frames that do not fit the network.
    """
    check_frames(checkpoint, frames)
    network = network_of(checkpoint, torch.float64)
    names = lif_layers(checkpoint)
    size = batch_size(checkpoint)
    for start in range(0, len(frames), size):
        chosen = slice(start, start + size)
        record: list[tuple[torch.Tensor, torch.Tensor]] = []
        with torch.inference_mode():
            network(frame_values(frames, chosen, checkpoint.preprocessing, torch.float64), hard, record)
        yield tuple(
            LayerStates(
                name,
                membrane.transpose(0, 1).numpy(),
                (membrane - network.threshold(name, membrane)).transpose(0, 1).numpy(),
                spikes.transpose(0, 1).numpy(),
            )
            for name, (spikes, membrane) in zip(names, record)
        )


def input_values(checkpoint: Checkpoint, frames: Frames) -> Iterator[NDArray[np.float64]]:
    """Yield the frame values ``[B, T, P, H, W]`` of one batch of recordings after another, in float64."""
    size = batch_size(checkpoint)
    for start in range(0, len(frames), size):
        chosen = slice(start, start + size)
        yield frame_values(frames, chosen, checkpoint.preprocessing, torch.float64).numpy()


def check_frames(checkpoint: Checkpoint, frames: Frames) -> None:
    """Accept at least one recording whose frames fit the network.

    Raises:
        InputError: none, or another shape or number of time bins.
    """
    if len(frames) == 0:
        raise InputError("analysis: no recordings; at least one is needed.")
    check_fit(checkpoint.architecture, checkpoint.preprocessing, frames)


def lif_layers(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the names of the layers with neurons, first to last, as in ``layers.0``."""
    return tuple(checkpoint.architecture.lif_shapes())


def batch_size(checkpoint: Checkpoint) -> int:
    """Return how many recordings run at once: at most 256, and fewer for layers of many neurons."""
    largest = max(int(np.prod(shape)) for shape in checkpoint.architecture.shapes())
    return max(1, min(_MAX_RECORDINGS, _MAX_STATES // (largest * checkpoint.preprocessing.time_bins)))
