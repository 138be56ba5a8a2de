"""Data sets of tonic by name, ``tonic:NAME``: loaded by tonic once, and kept as a folder of recordings."""

from __future__ import annotations

import csv
import inspect
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files import atomic
from sastdeploy._files.reading import exists, parsing, shown
from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.recordings.events import EVENT_DTYPE, Events

PREFIX = "tonic:"
_MAX_SAMPLES = 200_000
_MANIFEST, _DECLARATION = "manifest.csv", "dataset.yaml"


def tonic_folder(name: str, root: Path) -> Path:
    """Return the folder that keeps a data set ``tonic:NAME``, whether it is there or not.

    Raises:
        InputError: NAME is no name of a class.
    """
    own = name.removeprefix(PREFIX)
    if not own.isidentifier():
        raise InputError(
            f"data set '{shown(name)}': expected tonic: and the name of a data set, as in tonic:NMNIST."
        )
    return root / "tonic" / own


def fetch_tonic(
    name: str, root: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Path:
    """Return the folder of a data set's recordings, which tonic downloads and reads where they are not there yet.

    Sample by sample, events become a .npy file, and class and part a line of manifest.csv. Times are taken as us, as tonic
    states them; events without y have y = 0.

    Args:
        progress: called with (recordings written, recordings in all).

    Raises:
        InputError: tonic is not installed, does not know the name or cannot load it, or its samples are not events with one
            class each.
    """
    folder = tonic_folder(name, root)
    kind = _dataset_class(name)
    if exists(folder / _DECLARATION):
        return folder
    takes_part = "train" in inspect.signature(kind).parameters
    downloads = root / "tonic" / "downloads"
    with parsing(
        name, "data set of tonic", "Check the connection and the room on the disk, and repeat the command."
    ):
        parts: dict[str, Any] = (
            {part: kind(str(downloads), train=part == "train") for part in ("train", "test")}
            if takes_part
            else {"": kind(str(downloads))}
        )
    total = sum(len(samples) for samples in parts.values())
    if not 1 <= total <= _MAX_SAMPLES:
        raise InputError(f"{name}: holds {total:,} samples; 1 to {_MAX_SAMPLES:,} are allowed.")
    classes = getattr(kind, "classes", None)
    names = [str(each) for each in classes] if isinstance(classes, (list, tuple)) else []
    rows, present = [], set()
    with atomic.replacing_folder(folder, force=False) as fresh:
        for part, samples in parts.items():
            place = part or "all"
            (fresh / place).mkdir()
            for number in range(len(samples)):
                where = f"{name}: {part + ' ' if part else ''}sample {number}"
                with parsing(where, "sample", "Leave this data set to tonic."):
                    events, label = _sample(samples[number], names, where)
                file = f"{place}/{number:06}.npy"
                np.save(fresh / file, events)
                rows.append([file, label, *([part] if part else [])])
                present.add(label)
                progress(len(rows), total)
        table = io.StringIO()
        header = ["file", "label", "split"] if takes_part else ["file", "label"]
        csv.writer(table, lineterminator="\n").writerows([header, *rows])
        (fresh / _MANIFEST).write_text(table.getvalue(), "utf-8")
        (fresh / _DECLARATION).write_text(
            _declaration(name, kind, [n for n in names if n in present]), "utf-8"
        )
    return folder


def _dataset_class(name: str) -> Any:
    try:
        import tonic.dataset
        import tonic.datasets
    except ImportError as error:
        raise InputError(
            f"data set '{name}': tonic is not installed. Install it: pip install 'sastdeploy[tonic]'."
        ) from error
    known = {
        key: value
        for key, value in vars(tonic.datasets).items()
        if inspect.isclass(value) and issubclass(value, tonic.dataset.Dataset)
    }
    own = name.removeprefix(PREFIX)
    if own not in known:
        raise InputError(
            f"data set '{name}': tonic has none of that name.{did_you_mean(own, known)} It has: {', '.join(sorted(known))}."
        )
    return known[own]


def _sample(sample: Any, classes: list[str], where: str) -> tuple[Events, str]:
    """Return one sample's events and the name of its class."""
    theirs: Any
    theirs, target = sample if isinstance(sample, tuple) and len(sample) == 2 else (None, None)
    names = getattr(getattr(theirs, "dtype", None), "names", None) or ()
    if isinstance(target, (int, np.integer)):
        label = classes[target] if 0 <= target < len(classes) else str(target)
    else:
        label = target if isinstance(target, str) else ""
    if not {"x", "t", "p"} <= set(names) or not label:
        raise InputError(
            f"{where}: is not events with one class ({type(theirs).__name__}, {type(target).__name__}). Only data sets of classified events "
            "are read."
        )
    events = np.zeros(len(theirs), EVENT_DTYPE)
    for field in ("x", "y", "t", "p"):
        if field in names:
            events[field] = theirs[field]
    return events, label


def _declaration(name: str, kind: Any, classes: list[str]) -> str:
    """Return the dataset.yaml of what tonic states; without a sensor size of its own, the events tell it."""
    size = getattr(kind, "sensor_size", None)
    lines = [f"name: {name.replace(':', ' ')}", "unit: us"]
    if isinstance(size, tuple) and len(size) == 3 and all(isinstance(side, int) for side in size[:2]):
        lines.append(f"sensor_size: [{size[0]}, {size[1]}]")
        lines.append(f"polarities: {1 if size[2] == 1 else 2}")
    if len(classes) > 1:
        lines.append(f"classes: {json.dumps(classes, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
