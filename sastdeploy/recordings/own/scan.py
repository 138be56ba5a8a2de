"""Every file of a data set read once: what it holds, and whether it can be read. Kept beside the cached frames."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sastdeploy._files import atomic
from sastdeploy._files.reading import open_regular, read_json, reason, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.cache import frames_home
from sastdeploy.recordings.events import MAX_RECORDING
from sastdeploy.recordings.npy import parse_array
from sastdeploy.recordings.own.declaration import MAX_SENSOR
from sastdeploy.recordings.own.records import Entry
from sastdeploy.recordings.reading import ARRAYS, Recording, in_a_dataset, load_events, read_file

FORMAT = 2
_ANY_SENSOR = (MAX_SENSOR, MAX_SENSOR, 2)
_PIECE = 1 << 20


@dataclass(frozen=True)
class FileFacts:
    """What one recording is like.

    Args:
        sha256: of its bytes. bad: why it cannot be read; empty where it can, and then the rest holds.
        width, height: of the sensor that it states, or the smallest that holds its events. events: their number. on: those
            of polarity ON.
        seconds: from the first to the last event. unit: of its times. plain: whether its columns have no names.
        stated: whether it states its sensor.
    """

    sha256: str
    bad: str = ""
    width: int = 0
    height: int = 0
    events: int = 0
    on: int = 0
    seconds: float = 0.0
    unit: str = "us"
    plain: bool = False
    stated: bool = False


def scan(
    folder: Path,
    entries: Sequence[Entry],
    unit: str | None,
    columns: str | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[FileFacts]:
    """Return the facts of every recording; files that did not change since the last call are not read again.

    Args:
        unit, columns: as stated; None guesses them. progress: called with (files read, files in all).
    """
    path = frames_home(folder) / f"scan-{_key(folder, entries, unit, columns)}.json"
    noted = _noted(path, len(entries))
    if noted is not None:
        return noted
    facts = []
    for number, entry in enumerate(entries, 1):
        facts.append(_facts(folder / entry.file, unit, columns))
        progress(number, len(entries))
    # Where it cannot be noted, the next call reads again: slower, and as right.
    with suppress(InputError):
        atomic.write_text(path, json.dumps([list(asdict(each).values()) for each in facts]))
    return facts


def _key(folder: Path, entries: Sequence[Entry], unit: str | None, columns: str | None) -> str:
    digest = hashlib.sha256(repr((FORMAT, unit, columns)).encode())
    for entry in entries:
        try:
            facts = os.stat(folder / entry.file)
            state = f"{facts.st_size}\t{facts.st_mtime_ns}"
        except OSError:
            state = "absent"
        digest.update(f"{entry.file}\t{state}\n".encode())
    return digest.hexdigest()[:24]


def _noted(path: Path, count: int) -> list[FileFacts] | None:
    """Return the facts that an earlier call noted; None where there are none, or others than a call would note."""
    try:
        rows = read_json(path)
    except InputError:
        return None
    kinds = [type(field.default) if field.name != "sha256" else str for field in fields(FileFacts)]
    whole = isinstance(rows, list) and len(rows) == count
    if not whole or not all(isinstance(row, list) and [type(v) for v in row] == kinds for row in rows):
        return None
    return [FileFacts(*row) for row in rows]


def _facts(path: Path, unit: str | None, columns: str | None) -> FileFacts:
    digest = hashlib.sha256()
    try:
        with open_regular(path, limit=MAX_RECORDING) as opened:
            try:
                while piece := opened.read(_PIECE):
                    digest.update(piece)
            except OSError as error:
                raise InputError(f"{shown(path)}: cannot be read ({reason(error)}).") from error
        if path.suffix in ARRAYS:
            array = load_events(path, columns)
            events, own_unit = parse_array(array, shown(path), _ANY_SENSOR, unit, columns)
            recording, plain = (
                Recording(shown(path), events, own_unit, guessed=True),
                array.dtype.names is None,
            )
        else:
            recording, plain = read_file(path, _ANY_SENSOR), False
    except InputError as error:
        return FileFacts(digest.hexdigest(), in_a_dataset(str(error)))
    width, height, _ = recording.smallest_sensor
    return FileFacts(
        digest.hexdigest(), "", width, height, len(recording.events), int((recording.events["p"] > 0).sum()), recording.seconds,
        recording.unit, plain, recording.sensor is not None,
    )  # fmt: skip
