"""PyTorch files of tensors and plain values: written in one step, read without running what they hold."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files import atomic
from sastdeploy._files.reading import bounded, open_regular
from sastdeploy.errors import InputError


def save_arrays(
    path: Path | str, content: dict[str, Any], arrays: dict[str, NDArray[Any]], *, force: bool = False
) -> None:
    """Write what `load_tensors` reads: plain values, and arrays by name under ``parameters``.

    Raises:
        InputError: the path cannot be written, the disk is full, or without ``force`` another file is there.
    """
    import torch

    parameters = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    save_tensors(path, {**content, "parameters": parameters}, force=force)


def save_tensors(path: Path | str, content: dict[str, Any], *, force: bool = False) -> None:
    """Write what `load_tensors` reads, in one step.

    Raises:
        InputError: the path cannot be written, the disk is full, or without ``force`` another file is there.
    """
    import torch

    with atomic.replacing(path, force=force) as temporary:
        # Given a path, torch would write the temporary file's name into the file, and hide why a disk takes no more.
        packed = io.BytesIO()
        torch.save(content, packed)
        temporary.write_bytes(packed.getvalue())


_FOLDER = 0x10
"""The bit of a zip member's attributes that marks a folder (MS-DOS)."""


def load_tensors(path: Path | str, *, limit: int) -> dict[str, Any]:
    """Return the dict of tensors and plain values in a PyTorch file; code in it is refused, never run.

    Raises:
        InputError: the file is missing, unreadable, no PyTorch file, truncated, has more than ``limit`` bytes, or holds
            anything else.
    """
    with open_regular(path, limit=limit) as opened:
        return _tensors(opened, path)


def _tensors(opened: BinaryIO, path: Path | str) -> dict[str, Any]:
    import pickle
    import warnings

    import torch

    magic = opened.read(4)
    if magic != b"PK\x03\x04":
        remedy = (
            "Import it first ('sastdeploy import')"
            if str(path).endswith(".nir")
            else "Train one with 'sastdeploy train'"
        )
        raise InputError(f"{path}: is {'empty' if not magic else 'no checkpoint'}. {remedy}.")
    _check_archive(opened, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(opened, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds something else than tensors and plain values, or is damaged, and was not loaded, because "
            f"that could run foreign code. Only open checkpoints that sastdeploy has written."
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, ... for damaged archives
        raise InputError(f"{path}: is damaged or truncated. Copy or train it again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, no checkpoint.")
    if not bounded(content):
        raise InputError(f"{path}: holds facts that nest too deep or are too many. Copy or train it again.")
    return content


def _check_archive(opened: BinaryIO, path: Path | str) -> None:
    """Accept a zip file whose members are stored as they are, and match their sums, which torch does not look at."""
    import zipfile

    try:
        size = opened.seek(0, os.SEEK_END)
        with zipfile.ZipFile(opened) as archive:
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            folders = [member.filename for member in members if member.external_attr & _FOLDER]
            larger = packed or sum(member.file_size for member in members) > size
            damaged = None if larger else archive.testzip()
        opened.seek(0)
    except Exception as error:  # BadZipFile, RuntimeError, zlib.error, ... for damaged archives
        raise InputError(f"{path}: is damaged or truncated. Copy or train it again.") from error
    if larger:
        raise InputError(
            f"{path}: would unpack to more than its own size, which no checkpoint does. Copy or train it again."
        )
    if folders:  # torch takes such a member for a folder, and its tensor from memory that nobody wrote
        raise InputError(f"{path}: is damaged ({folders[0]} is marked as a folder). Copy or train it again.")
    if damaged:
        raise InputError(f"{path}: is damaged ({damaged} does not match its sum). Copy or train it again.")
