"""`kernel`: Numba's compiler with a cache on disk that belongs to this very code.

Numba looks only at the file that holds a function: it would take a kernel from the cache although a function or a
constant that the kernel uses from another file has changed, and wheels carry no usable file times. So the cache lies
in a folder named after the content of all files with kernels, and the versions of NumPy and Numba: an upgrade compiles
anew, and two versions do not disturb each other. Its files carry checksums (`cache_files`).

A folder is never removed: another installation may use it. All of them can be deleted at any time (`sastdeploy doctor`
says where they are and how large); what is needed is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy
import platformdirs

from sastdeploy._kernels.cache_files import CheckedCache

SOURCES = (
    "_kernels/cache_files.py", "_kernels/jit.py", "_kernels/lanes.py", "_kernels/vectors.py", "simulator/numba_engine/kernels.py",
    "training/fused.py", "training/optimiser.py", "training/sparse_kernels.py", "recordings/fast_binning.py",
    "recordings/nmnist.py", "synthesis/saccades.py", "synthesis/gestures.py", "synthesis/sensor.py", "synthesis/mnist.py",
)  # fmt: skip
"""Every file of the package that holds code for kernels, or a constant that goes into one."""


PACKAGE = Path(__file__).resolve().parents[1]

Function = TypeVar("Function", bound=Callable[..., Any])


def content_hash() -> str:
    """Return 16 hexadecimal digits of the SHA-256 over all `SOURCES` and the versions of NumPy and Numba."""
    content = hashlib.sha256(f"{numpy.__version__} {numba.__version__} ".encode())
    for name in SOURCES:
        content.update(name.encode() + (PACKAGE / name).read_bytes())
    return content.hexdigest()[:16]


def cache_place() -> Path:
    """Return the folder that holds every version's kernels: ``NUMBA_CACHE_DIR`` where set, else the user's cache folder."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_path("sastdeploy") / "kernels")


@cache
def cache_folder() -> Path | None:
    """Return the folder of the compiled kernels, made if need be; None if there is none to write to.

    It lies below `cache_place`, never inside the installation.
    """
    folder = cache_place() / content_hash()
    return folder if _can_write(folder) else None


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def kernel(**options: Any) -> Callable[[Function], Function]:
    """Return Numba's decorator for a function that holds no Python objects and releases the interpreter's lock.

    The compiled function keeps the signature that a type checker sees.
    """

    def decorated(function: Function) -> Function:
        folder, before = cache_folder(), numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(folder or "")
        try:
            dispatcher = numba.njit(nogil=True, **options)(function)
            if folder and not numba.config.DISABLE_JIT:
                dispatcher._cache = CheckedCache(function)
        finally:
            numba.config.CACHE_DIR = before
        compiled: Function = dispatcher
        return compiled

    return decorated
