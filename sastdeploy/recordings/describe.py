"""What a recording is like, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from sastdeploy.recordings.binning import bin_segments
from sastdeploy.recordings.events import Segment


def describe_recording(
    segment: Segment, sensor_size: tuple[int, int, int], time_bins: int = 10
) -> dict[str, Any]:
    """Return events, duration (ms), rate (events per ms), share of ON, and per bin: active inputs, largest count."""
    events = segment.events
    counts = bin_segments([segment], sensor_size, sensor_size[:2], time_bins).dense().reshape(time_bins, -1)
    duration = float(events["t"][-1] - events["t"][0]) / 1000.0
    active = (counts > 0).sum(1)
    return {
        "events": len(events),
        "first_us": int(events["t"][0]),
        "last_us": int(events["t"][-1]),
        "duration_ms": duration,
        "events_per_ms": len(events) / duration if duration else None,
        "share_on": float(np.mean(events["p"])),
        "time_bins": time_bins,
        "active_inputs_per_bin": active.tolist(),
        "share_active": float(active.mean() / counts.shape[1]),
        "largest_count": int(counts.max()),
    }
