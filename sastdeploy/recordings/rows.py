"""Rows of sparse frames, whose entries may be more than fit into the memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22
"""Entries that are looked at together."""


def ascends(indptr: NDArray[np.integer[Any]], index: NDArray[np.integer[Any]]) -> bool:
    """Return whether the indices ascend within each row ``indptr[i]`` to ``indptr[i + 1]``; the row pointers do."""
    begins = indptr[1:-1]
    for start in range(0, len(index) - 1, BLOCK):
        part = index[start : start + BLOCK + 1]
        # Compared, not subtracted: unsigned differences wrap. The first entry of a row may lie below the last one's.
        above = part[1:] > part[:-1]
        first, last = np.searchsorted(begins, (start + 1, start + len(part)))
        above[begins[first:last] - (start + 1)] = True
        if not above.all():
            return False
    return True
