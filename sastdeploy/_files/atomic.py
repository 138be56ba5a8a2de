"""The one border for writing: files and folders that appear whole or not at all, and take nobody else's place."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sastdeploy._files.reading import exists, shown
from sastdeploy.errors import InputError

_UMASK = os.umask(0o077)
"""What new files' rights lack. Read once: it can only be read by setting it, which other threads' files would meet."""
os.umask(_UMASK)
_MAX_NAME = 48
"""Characters of a target's name that the name of its temporary file begins with."""
_MAX_SUFFIX = 16
"""Of a temporary file's name, in characters: writers choose a format by the suffix."""


def write_bytes(path: Path | str, content: bytes, *, force: bool = True, sync: bool = True) -> None:
    """Write ``content`` to ``path`` as `replacing` does."""
    with replacing(path, force=force, sync=sync) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, content: str, *, force: bool = True) -> None:
    """As `write_bytes`, for UTF-8 text."""
    write_bytes(path, content.encode("utf-8"), force=force)


@contextmanager
def replacing(path: Path | str, *, force: bool = True, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is synced and takes the place of ``path``.

    Of a symbolic link, the file that it leads to is written. A device or FIFO is written through, never replaced.

    Args:
        force: False leaves a file there that is equal byte for byte, and refuses to replace any other.
        sync: False does not wait for the disk (4 ms a file): for thousands of small files that can be made again. A power
            cut can leave such a file empty.

    Raises:
        InputError: the folder is missing or cannot be written, the disk is full, or another file is there without ``force``.
    """
    target, is_stream = _target(path)
    try:
        if is_stream:
            folder = Path(tempfile.mkdtemp())
        else:
            folder = target.parent
            folder.mkdir(parents=True, exist_ok=True)
        suffix = target.suffix if len(target.suffix) <= _MAX_SUFFIX else ""
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:_MAX_NAME]}.", suffix=suffix, dir=folder)
        os.close(handle)
    except OSError as error:
        raise _not_written(path, error, "Choose a folder you may write to.") from error
    temporary = Path(name)
    try:
        try:
            yield temporary
            if is_stream:
                with temporary.open("rb") as content, _stream(target) as stream:
                    shutil.copyfileobj(content, stream)
                return
            if sync:
                _sync(temporary)
        except OSError as error:
            raise _not_written(
                path,
                error,
                "The file there, if any, is as it was; make room, or choose another folder.",
            ) from error
        temporary.chmod(0o666 & ~_UMASK)
        try:
            _place(temporary, target, path, force)
        except OSError as error:
            raise InputError(
                f"{shown(path)}: cannot be replaced ({error.strerror}). Choose another path."
            ) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
        if is_stream:
            folder.rmdir()


@contextmanager
def replacing_folder(
    folder: Path | str, *, force: bool = True, failure: Callable[[OSError], InputError] | None = None
) -> Iterator[Path]:
    """Yield a new folder beside ``folder``; on success its files are synced and it takes the place of ``folder``.

    Args:
        force: False leaves a folder with anything in it that is there by then, and drops the new one.
        failure: makes the error of what the system refused, where the caller knows a better remedy.

    Raises:
        InputError: nothing can be made there, the disk is full, or what is there cannot be moved aside.
    """
    check_way(folder)
    target = Path(os.path.realpath(folder))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name[:_MAX_NAME]}.", dir=target.parent))
    except OSError as error:
        if failure:
            raise failure(error) from error
        raise _not_written(folder, error, "Choose a folder you may write to.") from error
    try:
        fresh.chmod(0o777 & ~_UMASK)
        yield fresh
        for place, _, names in os.walk(fresh):
            for name in names:
                _sync(Path(place) / name)
        if force and target.exists():
            _swap(fresh, target)
            return
        try:
            fresh.rename(target)
        except OSError:
            # Another process may have been quicker.
            if force or not target.is_dir():
                raise
    except OSError as error:
        if failure:
            raise failure(error) from error
        raise _not_written(
            folder, error, "The folder there, if any, is as it was; make room, or choose another folder."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def adding_files(
    folder: Path | str, *, force: bool = True, inputs: Iterable[Path | str] = ()
) -> Iterator[Path]:
    """Yield a temporary folder; on success its files go into ``folder``, each as `replacing` puts it there.

    Args:
        inputs: as of `check_writable`.

    Raises:
        InputError: as `replacing` and `check_writable`; without ``force`` nothing is written where one of the files is another's.
    """
    check_way(folder)
    with _room_for(folder) as temporary:
        yield temporary
        made = sorted(temporary.iterdir())
        for path in made:
            target = Path(folder) / path.name
            check_writable(target, inputs=inputs)
            if not force and target.exists() and not filecmp.cmp(path, target, shallow=False):
                raise _in_the_way(target)
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_written(folder, error, "Choose a folder you may write to.") from error
        for path in made:
            write_bytes(Path(folder) / path.name, path.read_bytes(), force=force)


@contextmanager
def _room_for(folder: Path | str) -> Iterator[Path]:
    """Yield a temporary folder; what the system refuses in it is told of ``folder``."""
    try:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    except OSError as error:
        raise _not_written(
            folder, error, "Make room there and where temporary files lie (TMPDIR)."
        ) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder in one step for whoever looks for it; an interruption leaves at most a hidden remnant beside it.

    Raises:
        InputError: it cannot be moved aside.
    """
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:_MAX_NAME]}.", dir=folder.absolute().parent))
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


def check_writable(path: Path | str, *, inputs: Iterable[Path | str] = ()) -> None:
    """Accept a path that `replacing` can write, and make nothing.

    Args:
        inputs: files that the command reads, and folders all of whose files it may.

    Raises:
        InputError: it is a folder or one of the inputs, or replaced a file in one of them, or no file can be made in its folder or in the first one above
            that exists.
    """
    target, is_stream = _target(path)
    for source in inputs:
        if os.path.isdir(source) and target.exists() and target.is_relative_to(os.path.realpath(source)):
            raise InputError(
                f"{shown(path)}: is a file of {shown(source)}, which this command reads. Choose another name for the output."
            )
        with suppress(OSError, ValueError):
            if os.path.samefile(source, path):
                raise InputError(
                    f"{shown(path)}: is itself what this command reads. Choose another name for the output."
                )
    if is_stream:
        return
    try:
        with tempfile.TemporaryFile(dir=next(folder for folder in target.parents if folder.exists())):
            pass
    except OSError as error:
        raise _not_written(path, error, "Choose a folder you may write to.") from error


def check_way(path: Path | str) -> None:
    """Accept a path unless it leads to something through a folder that is not there, as ``typo/../ckpt.pt``.

    Looked for as it is written, such a thing is not seen, and would be replaced unasked.

    Raises:
        InputError: it does.
    """
    try:
        hidden = not exists(path) and os.path.exists(os.path.realpath(path))
    except (OSError, ValueError):  # a name that nothing can have
        return
    if hidden:
        raise InputError(
            f"{shown(path)}: leads through a folder that does not exist, to something that does. Name it without that folder."
        )


def check_regular(path: Path | str) -> None:
    """Accept a path where a regular file is, or nothing: one that is read again cannot be a device or FIFO.

    Raises:
        InputError: it is anything else.
    """
    if _target(path)[1]:
        raise InputError(f"{shown(path)}: is not a regular file. Name a file to write.")


def _target(path: Path | str) -> tuple[Path, bool]:
    """Return the file to write, links followed, and whether it is a stream: a device, a FIFO, or this process's own output."""
    path = Path(path)
    check_way(path)
    try:
        target = Path(os.path.realpath(path))
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return target, False
    except (OSError, ValueError) as error:
        raise _not_written(path, error, "Choose a folder you may write to.") from error
    if stat.S_ISDIR(facts.st_mode):
        raise InputError(f"{shown(path)}: is a folder. Name the file to write.")
    if stat.S_ISREG(facts.st_mode):
        return (path, True) if _own_output(facts) is not None else (target, False)
    if stat.S_ISCHR(facts.st_mode) or stat.S_ISFIFO(facts.st_mode):
        return path, True
    raise InputError(f"{shown(path)}: is neither a file nor a stream. Name a file to write.")


def _own_output(facts: os.stat_result) -> int | None:
    """Return the descriptor, 1 or 2, under which this process has the file open as its output."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(facts, os.fstat(descriptor)):
                return descriptor
    return None


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    own = _own_output(os.stat(path))
    if own is not None:
        # Opened anew, a file would be written from its start, over what was printed.
        (sys.stdout if own == 1 else sys.stderr).flush()
        descriptor = os.dup(own)
    else:
        # Without O_NONBLOCK, opening a FIFO waits for its reader.
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb") as stream:
        yield stream


def _place(temporary: Path, target: Path, path: Path | str, force: bool) -> None:
    if not force:
        try:
            # Unlike a move, a link never replaces a file that was made meanwhile.
            os.link(temporary, target)
            return
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not os.path.lexists(target):
                temporary.replace(target)
                return
        if not filecmp.cmp(temporary, target, shallow=False):
            raise _in_the_way(path)
        return
    temporary.replace(target)


def _swap(fresh: Path, folder: Path) -> None:
    """Let the fresh folder take the other's place: in one step where the system can, else so that one of the two stands there again."""
    if _exchanged(fresh, folder):  # what was there is `fresh` now, which the caller removes
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:_MAX_NAME]}.old.", dir=folder.parent))
    try:
        folder.rename(aside)
        fresh.rename(folder)
    except BaseException:
        if not folder.exists():
            aside.rename(folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, by Linux' renameat2; return whether that could be done."""
    import ctypes

    at_cwd, exchange = -100, 2
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    done: int = renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange)
    return done == 0


def remnants(target: Path) -> list[Path]:
    """Return what killed processes left of their writes of this file or folder, where nobody else can be writing it now."""
    suffix = "" if target.is_dir() or len(target.suffix) > _MAX_SUFFIX else target.suffix
    own = re.compile(rf"\.{re.escape(target.name)}\.(old\.)?[a-z0-9_]{{8}}({re.escape(suffix)})?")
    if len(target.name) > _MAX_NAME or not target.parent.is_dir():
        return []
    return [path for path in target.parent.iterdir() if own.fullmatch(path.name)]


def remove_remnants(target: Path) -> None:
    """Remove `remnants`, as far as the system lets it."""
    for path in remnants(target):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _sync(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())


def _in_the_way(path: Path | str) -> InputError:
    return InputError(
        f"{shown(path)}: exists, and is not what would be written now. Choose another name, or replace it with --force."
    )


def _not_written(path: Path | str, error: Exception, remedy: str) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{shown(path)}: cannot be written ({reason}). {remedy}")
