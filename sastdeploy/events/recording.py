"""The form of a recording in memory: a structured array of events, ascending in time."""

from __future__ import annotations

import numpy as np

EVENT_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "u1")])
"""One event: x, y in pixels, t in us since the recording's begin, p 1 for ON and 0 for OFF."""
