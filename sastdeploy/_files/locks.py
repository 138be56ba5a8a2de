"""One process at a time at one thing, where the file system has locks."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
