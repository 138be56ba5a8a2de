"""HDF5 files that others wrote: read by a process of its own first; their own values, of bounded size, by no link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files.own_process import run_reader
from sastdeploy._files.reading import MIB, shown
from sastdeploy.errors import InputError

MAX_BYTES = 2048 * MIB
"""Of one file."""
MAX_VALUE_BYTES = 1024 * MIB
"""Of one file's values; counted as declared, before anything is unpacked, and texts of any length as they come."""


def h5py_for(path: Path | str, files: str, module: str, advice: str) -> Any:
    """Return h5py, where ``python -m module FILE``, a process of its own, came to the end of the file.

    The HDF5 library can loop for ever, or end the process, on a damaged file. Whether the file is whole is not seen here.

    Args:
        files: what such files are called. advice: what to do about a damaged one.

    Raises:
        InputError: h5py is not installed; the file is missing or too large, or the process came to no end.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{shown(path)}: {files} are HDF5, which h5py reads. Install it: pip install 'sastdeploy[nir]'."
        ) from error
    run_reader(module, path, limit=MAX_BYTES, library="the HDF5 library", advice=advice)
    return h5py


class Values:
    """Reads the children and values of a file's groups, and counts the values.

    Every method raises ValueError for what is not allowed.
    """

    def __init__(self, h5py: Any) -> None:
        self.h5py, self.bytes = h5py, 0

    def child(self, group: Any, name: str) -> Any:
        """Return what a group holds under a name; links to elsewhere are refused."""
        if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
            raise ValueError(f"'{shown(name)}' is a link")
        return group[name]

    def is_value(self, node: Any, key: str) -> bool:
        """Return whether a group holds a value under a key."""
        return isinstance(self.child(node, key), self.h5py.Dataset)

    def value(self, dataset: Any) -> Any:
        """Return a text, or an array, of a dataset that this file holds itself."""
        if dataset.external or dataset.is_virtual:
            raise ValueError("values lie in another file")
        kind = dataset.dtype.kind
        if kind not in "biufSO" or (kind == "O" and self.h5py.check_string_dtype(dataset.dtype) is None):
            raise ValueError(f"'{shown(dataset.name)}' is of type {dataset.dtype}")
        self._count(int(dataset.size or 0) * dataset.dtype.itemsize)
        content = self._texts(dataset) if kind == "O" and dataset.shape else dataset[()]
        return text_of(content) if isinstance(content, (bytes, str)) else np.asarray(content)

    def _texts(self, dataset: Any) -> Any:
        """Return texts of any length, read row by row, as many of them may be one that the file holds once."""
        texts = np.empty(dataset.shape, object)
        for row in range(len(texts)):
            texts[row] = dataset[row]
            self._count(sum(map(len, np.atleast_1d(texts[row]).flat)))
        return texts

    def _count(self, count: int) -> None:
        self.bytes += count
        if self.bytes > MAX_VALUE_BYTES:
            raise ValueError(f"more than {MAX_VALUE_BYTES // MIB:,} MiB of values")


def text_of(value: Any) -> str:
    """Return text, of bytes in UTF-8."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
