"""DVS Gesture as published (AEDAT 3.1, labels, trial lists, tar.gz) and as re-packed for tonic (.npy per gesture)."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings.aedat31 import parse_aedat31
from sastdeploy.recordings.events import EVENT_DTYPE, Segment, check_events

SENSOR = (128, 128, 2)
CLASSES = 11
_USER = re.compile(r"user(\d+)_")
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
        if listing.is_file():
            return [(place / name, "") for name in _trials(listing)]
    archive = folder / "DvsGesture.tar.gz"
    if archive.is_file():
        return [(place, "") for place in _unpacked(archive, folder, split)]
    packed = folder / f"ibmGesture{split.capitalize()}"
    if packed.is_dir():
        return [(path, "") for path in sorted(packed.glob("user*/*.npy"))]
    raise InputError(
        f"{folder}: holds neither trials_to_{split}.txt with its .aedat files, nor DvsGesture.tar.gz, "
        f"nor ibmGesture{split.capitalize()}/."
    )


def _trials(listing: Path) -> list[str]:
    text = _read(listing).decode("utf-8", "replace")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.aedat", name):
            raise InputError(f"{listing}: '{name}' is not the name of an .aedat file in the same folder.")
    return names


def _unpacked(archive: Path, folder: Path, split: str) -> list[Path]:
    """Unpack the published archive once and return the split's files."""
    target = unpack(archive, folder, "DvsGesture")
    listing = target / f"trials_to_{split}.txt"
    if not listing.is_file():
        raise InputError(f"{archive}: holds no DvsGesture/trials_to_{split}.txt, so it is not DVS Gesture.")
    return [target / name for name in _trials(listing)]


def unpack(archive: Path, folder: Path, inner: str) -> Path:
    """Unpack the folder ``inner`` of a tar.gz into ``folder``, whole or not at all, and return it.

    Raises:
        InputError: the archive is damaged, lacks that folder, or a member would leave it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as temporary:
            with tarfile.open(archive, "r:gz") as opened:
                # Python before 3.10.12 and 3.11.4 has no filters; the members are checked either way.
                filters: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                opened.extractall(temporary, members=_safe_members(opened, str(archive)), **filters)
            if not (Path(temporary) / inner).is_dir():
                raise InputError(
                    f"{archive}: holds no folder {inner}, so it is not DVS Gesture. Download it again."
                )
            try:
                os.rename(Path(temporary) / inner, folder / inner)
            except OSError:
                # Another process was quicker.
                if not (folder / inner).is_dir():
                    raise
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}). Download it again.") from error
    except OSError as error:
        raise InputError(
            f"{archive}: cannot be unpacked into {folder} ({error.strerror or error}). Make room there, or name a folder "
            "that you may write to with --data."
        ) from error
    return folder / inner


def _safe_members(opened: tarfile.TarFile, where: str) -> Iterator[tarfile.TarInfo]:
    for member in opened:
        parts = Path(member.name).parts
        if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
            raise InputError(
                f"{where}: member '{member.name}' would leave the folder or is no plain file. "
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
    content = _read(path)
    events = parse_aedat31(content, SENSOR, str(path))
    labels = Path(labels_of(str(path)))
    for label, start, stop in parse_labels(_read(labels).decode("utf-8", "replace"), str(labels)):
        first, last = np.searchsorted(events["t"], (start, stop))
        if first == last:
            raise InputError(
                f"{path}: holds no event from {start} to {stop} us, where {labels.name} has a gesture."
            )
        name = f"{path}@{start}-{stop}us"
        yield Segment(name, label, user, start, stop, events[first:last])


def labels_of(path: str) -> str:
    """Return the path of the labels that belong to an .aedat file."""
    return f"{path.removesuffix('.aedat')}_labels.csv"


def parse_labels(text: str, where: str) -> list[tuple[int, int, int]]:
    """Return (label from 0, start_us, stop_us) of each gesture in a ``*_labels.csv`` file.

    Raises:
        InputError: another header, a row that is not three whole numbers, a class outside 1 to 11, an empty span.
    """
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or [cell.strip() for cell in rows[0]] != _LABEL_HEADER:
        raise InputError(
            f"{where}: line 1: expected '{','.join(_LABEL_HEADER)}'. This is no DVS Gesture label file."
        )
    result = []
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        try:
            label, start, stop = (int(cell) for cell in row)
        except ValueError:
            raise InputError(
                f"{where}: line {number}: expected three whole numbers, found '{','.join(row)}'."
            ) from None
        if not 1 <= label <= CLASSES or not 0 <= start < stop:
            raise InputError(
                f"{where}: line {number}: class {label} from {start} to {stop} us; "
                f"allowed: class 1 to {CLASSES}, a start before the end."
            )
        result.append((label - 1, start, stop))
    if not result:
        raise InputError(f"{where}: lists no gesture.")
    return result


def read_packed(path: Path, sensor_size: tuple[int, int, int] = SENSOR) -> NDArray:
    """Return the events of one file of tonic's re-packing.

    Raises:
        InputError: it cannot be read, holds objects, or is not as `parse_packed` wants it.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: is not a readable .npy file of plain numbers ({error}).") from error
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{path}: is not a readable .npy file of plain numbers (it is an archive of several)."
        )
    return parse_packed(array, str(path), sensor_size)


def parse_packed(array: NDArray, where: str, sensor_size: tuple[int, int, int] = SENSOR) -> NDArray:
    """Return the events of tonic's re-packing: ``[E, 4]`` numbers x, y, p, t with t in milliseconds.

    Raises:
        InputError: another shape or type, a value that is not a whole pixel, or a fault that `check_events` finds.
    """
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iuf":
        raise InputError(
            f"{where}: expected numbers [events, 4] (x, y, p, t), found {array.dtype} {list(array.shape)}."
        )
    if (
        not np.isfinite(array).all()
        or (array < 0).any()
        or (array[:, :3] % 1 != 0).any()
        or (array[:, :2] >= 1 << 15).any()
        or (array[:, 2] > 1).any()
        or (array[:, 3] >= 1e15).any()
    ):
        raise InputError(
            f"{where}: a value is not finite, negative, or no pixel, polarity or time. The file is damaged."
        )
    events = np.empty(len(array), EVENT_DTYPE)
    events["x"], events["y"], events["p"] = array[:, 0], array[:, 1], array[:, 2]
    # In float64: a short whole type of the file's would overflow.
    events["t"] = array[:, 3].astype(np.float64) * 1000
    check_events(events, sensor_size, where)
    return events


def _packed_segment(path: Path) -> Segment:
    events = read_packed(path)
    if not path.stem.isdigit() or not 0 <= int(path.stem) < CLASSES:
        raise InputError(f"{path}: expected the class, 0 to {CLASSES - 1}, as the file's name, as in 3.npy.")
    start = int(events["t"][0])
    return Segment(
        str(path), int(path.stem), _user(path.parent.name, path), start, int(events["t"][-1]) + 1, events
    )


def _user(name: str, path: Path) -> int:
    match = _USER.match(name)
    if match is None:
        raise InputError(f"{path}: expected a name that begins with the performer, as in user01_fluorescent.")
    return int(match[1])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
