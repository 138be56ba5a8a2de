"""Event files as other programs write them, for tests: Prophesee's .dat, EVT 2.0 and EVT 3.0, AEDAT 2.0 and 4, HDF5."""

import io

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


def hdf5_bytes(events, group="events", **more) -> bytes:
    """x, y, t and p as datasets of one group."""
    import h5py

    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        for name in "xytp":
            file.create_dataset(f"{group}/{name}", data=events[name], **more)
    return target.getvalue()


def aedat4_bytes(events, sensor=(128, 128), cameras=1) -> bytes:
    """Two packets per camera, not compressed."""
    infos = "".join(
        f'<node name="{n}" path="/o/{n}/"><attr key="typeIdentifier" type="string">EVTS</attr><node name="info" path="/o/{n}/info/">'
        f'<attr key="sizeX" type="int">{sensor[0]}</attr><attr key="sizeY" type="int">{sensor[1]}</attr></node></node>'
        for n in range(cameras)
    )
    header = _table(
        [(4, 0), (8, -1), f'<dv version="2.0"><node name="outInfo" path="/o/">{infos}</node></dv>'], b"IOHE"
    )
    content = b"#!AER-DAT4.0\r\n" + header
    for number in range(cameras):
        for part in np.array_split(events, 2) if len(events) > 1 else [events]:
            packet = _table([part], b"EVTS")
            content += np.array([number, len(packet)], "<i4").tobytes() + packet
    return content


def _table(fields, name) -> bytes:
    """A flatbuffer of one table: (bytes, number), text or events for each of its fields."""
    import flatbuffers

    builder, places = flatbuffers.Builder(1024), []
    for value in fields:
        if isinstance(value, str):
            places.append(builder.CreateString(value))
        elif isinstance(value, np.ndarray):
            builder.StartVector(16, len(value), 8)
            for x, y, t, p in reversed(value.tolist()):
                builder.Prep(8, 16)
                builder.Pad(3)
                builder.PrependBool(p)
                builder.PrependInt16(y)
                builder.PrependInt16(x)
                builder.PrependInt64(t)
            places.append(builder.EndVector())
        else:
            places.append(value)
    builder.StartObject(len(fields))
    for slot, value in enumerate(places):
        if isinstance(value, tuple):
            (builder.PrependInt32Slot if value[0] == 4 else builder.PrependInt64Slot)(slot, value[1], 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    builder.FinishSizePrefixed(builder.EndObject(), file_identifier=name)
    return bytes(builder.Output())
