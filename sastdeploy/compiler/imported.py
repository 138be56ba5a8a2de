"""Networks from elsewhere: a graph, and all that is needed to compile and to evaluate it, in one safe file (.pt)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.reading import brief, is_printable
from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.nodes import NODES, Node
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import MAX_BYTES, Checkpoint, checkpoint_of, is_plain
from sastdeploy.networks.tensors import load_tensors, save_arrays
from sastdeploy.program.records import NOT_STATED
from sastdeploy.recordings.preprocessing import Preprocessing

FORMAT, FORMAT_VERSION = "sastdeploy.network", 1


@dataclass(frozen=True)
class ImportedNetwork:
    """A network that was trained elsewhere: its graph, and what is to be known of its recordings.

    Checked when it is made.

    Args:
        graph: what it computes; it ends in a readout. Its input node says which values enter: ``min(count, c_clip) / divisor``.
        preprocessing: how recordings become counts, in the shape, time bins and clip of the graph's input.
        classes: class names in the order of scores.
        dataset: name of a data set of that form, or ``not stated``.
        semantics: what was taken for granted where the source does not say it: the dialect, as plain values.
        provenance: where it comes from, as plain values.

    Raises:
        InputError: the parts do not fit each other.
    """

    graph: Graph
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    dataset: str = NOT_STATED
    semantics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_graph(self.graph)
        start, frames, where = self.graph.input, self.preprocessing, f"network {self.graph.name}"
        if (start.shape, start.time_bins, start.c_clip) != (
            frames.frame_shape, frames.time_bins, frames.c_clip
        ):  # fmt: skip
            raise InputError(
                f"{where}: frames {frames.frame_shape} in {frames.time_bins} bins, clipped at {frames.c_clip}, do not fit its input "
                f"{start.shape} in {start.time_bins}, clipped at {start.c_clip}."
            )
        for node in self.graph.nodes:
            _check_trained(node, where)
        outputs = len(self.graph.nodes[-1].weight)  # type: ignore[union-attr]  # `check_graph` has seen a readout there
        if len(self.classes) != outputs or len(set(self.classes)) != outputs:
            raise InputError(
                f"{where}: {len(self.classes)} class names for {outputs} outputs, each needs its own."
            )
        for text in (*self.classes, self.dataset):
            if not text.strip() or len(text) > 1000 or not is_printable(text):
                raise InputError(
                    f"{where}: name {brief(text)}: must be 1 to 1000 printable characters, not all spaces."
                )
        if not (is_plain(self.semantics) and is_plain(self.provenance)):
            raise InputError(
                f"{where}: semantics and provenance must be plain values: text, finite numbers, lists, dicts."
            )


def save_network(path: Path | str, network: ImportedNetwork, *, force: bool = False) -> None:
    """Write a network in one step, for `load_network`; the same network gives the same bytes.

    Args:
        path: of the ``.pt`` file.
        network: from `from_nir` or `from_module`.
        force: replace another file that is there.

    Raises:
        InputError: the path cannot be written, or without ``force`` another file is there.

    Example::

        save_network("imported.pt", from_nir("trained.nir", dialect="snntorch"))
    """
    manifest, tensors = _manifest(network)
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "manifest": manifest}
    save_arrays(path, content, tensors, force=force)


def load_network(path: Path | str) -> Checkpoint | ImportedNetwork:
    """Return what a file holds: a trained checkpoint, or a network that was imported. Executes nothing.

    Args:
        path: of a file that `save_network`, `save_checkpoint` or a training wrote.

    Raises:
        InputError: the file is missing, damaged, foreign, newer, holds code, or is not whole.

    Example::

        compilation = compile(load_network("net.pt"), "loihi_int8", neuron="profile")
    """
    content = load_tensors(path, limit=MAX_BYTES)
    if content.get("format") != FORMAT:
        return checkpoint_of(content, path)
    version = content.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise InputError(
            f"{path}: has format version {brief(version)}; this sastdeploy reads version {FORMAT_VERSION} of imported networks. "
            "Upgrade sastdeploy, or import again."
        )
    damaged = InputError(f"{path}: is damaged (its manifest is not whole). Copy or import it again.")
    manifest, tensors = content.get("manifest"), content.get("parameters")
    keys = {"graph", "preprocessing", "classes", "dataset", "semantics", "provenance"}
    if not isinstance(manifest, dict) or set(manifest) != keys or not isinstance(tensors, dict):
        raise damaged
    texts = (manifest["graph"], manifest["dataset"])
    classes = manifest["classes"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(classes, list):
        raise damaged
    if not all(isinstance(name, str) for name in classes):
        raise damaged
    try:
        arrays: dict[str, NDArray[Any]] = {
            str(name): tensor.detach().numpy() for name, tensor in tensors.items()
        }
    except (AttributeError, TypeError, RuntimeError) as error:
        raise damaged from error
    graph = parse_graph(manifest["graph"], arrays, str(path))
    try:
        return ImportedNetwork(
            graph,
            Preprocessing.from_dict(manifest["preprocessing"]),
            tuple(classes),
            manifest["dataset"],
            manifest["semantics"],
            manifest["provenance"],
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (AttributeError, TypeError) as error:
        raise damaged from error


_INTEGERS = (
    "leak_multiplier", "leak_shift", "threshold_q", "current_multiplier", "threshold_step", "start_q", "current_start_q", "floor_q",
    "weight_bits", "weight_q", "weight_scale", "fraction_bits", "multiplier", "shift", "bias_q", "accumulator_bits", "recurrent_q",
)  # fmt: skip
"""What the compiler's passes find; a network has none of it."""


def _check_trained(node: Node, where: str) -> None:
    """Refuse a node that holds what only passes add.

    Raises:
        InputError: it does.
    """
    for entry in fields(node):
        value = getattr(node, entry.name)
        if entry.name in _INTEGERS and (isinstance(value, np.ndarray) or value != entry.default):
            raise InputError(
                f"{where}: {node.name}: {entry.name} is what compile finds; no network holds it. Import the network again."
            )
        for inner in value if isinstance(value, tuple) else (value,):
            if type(inner) in NODES.values():
                _check_trained(inner, where)


def network_hash(network: ImportedNetwork) -> str:
    """Return the SHA-256 over everything that the network says (not over a file's bytes); tensors enter by their own sums."""
    manifest, _ = _manifest(network)
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _manifest(network: ImportedNetwork) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    text, tensors = print_graph(network.graph)
    manifest = {
        "graph": text,
        "preprocessing": network.preprocessing.to_dict(),
        "classes": list(network.classes),
        "dataset": network.dataset,
        "semantics": network.semantics,
        "provenance": network.provenance,
    }
    return manifest, tensors
