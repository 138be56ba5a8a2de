"""One process at a time at one thing, where the file system has locks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sastdeploy._files.reading import reason, shown
from sastdeploy.errors import InputError


@contextmanager
def held(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file ``path`` inside; the system lets go of it where the process dies.

    A file system without locks (Lustre and NFS can be mounted so) holds nobody up: what is guarded must then be no worse
    than work done twice. A file that marks the lock instead would stay behind a killed process, and stop every other.

    Raises:
        filelock.Timeout: another process holds it, and ``wait`` is False.
    """
    from filelock import FileLock

    lock = FileLock(path, timeout=-1 if wait else 0, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK):
            raise
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone(path: Path, busy: str) -> Iterator[None]:
    """Keep other processes off a file or folder that is made inside, by a lock beside it.

    Args:
        busy: what another process does with it, and what to do about that.

    Raises:
        InputError: another process is at it, or the folder around it cannot be made.
    """
    from filelock import Timeout

    place = Path(os.path.realpath(path))
    lock = place.with_name(f".{place.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{shown(path)}: cannot be written ({reason(error)}). Choose a folder you may write to."
        ) from error
    try:
        with held(lock, wait=False):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as error:
        raise InputError(f"{shown(path)}: {busy}") from error
