"""Writes that happen whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sastdeploy.errors import InputError

_UMASK = os.umask(0o077)
"""What new files' rights lack. Read once: it can only be read by setting it, which other threads' files would meet."""
os.umask(_UMASK)


def write_bytes(path: Path | str, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step; a failure leaves the old file as it was.

    Raises:
        InputError: the folder is missing or cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, content: str) -> None:
    """As `write_bytes`, for UTF-8 text."""
    write_bytes(path, content.encode("utf-8"))


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is synced and takes the place of ``path``.

    Raises:
        InputError: the folder is missing or cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Choose a folder you may write to."
        ) from error
    temporary = Path(name)
    try:
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror or error}). The file there, if any, is as it was; make room, or "
                "choose another folder."
            ) from error
        temporary.chmod(0o666 & ~_UMASK)
        try:
            temporary.replace(path)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be replaced ({error.strerror}). Choose another path."
            ) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def remove_folder(folder: Path) -> None:
    """Remove a folder in one step for whoever looks for it; an interruption leaves at most a hidden remnant beside it.

    Raises:
        InputError: it cannot be moved aside.
    """
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
        try:
            folder.rename(aside / folder.name)
        except OSError:
            aside.rmdir()
            raise
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be removed ({error.strerror}). Remove it, or choose another folder."
        ) from error
    shutil.rmtree(aside)


def check_writable(path: Path | str) -> None:
    """Accept a path that `replacing` can write, and make nothing.

    Raises:
        InputError: it is a folder, or no file can be made in its folder or in the first one above that exists.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder. Name the file to write.")
        with tempfile.TemporaryFile(dir=next(folder for folder in path.parents if folder.exists())):
            pass
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Choose a folder you may write to."
        ) from error
