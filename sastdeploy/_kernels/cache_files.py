"""Compiled kernels on disk, each with its checksum: a damaged file counts as absent, and the kernel is compiled anew.

Numba's own files are pickles without a checksum: an emptied one raises EOFError wherever a kernel is first called, and a
changed byte of machine code would be run. Here one file holds one kernel for one signature and processor: 32 bytes of
SHA-256, then Numba's pickle. Nothing here may stop a program: what cannot be read or written is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

SUFFIX = ".kernel"
_DIGEST = hashlib.sha256().digest_size


class CheckedCache(FunctionCache):
    """Numba's cache of one function, with `CheckedFiles` in place of its index and data files."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = CheckedFiles(Path(self.cache_path), self._impl.filename_base)


class CheckedFiles:
    """What Numba's cache asks of its files: `load`, `save` and `flush`. A key names signature, processor and bytecode."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def load(self, key: Any) -> Any:
        """Return what was saved under ``key``; None if nothing was, or it is damaged: then its file is removed."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if _is_whole(content):
            try:
                return pickle.loads(content[_DIGEST:])
            except Exception:  # written with another version of something that the pickle names
                pass
        _remove(path)
        return None

    def save(self, key: Any, data: Any) -> None:
        """Write ``data``, whole or not at all; a full disk leaves no file."""
        payload, path = dumps(data), self._path(key)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
            temporary.replace(path)
        except OSError:
            _remove(temporary)

    def flush(self) -> None:
        """Remove every file of this function."""
        for path in self._folder.glob(f"{self._name}.*{SUFFIX}"):
            _remove(path)

    def _path(self, key: Any) -> Path:
        return self._folder / f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}{SUFFIX}"


def damaged_files(folder: Path) -> list[Path]:
    """Return the kernels below ``folder`` that do not match their checksum; each is compiled anew when it is next used."""
    return [path for path in sorted(folder.rglob(f"*{SUFFIX}")) if not _is_whole(_content(path))]


def _is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
