"""The folder of an export: it appears whole or not at all, and nothing else is ever touched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sastdeploy._files.atomic import check_way, replacing_folder
from sastdeploy._files.reading import reason, shown
from sastdeploy.errors import InputError


def check_folder(folder: Path, files: Iterable[str], made: Iterable[str], name: str) -> None:
    """Accept a new or empty folder, and one with nothing but an export's ``files`` under this name and what ``make`` adds.

    Raises:
        InputError: it is a file, holds anything else, or has a name that no folder can have.
    """
    if not is_there(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{shown(folder)}: is a file. Choose a folder with --out DIR.")
    foreign = sorted({entry.name for entry in folder.iterdir()} - {*files, *made})
    if foreign:
        raise InputError(
            f"{shown(folder)}: holds '{foreign[0]}', which is no part of an export of {name}; nothing was written. "
            "Choose a new folder with --out DIR."
        )


def is_there(folder: Path) -> bool:
    """Return whether something is there.

    Raises:
        InputError: nothing can be: the name is too long; or the path is none that `check_way` accepts.
    """
    check_way(folder)
    try:
        return folder.exists()
    except OSError as error:
        raise InputError(
            f"{shown(folder)}: cannot be written ({reason(error)}). Choose another folder with --out DIR."
        ) from error


def write_folder(
    folder: Path, contents: dict[str, bytes], force: bool, held: tuple[str, str] = ("another export", "it")
) -> None:
    """Write the files, unless the folder holds the same already; one with an export of the same kind is replaced with ``force``.

    Args:
        held: what the folder holds where it is refused, and the pronoun for that.

    Raises:
        InputError: it holds another export, and ``force`` is not given.
    """
    if folder.is_dir() and _equal(folder, contents):
        return
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise _in_the_way(folder, *held)
    with replacing_folder(folder, force=force) as fresh:
        for file, content in contents.items():
            (fresh / file).write_bytes(content)
    if not force and not _equal(folder, contents):  # Another process was quicker.
        raise _in_the_way(folder, *held)


def _in_the_way(folder: Path, what: str, pronoun: str) -> InputError:
    return InputError(
        f"{shown(folder)}: holds {what}. Choose another folder with --out, or replace {pronoun} with --force."
    )


def _equal(folder: Path, contents: dict[str, bytes]) -> bool:
    paths = [folder / file for file in contents]
    return all(path.is_file() and path.stat().st_size == len(contents[path.name]) for path in paths) and all(
        path.read_bytes() == contents[path.name] for path in paths
    )
