"""The layers of a lava-dl ``.net`` file (HDF5), as plain values.

As with NIR, a process of its own reads each file first: ``python -m sastdeploy.exchange.lava.read FILE``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sastdeploy._files.own_process import run_reader
from sastdeploy._files.reading import MIB, open_regular, parsing, shown
from sastdeploy.errors import InputError
from sastdeploy.exchange.hdf5 import Values, text_of

MAX_BYTES = 2048 * MIB
MOST_LAYERS = 10_000
_ADVICE = "Write it again, with lava-dl's export_hdf5."

Fields = dict[str, Any]


def read_net(path: Path | str) -> list[Fields]:
    """Return the fields of every layer, first to last: ``type``, values by name, and ``neuron``, its fields, where it has some.

    Raises:
        InputError: the file is missing, too large, damaged, or no `.net`; h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{shown(path)}: .net files are HDF5, which h5py reads. Install it: pip install 'sastdeploy[nir]'."
        ) from error
    run_reader(
        "sastdeploy.exchange.lava.read", path, limit=MAX_BYTES, library="the HDF5 library", advice=_ADVICE
    )
    return _read(path, h5py)


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
        if len(names) > MOST_LAYERS or names != [str(number) for number in range(len(names))]:
            raise ValueError(f"layers are not numbered 0 to {len(names) - 1}, at most {MOST_LAYERS:,}")
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
