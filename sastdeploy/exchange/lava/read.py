"""The layers of a lava-dl ``.net`` file (HDF5), as plain values.

As with NIR, a process of its own reads each file first: ``python -m sastdeploy.exchange.lava.read FILE``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sastdeploy._files.reading import open_regular, parsing
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
        names = sorted(group, key=int)
        if len(names) > MAX_LAYERS or names != [str(number) for number in range(len(names))]:
            raise ValueError(f"layers are not numbered 0 to {len(names) - 1}, at most {MAX_LAYERS:,}")
        layers = []
        for name in names:
            layer = values.child(group, name)
            fields = _fields(values, layer)
            kind = fields["type"]
            fields["type"] = kind if isinstance(kind, str) else text_of(kind.reshape(-1)[0])
            if "neuron" in layer:
                fields["neuron"] = _fields(values, values.child(layer, "neuron"))
            layers.append(fields)
        return layers


def _fields(values: Values, group: Any) -> Fields:
    return {key: values.value(values.child(group, key)) for key in group if values.is_value(group, key)}


if __name__ == "__main__":
    import h5py

    _read(sys.argv[1], h5py)
