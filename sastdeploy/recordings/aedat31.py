"""AEDAT 3.1, the container of DVS Gesture: a text header, then packets of events."""

from __future__ import annotations

import re
import struct

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.recordings.events import EVENT_DTYPE, Events, check_events

MAGIC = b"#!AER-DAT3.1"
END = b"#!END-HEADER\r\n"
_END_LINE = re.compile(rb"#!END-HEADER\r?\n")
"""Lines should end in CR LF; some writers leave the CR out."""
_HEADER = struct.Struct("<hhiiiiii")
_POLARITY, _POLARITY_BYTES = 1, 8
_PACKET = 4096


def parse_aedat31(content: bytes, sensor_size: tuple[int, int, int], where: str) -> Events:
    """Return the valid polarity events, times in us.

    A packet's header of 28 bytes holds type, source, event size, offset of the time, number of time overflows
    (2^31 us each), capacity, number and valid number of events. A polarity event holds valid (1 bit), polarity (1),
    y (15), x (15), then the time (32 bits); all little endian. Packets of other types are passed over.

    Raises:
        InputError: wrong magic, no end of the header, a truncated or impossible packet, or a fault that
            `check_events` finds.

    References:
        iniVation, AEDAT 3.1 file format; Amir et al., A low power, fully event-based gesture recognition system,
        CVPR 2017.
    """
    if not content.startswith(MAGIC):
        raise InputError(
            f"{where}: offset 0: does not begin with {MAGIC.decode()}. Only AEDAT 3.1 files are read here."
        )
    header = _END_LINE.search(content)
    if header is None:
        raise InputError(
            f"{where}: offset {len(MAGIC)}: the header never ends. The file is truncated; get it again."
        )
    position, parts, places = header.end(), [], []
    while position < len(content):
        if position + _HEADER.size > len(content):
            raise InputError(
                f"{where}: offset {position}: truncated in a packet's header. Get the file again."
            )
        kind, _, size, _, overflow, capacity, number, _ = _HEADER.unpack_from(content, position)
        position += _HEADER.size
        if size < 1 or capacity < 0 or not 0 <= number <= capacity or overflow < 0:
            raise InputError(
                f"{where}: offset {position - _HEADER.size}: impossible packet (event size {size}, {number} of "
                f"{capacity} events). The file is damaged; get it again."
            )
        end = position + capacity * size
        if end > len(content):
            raise InputError(
                f"{where}: offset {position}: truncated, a packet of {capacity * size} bytes has only "
                f"{len(content) - position}. Get the file again."
            )
        if kind == _POLARITY:
            if size != _POLARITY_BYTES:
                raise InputError(f"{where}: offset {position}: polarity events of {size} bytes; expected 8.")
            words = np.frombuffer(content, "<u4", 2 * number, position).reshape(-1, 2)
            valid = np.flatnonzero(words[:, 0] & 1)
            parts.append(_events(words[valid], overflow))
            places.append(position + valid * _POLARITY_BYTES)
        position = end
    events = np.concatenate(parts) if parts else np.empty(0, EVENT_DTYPE)
    check_events(events, sensor_size, where, np.concatenate(places) if places else None)
    return events


def _events(words: NDArray[np.uint32], overflow: int) -> Events:
    events = np.empty(len(words), EVENT_DTYPE)
    events["p"] = words[:, 0] >> 1 & 1
    events["y"] = words[:, 0] >> 2 & 0x7FFF
    events["x"] = words[:, 0] >> 17
    events["t"] = words[:, 1].astype(np.int64) + (overflow << 31)
    return events


def aedat31_bytes(events: Events, source: str = "simulated") -> bytes:
    """Return an AEDAT 3.1 file of polarity events with x, y below 2^15 and times below 2^31 us."""
    header = f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: {source}\r\n".encode() + END
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = (
        1 | events["p"].astype("<u4") << 1 | events["y"].astype("<u4") << 2 | events["x"].astype("<u4") << 17
    )
    words[:, 1] = events["t"]
    parts = [header]
    for start in range(0, len(words), _PACKET):
        part = words[start : start + _PACKET]
        parts += [_HEADER.pack(_POLARITY, 1, 8, 4, 0, len(part), len(part), len(part)), part.tobytes()]
    return b"".join(parts)
