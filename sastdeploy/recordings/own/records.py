"""The recordings of a user's own data set, as records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Entry:
    """One recording.

    Args:
        file: path below the data set's folder, with ``/``. label: class name. split: one of `SPLITS`; empty where nothing
            states it. group: what a draw must not divide; empty where nothing states it.
        sha256: of the file's bytes, once they were read.
    """

    file: str
    label: str
    split: str = ""
    group: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class OwnRecordings:
    """What the catalog need not say of a published set.

    Args:
        folder: holds the recordings. entries: by file name, each with its part.
        unit, columns: of files that do not tell, as in `sastdeploy.recordings.reading.read_recording`; else None.
        stated: what decides the frames beside the recordings, JSON-ready.
        guessed: what dataset.yaml does not state, in words. left_out: what lies in the folder and is no recording of it.
    """

    folder: Path
    entries: tuple[Entry, ...]
    unit: str | None
    columns: str | None
    stated: dict[str, Any]
    guessed: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that have recordings, in the order of `SPLITS`."""
        present = {entry.split for entry in self.entries}
        return tuple(part for part in SPLITS if part in present)

    def meaning(self, part: str) -> bytes:
        """Return what decides the part's frames and labels: the recordings' content, classes, groups, and `stated`."""
        files = [[e.label, e.group, e.sha256] for e in self.entries if e.split == part]
        return json.dumps([self.stated, part, files], sort_keys=True).encode()
