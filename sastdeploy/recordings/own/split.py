"""Which part of a data set every recording belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sastdeploy._files.reading import shown
from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.recordings.own.declaration import Declaration, Draw, Folders, Listed, Manifest
from sastdeploy.recordings.own.layout import DECLARATION, Layout
from sastdeploy.recordings.own.records import SPLITS, Entry

_COMPARED = 1000
"""Files among which a likely spelling is looked for: comparing takes time."""


def drawn(entries: Sequence[Entry], draw: Draw) -> list[Entry]:
    """Return every recording with its part, drawn by seed and name: a new recording moves few others.

    Of each class (or of all groups) the parts get their shares, rounded, and at least one where the share is not 0.

    Raises:
        InputError: too few recordings of a class, or groups, for the parts; or groups are to be drawn and there are none.
    """
    if draw.of == "group" and not entries[0].group:
        raise InputError(
            "split: draws groups, but no manifest states a group. Draw recordings (of: recording)."
        )
    if draw.of == "group":
        splits = _shared("groups", sorted({entry.group for entry in entries}), draw)
        return [replace(entry, split=splits[entry.group]) for entry in entries]
    splits = {}
    for label in sorted({entry.label for entry in entries}):
        files = [entry.file for entry in entries if entry.label == label]
        splits |= _shared(f"recordings of class '{label}'", files, draw)
    return [replace(entry, split=splits[entry.file]) for entry in entries]


def _shared(what: str, names: list[str], draw: Draw) -> dict[str, str]:
    counts = {
        part: max(1, int(share * len(names) + 0.5)) if share else 0
        for part, share in (("validation", draw.validation), ("test", draw.test))
    }
    if sum(counts.values()) >= len(names):
        raise InputError(
            f"split: {len(names)} {what} are too few for a draw of {counts['validation']} for validation and {counts['test']} for "
            "test that leaves one for training. Add some, or state the split."
        )
    order = sorted(names, key=lambda name: hashlib.sha256(f"{draw.seed}\t{name}".encode()).digest())
    parts = ["test"] * counts["test"] + ["validation"] * counts["validation"]
    return dict(zip(order, parts + ["train"] * (len(order) - len(parts))))


def divided(
    folder: Path, layout: Layout, declaration: Declaration
) -> tuple[list[Entry], Folders | Manifest | Listed | Draw, list[str]]:
    """Return the recordings with their parts, how they were divided, and what a list leaves out.

    Raises:
        InputError: dataset.yaml asks for what the folder does not have, or nothing is left to train on.
    """
    stated = bool(layout.entries[0].split)
    own = Manifest() if layout.kind == "manifest" else Folders()
    usual = Draw.model_validate({"of": "group" if layout.entries[0].group else "recording"})
    split = declaration.split or (own if stated else usual)
    where = f"{shown(folder / DECLARATION)}: key 'split'"
    if isinstance(split, (Folders, Manifest)):
        if split.kind != own.kind or not stated:
            absent = "are no folders train, validation and test"
            if split.kind == "manifest":
                absent = "is no manifest with a column split"
            raise InputError(
                f"{where}: kind {split.kind}, but there {absent}. Allowed: {own.kind if stated else 'list, draw'}."
            )
    elif stated:
        raise InputError(
            f"{where}: kind {split.kind}, but the {'manifest' if own.kind == 'manifest' else 'folders'} state the split already. Leave "
            "one of the two out."
        )
    try:
        entries = list(layout.entries)
        left_out: list[str] = []
        if isinstance(split, Draw):
            entries = drawn(entries, split)
        elif isinstance(split, Listed):
            entries, left_out = _listed(entries, split)
    except InputError as error:
        raise InputError(f"{shown(folder)}: {error}") from error
    if not any(entry.split == "train" for entry in entries):
        raise InputError(f"{shown(folder)}: has no recording for training. Give it a part train.")
    return entries, split, left_out


def _listed(entries: list[Entry], split: Listed) -> tuple[list[Entry], list[str]]:
    known = {entry.file: entry for entry in entries}
    parts: dict[str, str] = {}
    for part in SPLITS:
        for file in getattr(split, part):
            if file not in known:
                raise InputError(
                    f"split: {part} lists '{shown(file[:200])}', which is no recording here."
                    + did_you_mean(file, list(known)[:_COMPARED])
                )
            if file in parts:
                raise InputError(f"split: lists '{shown(file)}' twice. Leave one of them out.")
            parts[file] = part
    left_out = [f"{file}: in no list of the split" for file in known if file not in parts]
    return [replace(known[file], split=parts[file]) for file in known if file in parts], left_out
