"""A data set read from end to end: bad files, and what is missing against the published or the made set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files.reading import exists, shown
from sastdeploy.recordings.catalog import CATALOG, Dataset
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.events import Segment
from sastdeploy.recordings.nmnist import file_content
from sastdeploy.recordings.reading import Source, list_sources, read_split
from sastdeploy.recordings.simulated import MANIFEST, content_hash, read_manifest
from sastdeploy.recordings.splits import missing_classes

LONG = 2.0
"""A recording that lasts so many times the median is pointed out."""


@dataclass(frozen=True)
class DatasetCheck:
    """What `check_dataset` finds.

    Args:
        recordings, events: good ones. bad: a message per bad file.
        incomplete: what is missing, a sentence each; empty for a complete set.
        remarks: what may be in order, and may not.
        seconds: shortest, median and longest recording; None without any.
        changed: what makes a simulated set another than the one that was made; empty for the same.
    """

    name: str
    install_command: str
    recordings: int
    events: int
    bad: tuple[str, ...]
    incomplete: tuple[str, ...]
    remarks: tuple[str, ...]
    seconds: tuple[float, float, float] | None
    changed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {
            "dataset": self.name, "recordings": self.recordings, "events": self.events, "bad": list(self.bad),
            "incomplete": list(self.incomplete), "remarks": list(self.remarks), "changed": self.changed,
            "seconds": self.seconds and dict(zip(("shortest", "median", "longest"), self.seconds)),
        }  # fmt: skip


def check_dataset(
    name: str, root: Path, progress: Callable[[str, int, int], None] = lambda split, done, total: None
) -> DatasetCheck:
    """Return what is wrong with a data set after every recording was read.

    Args:
        root: folder of the data sets. progress: called with (split, files read, files in all).

    Raises:
        InputError: the data set is unknown or not there.
    """
    facts = dataset(name)
    bad: list[str] = []
    incomplete: list[str] = []
    events, lengths, counts = 0, [], []
    repacked = False
    files: list[Source] = []
    for split in facts.parts:
        sources = list_sources(facts, root, split)
        files += sources
        repacked = repacked or any(source.path.suffix == ".npy" for source in sources)
        labels = []
        for number, source in enumerate(sources):
            for segment in _good(source, bad):
                labels.append(segment.label)
                events += len(segment.events)
                lengths.append((segment.stop_us - segment.start_us) * 1e-6)
            progress(split, number + 1, len(sources))
        counts.append(len(labels))
        if absent := missing_classes(np.array(labels, np.int64), facts.classes):
            kind = "training" if split == "train" else split
            incomplete.append(f"No {kind} recording of class {', '.join(absent)}.")
    if facts.own is None:
        incomplete = [*_missing(facts, root, (counts[0], counts[1]), repacked), *incomplete]
    manifest = None if facts.own else _manifest(root / facts.name)
    changed = ""
    if manifest is not None and not incomplete and not bad:
        changed = _changed(root / facts.name, manifest, files, progress)
    remarks, seconds = [], None
    if lengths:
        seconds = (min(lengths), float(np.median(lengths)), max(lengths))
        if far := sum(length > LONG * seconds[1] for length in lengths):
            remarks.append(
                f"{far:,} recordings last more than {LONG:g} times the median; --window leaves late events out."
            )
    command = facts.install_command if manifest is None else _made_by(facts.name, manifest["parameters"])
    return DatasetCheck(
        name, command, sum(counts), events, tuple(bad), tuple(incomplete), tuple(remarks), seconds, changed
    )  # fmt: skip


def _good(source: Source, bad: list[str]) -> Iterator[Segment]:
    return read_split([source], skip_bad=True, on_bad=bad.append)


def _missing(facts: Dataset, root: Path, counts: tuple[int, int], repacked: bool) -> list[str]:
    if (manifest := _manifest(root / facts.name)) is not None:
        made: tuple[Any, Any] = manifest["parameters"].get("train"), manifest["parameters"].get("test")
        return _compared("made", made, counts) if all(type(n) is int for n in made) else []
    if facts.simulated:
        return []
    published = facts.repacked if repacked and facts.repacked else facts.recordings
    return _compared("published", published, counts)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return a simulated set's manifest, where there is one."""
    return read_manifest(folder) if exists(folder / MANIFEST) else None


def _made_by(name: str, parameters: dict[str, Any]) -> str:
    """Return the command that makes a simulated set of these parameters."""
    words = ["sastdeploy", "data", "make", name]
    for key in ("seed", "train", "test", "performers", "lightings"):
        if key in parameters:
            words += [f"--{key}", str(parameters[key])]
    if "duration_us" in parameters:
        words += ["--duration", f"{parameters['duration_us'] / 1e6:g}"]
    return " ".join(words) + (
        " --images FOLDER" if parameters.get("train", 0) > CATALOG["nmnist-sim"].recordings[0] else ""
    )


def _changed(
    folder: Path, manifest: dict[str, Any], files: list[Source], progress: Callable[[str, int, int], None]
) -> str:
    """Say so where the files of a simulated set are others than those that its manifest was made of."""
    if any(source.member for source in files):
        return ""
    by_name = {source.path.relative_to(folder).as_posix(): source.path for source in files}
    digests = []
    for number, (name, path) in enumerate(by_name.items()):
        digests.append((name, hashlib.sha256(file_content(path, "")).hexdigest()))
        progress("SHA-256", number + 1, len(by_name))
    if content_hash(digests) == manifest["sha256"]:
        return ""
    return f"its recordings are not those that were made (their SHA-256 is another). Remove {shown(folder)} and make the set again"


def _compared(kind: str, expected: tuple[int, int], counts: tuple[int, int]) -> list[str]:
    if expected == counts:
        return []
    return [
        f"{counts[0]:,} training and {counts[1]:,} test recordings are good; {kind} are {expected[0]:,} and {expected[1]:,}."
    ]
