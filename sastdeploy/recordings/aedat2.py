"""AEDAT 2.0, as jAER writes it: a text header, then 8 bytes per event, big endian: address and time in us."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings.events import EVENT_DTYPE, Events, check_events
from sastdeploy.recordings.headers import text_header

MAGIC = b"#!AER-DAT2.0"
SENSORS = {
    "DVS128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS240": (240, 180),
    "DAVIS346": (346, 260),
    "DAVIS640": (640, 480),
}
"""Sensor (W, H) of each chip whose addresses are read."""


def parse_aedat2(content: bytes, where: str) -> tuple[Events, tuple[int, int]]:
    """Return the polarity events of a file, and its sensor (W, H).

    A DVS128's address holds y (7 bits from 8), x (7 bits from 1) and 0 for ON (bit 0); a DAVIS's y (9 bits from 22), x (10
    bits from 12) and 1 for ON (bit 11). x counts from the right and y from the bottom there; here, as in every other format,
    from the left and the top. Frames, inertial and external events are passed over. The header's line AEChip names the chip;
    without it, addresses of 16 bits are a DVS128's.

    Raises:
        InputError: wrong magic, an unknown chip, a truncated event, or a fault that `check_events` finds.

    References:
        iniVation, AEDAT file formats; jAER, classes DVS128 and DavisBaseCamera (where ON of a DVS128 is 0).
    """
    if not content.startswith(MAGIC):
        raise InputError(f"{where}: offset 0: does not begin with {MAGIC.decode()}. Get the file again.")
    lines, offset = text_header(content, b"#", "End Of ASCII Header", where)
    if over := (len(content) - offset) % 8:
        raise InputError(
            f"{where}: offset {len(content) - over}: truncated, {over} of 8 bytes of an event. Get the file again."
        )
    words = np.frombuffer(content, ">u4", offset=offset).reshape(-1, 2)
    address = words[:, 0]
    chip = _chip(lines, address, where)
    (width, height), davis = SENSORS[chip], chip != "DVS128"
    # Bit 31 of a DAVIS marks a frame or an inertial sample, bit 10 an external event; a DVS128's pixels have 15 bits.
    kept = np.flatnonzero((address & (1 << 31 | 1 << 10) if davis else address >> 15) == 0)
    address = address[kept]
    if davis:
        x, y, on = address >> 12 & 0x3FF, address >> 22 & 0x1FF, address >> 11 & 1
    else:
        x, y, on = address >> 1 & 0x7F, address >> 8 & 0x7F, 1 - (address & 1)
    places = offset + 8 * kept
    outside = (x >= width) | (y >= height)
    if outside.any():
        first = int(np.argmax(outside))
        raise InputError(
            f"{where}: offset {places[first]}: pixel ({x[first]}, {y[first]}) lies outside the {width} x {height} sensor of a {chip}. "
            "The file is damaged; get it again."
        )
    events = np.empty(len(kept), EVENT_DTYPE)
    events["x"], events["y"], events["p"], events["t"] = width - 1 - x, height - 1 - y, on, words[kept, 1]
    check_events(events, (width, height, 2), where, places)
    return events, (width, height)


def _chip(lines: list[str], address: NDArray[np.unsignedinteger], where: str) -> str:
    stated = next((line for line in lines if line.startswith("AEChip")), "")
    if match := re.search("|".join(SENSORS), stated.upper()):
        return match.group()
    if not stated and not (address >> 16).any():
        return "DVS128"
    what = f"'{stated[:80]}'" if stated else "no AEChip"
    raise InputError(
        f"{where}: its header states {what}; read are the chips "
        f"{', '.join(SENSORS)}. Convert the file to AEDAT 4 or .csv with the camera's own tools."
    )
