"""One recording from one file, by its suffix; every segment of a data set's split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings import dvsgesture as gestures
from sastdeploy.recordings import nmnist
from sastdeploy.recordings.aedat31 import parse_aedat31
from sastdeploy.recordings.catalog import Dataset, absent
from sastdeploy.recordings.events import Segment

SUFFIXES = {".bin": (34, 34, 2), ".aedat": (128, 128, 2), ".npy": (128, 128, 2)}
"""Readable suffixes and the sensor that each stands for unless told otherwise."""


@dataclass(frozen=True)
class Source:
    """One file (or member of a zip) of a split; `segments` reads it."""

    path: Path
    member: str
    form: str

    @property
    def name(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    def segments(self) -> list[Segment]:
        """Return every segment in the file.

        Raises:
            InputError: the file is missing or damaged; the message names file, offset and rule.
        """
        read = nmnist.read_nmnist if self.form == "digits" else gestures.read_gestures
        return list(read(self.path, self.member))


def list_sources(facts: Dataset, root: Path, split: str) -> list[Source]:
    """Return the files of ``split`` ("train" or "test") in a fixed order.

    Raises:
        InputError: the data set is not there (with the three ways to get it), unfinished, or the split is empty.
    """
    folder = root / facts.name
    if not folder.is_dir():
        raise absent(facts, root, f"there is no folder {folder}")
    if (folder / "simulated.partial.json").exists():
        raise InputError(
            f"{folder}: is not finished. Run '{facts.install_command}' again; it goes on where it stopped."
        )
    listing = nmnist.list_nmnist if facts.form == "digits" else gestures.list_gestures
    try:
        found = listing(folder, split)
    except InputError as error:
        raise absent(facts, root, str(error).rstrip(".")) from error
    if not found:
        raise absent(facts, root, f"{folder} holds no {split} recording")
    return [Source(path, member, facts.form) for path, member in found]


def read_split(
    sources: list[Source], *, skip_bad: bool, on_bad: Callable[[str], None] = lambda message: None
) -> Iterator[Segment]:
    """Yield the segments of every file; a bad file stops it, or is passed to ``on_bad`` and left out with ``skip_bad``."""
    for source in sources:
        try:
            segments = source.segments()
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} To go on without bad files: --skip-bad.") from error
            on_bad(str(error))
            continue
        yield from segments


def read_events(path: Path | str, sensor_size: tuple[int, int, int] | None = None) -> NDArray:
    """Return the events of one file: ``.bin`` (N-MNIST), ``.aedat`` (AEDAT 3.1) or ``.npy`` (tonic's DVS Gesture, times from its first event).

    Args:
        sensor_size: ``(W, H, P)``; default: the sensor of the file's data set.

    Returns:
        Structured array [E]: x, y in pixels, t in us, ascending, p 1 for ON and 0 for OFF.

    Raises:
        InputError: another suffix, a missing or a damaged file.

    Example::

        events = read_events("00001.bin")
        print(len(events), events["t"][-1])
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"{path}: cannot tell its format from '{path.suffix}'. Allowed: {', '.join(SUFFIXES)} "
            f"(N-MNIST, AEDAT 3.1, tonic's DVS Gesture)."
        )
    size = sensor_size or SUFFIXES[path.suffix]
    if path.suffix == ".npy":
        events = gestures.read_packed(path, size)
        # The data set's frames begin at the first event.
        events["t"] -= events["t"][0]
        return events
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    parse = nmnist.parse_nmnist if path.suffix == ".bin" else None
    return parse(content, str(path), size) if parse else parse_aedat31(content, size, str(path))
