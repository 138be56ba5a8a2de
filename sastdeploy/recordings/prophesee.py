"""Prophesee's files: ``.dat``, 8 bytes per event, and ``.raw`` in EVT 2.0 and EVT 3.0, words of 4 and 2 bytes.

All are little endian, after a header of lines that begin with ``%``. x counts from the left, y from the top, time in us.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings.events import EVENT_DTYPE, MAX_RECORDING, Events, check_events
from sastdeploy.recordings.headers import text_header

MAX_RAW = 64 << 20
"""Bytes of a .raw file: about as many events as other formats hold in `MAX_RECORDING`."""
MAX_EVENTS = MAX_RECORDING // EVENT_DTYPE.itemsize
_CHANGES = (0x00, 0x0C)
"""Types of events in a .dat file that are changes of brightness."""
_EVT2 = {"off": 0x0, "on": 0x1, "time high": 0x8, "trigger": 0xA, "imu": 0xD, "others": 0xE, "continued": 0xF}
_EVT3 = {
    "row": 0x0, "column": 0x2, "base": 0x3, "vector of 12": 0x4, "vector of 8": 0x5, "time low": 0x6, "continued, 4 bits": 0x7,
    "time high": 0x8, "trigger": 0xA, "others": 0xE, "continued": 0xF,
}  # fmt: skip
_PIECE = 1 << 20
_Sensor = tuple[int, int] | None
_Words = NDArray[np.integer]
_Places = NDArray[np.int64]
_Columns = tuple[NDArray[np.integer], ...]
"""x, y, t and p as they come from the words."""


def parse_dat(content: bytes, where: str) -> tuple[Events, _Sensor]:
    """Return the events of a .dat file, and the sensor (W, H) where its header states it.

    After the header follow the events' type and size, a byte each. An event is its time (32 bits), then x (14 bits), y (14)
    and polarity (4).

    Raises:
        InputError: no header, other events than changes of brightness, a truncated event, or a fault that `check_events` finds.

    References:
        Prophesee, DAT file format (docs.prophesee.ai, Data files).
    """
    lines, offset = text_header(content, b"%", "", where)
    if len(content) < offset + 2:
        raise InputError(f"{where}: offset {offset}: truncated after the header. Get the file again.")
    kind, size = content[offset], content[offset + 1]
    if kind not in _CHANGES or size != 8:
        raise InputError(
            f"{where}: offset {offset}: events of type {kind:#04x} with {size} bytes; read are types 0x00 and 0x0c (changes of "
            "brightness) with 8. Export such events, or get the file again."
        )
    words = _words(content, offset + 2, "<u4", 2, where)
    pixel = words[:, 1]
    places = offset + 2 + 8 * np.arange(len(words))
    columns = pixel & 0x3FFF, pixel >> 14 & 0x3FFF, words[:, 0], pixel >> 28 & 1
    return _checked(columns, _stated(lines), where, places)


def parse_raw(content: bytes, where: str) -> tuple[Events, _Sensor]:
    """Return the events of a .raw file in EVT 2.0 or EVT 3.0, and the sensor (W, H) where its header states it.

    Events before the first word of time (and, in EVT 3.0, of a row) are left out, since nothing says when they were.

    Raises:
        InputError: no header, another format, a truncated or unknown word, too many events, or a fault that `check_events`
            finds.

    References:
        Prophesee, EVT 2.0 and EVT 3.0 formats (docs.prophesee.ai, Data encoding formats).
    """
    lines, offset = text_header(content, b"%", "end", where)
    text = "\n".join(lines)
    stated = re.search(r"^format EVT(\d[\d.]*)", text, re.M) or re.search(r"^evt (\d[\d.]*)", text, re.M)
    version = stated.group(1).removesuffix(".0") if stated else "unknown"
    if version not in ("2", "3"):
        raise InputError(
            f"{where}: its header states {f'EVT {version}' if stated else 'no format'}; read are EVT 2.0 and EVT 3.0. Convert the "
            "file with Prophesee's tools."
        )
    kind, decode = ("<u4", _evt2) if version == "2" else ("<u2", _evt3)
    columns, places = decode(_words(content, offset, kind, 1, where)[:, 0], offset, where)
    return _checked(columns, _stated(lines), where, places)


def _words(content: bytes, offset: int, kind: str, columns: int, where: str) -> _Words:
    size = np.dtype(kind).itemsize * columns
    if over := (len(content) - offset) % size:
        what = "an event" if columns > 1 else "a word"
        raise InputError(
            f"{where}: offset {len(content) - over}: truncated, {over} of {size} bytes of {what}. Get the file again."
        )
    return np.frombuffer(content, kind, offset=offset).reshape(-1, columns)


def _stated(lines: list[str]) -> _Sensor:
    """Return the sensor (W, H) of a header, in any of the ways in which one is written; None where there is none."""
    text = "\n".join(lines).lower()
    if size := re.search(r"^geometry (\d{1,5})x(\d{1,5})", text, re.M):
        return int(size.group(1)), int(size.group(2))
    sides = [re.search(rf"(?:^|;){side}[ =](\d{{1,5}})", text, re.M) for side in ("width", "height")]
    width, height = (int(side.group(1)) if side else 0 for side in sides)
    return (width, height) if width and height else None


def _checked(columns: _Columns, sensor: _Sensor, where: str, places: _Places) -> tuple[Events, _Sensor]:
    """Return the columns as events that fit the sensor."""
    events = np.empty(len(places), EVENT_DTYPE)
    for name, column in zip("xytp", columns):
        # A column beyond the type lies outside every sensor.
        events[name] = np.minimum(column, 0xFFFF) if name in "xy" else column
    check_events(events, (*(sensor or (1 << 15, 1 << 15)), 2), where, places)
    return events, sensor


def _known(kinds: _Words, allowed: dict[str, int], size: int, offset: int, where: str) -> None:
    unknown = ~np.isin(kinds, list(allowed.values()))
    if unknown.any():
        first = int(np.argmax(unknown))
        raise InputError(
            f"{where}: offset {offset + first * size}: a word of the unknown type {kinds[first]:#x}. The file is damaged; get it again."
        )


def _latest(marks: _Places, places: _Places) -> _Places:
    """Return for every place the number of the last mark before it; -1 where there is none."""
    return np.searchsorted(marks, places) - 1


def _unwrapped(values: NDArray[np.integer], bits: int) -> NDArray[np.int64]:
    """Return the values of a counter of ``bits`` bits without its returns to 0; a step back of over half its range is one."""
    whole = values.astype(np.int64)
    returns = np.cumsum(np.diff(whole, prepend=whole[:1]) < -(1 << (bits - 1)))
    return whole + (returns << bits)


def _evt2(words: _Words, offset: int, where: str) -> tuple[_Columns, _Places]:
    """Return events and their offsets: time high holds the bits above the 6 of an event's own time."""
    kinds = words >> 28
    _known(kinds, _EVT2, 4, offset, where)
    highs = np.flatnonzero(kinds == _EVT2["time high"])
    times = _unwrapped(words[highs] & 0x0FFFFFFF, 28) << 6
    places = np.flatnonzero(kinds <= _EVT2["on"])
    latest = _latest(highs, places)
    places, latest = places[latest >= 0], latest[latest >= 0]
    own = words[places]
    columns = own >> 11 & 0x7FF, own & 0x7FF, times[latest] + (own >> 22 & 0x3F), own >> 28
    return columns, offset + 4 * places


def _evt3(words: _Words, offset: int, where: str) -> tuple[_Columns, _Places]:
    """Return events and their offsets: words set time, row and polarity, and those of columns make events of them.

    A vector holds a bit for each of the 12 or 8 pixels from the base on, which it moves by as many.
    """
    kinds = words >> 12
    _known(kinds, _EVT3, 2, offset, where)
    marks = {name: np.flatnonzero(kinds == kind) for name, kind in _EVT3.items()}
    singles = marks["column"]
    vectors = np.sort(np.concatenate([marks["vector of 12"], marks["vector of 8"]]))
    vectors = vectors[_latest(marks["base"], vectors) >= 0]
    columns, rows = _pixels(words, kinds, vectors, marks["base"], where, len(singles))
    bases = marks["base"][_latest(marks["base"], vectors)]
    places = np.concatenate([singles, vectors[rows]])
    x = np.concatenate([words[singles] & 0x7FF, columns])
    p = np.concatenate([words[singles] >> 11 & 1, (words[bases] >> 11 & 1)[rows]])
    order = np.argsort(places, kind="stable")
    order = order[_latest(marks["time high"], places[order]) >= 0]
    order = order[_latest(marks["row"], places[order]) >= 0]
    places = places[order]
    y = words[marks["row"][_latest(marks["row"], places)]] & 0x7FF if len(places) else places
    return (x[order], y, _times(words, marks, places), p[order]), offset + 2 * places


def _times(words: _Words, marks: dict[str, _Places], places: _Places) -> NDArray[np.int64]:
    """Return the time at each place: 12 bits of the last time high, and 12 of a time low since that changed."""
    highs, lows = marks["time high"], marks["time low"]
    values = _unwrapped(words[highs] & 0xFFF, 12)
    changes = highs[np.diff(values, prepend=-1) != 0]
    latest = _latest(lows, places)
    since = (latest >= 0) & (lows[latest] > changes[_latest(changes, places)]) if len(lows) else latest >= 0
    times = values[_latest(highs, places)] << 12
    times[since] += words[lows[latest[since]]] & 0xFFF
    return times


def _pixels(
    words: _Words, kinds: _Words, vectors: _Places, bases: _Places, where: str, others: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the columns of all bits of the vectors, in order, and for each the number of its vector."""
    steps = np.where(kinds[vectors] == _EVT3["vector of 12"], 12, 8).astype(np.int64)
    masks = (words[vectors] & ((1 << steps) - 1).astype(np.uint16)).astype("<u2")
    moved = np.cumsum(steps) - steps
    base = _latest(bases, vectors)
    first = np.searchsorted(vectors, bases[base])
    start = (words[bases[base]] & 0x7FF) + moved - moved[first]
    columns, rows, total = [], [], others
    for piece in range(0, len(vectors), _PIECE):
        bits = np.unpackbits(
            masks[piece : piece + _PIECE].view(np.uint8).reshape(-1, 2), axis=1, bitorder="little"
        )
        row, bit = np.nonzero(bits)
        total += len(row)
        if total > MAX_EVENTS:
            raise InputError(
                f"{where}: holds more than {MAX_EVENTS:,} events. Cut it into shorter recordings."
            )
        columns.append(start[piece + row] + bit)
        rows.append(piece + row)
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *columns]), np.concatenate([empty, *rows])
