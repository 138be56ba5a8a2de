"""N-MNIST's official bytes: 40 bits per event, a folder per digit, or the two zip files as published."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from sastdeploy._files.reading import open_regular, parsing, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.events import EVENT_DTYPE, MAX_RECORDING, Events, Segment, check_events

SENSOR = (34, 34, 2)
_MAX_ARCHIVE = 32 << 30
_MEMBER = re.compile(r"(?:.*[/\\])?[0-9][/\\][^./\\][^/\\]*\.bin", re.DOTALL)
"""``.../3/00001.bin`` in a zip file; some packers write backslashes."""
_PIECE = 4096
_ENOUGH = 1 << 16
"""Bytes to ask the system for at once: more than most recordings have, and few enough to come from memory at hand."""
OVERFLOW_Y = 240
"""An event with this y carries no pixel: it says that 2^13 us are to be added to all later times."""


def parse_nmnist(content: bytes, where: str, sensor_size: tuple[int, int, int] = SENSOR) -> Events:
    """Return the events of one recording, times in us.

    Five bytes per event, most significant first: x (8 bits), y (8), polarity (1), time (23).

    Raises:
        InputError: the length is no multiple of five, or `check_events` finds a fault.

    References:
        Orchard et al., Converting static image datasets to spiking neuromorphic datasets using saccades,
        Front. Neurosci. 9:437 (2015), and the data set's own description of its format.
    """
    if len(content) % 5:
        raise InputError(
            f"{where}: offset {len(content) - len(content) % 5}: truncated, {len(content) % 5} of 5 bytes of an event. "
            f"The file is damaged; get it again."
        )
    raw = np.frombuffer(content, np.uint8).reshape(-1, 5)
    events = np.empty(len(raw), EVENT_DTYPE)
    events["x"], events["y"], events["p"] = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    high, middle, low = (raw[:, 2] & 0x7F).astype(np.int64), raw[:, 3].astype(np.int64), raw[:, 4]
    overflow = raw[:, 1] == OVERFLOW_Y
    events["t"] = (high << 16 | middle << 8 | low) + (np.cumsum(overflow, dtype=np.int64) << 13)
    real = np.flatnonzero(~overflow)
    events = events[real]
    check_events(events, sensor_size, where, real * 5)
    return events


def nmnist_bytes(events: Events) -> bytes:
    """Return the official form of events with x, y below 240 and times below 2^23 us."""
    out = np.empty((len(events), 5), np.uint8)
    t = events["t"]
    out[:, 0] = events["x"]
    out[:, 1] = events["y"]
    out[:, 2] = (events["p"] << 7) | ((t >> 16) & 0x7F).astype(np.uint8)
    out[:, 3] = (t >> 8) & 0xFF
    out[:, 4] = t & 0xFF
    return out.tobytes()


def list_nmnist(folder: Path, split: str) -> list[tuple[Path, str]]:
    """Return (file, member) of every recording of ``split`` ("train" or "test"), in a fixed order.

    ``member`` is empty for a plain file and the name inside the zip otherwise.

    Raises:
        InputError: the folder holds neither ``Train/0 .. 9`` (``Test/...``) nor the published zip file.
    """
    name = split.capitalize()
    if os.path.isdir(folder / name):
        # macOS leaves a hidden file ._NAME beside every NAME on foreign disks.
        return [(path, "") for path in sorted((folder / name).glob("[0-9]/[!.]*.bin"), key=os.fspath)]
    for archive in (folder / f"{name}.zip", folder / f"{split}.zip"):
        if os.path.isfile(archive):
            return [(archive, member) for member in _members(archive)]
    raise InputError(f"{shown(folder)}: holds neither a folder {name} with digits 0 to 9 nor {name}.zip.")


def _members(archive: Path) -> list[str]:
    """Return the recordings in a zip file: ``.../<digit>/<name>.bin``, without what macOS adds (``__MACOSX/``, ``._NAME``)."""
    with parsing(archive, "zip file", "Download it again."):
        names = _opened(archive, archive.stat().st_mtime_ns).namelist()
    return sorted(name for name in names if _MEMBER.fullmatch(name) and not name.startswith("__MACOSX"))


def read_nmnist(path: Path, member: str) -> Iterator[Segment]:
    """Yield the one segment of a recording."""
    name = shown(f"{path}:{member}" if member else path)
    events = parse_nmnist(file_content(path, member), name)
    yield Segment(name, label_of(path, member), -1, 0, int(events["t"][-1]) + 1, events)


def label_of(path: Path, member: str) -> int:
    """Return a recording's class: the name of the folder that it lies in."""
    return int((member.replace("\\", "/") or path.as_posix()).split("/")[-2])


def file_content(path: Path, member: str) -> bytes:
    """Return a recording's bytes, from a plain file or from the zip file ``path``.

    Raises:
        InputError: it cannot be read, is no regular file, or has more than `MAX_RECORDING` bytes.
    """
    if member:
        return _member_content(path, member)
    with open_regular(path, limit=MAX_RECORDING) as opened:
        try:
            content = opened.read(_ENOUGH)
            while more := opened.read(_ENOUGH):
                content += more
        except OSError as error:
            raise InputError(f"{shown(path)}: cannot be read ({error.strerror}).") from error
    return content


def _member_content(archive: Path, member: str) -> bytes:
    name = shown(f"{archive}:{member}")
    with parsing(name, "recording in a zip file", "Download it again."):
        opened = _opened(archive, archive.stat().st_mtime_ns)
        size = opened.getinfo(member).file_size
        if size > MAX_RECORDING:
            raise InputError(
                f"{name}: unpacks to {size:,} bytes; a recording may have at most {MAX_RECORDING:,}. "
                "Download the archive again."
            )
        # In small pieces: some packers unpack all that they are given, whatever size the archive's list states.
        with opened.open(member) as packed:
            return b"".join(iter(lambda: packed.read(_PIECE), b""))


@lru_cache(maxsize=2)
def _opened(archive: Path, changed_ns: int) -> zipfile.ZipFile:
    """Return the archive, kept open: its list of 60,000 members is read once and not for every recording."""
    with open_regular(archive, limit=_MAX_ARCHIVE):
        return zipfile.ZipFile(archive)
