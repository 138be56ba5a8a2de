"""The state of an interrupted training: written after each epoch, read to go on with the same bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sastdeploy._files.reading import reason
from sastdeploy.errors import InputError, short
from sastdeploy.networks.checkpoint import MAX_BYTES, is_plain
from sastdeploy.networks.tensors import load_tensors, save_tensors
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import FusedAdam, PlainAdam

Optimiser = FusedAdam | PlainAdam

STATE_FORMAT = 4


@dataclass
class Progress:
    """What a resumed run needs: everything else is drawn anew from the seed and the epoch's number.

    ``threads``: those of the process that wrote the state; None for a fresh run and in earlier states.
    """

    epoch: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1
    best: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    threads: int | None = None


def save_state(
    path: Path, identity: dict[str, Any], network: SpikingNetwork, optimiser: Optimiser, progress: Progress
) -> None:
    """Write all that `load_state` needs, tensors on the CPU; ``identity`` is what a resumed run must share."""
    content = {
        "format": "sastdeploy.training-state",
        "format_version": STATE_FORMAT,
        "identity": identity,
        "threads": torch.get_num_threads(),
        "epoch": progress.epoch,
        "records": progress.records,
        "best_epoch": progress.best_epoch,
        "best": {name: torch.from_numpy(value) for name, value in progress.best.items()},
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    save_tensors(path, _on_cpu(content), force=True)


def _on_cpu(value: Any) -> Any:
    """Return the same dicts and lists with every tensor on the CPU."""
    if isinstance(value, dict):
        return {key: _on_cpu(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_on_cpu(part) for part in value]
    return value.cpu() if isinstance(value, torch.Tensor) else value


def load_state(
    path: Path, identity: dict[str, Any], network: SpikingNetwork, optimiser: Optimiser
) -> Progress:
    """Fill network and optimiser from a state, and return how far its training had come.

    Raises:
        InputError: the file is no state, damaged, or of a run of another ``identity``; names the first difference.
    """
    remedy = "Remove it, or start anew with --force."
    try:
        content = load_tensors(path, limit=5 * MAX_BYTES)
    except InputError as error:
        raise InputError(f"{error} {remedy}") from error
    # A tensor in their place would be compared element by element.
    marks = [
        mark if type(mark) in (str, int) else None for mark in map(content.get, ("format", "format_version"))
    ]
    if (
        marks != ["sastdeploy.training-state", STATE_FORMAT]
        or not isinstance(content.get("identity"), dict)
        or not is_plain(content["identity"])
    ):
        raise InputError(f"{path}: is no training state of this version. {remedy}")
    recorded = {"device": "cpu", **content["identity"]}  # earlier states name none, and are all of the CPU
    if other := difference(recorded, identity):
        raise InputError(f"{path}: cannot be resumed, {other}. Repeat the first call's options.")
    try:
        best = _arrays(content["best"], network.parameters_as_arrays(), "the best epoch's parameters")
        progress = Progress(
            content["epoch"], content["records"], content["best_epoch"], best, content.get("threads")
        )
        _check_whole(progress, identity["settings"]["epochs"])
        own = {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}
        _arrays(content["network"], own, "the parameters")
        network.load_state_dict(content["network"])
        optimiser.load_state_dict(content["optimiser"])
    except Exception as error:  # An edited file can hold anything, and torch raises what it likes.
        raise InputError(f"{path}: is damaged ({reason(error)}). {remedy}") from error
    return progress


def _check_whole(progress: Progress, epochs: int) -> None:
    if type(progress.epoch) is not int or type(progress.best_epoch) is not int:
        raise ValueError("its epochs are no whole numbers")
    if type(progress.threads) not in (int, type(None)):
        raise ValueError("its number of threads is no whole number")
    if progress.epoch > epochs:
        raise ValueError("its epochs do not fit one another")
    for record in progress.records:
        for key, value in record.items():
            if isinstance(value, dict) != (key == "spike_rates") or key == "silent_layers":
                raise ValueError(f"{key} is {short(value, 40)}, which no epoch records")
            if not all(_is_finite(part) for part in (value.values() if isinstance(value, dict) else [value])):
                raise ValueError(f"{key} is {short(value, 40)}, no finite number")
    numbers = [record["epoch"] for record in progress.records if {"hard_accuracy", "slope"} <= record.keys()]
    if numbers != list(range(progress.epoch)) or progress.best_epoch not in numbers:
        raise ValueError("its epochs do not fit one another")
    if not is_plain(progress.records):
        raise ValueError("its epochs have names that are no text")
    if any(record["slope"] <= 0 for record in progress.records):
        raise ValueError("slope of an epoch is not positive")


def _arrays(
    tensors: dict[str, Any], parameters: dict[str, NDArray[Any]], what: str
) -> dict[str, NDArray[Any]]:
    """Return a state's tensors as arrays; they have the parameters' names, shapes and type, and are finite."""
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    kinds, expected = (
        {name: (array.shape, array.dtype) for name, array in part.items()} for part in (arrays, parameters)
    )
    if kinds != expected:
        raise ValueError(f"{what} do not fit the network")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError(f"{what} are not all finite")
    return arrays


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and is_plain(value)


def difference(recorded: dict[str, Any], identity: dict[str, Any]) -> str:
    """Return in words the first part in which a recorded run is not of ``identity``, by its first key that differs; empty if in none."""
    for part, now in identity.items():
        if (before := recorded.get(part)) != now:
            return _difference(part, before, now)
    return ""


def _difference(part: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                return f"{part}.{key} was {before.get(key)} and is now {now.get(key)}"
    return f"{part} was {before} and is now {now}"
