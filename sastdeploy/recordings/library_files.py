"""Formats that libraries read: HDF5 (h5py) and AEDAT 4 (aedat), each file by a process of its own.

HDF5 can loop for ever on a damaged file, and a fault inside aedat is no exception of Python's. So a process reads the file,
``python -m sastdeploy.recordings.library_files FILE``, and writes to its output a line with the sensor, then the events as .npy.
"""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.own_process import run_reader
from sastdeploy._files.reading import open_regular, parsing, reason, shown
from sastdeploy.errors import InputError, SastdeployError
from sastdeploy.recordings.events import EVENT_DTYPE, MAX_RECORDING
from sastdeploy.recordings.npy import FIELDS, stored_array

LIBRARIES = {".h5": ("h5py", "hdf5"), ".hdf5": ("h5py", "hdf5"), ".aedat4": ("aedat", "aedat4")}
"""Suffixes, with the library that reads such a file and the extra that installs it."""
_REFUSED = 3
_MAX_DEPTH, _MAX_OBJECTS = 8, 10_000
_MAX_ADDRESSES = 6 << 30
"""Bytes of addresses that the process may have beyond those that it begins with."""
_AGAIN = "Get the file again."
_Loaded = tuple[NDArray[Any], tuple[int, int] | None]


def load_by_library(path: Path) -> _Loaded:
    """Return a file's events, structured or as plain columns, and the sensor (W, H) where the file states it.

    Raises:
        InputError: the library is not installed, or it cannot read the file to its end.
    """
    library, extra = LIBRARIES[path.suffix]
    if importlib.util.find_spec(library) is None:
        raise InputError(
            f"{shown(path)}: {path.suffix} files are read by {library}, which is not installed. Install it: "
            f"pip install 'sastdeploy[{extra}]'."
        )
    done = run_reader(
        "sastdeploy.recordings.library_files", path, limit=MAX_RECORDING, library=library, advice=_AGAIN
    )
    if done.returncode == _REFUSED:
        raise InputError(done.stdout.decode("utf-8", "replace").strip())
    if done.returncode:
        raise InputError(f"{shown(path)}: is damaged ({library} fails on it). {_AGAIN}")
    head, _, content = done.stdout.partition(b"\n")
    sensor = json.loads(head)
    return stored_array(io.BytesIO(content)), (sensor[0], sensor[1]) if sensor else None


def _load_hdf5(path: Path) -> _Loaded:
    import h5py

    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  # the filters that some data sets are packed with
    what = "HDF5 file of events"
    advice = f"{_AGAIN} Where its values are packed by a filter: pip install hdf5plugin."
    with (
        open_regular(path, limit=MAX_RECORDING) as opened,
        parsing(path, what, advice),
        h5py.File(opened, "r") as content,
    ):
        objects = {}
        for name, each in _objects(h5py, content, "", 0):
            objects[name] = each
            if len(objects) > _MAX_OBJECTS:
                raise ValueError(f"more than {_MAX_OBJECTS:,} objects")
        places = {name: parts for name, each in objects.items() if (parts := _parts(h5py, name, each))}
        if len(places) != 1:
            names = ", ".join(map(shown, list(places or objects)[:8])) or "nothing"
            raise InputError(
                f"{shown(path)}: holds events in {len(places)} places ({names}); expected one group with x, y, t and p, or one array of "
                "events. Keep the events of one camera in a file."
                if places
                else f"{shown(path)}: holds no events, but {names}. Expected a group with x, y, t and p, or an array 'events' of them."
            )
        (parts,) = places.values()
        size = sum(part.dtype.itemsize * part.size for part in parts.values())
        if size > MAX_RECORDING:
            raise InputError(
                f"{shown(path)}: its events take {size:,} bytes; a recording may have at most {MAX_RECORDING:,}. Cut it into shorter "
                "ones."
            )
        if "" in parts:
            return _values(parts[""]), None
        columns = {letter: _values(part) for letter, part in parts.items()}
        if len({column.shape for column in columns.values()}) > 1:
            raise InputError(
                f"{shown(path)}: x, y, t and p have {', '.join(str(column.size) for column in columns.values())} values. {_AGAIN}"
            )
        events = np.empty(columns["t"].shape, [(letter, column.dtype) for letter, column in columns.items()])
        for letter, column in columns.items():
            events[letter] = column
        return events, None


def _objects(h5py: Any, group: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield a group and all that lies below it, by name; links to elsewhere are passed over."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"groups nest more than {_MAX_DEPTH} deep")
    yield prefix or "/", group
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        each = group[name]
        if isinstance(each, h5py.Group):
            yield from _objects(h5py, each, f"{prefix}/{name}", depth + 1)
        elif isinstance(each, h5py.Dataset):
            yield f"{prefix}/{name}", each


def _parts(h5py: Any, name: str, each: Any) -> dict[str, Any]:
    """Return the datasets that hold events: by x, y, t and p, or by an empty name the only one; empty where these are none."""
    if isinstance(each, h5py.Dataset):
        fields = {field.lower() for field in each.dtype.names or ()}
        whole = all(fields & set(names) for names in FIELDS.values())
        plain = name.rpartition("/")[2].lower() == "events" and each.ndim == 2 and each.shape[1] == 4
        return {"": each} if whole or plain else {}
    names = {member.lower(): member for member in each}
    chosen = {letter: next((names[n] for n in FIELDS[letter] if n in names), None) for letter in "xytp"}
    if not all(m and isinstance(each.get(m, getlink=True), h5py.HardLink) for m in chosen.values()):
        return {}
    parts = {letter: each[member] for letter, member in chosen.items()}
    return parts if all(isinstance(part, h5py.Dataset) for part in parts.values()) else {}


def _values(dataset: Any) -> NDArray[Any]:
    if dataset.external or dataset.is_virtual:
        raise ValueError("values lie in another file")
    if dataset.dtype.hasobject:
        raise ValueError("it holds texts or lists")
    return np.asarray(dataset[()])


def _load_aedat4(path: Path) -> _Loaded:
    import aedat

    try:
        decoder = aedat.Decoder(str(path))
        streams = decoder.id_to_stream()
        cameras = [number for number, stream in streams.items() if stream["type"] == "events"]
        parts, count = [], 0
        for packet in decoder:
            if "events" in packet and packet["stream_id"] in cameras:
                parts.append(packet["events"])
                count += len(parts[-1])
                if count * EVENT_DTYPE.itemsize > MAX_RECORDING:
                    raise ValueError("more events than a recording may have")
    except BaseException as error:  # what goes wrong inside the library is no Exception
        raise InputError(f"{shown(path)}: is no valid AEDAT 4 file ({reason(error)}). {_AGAIN}") from error
    if len(cameras) != 1:
        kinds = ", ".join(stream["type"] for stream in streams.values()) or "none"
        raise InputError(
            f"{shown(path)}: holds the events of {len(cameras)} cameras (streams: {kinds}); expected one. Record or export one camera."
        )
    read = np.concatenate(parts) if parts else np.empty(0, EVENT_DTYPE)
    events = np.empty(len(read), EVENT_DTYPE)
    for name, theirs in zip("xytp", ("x", "y", "t", "on" if parts else "p")):
        events[name] = read[theirs]
    stream = streams[cameras[0]]
    return events, (int(stream["width"]), int(stream["height"]))


def main() -> int:
    """Write the events of the file that the command line names to the output; the reason where it is refused."""
    path = Path(sys.argv[1])
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        limit = pages * resource.getpagesize() + _MAX_ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        array, sensor = (_load_aedat4 if path.suffix == ".aedat4" else _load_hdf5)(path)
    except SastdeployError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    target = io.BytesIO()
    np.save(target, array)
    sys.stdout.buffer.write(json.dumps(sensor).encode() + b"\n" + target.getbuffer())
    return 0


if __name__ == "__main__":
    sys.exit(main())
