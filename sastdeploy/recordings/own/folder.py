"""A folder of recordings as a `Dataset`, like those of the catalog."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sastdeploy._files.reading import exists, is_printable, shown
from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.recordings.catalog import Dataset, full_name
from sastdeploy.recordings.npy import COLUMNS, parse_columns
from sastdeploy.recordings.own.declaration import Declaration, Draw, load_declaration
from sastdeploy.recordings.own.layout import DECLARATION, MAX_CLASSES, Layout, class_order, list_folder
from sastdeploy.recordings.own.records import Entry, OwnRecordings
from sastdeploy.recordings.own.scan import FileFacts, scan
from sastdeploy.recordings.own.split import divided
from sastdeploy.recordings.reading import ARRAYS
from sastdeploy.windows import MAX_VALUES

"""Inputs of a frame, as a program may have at most."""
_MAX_NAME = 1000


@dataclass(frozen=True)
class Opened:
    """A data set of one's own, and all that was found on the way.

    Args:
        declaration: as dataset.yaml would state everything. scanned: facts of the data set's entries, in their order.
    """

    dataset: Dataset
    declaration: Declaration
    layout: Layout
    scanned: tuple[FileFacts, ...]


def open_folder(text: str, progress: Callable[[int, int], None] = lambda done, total: None) -> Opened:
    """Return the data set of a folder; the first call reads every recording.

    Args:
        progress: called with (files read, files in all).

    Raises:
        InputError: there is no such folder, or its recordings, manifest or dataset.yaml are wrong; bad recordings are left to
            whoever reads them.
    """
    name = full_name(text)
    if not is_printable(name) or len(name) > _MAX_NAME:
        raise InputError(
            f"data set '{shown(name[:200])}': its path holds what cannot be printed, or more than {_MAX_NAME} characters. "
            "Rename the folder."
        )
    folder = Path(name)
    if not os.path.isdir(folder):
        there = "is no folder" if exists(folder) else "there is no such folder"
        raise InputError(
            f"data set '{name}': {there}. Name the folder of the recordings with --dataset; a relative path counts from the "
            "working folder."
        )
    declaration, layout = load_declaration(folder), list_folder(folder)
    _check_reading(folder, layout, declaration)
    classes = _classes(folder, layout, declaration)
    entries, split, unlisted = divided(folder, layout, declaration)
    columns = parse_columns(declaration.columns) if declaration.columns else None
    scanned = scan(folder, entries, declaration.unit, columns, progress)
    entries = [replace(entry, sha256=facts.sha256) for entry, facts in zip(entries, scanned)]
    good = [(entry, facts) for entry, facts in zip(entries, scanned) if not facts.bad]
    if not good:
        raise InputError(f"{shown(folder)}: every recording is bad; the first: {scanned[0].bad}")
    _refuse_copies(folder, good)
    unit = declaration.unit or _unit(folder, layout, good)
    if layout.suffix in ARRAYS and columns is None and any(facts.plain for _, facts in good):
        columns = COLUMNS
    width, height = declaration.sensor_size or [
        max(getattr(f, side) for _, f in good) for side in ("width", "height")
    ]
    complete = declaration.model_copy(
        update={
            "name": declaration.name or _title(folder), "sensor_size": [width, height],
            "polarities": declaration.polarities or 2, "classes": list(classes), "unit": unit, "columns": columns,
            "split": split,
        }
    )  # fmt: skip
    sensor = (width, height, complete.polarities or 2)
    frame = _frame(folder, sensor, declaration)
    own = OwnRecordings(
        folder, tuple(entries), unit, columns,
        {"classes": list(classes), "sensor_size": sensor, "frame_size": frame, "unit": unit, "columns": columns},
        tuple(_guesses(declaration, complete, all(facts.stated for _, facts in good))), (*layout.left_out, *unlisted),
    )  # fmt: skip
    counts = [sum(entry.split == part for entry in entries) for part in ("train", "test")]
    seconds = float(np.median([facts.seconds for _, facts in good]))
    dataset = Dataset(
        name, complete.name or "", declaration.simulated, "own", sensor, frame, classes, (counts[0], counts[1]), seconds,
        str(folder), "", "", "", own=own,
    )  # fmt: skip
    return Opened(dataset, complete, layout, tuple(scanned))


def _title(folder: Path) -> str:
    """Return the folder's own name, as far as a title may be one."""
    name = folder.resolve().name[:100].strip()
    return name if name and is_printable(name) else "recordings"


def _check_reading(folder: Path, layout: Layout, declaration: Declaration) -> None:
    """Accept a unit and columns where the format leaves them open."""
    for key in ("unit", "columns"):
        if getattr(declaration, key) and layout.suffix not in ARRAYS:
            raise InputError(
                f"{shown(folder / DECLARATION)}: key '{key}': {layout.suffix} files state it themselves. Leave the key out; it is for "
                f"{', '.join(ARRAYS)} files."
            )


def _classes(folder: Path, layout: Layout, declaration: Declaration) -> tuple[str, ...]:
    present = {entry.label for entry in layout.entries}
    if declaration.classes:
        where = f"{shown(folder / DECLARATION)}: key 'classes'"
        for entry in layout.entries:
            if entry.label not in declaration.classes:
                raise InputError(
                    f"{where}: does not name '{entry.label}', the class of {entry.file}.{did_you_mean(entry.label, declaration.classes)} "
                    "Add it, or leave the key out."
                )
        if absent := [name for name in declaration.classes if name not in present]:
            raise InputError(f"{where}: '{absent[0]}' has no recording. Add some, or leave the class out.")
        return tuple(declaration.classes)
    if not 2 <= len(present) <= MAX_CLASSES:
        raise InputError(
            f"{shown(folder)}: holds {len(present)} class{'' if len(present) == 1 else 'es'} ({', '.join(sorted(present)[:3])}); 2 to "
            f"{MAX_CLASSES:,} are allowed. Each class is a folder of its own, or a label of the manifest."
        )
    return class_order(present)


def _refuse_copies(folder: Path, good: Sequence[tuple[Entry, FileFacts]]) -> None:
    seen: dict[str, Entry] = {}
    for entry, facts in good:
        if facts.sha256 in seen:
            other = seen[facts.sha256]
            raise InputError(
                f"{shown(folder)}: {other.file} ({other.label}, {other.split}) and {entry.file} ({entry.label}, {entry.split}) hold the "
                "same bytes. Remove one of them, so that no recording counts twice or is tested after it was learned."
            )
        seen[facts.sha256] = entry


def _unit(folder: Path, layout: Layout, good: Sequence[tuple[Entry, FileFacts]]) -> str | None:
    """Return the unit that every file's times seem to have; None where the format states it."""
    if layout.suffix not in ARRAYS:
        return None
    units: dict[str, str] = {}
    for entry, facts in good:
        units.setdefault(facts.unit, entry.file)
    if len(units) > 1:
        examples = ", ".join(f"{unit} in {file}" for unit, file in units.items())
        raise InputError(
            f"{shown(folder)}: the unit of times cannot be told: it looks like {examples}. State it in {DECLARATION}, as in unit: us."
        )
    return next(iter(units))


def _frame(folder: Path, sensor: tuple[int, int, int], declaration: Declaration) -> tuple[int, int]:
    width, height, polarities = sensor
    factor = declaration.downsample
    frame = (max(1, round(width / factor)), max(1, round(height / factor)))
    if polarities * frame[0] * frame[1] > MAX_VALUES:
        raise InputError(
            f"{shown(folder)}: frames of {polarities} x {frame[1]} x {frame[0]} have more than {MAX_VALUES:,} inputs. State the "
            f"sensor_size, or a downsample factor, in {DECLARATION}."
        )
    return frame


def _guesses(stated: Declaration, complete: Declaration, sensors_stated: bool) -> list[str]:
    """Return what was found or chosen and not stated, a part of a sentence each.

    Args:
        sensors_stated: whether every recording states its sensor.
    """
    width, height = complete.sensor_size or (0, 0)
    guesses = []
    if stated.sensor_size is None:
        source = "as the recordings state" if sensors_stated else "the smallest that holds all events"
        guesses.append(f"sensor {width} x {height} ({source})")
    if stated.polarities is None:
        guesses.append("2 polarities")
    if stated.classes is None:
        guesses.append(f"{len(complete.classes or ())} classes in the order of their names")
    if stated.unit is None and complete.unit:
        guesses.append(f"times in {complete.unit}")
    if stated.columns is None and complete.columns:
        guesses.append(f"columns {', '.join(complete.columns)}")
    if stated.split is None and isinstance(complete.split, Draw):
        draw = complete.split
        guesses.append(
            f"a draw of {draw.of}s with seed {draw.seed} ({draw.validation:g} validation, {draw.test:g} test)"
        )
    return guesses


def differences(
    facts: Dataset,
    sensor_size: tuple[int, int, int],
    frame_size: tuple[int, int],
    classes: tuple[str, ...],
    any_order: bool = False,
) -> list[str]:
    """Return in what a data set differs from what a network was trained on, a part of a sentence each.

    any_order: whether the same classes in another order are no difference, as of a network from elsewhere that names its outputs.
    """
    parts = []
    for what, trained, here in (
        ("sensor", sensor_size, facts.sensor_size),
        ("frames", frame_size, facts.frame_size),
    ):
        if trained != here:
            parts.append(f"{what} {' x '.join(map(str, here))} instead of {' x '.join(map(str, trained))}")
    if any_order and set(classes) == set(facts.classes):
        return parts
    if set(classes) == set(facts.classes) and classes != facts.classes:
        parts.append(f"the classes in another order, {_names(facts.classes)} instead of {_names(classes)}")
    elif classes != facts.classes:
        parts.append(f"classes {_names(facts.classes)} instead of {_names(classes)}")
    return parts


def _names(classes: tuple[str, ...]) -> str:
    shorter = ", ".join(classes[:10])
    return f"{shorter}, ... ({len(classes)})" if len(classes) > 10 else shorter
