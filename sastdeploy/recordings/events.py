"""The form of a recording in memory: a structured array of events, ascending in time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError

MAX_RECORDING = 256 << 20
"""Bytes of the largest recording that is read, be it a file or what an archive unpacks to: over 30 million events."""
LATEST_US = 4 * 10**15
"""Times stay below it (the year 2096, counted from 1970), so that a time multiplied by 1,000 bins fits 64 bits."""
MAX_LENGTH_US = 24 * 3600 * 10**6
"""Recordings last a day at most; what lasts longer has another unit, or a damaged time."""

EVENT_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "u1")])
"""One event: x, y in pixels, t in us since the recording's begin, p 1 for ON and 0 for OFF."""
Events = NDArray[np.void]
"""A structured array ``[E]`` with the fields of `EVENT_DTYPE`: x, y, t in us, and p."""


@dataclass(frozen=True)
class Segment:
    """One labelled recording: what a network sees as one sample.

    Args:
        name: file name, with the time span where a file holds several segments.
        label: class number, from 0. group: what a split must not divide (the performer; -1: nothing).
        start_us, stop_us: the segment's time span, half open; events lie inside it.
        events: `EVENT_DTYPE` [E], ascending in time.
    """

    name: str
    label: int
    group: int
    start_us: int
    stop_us: int
    events: Events

    def within(self, window_us: int | None, *, fixed: bool = False) -> Segment:
        """Return the segment without what comes ``window_us`` or more after its start; it then ends with the last event kept.

        A segment that lasts no longer, and None, change nothing.

        Args:
            fixed: let it end ``window_us`` after its start, however long it lasts.

        Raises:
            InputError: no event comes that early.
        """
        if window_us is None:
            return self
        if self.stop_us - self.start_us <= window_us:
            return replace(self, stop_us=self.start_us + window_us) if fixed else self
        kept = self.events[: np.searchsorted(self.events["t"], self.start_us + window_us)]
        if len(kept) == 0:
            raise InputError(
                f"{self.name}: holds no event in the window of {window_us / 1000:g} ms after its start. "
                "Choose a longer window."
            )
        stop = self.start_us + window_us if fixed else int(kept["t"][-1]) + 1
        return replace(self, stop_us=stop, events=kept)

    def first(self, count: int | None) -> Segment:
        """Return the segment up to its event number ``count``; one that has no more, and None, change nothing."""
        if count is None or len(self.events) <= count:
            return self
        kept = self.events[:count]
        return replace(self, stop_us=int(kept["t"][-1]) + 1, events=kept)


def checked_events(events: Events, sensor_size: tuple[int, int, int]) -> Events:
    """Return events of one's own as `EVENT_DTYPE`.

    Raises:
        InputError: no structured array of whole numbers x, y, t and p, a negative number, a polarity above 1, or what
            `check_events` refuses.
    """
    events = np.asarray(events)
    names = events.dtype.names or ()
    if events.ndim != 1 or not {"x", "y", "t", "p"} <= set(names):
        raise InputError(
            f"events: expected a structured array [E] with the fields x, y, t and p, found {events.dtype} {list(events.shape)}."
        )
    if len(events) == 0:
        raise InputError("events: none. Give at least one.")
    for name in "xytp":
        if events[name].dtype.kind not in "iub":
            unit = " Times are in microseconds." if name == "t" else ""
            raise InputError(f"events: {name} is {events[name].dtype}; expected whole numbers.{unit}")
        if events[name].min() < 0:
            raise InputError(f"events: the smallest {name} is {events[name].min()}; none may be negative.")
    if events["p"].max() > 1:
        raise InputError(f"events: the largest p is {events['p'].max()}; allowed: 1 for ON, 0 for OFF.")
    check_events(events, sensor_size, "events")
    plain = np.empty(len(events), EVENT_DTYPE)
    for name in "xytp":
        plain[name] = events[name]
    return plain


def check_events(
    events: Events, sensor_size: tuple[int, int, int], where: str, offsets: NDArray[np.int64] | None = None
) -> None:
    """Accept events of a sensor; name the first one that breaks a rule.

    Args:
        events: `EVENT_DTYPE` [E].
        sensor_size: ``(W, H, P)``.
        where: the file's name.
        offsets: byte offset of each event in the file; None names the event's number instead.

    Raises:
        InputError: no event, an event outside the sensor, time running backwards, a time of `LATEST_US` or more, or a length above `MAX_LENGTH_US`.
    """
    if len(events) == 0:
        raise InputError(f"{where}: holds no event. A recording needs at least one.")
    width, height, _ = sensor_size
    outside = (events["x"] >= width) | (events["y"] >= height)
    if outside.any():
        first = int(np.argmax(outside))
        raise InputError(
            f"{where}: {_place(first, offsets)}: pixel ({events['x'][first]}, {events['y'][first]}) lies outside the "
            f"{width} x {height} sensor. Check that the file belongs to this data set."
        )
    backwards = np.diff(events["t"]) < 0
    if backwards.any():
        first = int(np.argmax(backwards)) + 1
        raise InputError(
            f"{where}: {_place(first, offsets)}: time runs backwards, from {events['t'][first - 1]} to "
            f"{events['t'][first]} us. Times must not decrease; the file is damaged."
        )

    latest = min(LATEST_US - 1, int(events["t"][0]) + MAX_LENGTH_US)
    if events["t"][-1] > latest:
        first = int(np.argmax(events["t"] > latest))
        raise InputError(
            f"{where}: {_place(first, offsets)}: time {events['t'][first]} us; a recording lasts a day at most and ends "
            f"before {LATEST_US:.0e} us. The file is damaged, or its times have another unit (--unit for .npy)."
        )


def _place(number: int, offsets: NDArray[np.int64] | None) -> str:
    return f"event {number}" if offsets is None else f"offset {int(offsets[number])}"
