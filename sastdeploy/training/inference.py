"""Running a float network, with surrogate or with hard spikes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import Frames, LabelledFrames, require_fit
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.statistics import paired_interval, wilson_interval
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.sparse import SparseFrames, SparseValues

_BATCH = 256


def frame_values(
    frames: Frames,
    chosen: NDArray[np.integer] | slice,
    preprocessing: Preprocessing,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return frame values ``[B, T, P, H, W]`` in [0, 1]: ``min(count, c_clip) / divisor``.

    With ``sample_max`` each recording's counts are divided by its own largest count instead.
    """
    part = frames.select(chosen)
    count = len(part)
    rows = np.repeat(np.arange(count * part.time_bins, dtype=np.int64), np.diff(part.indptr))
    if preprocessing.normalisation == "sample_max":
        owner = rows // part.time_bins
        largest = np.zeros(count)
        np.maximum.at(largest, owner, part.count)
        values = part.count / largest[owner]
    else:
        values = np.minimum(part.count, preprocessing.c_clip) / preprocessing.divisor
    x = torch.zeros(count * part.time_bins * part.inputs, dtype=dtype)
    x[torch.from_numpy(rows * part.inputs + part.index)] = torch.from_numpy(values).to(dtype)
    return x.view(count, part.time_bins, *part.shape)


def network_of(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> SpikingNetwork:
    """Return the checkpoint's network, ready to run."""
    network = SpikingNetwork(checkpoint.architecture).to(dtype)
    network.load_arrays(checkpoint.parameters)
    return network


@dataclass(frozen=True)
class FloatRun:
    """Scores ``[N, K]``, and of every LIF layer spikes and membranes ``[N, T, ...]`` where asked for."""

    scores: NDArray[np.floating]
    spikes: tuple[NDArray[np.floating], ...] = ()
    membranes: tuple[NDArray[np.floating], ...] = ()


def check_fit(architecture: Architecture, preprocessing: Preprocessing, frames: Frames) -> None:
    """Accept frames of the network's shape and number of time bins.

    Raises:
        InputError: another shape or number of time bins.
    """
    require_fit(
        frames,
        architecture.input_shape,
        preprocessing.time_bins,
        "the network",
        "Load the data set that it was trained on, in as many time bins.",
    )


def run(
    checkpoint: Checkpoint,
    frames: Frames,
    *,
    hard: bool = True,
    dtype: torch.dtype = torch.float64,
    record: bool = False,
) -> FloatRun:
    """Return the network's answer on every recording; with ``record`` also every spike and membrane."""
    check_fit(checkpoint.architecture, checkpoint.preprocessing, frames)
    network = network_of(checkpoint, dtype)
    scores, recorded = [], []
    with torch.inference_mode():
        for start in range(0, len(frames), _BATCH):
            x = frame_values(frames, slice(start, start + _BATCH), checkpoint.preprocessing, dtype)
            layers: list[tuple[Tensor, Tensor]] | None = [] if record else None
            scores.append(network(x, hard, layers).numpy())
            recorded.append([(s.transpose(0, 1).numpy(), u.transpose(0, 1).numpy()) for s, u in layers or ()])
    width = checkpoint.architecture.classes
    joined = [tuple(np.concatenate(parts) for parts in zip(*layer)) for layer in zip(*recorded)]
    return FloatRun(
        np.concatenate([np.empty((0, width)), *scores]),
        tuple(spikes for spikes, _ in joined),
        tuple(membranes for _, membranes in joined),
    )


def network_inputs(
    network: SpikingNetwork, frames: Frames, preprocessing: Preprocessing
) -> Callable[[NDArray[np.integer] | slice], Tensor | SparseValues]:
    """Return what draws the values of chosen recordings, in the form that the network runs fastest on and on its device."""
    if network.takes_sparse:
        return SparseFrames(frames, preprocessing).draw
    return lambda chosen: frame_values(frames, chosen, preprocessing).to(network.device)


class SpikeCounts(list[Any]):
    """Takes the place of a record of spikes and membranes, and keeps only each LIF layer's number of spikes.

    Hard spikes, which are 0 or 1; exact over any number of batches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def append(self, layer: tuple[Tensor, Tensor]) -> None:
        super().append(int(layer[0].count_nonzero()))

    def end_batch(self) -> None:
        self.counts = [a + b for a, b in zip(self.counts or [0] * len(self), self)]
        self.clear()


def class_scores(
    network: SpikingNetwork,
    frames: Frames,
    preprocessing: Preprocessing,
    hard: bool,
    spikes: SpikeCounts | None = None,
) -> NDArray[np.float32]:
    """Return the scores ``[N, K]`` of every recording, in the form in which the network runs fastest.

    Args:
        spikes: takes the number of spikes of every LIF layer over all recordings.
    """
    check_fit(network.architecture, preprocessing, frames)
    scores, draw = [], network_inputs(network, frames, preprocessing)
    with torch.inference_mode():
        for start in range(0, len(frames), _BATCH):
            scores.append(network(draw(slice(start, start + _BATCH)), hard, spikes).cpu().numpy())
            if spikes is not None:
                spikes.end_batch()
    return np.concatenate([np.empty((0, network.architecture.classes), np.float32), *scores])


def predict(
    network: SpikingNetwork,
    frames: Frames,
    preprocessing: Preprocessing,
    hard: bool,
    spikes: SpikeCounts | None = None,
) -> NDArray[np.int64]:
    """Return the predicted class of every recording; ties go to the lowest class. Arguments as `class_scores`."""
    predicted: NDArray[np.int64] = class_scores(network, frames, preprocessing, hard, spikes).argmax(1)
    return predicted


def lif_layer_sizes(architecture: Architecture) -> dict[str, int]:
    """Return the number of neurons of every LIF layer by its name, as in ``layers.0``, first to last."""
    return {name: math.prod(shape) for name, shape in architecture.lif_shapes().items()}


@dataclass(frozen=True)
class Evaluation:
    """Accuracy with surrogate and with hard spikes on the same recordings, each with its 95 % Wilson interval.

    ``gap = surrogate - hard`` (paper: Delta_transfer); its interval is Tango's score interval for paired proportions,
    which has a width where all predictions are identical too. ``spike_rates``: of every LIF layer, mean hard spikes per
    neuron and step.
    """

    recordings: int
    surrogate: float
    surrogate_interval: tuple[float, float]
    hard: float
    hard_interval: tuple[float, float]
    gap: float
    gap_interval: tuple[float, float]
    spike_rates: dict[str, float]

    @property
    def silent_layers(self) -> tuple[str, ...]:
        """The layers that sent no hard spike on any recording."""
        return tuple(name for name, rate in self.spike_rates.items() if rate == 0)


def evaluate(checkpoint: Checkpoint, data: LabelledFrames) -> Evaluation:
    """Return accuracy with surrogate spikes, accuracy with hard spikes, and the gap between them, in float32.

    Args:
        checkpoint: the network, and how counts become its frame values.
        data: N >= 1 labelled recordings of the checkpoint's frame shape, time bins and number of classes.

    Returns:
        Shares in [0, 1] (the gap in [-1, 1]), each with its 95 % interval.

    Raises:
        InputError: no recording, or recordings that do not fit the checkpoint.

    Example::

        result = evaluate(load_checkpoint("ckpt.pt"), load_dataset("nmnist-sim", "test"))
        print(f"{result.hard:.1%} with hard spikes, a gap of {100 * result.gap:.2f} points")
    """
    if len(data) == 0:
        raise InputError("evaluate: no recording. Give at least one.")
    if len(data.classes) != len(checkpoint.classes):
        raise InputError(
            f"evaluate: recordings of {len(data.classes)} classes do not fit the checkpoint's {len(checkpoint.classes)}. "
            f"Load the data set that it was trained on ({checkpoint.dataset})."
        )
    network, spikes = network_of(checkpoint), SpikeCounts()
    surrogate, hard = (
        predict(network, data.frames, checkpoint.preprocessing, h, spikes if h else None) == data.labels
        for h in (False, True)
    )
    count = len(data)
    states = count * checkpoint.preprocessing.time_bins
    return Evaluation(
        count,
        float(surrogate.mean()),
        wilson_interval(int(surrogate.sum()), count),
        float(hard.mean()),
        wilson_interval(int(hard.sum()), count),
        float((surrogate.astype(float) - hard).mean()),
        paired_interval(int((surrogate & ~hard).sum()), int((hard & ~surrogate).sum()), count),
        {
            name: sent / (states * neurons)
            for (name, neurons), sent in zip(lif_layer_sizes(checkpoint.architecture).items(), spikes.counts)
        },
    )
