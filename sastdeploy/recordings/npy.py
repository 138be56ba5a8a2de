"""Events in .npy files: structured arrays with fields x, y, t, p, or plain numbers with one column each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from sastdeploy._files.reading import open_regular, parsing, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.events import EVENT_DTYPE, LATEST_US, MAX_RECORDING, Events, check_events

UNITS = {"us": 1, "ms": 1000, "s": 1_000_000}
"""Units of the times in a file, in us."""
_MAX_PIXEL = (1 << 15) - 1
COLUMNS = "xypt"
"""Order of plain columns where none is stated: that of tonic's re-packing of DVS Gesture."""
FIELDS = {
    "x": ("x", "xs", "column"),
    "y": ("y", "ys", "row"),
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "p": ("p", "ps", "pol", "polarity", "on"),
}
_MAX_SECONDS = 60.0
"""Seconds: what would last longer is taken to have a smaller unit."""
_Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]
"""x, y, t and p as a file holds them."""


def read_npy(
    path: Path, sensor_size: tuple[int, int, int], unit: str | None = None, columns: str | None = None
) -> tuple[Events, str]:
    """Return the events of a file, times in us, and the unit of the file's own times.

    Args:
        unit: one of `UNITS`; None guesses it (`guess_unit`). columns: order of plain columns, as `parse_columns` returns.

    Raises:
        InputError: the file cannot be read, holds objects, announces more than it has, or `parse_array` finds a fault.
    """
    return parse_array(load_array(path), shown(path), sensor_size, unit, columns)


def load_array(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file; nothing is unpickled, and no more is read than the file holds.

    Raises:
        InputError: as `read_npy`.
    """
    with (
        open_regular(path, limit=MAX_RECORDING) as opened,
        parsing(path, ".npy file of plain numbers", "Get the file again."),
    ):
        magic = opened.read(npy_format.MAGIC_LEN)
        if magic[:4] == b"PK\x03\x04":
            raise ValueError("it is an archive of several")
        opened.seek(0)
        return stored_array(opened)


def stored_array(opened: BinaryIO) -> NDArray[Any]:
    """Return the array of an opened .npy file or part of an archive; the caller turns exceptions into `InputError`."""
    version = npy_format.read_magic(opened)
    header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran, kind = header(opened)
    if kind.hasobject:
        raise ValueError("it holds Python objects")
    content = opened.read()
    announced = math.prod(shape) * kind.itemsize
    if not 0 <= announced <= len(content):
        raise ValueError(f"its header announces {announced:,} bytes, but {len(content):,} follow")
    array = np.frombuffer(content, kind, math.prod(shape))
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def parse_columns(text: str) -> str:
    """Return the order of four columns, as in ``xytp``, from ``xytp`` or ``x,y,t,p``.

    Raises:
        InputError: it does not name x, y, t and p once each.
    """
    columns = text.replace(",", "").replace(" ", "").lower()
    if sorted(columns) != sorted(COLUMNS):
        raise InputError(f"columns '{text}': name x, y, t and p once each, as in --columns xytp.")
    return columns


def parse_array(
    array: NDArray[Any],
    where: str,
    sensor_size: tuple[int, int, int],
    unit: str | None = None,
    columns: str | None = None,
) -> tuple[Events, str]:
    """Return the events of an array, times in us to the nearest one, and the unit of the array's own times.

    Polarities are 1 for ON and 0 or -1 for OFF.

    Args:
        array: structured ``[E]`` with fields x, y, t, p (by name, in any order), or numbers ``[E, 4]``.
        unit, columns: as `read_npy`.

    Raises:
        InputError: another shape or type, a value that is no whole pixel, no polarity or no time, or a fault that
            `check_events` finds.
    """
    named = array.dtype.names is not None
    x, y, t, p = _by_name(array, where) if named else _by_place(array, where, columns or COLUMNS)
    values = [part.astype(np.float64) for part in (x, y, p)]
    unit = unit or guess_unit(t, named)
    # In float64: a short whole type of the file's would overflow.
    times = t.astype(np.float64) * UNITS[unit]
    x, y, p = values
    # What is no number fails every comparison.
    sound = np.isfinite(times) & (times >= 0)
    with np.errstate(invalid="ignore"):
        for part, least, most in ((x, 0, _MAX_PIXEL), (y, 0, _MAX_PIXEL), (p, -1, 1)):
            sound &= (part >= least) & (part <= most) & (part % 1 == 0)
    if not sound.all():
        first = int(np.argmin(sound))
        order = "" if named else f", read as columns {', '.join(columns or COLUMNS)}"
        advice = "Get" if named else "State another order with --columns, as in --columns xytp, or get"
        raise InputError(
            f"{where}: event {first}: a value is not finite, negative, or no pixel, polarity or time (x {x[first]:.6g}, "
            f"y {y[first]:.6g}, t {float(t[first]):.6g}, p {p[first]:.6g}){order}. {advice} the file again."
        )
    if len(times) and times.max() >= LATEST_US:
        raise InputError(
            f"{where}: a time of {times.max():.3g} us (read as {unit}); times must be below {LATEST_US:.0e} us. "
            "State the unit with --unit, or get the file again."
        )
    events = np.empty(len(times), EVENT_DTYPE)
    events["x"], events["y"], events["p"] = x, y, p > 0
    events["t"] = np.rint(times)
    check_events(events, sensor_size, where)
    return events, unit


def guess_unit(times: NDArray[Any], named: bool) -> str:
    """Return the likely unit of times: fractions within a minute are s, whole numbers of a named field us, others ms.

    What would last over a minute in ms is in us.

    Args:
        times: as in the file, ascending. named: whether they are a field of a structured array.
    """
    if len(times) == 0:
        return "ms"
    length = float(times[-1]) - float(times[0])
    whole = times.dtype.kind in "iu" or bool(np.isfinite(times).all() and (times % 1 == 0).all())
    if not whole and length < _MAX_SECONDS:
        return "s"
    return "us" if (named and whole) or length > 1000 * _MAX_SECONDS else "ms"


def _by_name(array: NDArray[Any], where: str) -> _Columns:
    names = {name.lower(): name for name in array.dtype.names or ()}
    fields = [next((names[n] for n in FIELDS[letter] if n in names), None) for letter in "xytp"]
    kinds = [array.dtype[name].kind for name in fields if name]
    if None in fields or array.ndim != 1 or not set("".join(kinds)) <= set("iufb"):
        raise InputError(
            f"{where}: expected an array [events] with fields x, y, t, p of plain numbers, found {array.dtype} "
            f"{list(array.shape)}."
        )
    x, y, t, p = (array[name] for name in fields if name)
    return x, y, t, p


def _by_place(array: NDArray[Any], where: str, columns: str) -> _Columns:
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iuf":
        raise InputError(
            f"{where}: expected numbers [events, 4] ({', '.join(columns)}), or an array with fields x, y, t, p; found "
            f"{array.dtype} {list(array.shape)}."
        )
    x, y, t, p = (array[:, columns.index(letter)] for letter in "xytp")
    return x, y, t, p
