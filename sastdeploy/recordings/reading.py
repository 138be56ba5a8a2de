"""One recording from one file, by its suffix; every segment of a data set's split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sastdeploy._files.reading import exists, read_bytes, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings import dvsgesture as gestures
from sastdeploy.recordings import nmnist
from sastdeploy.recordings.aedat2 import MAGIC as AEDAT2
from sastdeploy.recordings.aedat2 import parse_aedat2
from sastdeploy.recordings.aedat31 import parse_aedat31
from sastdeploy.recordings.catalog import Dataset, absent
from sastdeploy.recordings.events import MAX_RECORDING, Events, Segment, check_events
from sastdeploy.recordings.library_files import LIBRARIES, load_by_library
from sastdeploy.recordings.npy import load_array, parse_array
from sastdeploy.recordings.prophesee import MAX_RAW, parse_dat, parse_raw
from sastdeploy.recordings.tables import load_npz, load_table

_LARGE = (128, 128, 2)
SUFFIXES: dict[str, tuple[int, int, int] | None] = {
    ".bin": (34, 34, 2), ".aedat": _LARGE, ".npy": _LARGE, ".npz": _LARGE, ".csv": _LARGE, ".txt": _LARGE, ".h5": _LARGE,
    ".hdf5": _LARGE, ".dat": None, ".raw": None, ".aedat4": None,
}  # fmt: skip
"""Readable suffixes and the sensor that each stands for unless told otherwise; None: any."""
_ANY = (1 << 15, 1 << 15, 2)
ARRAYS = (".npy", ".npz", ".csv", ".txt", ".h5", ".hdf5")
"""Suffixes of files that tell neither the unit of their times nor, without names, the order of their columns."""


@dataclass(frozen=True)
class Source:
    """One file (or member of a zip) of a split; `segments` reads it."""

    path: Path
    member: str
    form: str
    label: int = -1
    group: int = -1
    facts: Dataset | None = None
    """Class, group and data set of a recording of one's own; in the published forms its place tells them."""

    @property
    def name(self) -> str:
        return shown(f"{self.path}:{self.member}" if self.member else self.path)

    def segments(self) -> list[Segment]:
        """Return every segment in the file.

        Raises:
            InputError: the file is missing or damaged; the message names file, offset and rule.
        """
        if self.facts:
            return [_own_segment(self.path, self.label, self.group, self.facts)]
        read = nmnist.read_nmnist if self.form == "digits" else gestures.read_gestures
        return list(read(self.path, self.member))


def list_sources(facts: Dataset, root: Path, split: str) -> list[Source]:
    """Return the files of ``split`` ("train" or "test") in a fixed order.

    Raises:
        InputError: the data set is not there (with the three ways to get it), unfinished, or the split is empty.
    """
    if facts.own:
        return _own_sources(facts, split)
    folder = root / facts.name
    if not os.path.isdir(folder):
        raise absent(facts, root, f"there is no folder {folder}")
    if exists(folder / "simulated.partial.json"):
        raise InputError(
            f"{shown(folder)}: is not finished. Run '{facts.install_command}' again; it goes on where it stopped."
        )
    listing = nmnist.list_nmnist if facts.form == "digits" else gestures.list_gestures
    try:
        files = listing(folder, split)
    except InputError as error:
        raise absent(facts, root, str(error).rstrip(".")) from error
    if not files:
        raise absent(facts, root, f"{folder} holds no {split} recording")
    return [Source(path, member, facts.form) for path, member in files]


def _own_sources(facts: Dataset, split: str) -> list[Source]:
    assert facts.own
    chosen = [entry for entry in facts.own.entries if entry.split == split]
    if not chosen:
        raise InputError(
            f"data set '{facts.name}': has no {split} recording. Name some in its dataset.yaml (split), its manifest, or a folder "
            f"'{split}'."
        )
    numbers = {name: number for number, name in enumerate(facts.classes)}
    groups = {
        name: number for number, name in enumerate(sorted({e.group for e in facts.own.entries if e.group}))
    }
    return [
        Source(facts.own.folder / e.file, "", "own", numbers[e.label], groups.get(e.group, -1), facts)
        for e in chosen
    ]


def _own_segment(path: Path, label: int, group: int, facts: Dataset) -> Segment:
    assert facts.own
    try:
        recording = read_file(path, facts.sensor_size, unit=facts.own.unit, columns=facts.own.columns)
    except InputError as error:
        raise InputError(in_a_dataset(str(error))) from error
    whole = recording.whole(usual_begin(facts.sensor_size))
    return replace(whole, label=label, group=group)


def in_a_dataset(message: str) -> str:
    """Return an error of a reader with the remedy of a data set, where it names options of a single recording."""
    if "--unit" in message or "--columns" in message:
        return f"{message} For a data set: the keys unit and columns of its dataset.yaml."
    return message


def read_split(
    sources: list[Source],
    *,
    window_us: int | None = None,
    fixed: bool = False,
    skip_bad: bool,
    on_bad: Callable[[str], None] = lambda message: None,
) -> Iterator[Segment]:
    """Yield the segments of every file; a bad file stops it, or is passed to ``on_bad`` and left out with ``skip_bad``.

    Args:
        window_us, fixed: leave out of a segment what comes later after its start (`Segment.within`).
    """
    for source in sources:
        try:
            segments = [segment.within(window_us, fixed=fixed) for segment in source.segments()]
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} To go on without bad files: --skip-bad.") from error
            on_bad(str(error))
            continue
        yield from segments


@dataclass(frozen=True)
class Recording:
    """One event file on its own.

    Args:
        events: `EVENT_DTYPE`, times as in the file. unit: of the file's times. guessed: whether the unit is a guess.
        sensor: (W, H) where the file states it. gestures: the labelled parts of an .aedat file that has a label file beside it.
    """

    name: str
    events: Events
    unit: str
    guessed: bool
    sensor: tuple[int, int] | None = None
    gestures: tuple[Segment, ...] = ()

    @property
    def seconds(self) -> float:
        """Time from the first to the last event."""
        return float(self.events["t"][-1] - self.events["t"][0]) * 1e-6

    @property
    def smallest_sensor(self) -> tuple[int, int, int]:
        """``(W, H, 2)``: the stated sensor, or the smallest one that holds all events."""
        return (*(self.sensor or (int(self.events["x"].max()) + 1, int(self.events["y"].max()) + 1)), 2)

    def whole(self, begin: str) -> Segment:
        """Return all events as one segment that ends with the last event.

        Args:
            begin: ``zero``, the file's time 0, or ``first-event``.
        """
        start = int(self.events["t"][0]) if begin == "first-event" else 0
        return Segment(self.name, 0, -1, start, int(self.events["t"][-1]) + 1, self.events)


def usual_begin(sensor_size: tuple[int, int, int]) -> str:
    """Return where the bins of a recording begin unless stated: where they do in the data set of that sensor.

    N-MNIST's recordings are binned from time 0. A gesture is a part of a longer recording, so it is binned from its
    first event; so is what another sensor saw.
    """
    return "zero" if sensor_size == nmnist.SENSOR else "first-event"


def read_recording(
    path: Path | str,
    sensor_size: tuple[int, int, int] | None = None,
    *,
    unit: str | None = None,
    columns: str | None = None,
) -> Recording:
    """Return one event file: ``.bin`` (N-MNIST), ``.aedat`` and ``.aedat4`` (AEDAT), ``.dat`` and ``.raw`` (Prophesee), or an array (`ARRAYS`).

    Args:
        unit, columns: of an array, as in `sastdeploy.recordings.npy.read_npy`.

    Raises:
        InputError: another suffix, a missing or damaged file, damaged labels, or options that do not belong to the format.
    """
    path = Path(path)
    recording = read_file(path, sensor_size, unit=unit, columns=columns)
    if path.suffix != ".aedat":
        return recording
    labels = gestures.labels_of(os.fspath(path))
    parts = tuple(gestures.labelled(path, recording.events)) if os.path.exists(labels) else ()
    return replace(recording, gestures=parts)


def read_file(
    path: Path,
    sensor_size: tuple[int, int, int] | None = None,
    *,
    unit: str | None = None,
    columns: str | None = None,
) -> Recording:
    """As `read_recording`, without a look at what lies beside the file."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{shown(path)}: cannot tell its format from '{shown(path.suffix)}'. Allowed: {', '.join(SUFFIXES)} "
            f"(N-MNIST, AEDAT 2.0, 3.1 and 4, arrays of events, Prophesee)."
        )
    size = sensor_size or SUFFIXES[path.suffix] or _ANY
    if path.suffix in ARRAYS:
        events, own_unit = parse_array(load_events(path, columns), shown(path), size, unit, columns)
        return Recording(shown(path), events, own_unit, guessed=unit is None)
    if columns or unit not in (None, "us"):
        raise InputError(
            f"{shown(path)}: unit and columns can be stated for {', '.join(ARRAYS)} files only; {path.suffix} files count "
            "microseconds."
        )
    events, sensor = _parsed(path, size)
    if sensor_size and sensor and not (sensor[0] <= size[0] and sensor[1] <= size[1]):
        raise InputError(
            f"{shown(path)}: its sensor has {sensor[0]} x {sensor[1]} pixels; expected {size[0]} x {size[1]}. Check that the file "
            "belongs to this data set."
        )
    return Recording(shown(path), events, "us", guessed=False, sensor=sensor)


def _parsed(path: Path, size: tuple[int, int, int]) -> tuple[Events, tuple[int, int] | None]:
    """Return the events of a file that states their unit and order, and its sensor where it states that too."""
    where = shown(path)
    if path.suffix == ".aedat4":
        events, sensor = load_by_library(path)
        check_events(events, (*sensor, 2) if sensor else size, where)
        return events, sensor
    content = read_bytes(path, limit=MAX_RAW if path.suffix == ".raw" else MAX_RECORDING)
    if path.suffix == ".dat":
        events, sensor = parse_dat(content, where)
    elif path.suffix == ".raw":
        events, sensor = parse_raw(content, where)
    elif path.suffix == ".bin":
        return nmnist.parse_nmnist(content, where, size), None
    elif content.startswith(AEDAT2):
        return parse_aedat2(content, where)
    elif content.startswith(b"#!AER-DAT4"):
        raise InputError(f"{where}: is an AEDAT 4 file. Call it {shown(path.stem)}.aedat4.")
    else:
        return parse_aedat31(content, size, where), None
    if sensor is None:
        check_events(events, size, where)
    return events, sensor


def load_events(path: Path, columns: str | None = None) -> NDArray[Any]:
    """Return the array of a file with one of the suffixes `ARRAYS`: structured, or plain columns.

    Raises:
        InputError: as `sastdeploy.recordings.npy.load_array`, `sastdeploy.recordings.tables.load_npz` and ``load_table``, and
            `sastdeploy.recordings.library_files.load_by_library`.
    """
    if path.suffix == ".npy":
        return load_array(path)
    if path.suffix in LIBRARIES:
        return load_by_library(path)[0]
    return load_npz(path) if path.suffix == ".npz" else load_table(path, columns)


def read_events(
    path: Path | str,
    sensor_size: tuple[int, int, int] | None = None,
    *,
    unit: str | None = None,
    columns: str | None = None,
) -> Events:
    """Return the events of one file, times in us: as in the file, or from the first event for arrays.

    Args:
        path: of a file in one of the formats that ``sastdeploy data`` reads; its suffix says which.
        sensor_size: ``(W, H, P)``; default: the sensor of the file's data set.
        unit: of the times in an array or a table: ``us``, ``ms`` or ``s``; by default it is guessed.
        columns: order of an array's columns without names, such as ``xytp``; default: ``xypt``.

    Returns:
        Structured array [E]: x, y in pixels, t in us, ascending, p 1 for ON and 0 for OFF.

    Raises:
        InputError: another suffix, a missing or damaged file, damaged labels, or options that do not belong to the format.

    Example::

        events = read_events("00001.bin")
        print(len(events), events["t"][-1])
    """
    recording = read_recording(path, sensor_size, unit=unit, columns=columns)
    events = recording.events
    if Path(path).suffix in ARRAYS:
        # The data set's frames begin at the first event.
        events["t"] -= events["t"][0]
    return events
