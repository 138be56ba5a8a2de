"""Values of an HDF5 file that others wrote: its own, of bounded size, by no link."""

from __future__ import annotations

from typing import Any

import numpy as np

from sastdeploy._files.reading import shown

MOST_VALUES = 1 << 29
"""Of one file; counted as declared, before anything is unpacked."""


class Values:
    """Reads the children and values of a file's groups, and counts the values.

    Every method raises ValueError for what is not allowed.
    """

    def __init__(self, h5py: Any) -> None:
        self.h5py, self.values = h5py, 0

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
        self.values += int(dataset.size or 0)
        if self.values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        content = dataset[()]
        if isinstance(content, (bytes, str)):
            return text_of(content)
        array = np.asarray(content)
        if array.dtype.kind not in "biufSO":
            raise ValueError(f"'{shown(dataset.name)}' is of type {array.dtype}")
        return array


def text_of(value: Any) -> str:
    """Return text, of bytes in UTF-8."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
