"""The layers of a lava-dl ``.net`` file (HDF5), as plain values.

As with NIR, a process of its own reads each file first: ``python -m sastdeploy.exchange.lava.read FILE``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sastdeploy._files.reading import open_regular, parsing, shown
from sastdeploy.exchange.hdf5 import MAX_BYTES, Values, h5py_for, text_of

MAX_LAYERS = 10_000
_ADVICE = "Write it again, with lava-dl's export_hdf5."

Fields = dict[str, Any]


def read_net(path: Path | str) -> list[Fields]:
    """Return the fields of every layer, first to last: ``type``, values by name, and ``neuron``, its fields, where it has some.

    Raises:
        InputError: the file is missing, too large, damaged, or no `.net`; h5py is not installed.
    """
    return _read(path, h5py_for(path, ".net files", "sastdeploy.exchange.lava.read", _ADVICE))


def _read(path: Path | str, h5py: Any) -> list[Fields]:
    with (
        open_regular(path, limit=MAX_BYTES) as opened,
        parsing(path, "lava-dl .net file", _ADVICE),
        h5py.File(opened, "r") as content,
    ):
        values = Values(h5py)
        if "layer" not in content:
            raise ValueError("there is no group 'layer'")
        group = values.child(content, "layer")
        if not isinstance(group, h5py.Group):
            raise ValueError("'layer' is no group")
        numbers = [str(number) for number in range(len(group))]
        if len(numbers) > MAX_LAYERS or set(group) != set(numbers):
            raise ValueError(f"layers are not numbered 0 to {len(numbers) - 1}, at most {MAX_LAYERS:,}")
        return [_layer(values, values.child(group, number), f"layer {number}") for number in numbers]


def _layer(values: Values, layer: Any, where: str) -> Fields:
    fields = _fields(values, layer, where, ("neuron",))
    if "neuron" in layer:
        fields["neuron"] = _fields(values, values.child(layer, "neuron"), f"the neuron of {where}")
    return fields


def _fields(values: Values, group: Any, where: str, groups: tuple[str, ...] = ()) -> Fields:
    """Return a group's values by name, and its type as text; other groups than those named are refused."""
    if not isinstance(group, values.h5py.Group):
        raise ValueError(f"{where} is no group")
    fields = {}
    for key in group:
        if values.is_value(group, key):
            fields[key] = values.value(values.child(group, key))
        elif key not in groups:
            raise ValueError(f"'{shown(key)}' of {where} is a group, not a value")
    if "type" not in fields:
        raise ValueError(f"{where} has no 'type'")
    kind = fields["type"]
    if not isinstance(kind, str) and kind.size != 1:
        raise ValueError(f"the type of {where} is no text")
    fields["type"] = kind if isinstance(kind, str) else text_of(kind.reshape(-1)[0])
    return fields


if __name__ == "__main__":
    import h5py

    _read(sys.argv[1], h5py)
