"""Event files as other programs write them, for tests: Prophesee's .dat, EVT 2.0 and EVT 3.0, and jAER's AEDAT 2.0."""

import numpy as np


def dat_bytes(
    events, header=b"% Data file containing CD events.\n% Version 2\n% Height 240\n% Width 304\n"
) -> bytes:
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events["t"]
    words[:, 1] = (
        events["x"].astype("<u4") | events["y"].astype("<u4") << 14 | events["p"].astype("<u4") << 28
    )
    return header + bytes([0, 8]) + words.tobytes()


def evt2_bytes(events, header=b"% format EVT2;height=240;width=304\n% end\n") -> bytes:
    """A word of time high stands before each event that needs another one."""
    words, high = [], -1
    for x, y, t, p in events.tolist():
        if t >> 6 != high:
            high = t >> 6
            words.append(0x8 << 28 | high & 0x0FFFFFFF)
        words.append(p << 28 | (t & 0x3F) << 22 | x << 11 | y)
    return header + np.array(words, "<u4").tobytes()


def evt3_bytes(events, header=b"% evt 3.0\n% geometry 304x240\n% end\n") -> bytes:
    """Neighbours in one row with one time and polarity become vectors of 12 or 8 pixels; other events stand alone."""
    words, high, low, row = [], -1, -1, -1
    rows = events.tolist()
    at = 0
    while at < len(rows):
        x, y, t, p = rows[at]
        if t >> 12 != high:
            high, low = t >> 12, -1
            words.append(0x8 << 12 | high & 0xFFF)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(0x6 << 12 | low)
        if y != row:
            row = y
            words.append(y)
        stop = at + 1
        while stop < len(rows) and rows[stop][1:] == (y, t, p) and rows[stop - 1][0] < rows[stop][0] < x + 20:
            stop += 1
        if stop - at > 1:
            mask = sum(1 << other[0] - x for other in rows[at:stop])
            words += [0x3 << 12 | p << 11 | x, 0x4 << 12 | mask & 0xFFF, 0x5 << 12 | mask >> 12]
        else:
            words.append(0x2 << 12 | p << 11 | x)
        at = stop
    return header + np.array(words, "<u2").tobytes()


def aedat2_bytes(events, chip="DVS128", header=None) -> bytes:
    """jAER counts x from the right and y from the bottom."""
    if header is None:
        header = b"#!AER-DAT2.0\r\n# AEChip: x." + chip.encode() + b"\r\n#End Of ASCII Header\r\n"
    width, height = {"DVS128": (128, 128), "Davis346blue": (346, 260), "DAVIS240C": (240, 180)}[chip]
    words = np.empty((len(events), 2), ">u4")
    x, y = width - 1 - events["x"].astype(np.int64), height - 1 - events["y"].astype(np.int64)
    p = events["p"].astype(np.int64)
    words[:, 0] = x << 1 | y << 8 | 1 - p if chip == "DVS128" else x << 12 | y << 22 | p << 11
    words[:, 1] = events["t"]
    return header + words.tobytes()
