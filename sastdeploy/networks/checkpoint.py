"""Checkpoint: architecture, parameters, preprocessing and provenance in one safe file (.pt)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.reading import brief, is_printable, shown
from sastdeploy.errors import InputError, short
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import (
    MAX_PARAMETERS,
    architecture_from_dict,
    architecture_to_dict,
    parameter_shapes,
)
from sastdeploy.networks.tensors import load_tensors, save_arrays
from sastdeploy.recordings.preprocessing import Preprocessing

FORMAT_VERSION = 1
MAX_RHO, MAX_EPOCHS, MAX_SEED = 1e6, 1_000_000, (1 << 63) - 1
"""Largest rho, number of epochs and seed of a training; every number of its facts fits float64 and int64."""
_MAX_TEXT, _MAX_DEPTH = 1000, 30
"""Longest class name, and how deep facts may nest: a program's limits, so that no checkpoint is refused only by compile."""
MAX_BYTES = 4 * MAX_PARAMETERS + (1 << 26)
"""Of a checkpoint: the parameters of the largest network, and 64 MiB of facts."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and all that is needed to evaluate or compile it.

    Args:
        architecture: the network, for its input shape and class count.
        parameters: float32 arrays: ``layers.{i}.weight`` (dense ``[N, J]``, conv ``[O, I, K, K]``),
            ``layers.{i}.bias`` ``[C]``, ``layers.{i}.threshold`` ``[C]`` for every layer with neurons at position i of
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


def save_checkpoint(path: Path | str, checkpoint: Checkpoint, *, force: bool = False) -> None:
    """Write a checkpoint in one step; a failure leaves an old file as it was. The same checkpoint gives the same bytes.

    Args:
        path: of the ``.pt`` file.
        checkpoint: whole; every shape and value is checked first.
        force: replace another file that is there.

    Raises:
        InputError: the checkpoint is not whole (as in `load_checkpoint`), the path cannot be written, or without ``force`` another file
            is there.

    Example::

        save_checkpoint("mine.pt", fit(training, validation))
    """
    check_checkpoint(checkpoint, str(path))
    content = {
        "format": "sastdeploy.checkpoint",
        "format_version": FORMAT_VERSION,
        "manifest": _manifest(checkpoint),
    }
    arrays = {name: np.asarray(value, np.float32) for name, value in checkpoint.parameters.items()}
    save_arrays(path, content, arrays, force=force)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Return a checkpoint that is whole: every shape right, every value finite and in range. Executes nothing.

    Args:
        path: of a file that `save_checkpoint` or a training wrote.

    Raises:
        InputError: the file is missing, damaged, foreign, newer, holds code, or is not whole.

    Example::

        checkpoint = load_checkpoint("ckpt.pt")
        print(checkpoint.dataset, checkpoint.training["selected"]["hard_accuracy"])
    """
    return checkpoint_of(load_tensors(path, limit=MAX_BYTES), path)


def checkpoint_of(content: dict[str, Any], path: Path | str) -> Checkpoint:
    """Return the checkpoint that a file's content is, as `load_checkpoint`."""
    if content.get("format") == "sastdeploy.network":
        raise InputError(
            f"{path}: is an imported network, which was not trained here. Take it with compile, evaluate or inspect."
        )
    if content.get("format") != "sastdeploy.checkpoint":
        raise InputError(
            f"{path}: is a PyTorch file, but no sastdeploy checkpoint. Train one with 'sastdeploy train'."
        )
    version = content.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise InputError(
            f"{path}: has format version {brief(version)}; this sastdeploy reads version {FORMAT_VERSION}. "
            f"Upgrade sastdeploy, or train again."
        )
    return _from_content(content, str(path))


def check_checkpoint(checkpoint: Checkpoint, where: str) -> None:
    """Accept a checkpoint whose every part fits the others.

    Raises:
        InputError: a parameter is missing, unexpected, of another shape or type, not finite, or a threshold is not
            positive; the training facts are not whole; a class name stands twice; the classes or the frame shape do
            not fit the architecture.
    """
    expected = parameter_shapes(checkpoint.architecture)
    missing = sorted(expected.keys() - checkpoint.parameters.keys())
    unexpected = sorted(checkpoint.parameters.keys() - expected.keys())
    if missing or unexpected:
        raise InputError(
            f"{where}: parameters do not fit {checkpoint.architecture.name}: missing {', '.join(missing) or 'none'}, "
            f"unexpected {', '.join(unexpected) or 'none'}."
        )
    for name, shape in expected.items():
        value = checkpoint.parameters[name]
        if value.shape != shape or value.dtype != np.float32:
            raise InputError(
                f"{where}: {name}: expected float32 {list(shape)}, found {value.dtype} {list(value.shape)}."
            )
        if not np.isfinite(value).all():
            place = np.unravel_index(int(np.argmin(np.isfinite(value))), shape)
            raise InputError(
                f"{where}: {name}{[int(i) for i in place]}: is {value[place]}; every parameter must be finite."
            )
        if name.endswith("threshold") and (value <= 0).any():
            raise InputError(
                f"{where}: {name}[{int(np.argmax(value <= 0))}]: is {value.min():g}; thresholds must be positive."
            )
    if not is_plain(checkpoint.training) or not is_plain(checkpoint.provenance):
        raise InputError(
            f"{where}: training facts are not plain values: text that is valid Unicode, finite numbers (whole ones below 2^64), lists, dicts. Copy or train it again."
        )
    _check_training(checkpoint.training, where)
    for what, text in (
        ("data set", checkpoint.dataset),
        *(("class name", name) for name in checkpoint.classes),
    ):
        if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
            raise InputError(
                f"{where}: {what} {short(text, 40)}: must be 1 to {_MAX_TEXT} printable characters, not all spaces."
            )
    twice = [name for name in checkpoint.classes if checkpoint.classes.count(name) > 1]
    if twice:
        raise InputError(f"{where}: class name '{twice[0]}' stands twice. Give every class its own name.")
    if len(checkpoint.classes) != checkpoint.architecture.classes:
        raise InputError(
            f"{where}: {len(checkpoint.classes)} class names for {checkpoint.architecture.classes} outputs."
        )
    if checkpoint.preprocessing.frame_shape != checkpoint.architecture.input_shape:
        raise InputError(
            f"{where}: frames {checkpoint.preprocessing.frame_shape} do not fit the network's input "
            f"{checkpoint.architecture.input_shape}."
        )


def silence(layers: Sequence[str]) -> str:
    """Return what to tell the user of layers that sent no hard spike at all; nothing where there are none."""
    if not layers:
        return ""
    return (
        f"{', '.join(layers)}: not one hard spike on any recording, so nothing of the input passes. Train longer, with "
        f"--init alive, a larger --init-scale, a lower --threshold or a smaller --divisor."
    )


def checkpoint_hash(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 over everything that the checkpoint says (not over the file's bytes)."""
    manifest = _manifest(checkpoint)
    manifest["architecture"]["layers"] = [_hashed(layer) for layer in manifest["architecture"]["layers"]]
    digest = hashlib.sha256(_canonical(manifest))
    for name in sorted(checkpoint.parameters):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(checkpoint.parameters[name], "<f4").data)
    return digest.hexdigest()


def _hashed(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer as earlier versions wrote it where they could, so that the hashes of their checkpoints stay."""
    if layer["kind"] == "avg_pool" and layer["stride"] == layer["kernel"] and layer["padding"] == 0:
        return {"kernel": layer["kernel"], "kind": "sum_pool"}
    return layer


def _manifest(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "architecture": architecture_to_dict(checkpoint.architecture),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "classes": list(checkpoint.classes),
        "dataset": checkpoint.dataset,
        "training": checkpoint.training,
        "provenance": checkpoint.provenance,
    }


def _canonical(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _from_content(content: dict[str, Any], where: str) -> Checkpoint:
    manifest, tensors = content.get("manifest"), content.get("parameters")
    keys = {"architecture", "preprocessing", "classes", "dataset", "training", "provenance"}
    if not isinstance(manifest, dict) or set(manifest) != keys or not isinstance(tensors, dict):
        raise InputError(f"{where}: is damaged (its manifest is not whole). Copy or train it again.")
    classes, dataset = manifest["classes"], manifest["dataset"]
    if (
        not isinstance(classes, list)
        or not all(isinstance(c, str) for c in classes)
        or not isinstance(dataset, str)
    ):
        raise InputError(
            f"{where}: is damaged (class names or data set are no text). Copy or train it again."
        )
    if not is_printable(dataset):
        raise InputError(
            f"{where}: is damaged ('{shown(dataset)}' is no name of a data set). Copy or train it again."
        )
    try:
        preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    checkpoint = Checkpoint(
        architecture_from_dict(manifest["architecture"], where),
        {str(name): _array(name, value, where) for name, value in tensors.items()},
        preprocessing,
        tuple(classes),
        dataset,
        manifest["training"],
        manifest["provenance"],
    )
    check_checkpoint(checkpoint, where)
    return checkpoint


def _array(name: Any, tensor: Any, where: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = tensor.detach().numpy()
    except (AttributeError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{where}: is damaged ({name} is no dense tensor of float32 numbers). Copy or train it again."
        ) from error
    return array


def _check_training(training: dict[str, Any], where: str) -> None:
    """Accept training facts that name method, rho, seed, epochs and the chosen epoch, as `Checkpoint` says."""
    if not isinstance(training, dict):
        raise InputError(f"{where}: training: expected keys and values, found {type(training).__name__}.")
    seeds, epochs = f"a whole number, 0 to {MAX_SEED}", f"a whole number, 0 to {MAX_EPOCHS:,}"
    rules: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
        ("method", "a text", lambda value: isinstance(value, str)),
        ("rho", f"a number, 0 to {MAX_RHO:g}", lambda value: _is_number(value) and 0 <= value <= MAX_RHO),
        ("seed", seeds, lambda value: type(value) is int and 0 <= value <= MAX_SEED),
        ("epochs", epochs, _counts_epochs),
        ("selected", "keys and values with a whole 'epoch'", lambda value: isinstance(value, dict) and _counts_epochs(value.get("epoch"))),
    )  # fmt: skip
    for key, wanted, fits in rules:
        if not fits(training.get(key)):
            raise InputError(
                f"{where}: training.{key}: expected {wanted}, found {short(training.get(key), 40)}."
            )
    silent = training["selected"].get("silent_layers", [])
    if not isinstance(silent, list) or not all(isinstance(name, str) for name in silent):
        raise InputError(
            f"{where}: training.selected.silent_layers: expected layer names, found {short(silent, 40)}."
        )
    factors = training.get("init_factors", {})
    if not isinstance(factors, dict) or not all(_is_number(f) and 0 < f <= 1e9 for f in factors.values()):
        raise InputError(
            f"{where}: training.init_factors: expected a number above 0 per layer, found {short(factors, 40)}."
        )
    for key in ("learning_rate", "batch_size", "init_scale"):
        if key in training and not (_is_number(training[key]) and 0 < training[key] <= 1e6):
            raise InputError(
                f"{where}: training.{key}: expected a number above 0, at most 1e+06, found {short(training[key], 40)}."
            )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _counts_epochs(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_EPOCHS


def is_plain(value: Any, depth: int = 0) -> bool:
    """Say whether a value is JSON-ready and not nested too deep: dicts with text keys, lists, text, finite numbers, booleans, None."""
    if isinstance(value, dict):
        return depth < _MAX_DEPTH and all(
            isinstance(key, str) and is_plain(key) and is_plain(item, depth + 1)
            for key, item in value.items()
        )
    if isinstance(value, list):
        return depth < _MAX_DEPTH and all(is_plain(item, depth + 1) for item in value)
    if isinstance(value, str):
        return value.isascii() or value == value.encode("utf-8", "replace").decode("utf-8")
    if type(value) is int:
        return -MAX_SEED <= value <= MAX_SEED
    return value is None or type(value) is bool or (type(value) is float and math.isfinite(value))
