"""The nodes and edges of a NIR file (HDF5), as plain values; nested graphs become one.

The HDF5 library can loop for ever, or end the process, on a damaged file. So a process of its own reads each file first:
``python -m sastdeploy.exchange.nir.read FILE``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sastdeploy._files.reading import open_regular, parsing, shown
from sastdeploy.exchange.hdf5 import MAX_BYTES, Values, h5py_for, text_of

MAX_NODES, MAX_DEPTH = 10_000, 16
"""Of one file."""
OWN_KEY = "sastdeploy"
"""Under which a graph's metadata hold what `export_nir` says of a program, as JSON."""
_ADVICE = "Write it again, with nir.write."


@dataclass
class NirFile:
    """What a file holds.

    Args:
        nodes: type and fields of every node by its name, control characters escaped; names of nested graphs come before those of their
            nodes, with a dot.
        edges: from, to. version: of the library that wrote it. own: what `export_nir` wrote of a program; nothing in other files.
    """

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    version: str = "not stated"
    own: dict[str, Any] = field(default_factory=dict)


def read_nir(path: Path | str) -> NirFile:
    """Return a file's nodes and edges. Any version of NIR; neither shapes nor types of nodes are judged here.

    Raises:
        InputError: the file is missing, too large, damaged, or no NIR; h5py is not installed.
    """
    return _read(path, h5py_for(path, "NIR files", "sastdeploy.exchange.nir.read", _ADVICE))


def _read(path: Path | str, h5py: Any) -> NirFile:
    with (
        open_regular(path, limit=MAX_BYTES) as opened,
        parsing(path, "NIR file", _ADVICE),
        h5py.File(opened, "r") as content,
    ):
        reader = _Reader(h5py, str(shown(path)))
        if "node" not in content:
            raise ValueError("there is no group 'node'")
        if "version" in content:
            reader.file.version = str(reader.value(content["version"]))[:40]
        reader.graph(content["node"], "", 0)
        if OWN_KEY in content["node"].get("metadata", ()):
            own = json.loads(reader.value(reader.child(reader.child(content["node"], "metadata"), OWN_KEY)))
            if not isinstance(own, dict):
                raise ValueError(f"metadata '{OWN_KEY}' is no object")
            reader.file.own = own
        return reader.file


class _Reader(Values):
    def __init__(self, h5py: Any, where: str) -> None:
        super().__init__(h5py)
        self.where, self.file = where, NirFile()

    def graph(self, group: Any, prefix: str, depth: int) -> None:
        """Add a graph's nodes under ``prefix``, and its edges; a nested graph stands as its own input and output."""
        if depth > MAX_DEPTH:
            raise ValueError(f"graphs nest more than {MAX_DEPTH} deep")
        if self.kind(group) != "NIRGraph":
            raise ValueError(f"a {self.kind(group)} where a graph belongs")
        ends: dict[str, tuple[str, str]] = {}
        for name in group["nodes"]:
            node = self.child(group["nodes"], name)
            kind, full = self.kind(node), prefix + shown(name)
            if kind == "NIRGraph":
                self.graph(node, f"{full}.", depth + 1)
                ends[shown(name)] = self.ends(node, f"{full}.")
                continue
            fields = {key: self.value(self.child(node, key)) for key in node if self.is_field(node, key)}
            if full in self.file.nodes:
                raise ValueError(f"two nodes are named '{full}'")
            self.file.nodes[full] = {**fields, "type": kind, "inner": depth > 0}
            if len(self.file.nodes) > MAX_NODES:
                raise ValueError(f"more than {MAX_NODES:,} nodes")
        for source, target in self.value(group["edges"]).reshape(-1, 2) if "edges" in group else ():
            source, target = shown(text_of(source)), shown(text_of(target))
            self.file.edges.append(
                (ends.get(source, ("", prefix + source))[1], ends.get(target, (prefix + target, ""))[0])
            )

    def ends(self, group: Any, prefix: str) -> tuple[str, str]:
        kinds = {name: self.kind(group["nodes"][name]) for name in group["nodes"]}
        inputs, outputs = (
            [name for name, kind in kinds.items() if kind == end] for end in ("Input", "Output")
        )
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(
                f"the nested graph {prefix[:-1]} has {len(inputs)} inputs and {len(outputs)} outputs, not one each"
            )
        return prefix + shown(inputs[0]), prefix + shown(outputs[0])

    def kind(self, group: Any) -> str:
        return shown(str(self.value(group["type"])))

    def is_field(self, node: Any, key: str) -> bool:
        return key not in ("type", "metadata") and self.is_value(node, key)


if __name__ == "__main__":
    import h5py

    _read(sys.argv[1], h5py)
