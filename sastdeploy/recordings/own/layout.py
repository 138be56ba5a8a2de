"""Which recordings a folder holds, and of which class: class folders, split folders, or a manifest."""

from __future__ import annotations

import csv
import io
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sastdeploy._files.reading import exists, is_printable, parsing, read_text, reason, shown
from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.recordings.own.records import SPLITS, Entry
from sastdeploy.recordings.reading import SUFFIXES

MANIFEST, DECLARATION = "manifest.csv", "dataset.yaml"
MAX_FILES, MAX_CLASSES, MAX_NAME = 200_000, 1000, 100
_MAX_MANIFEST = 64 << 20
_HEADER = ("file", "label", "split", "group")


@dataclass(frozen=True)
class Layout:
    """The recordings of a folder, by file name; all of one format.

    Args:
        kind: ``class folders``, ``split folders`` or ``manifest``. left_out: what lies there and is no recording.
    """

    kind: str
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.entries[0].file).suffix


def list_folder(folder: Path) -> Layout:
    """Return the recordings that a folder holds.

    Raises:
        InputError: there is none, something is a link, no regular file or of another format, a class or a name is wrong, or
            there are more than `MAX_FILES`.
    """
    if exists(folder / MANIFEST):
        layout = _by_manifest(folder)
    else:
        layout = _by_folders(folder)
    if not layout.entries:
        raise InputError(
            f"{shown(folder)}: holds no recording. Put them into a folder for each class (FOLDER/CLASS/recording.npy), or list "
            f"them in {MANIFEST}."
        )
    if len(layout.entries) > MAX_FILES:
        raise InputError(
            f"{shown(folder)}: holds {len(layout.entries):,} recordings; at most {MAX_FILES:,} are allowed."
        )
    formats: dict[str, list[str]] = {}
    for entry in layout.entries:
        formats.setdefault(PurePosixPath(entry.file).suffix, []).append(entry.file)
    if len(formats) > 1:
        counts = ", ".join(
            f"{len(files):,} {suffix} ({files[0]})" for suffix, files in sorted(formats.items())
        )
        raise InputError(
            f"{shown(folder)}: holds recordings in several formats: {counts}. Keep one format in a data set."
        )
    return layout


def class_order(labels: set[str]) -> tuple[str, ...]:
    """Return class names in label order: whole numbers by value, all else by name."""
    if all(label.isascii() and label.isdigit() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _by_folders(folder: Path) -> Layout:
    left_out: list[str] = []
    names = []
    for item in _items(folder):
        if _is_hidden(item.name):
            continue
        if _kind(item, folder) == "folder":
            names.append(item.name)
        elif item.name != DECLARATION:
            left_out.append(f"{item.name}: lies beside the class folders")
    if not set(names) & set(SPLITS):
        entries = [entry for name in names for entry in _class(folder, name, "", left_out)]
        return _sorted("class folders", entries, left_out)
    if others := [name for name in names if name not in SPLITS]:
        raise InputError(
            f"{shown(folder / others[0])}: lies beside the folders of the splits ({', '.join(n for n in SPLITS if n in names)})."
            f"{did_you_mean(others[0], SPLITS)} Allowed there: {', '.join(SPLITS)}; where these are names of classes, list the "
            f"recordings in {MANIFEST}."
        )
    entries = []
    for split in names:
        for item in _items(folder / split):
            if _is_hidden(item.name):
                continue
            if _kind(item, folder) == "folder":
                entries += _class(folder, f"{split}/{item.name}", split, left_out)
            else:
                left_out.append(f"{split}/{item.name}: lies beside the class folders")
    return _sorted("split folders", entries, left_out)


def _sorted(kind: str, entries: list[Entry], left_out: list[str]) -> Layout:
    return Layout(kind, tuple(sorted(entries, key=lambda entry: entry.file)), tuple(sorted(left_out)))


def _class(folder: Path, place: str, split: str, left_out: list[str]) -> list[Entry]:
    """Return the recordings of one class folder, ``place`` below the data set's."""
    label = class_name(PurePosixPath(place).name, shown(folder / place))
    entries = []
    names = {item.name: item for item in _items(folder / place)}
    for name, item in names.items():
        if _is_hidden(name):
            continue
        if _kind(item, folder) == "folder":
            raise InputError(
                f"{shown(folder / place / name)}: is a folder inside a class folder. Put its recordings into {shown(folder / place)}, "
                f"or list them in {MANIFEST}."
            )
        if name.endswith("_labels.csv") and f"{name.removesuffix('_labels.csv')}.aedat" in names:
            left_out.append(f"{place}/{name}: labels of an .aedat file; its class is its folder's")
            continue
        _check_suffix(folder, f"{place}/{name}")
        entries.append(Entry(f"{place}/{name}", label, split))
    if not entries:
        raise InputError(
            f"{shown(folder / place)}: is a class without a recording. Add some, or remove the folder."
        )
    return entries


def _is_hidden(name: str) -> bool:
    """Return whether systems leave such files and folders by themselves; macOS puts the hidden ones of a zip into ``__MACOSX``."""
    return name.startswith(".") or name == "__MACOSX"


def _items(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return sorted(items, key=lambda item: item.name)
    except OSError as error:
        raise InputError(f"{shown(folder)}: cannot be read ({reason(error)}).") from error


def _kind(item: os.DirEntry[str], folder: Path) -> str:
    """Return ``folder`` or ``file``.

    Raises:
        InputError: it is something else, or its name is no text.
    """
    if not is_printable(item.name):
        raise InputError(
            f"{shown(item.path)}: its name holds control characters or bytes that are no text. Rename it."
        )
    if item.is_symlink():
        raise InputError(
            f"{shown(item.path)}: is a link. A data set holds its recordings itself; put the file or folder in its place."
        )
    if item.is_dir():
        return "folder"
    if not item.is_file():
        raise InputError(f"{shown(item.path)}: is not a regular file. Remove it from the data set.")
    return "file"


def _check_suffix(folder: Path, file: str) -> None:
    suffix = PurePosixPath(file).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{shown(folder / file)}: '{shown(suffix)}' files are not read. Allowed: {', '.join(SUFFIXES)}. Convert it, or move it "
            "out of the data set."
        )


def class_name(text: str, where: str) -> str:
    """Return a class name in one way of writing it (Unicode's composed form)."""
    label = unicodedata.normalize("NFC", text.strip())
    if not label or len(label) > MAX_NAME or not label.isprintable():
        raise InputError(
            f"{where}: a class name has 1 to {MAX_NAME} printable characters, found '{shown(label[:120])}'. Rename it."
        )
    return label


def _by_manifest(folder: Path) -> Layout:
    path = folder / MANIFEST
    where = shown(path)
    text = read_text(path, limit=_MAX_MANIFEST)
    with parsing(where, "manifest of comma-separated values"):
        rows = list(csv.reader(io.StringIO(text), strict=True))
    header = [cell.strip() for cell in rows[0]] if rows else []
    for name in header:
        if name not in _HEADER:
            raise InputError(
                f"{where}: line 1: column '{shown(name)}': unknown.{did_you_mean(name, _HEADER)} Allowed: file, label, and where "
                "wanted split and group."
            )
    if not {"file", "label"} <= set(header) or len(set(header)) < len(header):
        raise InputError(
            f"{where}: line 1: expected the columns file,label and where wanted split and group, once each; found "
            f"'{shown(','.join(header)[:80])}'."
        )
    root = os.path.realpath(folder)
    entries: dict[str, Entry] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(f"{where}: row {number}: {len(row)} cells; expected {len(header)}.")
        cells = dict(zip(header, (cell.strip() for cell in row)))
        entry = _row(folder, root, f"{where}: row {number}", cells)
        if entry.file in entries:
            raise InputError(
                f"{where}: row {number}: {shown(entry.file)} stands twice. Leave one of them out."
            )
        entries[entry.file] = entry
    for column in ("split", "group"):
        stated = [entry.file for entry in entries.values() if getattr(entry, column)]
        if stated and len(stated) < len(entries):
            without = next(entry.file for entry in entries.values() if not getattr(entry, column))
            raise InputError(
                f"{where}: {without} has no {column}, while {stated[0]} has one. State it for all recordings, or for none."
            )
    return _sorted("manifest", list(entries.values()), [])


def _row(folder: Path, root: str, where: str, cells: dict[str, str]) -> Entry:
    file = cells["file"]
    parts = file.split("/")
    if not is_printable(file) or file.startswith("/") or "\\" in file or {"", ".", ".."} & set(parts):
        raise InputError(
            f"{where}: '{shown(file[:200])}': expected a file below the data set's folder, with / between folder and file, as in right/001.npy."
        )
    path = os.path.join(root, file)
    try:
        if os.path.realpath(path) != path:
            raise InputError(
                f"{where}: {shown(file)} is or lies behind a link. A data set holds its recordings itself."
            )
        mode = os.lstat(path).st_mode
    except (OSError, ValueError) as error:
        raise InputError(f"{where}: {shown(file[:200])} cannot be read ({reason(error)}).") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{where}: {shown(file)} is not a regular file.")
    _check_suffix(folder, file)
    split, group = cells.get("split", ""), cells.get("group", "")
    if split and split not in SPLITS:
        raise InputError(
            f"{where}: split '{shown(split[:80])}': unknown.{did_you_mean(split, SPLITS)} Allowed: {', '.join(SPLITS)}."
        )
    if len(group) > MAX_NAME or not group.isprintable():
        raise InputError(f"{where}: a group's name has at most {MAX_NAME} printable characters.")
    return Entry(file, class_name(cells["label"], where), split, group)
