"""From events to frames: counts per bin, polarity and pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings.events import Events, Segment, checked_events
from sastdeploy.recordings.frames import MAX_COUNT, Frames, index_dtype
from sastdeploy.recordings.preprocessing import MAX_CLIP, Preprocessing

RULE = 1
"""Version of the binning rule; part of every cache key."""
_PIECE = 1 << 20

Entries = tuple[NDArray[np.int64], NDArray[np.integer], NDArray[np.uint8]]
"""One recording's sparse counts: entries per bin [T], input index, count."""


def count_events(
    events: Events,
    sensor_size: tuple[int, int, int],
    frame_size: tuple[int, int],
    time_bins: int,
    start_us: int,
    stop_us: int,
    events_per_bin: int | None = None,
) -> Entries:
    """Return the sparse counts of one segment: (entries per bin [T], input index, count saturated at 255).

    An event at t falls into bin ``(t - start) * T // (stop - start)``, or with ``events_per_bin`` n event i into bin
    ``i // n`` while there are bins; pixel x of a sensor W wide falls into column ``x * w // W`` of a frame w wide
    (DVS Gesture: ``x * 48 // 128``), rows likewise; inputs are numbered ``[P, h, w]``.
    """  # fmt: skip
    (width, height, polarities), (w, h) = sensor_size, frame_size
    if events_per_bin is None:
        bins = (events["t"] - start_us) * time_bins // (stop_us - start_us)
    else:
        events = events[: time_bins * events_per_bin]
        bins = np.arange(len(events)) // events_per_bin
    column = events["x"].astype(np.int64) * w // width
    row = events["y"].astype(np.int64) * h // height
    polarity = events["p"].astype(np.int64) if polarities > 1 else 0
    inputs = polarities * h * w
    counts = np.bincount(
        ((bins * polarities + polarity) * h + row) * w + column, minlength=time_bins * inputs
    )
    places = np.flatnonzero(counts)
    per_bin = np.bincount(places // inputs, minlength=time_bins)
    return per_bin, places % inputs, np.minimum(counts[places], MAX_COUNT).astype(np.uint8)


def bin_events(
    events: Events, sensor_size: tuple[int, int, int], frame_size: tuple[int, int], time_bins: int
) -> NDArray[np.uint8]:
    """Return one recording's counts as uint8 ``[T, P, H, W]`` (at most 255 each), from time 0 to its last event.

    Args:
        events: structured array [E >= 1] with whole numbers x, y (pixels), t (us, ascending, from 0) and p (0 or 1).
        sensor_size: ``(W, H, P)``. frame_size: ``(W, H)`` of the frames, to which pixels are gathered.
        time_bins: T, of equal duration.

    Raises:
        InputError: a field is missing or no whole number, an event lies outside the sensor, or time runs backwards.

    Example::

        counts = bin_events(read_events("00001.bin"), (34, 34, 2), (34, 34), time_bins=10)
        result = simulate(program, counts[None])
    """
    Preprocessing(sensor_size, frame_size, time_bins)  # refuses sizes and bins out of range
    events = checked_events(events, sensor_size)
    segment = Segment("", 0, -1, 0, int(events["t"][-1]) + 1, events)
    counts: NDArray[np.uint8] = bin_segments([segment], sensor_size, frame_size, time_bins).dense()[0]
    return counts


def bin_segments(
    segments: list[Segment],
    sensor_size: tuple[int, int, int],
    frame_size: tuple[int, int],
    time_bins: int,
    events_per_bin: int | None = None,
) -> Frames:
    """Return the frames of several segments."""
    rows = [
        count_events(t.events, sensor_size, frame_size, time_bins, t.start_us, t.stop_us, events_per_bin)
        for t in segments
    ]
    return joined(rows, sensor_size, frame_size, time_bins)


def joined(
    rows: list[Entries],
    sensor_size: tuple[int, int, int],
    frame_size: tuple[int, int],
    time_bins: int,
) -> Frames:
    """Return the frames of recordings that were counted as `count_events` does."""
    shape = (sensor_size[2], frame_size[1], frame_size[0])
    indptr = np.concatenate([[0], *(per_bin for per_bin, _, _ in rows)]).cumsum().astype(np.int64)
    kind = index_dtype(int(np.prod(shape)))
    index = np.concatenate([np.empty(0, kind), *(index.astype(kind) for _, index, _ in rows)])
    count = np.concatenate([np.empty(0, np.uint8), *(count for _, _, count in rows)])
    return Frames._own(shape, time_bins, indptr, index, count)


def find_scale(frames: Frames) -> int:
    """Return the default ``c_clip``: the smallest count that covers 99 % of the non-zero counts, at most 127.

    Find it on the training split alone.

    Raises:
        InputError: the frames hold no event at all.
    """
    if len(frames.count) == 0:
        raise InputError("frames: hold no event, so no clip can be found. Check the recordings.")
    # In pieces: bincount widens what it is given to 8 bytes each.
    pieces = (frames.count[i : i + _PIECE] for i in range(0, len(frames.count), _PIECE))
    histogram = sum(np.bincount(piece, minlength=256) for piece in pieces)
    covered = np.cumsum(histogram) >= np.ceil(0.99 * len(frames.count))
    return min(int(np.argmax(covered)), MAX_CLIP)
