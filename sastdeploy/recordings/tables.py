"""Events in .npz archives (one array, or x, y, t and p each its own) and in .csv and .txt tables of numbers."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.reading import open_regular, parsing, read_text, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.events import MAX_RECORDING
from sastdeploy.recordings.npy import FIELDS, stored_array

MAX_TABLE = 64 << 20
"""Bytes of a table of text: about four million events."""
_MAX_MEMBERS = 64
_PIECE = 4096
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by their names.

    Raises:
        InputError: no archive of plain arrays, or more than `MAX_RECORDING` bytes unpacked.
    """
    with (
        open_regular(path, limit=MAX_RECORDING) as opened,
        parsing(path, ".npz archive of plain numbers", "Get the file again."),
        zipfile.ZipFile(opened) as archive,
    ):
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > MAX_RECORDING:
            raise InputError(
                f"{shown(path)}: holds {len(members):,} arrays of {sum(m.file_size for m in members):,} bytes; allowed are "
                f"{_MAX_MEMBERS} arrays and {MAX_RECORDING:,} bytes."
            )
        return {member.filename.removesuffix(".npy"): _member(archive, member) for member in members}


def load_npz(path: Path) -> NDArray[Any]:
    """Return the events of an archive: its only array, or its arrays x, y, t and p as the fields of one.

    Raises:
        InputError: as `load_arrays`, or arrays of other names.
    """
    arrays = load_arrays(path)
    names = {name.lower(): name for name in arrays}
    fields = {
        letter: next((names[n] for n in FIELDS[letter] if n in names), None)
        for letter in ("x", "y", "t", "p")
    }
    if None not in fields.values():
        return _combined(path, {letter: arrays[name] for letter, name in fields.items() if name})
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise InputError(
        f"{shown(path)}: holds as arrays: {', '.join(map(shown, arrays)) or 'none'}. Expected x, y, t and p, or one "
        "array of events."
    )


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    # In small pieces: some packers unpack all that they are given, whatever size the archive's list states.
    with archive.open(member) as packed:
        return stored_array(io.BytesIO(b"".join(iter(lambda: packed.read(_PIECE), b""))))


def _combined(path: Path, parts: dict[str, NDArray[Any]]) -> NDArray[Any]:
    lengths = {letter: list(part.shape) for letter, part in parts.items()}
    if any(part.ndim != 1 for part in parts.values()) or len({len(part) for part in parts.values()}) > 1:
        raise InputError(
            f"{shown(path)}: its arrays have the shapes {', '.join(f'{k} {v}' for k, v in lengths.items())}; expected one "
            "number per event in each."
        )
    events = np.empty(len(parts["x"]), [(letter, part.dtype) for letter, part in parts.items()])
    for letter, part in parts.items():
        events[letter] = part
    return events


def load_table(path: Path, columns: str | None) -> NDArray[Any]:
    """Return the events of a table of text: fields by its header line, or plain columns without one.

    Columns are separated by commas, semicolons, tabs or spaces; a header may begin with ``#``.

    Args:
        columns: order of the columns where there is no header, as ``xytp``; with a header, its names decide.

    Raises:
        InputError: no table of numbers, a header without x, y, t and p, or neither a header nor ``columns``.
    """
    text = read_text(path, limit=MAX_TABLE)
    first, _, rest = text.partition("\n")
    separator = next((mark for mark in ",;\t" if mark in first), None)
    cells = [cell.strip() for cell in first.lstrip("# ").split(separator)]
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        if columns is None:
            raise InputError(
                f"{shown(path)}: line 1: is no header, so the order of its columns is not known. Write x, y, t and p above the "
                "columns, or state the order with --columns, as in --columns txyp."
            )
        return _numbers(path, text, separator, len(cells))
    places = {cell.strip("\"'").lower(): number for number, cell in enumerate(cells)}
    chosen = {
        letter: next((places[n] for n in FIELDS[letter] if n in places), None)
        for letter in ("x", "y", "t", "p")
    }
    absent = [letter for letter, place in chosen.items() if place is None]
    if absent:
        raise InputError(
            f"{shown(path)}: line 1: no column is called {' or '.join(absent)}; found '{shown(first[:80])}'. Name the columns "
            "x, y, t and p."
        )
    numbers = _numbers(path, rest, separator, len(cells))
    events = np.empty(len(numbers), [(letter, np.float64) for letter in chosen])
    for letter, place in chosen.items():
        events[letter] = numbers[:, place]
    return events


def _numbers(path: Path, text: str, separator: str | None, width: int) -> NDArray[np.float64]:
    if not text.strip():
        return np.empty((0, width))
    with parsing(path, "table of numbers", "Get the file again."):
        numbers = np.loadtxt(io.StringIO(text), np.float64, comments=None, delimiter=separator, ndmin=2)
        if numbers.shape[1] != width:
            raise ValueError(f"rows of {numbers.shape[1]} numbers below a first line of {width} cells")
        return numbers
