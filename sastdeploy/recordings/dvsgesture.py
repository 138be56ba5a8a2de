"""DVS Gesture as published (AEDAT 3.1, labels, trial lists, tar.gz) and as re-packed for tonic (.npy per gesture)."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files.atomic import replacing_folder
from sastdeploy._files.reading import open_regular, parsing, read_bytes, read_text, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.aedat31 import parse_aedat31
from sastdeploy.recordings.events import MAX_RECORDING, Events, Segment
from sastdeploy.recordings.npy import read_npy

SENSOR = (128, 128, 2)
CLASSES = 11
_MAX_ARCHIVE = 32 << 30
"""Bytes, packed or unpacked: ten times the published archive."""
_MAX_MEMBERS = 100_000
_USER = re.compile(r"user([0-9]{1,9})_")
_WHOLE = re.compile(r" *-?[0-9]{1,18} *")
_LABEL_HEADER = ["class", "startTime_usec", "endTime_usec"]


def list_gestures(folder: Path, split: str) -> list[tuple[Path, str]]:
    """Return (file, member) of every file of ``split`` ("train" or "test"), in the trial list's order.

    Looks for ``trials_to_<split>.txt`` beside the .aedat files (in the folder or in ``DvsGesture/`` below it), then
    for ``DvsGesture.tar.gz``, then for tonic's ``ibmGesture<Split>/``.

    Raises:
        InputError: none of them is there, or a trial list names a file that is absent or outside its folder.
    """
    for place in (folder, folder / "DvsGesture"):
        listing = place / f"trials_to_{split}.txt"
        if os.path.isfile(listing):
            return [(place / name, "") for name in _trials(listing)]
    archive = folder / "DvsGesture.tar.gz"
    if os.path.isfile(archive):
        return [(place, "") for place in _unpacked(archive, folder, split)]
    packed = folder / f"ibmGesture{split.capitalize()}"
    if os.path.isdir(packed):
        # macOS leaves a hidden file ._NAME beside every NAME on foreign disks.
        return [(path, "") for path in sorted(packed.glob("user*/[!.]*.npy"))]
    raise InputError(
        f"{folder}: holds neither trials_to_{split}.txt with its .aedat files, nor DvsGesture.tar.gz, "
        f"nor ibmGesture{split.capitalize()}/."
    )


def _trials(listing: Path) -> list[str]:
    names = [line.strip() for line in read_text(listing).split("\n") if line.strip()]
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.aedat", name):
            raise InputError(
                f"{shown(listing)}: '{shown(name)}' is not the name of an .aedat file in the same folder."
            )
    return names


def _unpacked(archive: Path, folder: Path, split: str) -> list[Path]:
    """Unpack the published archive once and return the split's files."""
    target = unpack(archive, folder, "DvsGesture")
    listing = target / f"trials_to_{split}.txt"
    if not os.path.isfile(listing):
        raise InputError(f"{archive}: holds no DvsGesture/trials_to_{split}.txt, so it is not DVS Gesture.")
    return [target / name for name in _trials(listing)]


def unpack(archive: Path, folder: Path, inner: str) -> Path:
    """Unpack the folder ``inner`` of a tar.gz into ``folder``, whole or not at all, and return it.

    Raises:
        InputError: the archive is damaged, has nothing in that folder, or a member would leave it.
    """
    failure = partial(_no_place, archive, folder)
    # Not by force: another process may have been quicker.
    with replacing_folder(folder / inner, force=False, failure=failure) as fresh:
        with parsing(archive, "tar.gz archive", "It cannot be unpacked; download it again."):
            _extract(archive, folder, inner, fresh)
        if not any(fresh.iterdir()):
            raise InputError(
                f"{shown(archive)}: holds no {inner}/ with files, so it is not DVS Gesture. Download it again."
            )
    return folder / inner


def _no_place(archive: Path, folder: Path, error: OSError) -> InputError:
    return InputError(
        f"{shown(archive)}: cannot be unpacked into {shown(folder)} ({error.strerror or error}). Make room there, or name a "
        "folder that you may write to with --data."
    )


def _extract(archive: Path, folder: Path, inner: str, target: Path) -> None:
    """Unpack what lies in ``inner`` into ``target``."""
    # Python before 3.10.12 and 3.11.4 has no filters; the members are checked either way.
    filters: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with (
        open_regular(archive, limit=_MAX_ARCHIVE) as opened,
        _Bounded(fileobj=opened) as plain,
        tarfile.open(fileobj=plain, mode="r:") as tar,
    ):
        try:
            tar.extractall(target, members=_below(inner, _safe_members(tar, shown(archive))), **filters)
        except OSError as error:
            # Errors of the disk carry a number, those of the archive none.
            if error.errno is None:
                raise
            raise _no_place(archive, folder, error) from error


class _Bounded(gzip.GzipFile):
    """A gzip stream that never unpacks more than a member's largest size in one piece."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_RECORDING:
            raise ValueError(f"a member's header asks for {size} bytes at once")
        return super().read(size)


def _below(inner: str, members: Iterable[tarfile.TarInfo]) -> Iterator[tarfile.TarInfo]:
    """Yield the members of one folder of the archive, each named from there."""
    for member in members:
        top, *rest = Path(member.name).parts or ("",)
        if top == inner and rest:
            member.name = os.path.join(*rest)
            yield member


def _safe_members(opened: tarfile.TarFile, where: str) -> Iterator[tarfile.TarInfo]:
    """Yield the members, each checked by what its header declares before a byte of it is unpacked."""
    total = 0
    for number, member in enumerate(opened):
        parts = Path(member.name).parts
        if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
            raise InputError(
                f"{where}: member '{shown(member.name)}' would leave the folder or is no plain file. "
                f"This is not the published archive; download it again."
            )
        total += member.size
        if member.size > MAX_RECORDING or total > _MAX_ARCHIVE or number >= _MAX_MEMBERS:
            raise InputError(
                f"{where}: member '{shown(member.name)}' of {member.size:,} bytes is too large, or one too many: allowed are "
                f"{MAX_RECORDING:,} bytes each, {_MAX_ARCHIVE:,} in all, and {_MAX_MEMBERS:,} members. "
                f"This is not the published archive; download it again."
            )
        yield member


def read_gestures(path: Path, member: str = "") -> Iterator[Segment]:
    """Yield the segments of one file: every labelled gesture of an .aedat file, or the one of an .npy file.

    Raises:
        InputError: the file, its name or its labels are missing or damaged.
    """
    if path.suffix == ".npy":
        yield _packed_segment(path)
        return
    user = _user(path.name, path)
    events = parse_aedat31(read_bytes(path, limit=MAX_RECORDING), SENSOR, shown(path))
    yield from labelled(path, events, user)


def labelled(path: Path, events: Events, user: int = -1) -> Iterator[Segment]:
    """Yield the part of an .aedat file's events that belongs to each gesture of its label file.

    Raises:
        InputError: the labels are missing or damaged, or a gesture has no event.
    """
    labels = Path(labels_of(os.fspath(path)))
    for label, start, stop in parse_labels(read_text(labels), shown(labels)):
        first, last = np.searchsorted(events["t"], (start, stop))
        if first == last:
            raise InputError(
                f"{shown(path)}: holds no event from {start} to {stop} us, where {shown(labels.name)} has a gesture."
            )
        yield Segment(f"{shown(path)}@{start}-{stop}us", label, user, start, stop, events[first:last])


def labels_of(path: str) -> str:
    """Return the path of the labels that belong to an .aedat file."""
    return f"{path.removesuffix('.aedat')}_labels.csv"


def parse_labels(text: str, where: str) -> list[tuple[int, int, int]]:
    """Return (label from 0, start_us, stop_us) of each gesture in a ``*_labels.csv`` file.

    Raises:
        InputError: another header, a row that is not three whole numbers, a class outside 1 to 11, an empty span.
    """
    with parsing(where, "label file of comma-separated values"):
        rows = list(csv.reader(io.StringIO(text)))
    if not rows or [cell.strip() for cell in rows[0]] != _LABEL_HEADER:
        raise InputError(
            f"{where}: line 1: expected '{','.join(_LABEL_HEADER)}'. This is no DVS Gesture label file."
        )
    result = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != 3 or not all(_WHOLE.fullmatch(cell) for cell in row):
            cells = ",".join(row)
            raise InputError(
                f"{where}: line {number}: expected three whole numbers, found '{shown(cells[:80])}'."
            )
        label, start, stop = map(int, row)
        if not 1 <= label <= CLASSES or not 0 <= start < stop:
            raise InputError(
                f"{where}: line {number}: class {label} from {start} to {stop} us; "
                f"allowed: class 1 to {CLASSES}, a start before the end."
            )
        result.append((label - 1, start, stop))
    if not result:
        raise InputError(f"{where}: lists no gesture.")
    return result


def _packed_segment(path: Path) -> Segment:
    events, _ = read_npy(path, SENSOR)
    if not re.fullmatch("[0-9]{1,2}", path.stem) or not 0 <= int(path.stem) < CLASSES:
        raise InputError(
            f"{shown(path)}: expected the class, 0 to {CLASSES - 1}, as the file's name, as in 3.npy."
        )
    start = int(events["t"][0])
    return Segment(
        shown(path), int(path.stem), _user(path.parent.name, path), start, int(events["t"][-1]) + 1, events
    )


def _user(name: str, path: Path) -> int:
    match = _USER.match(name)
    if match is None:
        raise InputError(
            f"{shown(path)}: expected a name that begins with the performer (user, then a number of at most nine digits), "
            "as in user01_fluorescent."
        )
    return int(match[1])
