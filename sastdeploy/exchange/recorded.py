"""A network beside spikes that its own framework recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files.reading import shown
from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.compiler.ir.graph import stages
from sastdeploy.errors import InputError
from sastdeploy.exchange.agreement import require_spikes
from sastdeploy.exchange.parts import Array
from sastdeploy.recordings.tables import load_arrays

INPUT = "input"


def check_recorded(network: ImportedNetwork, path: Path | str) -> dict[str, Any]:
    """Return how many spikes of a .npz archive were compared with the network's own, in float64; all agree.

    The archive holds ``input`` ``[N, T, ...]``, the values that entered the framework's network, and for every layer of neurons
    its spikes ``[N, T, ...]`` under the neurons' name in the file that was imported.

    Raises:
        InputError: the archive cannot be read, an array is missing, unknown or of another shape; or the first difference.
    """
    path = Path(path)
    arrays = load_arrays(path)
    sizes = [stage.after for stage in stages(network.graph) if stage.spiking]
    names = [str(neuron["name"]) for neuron in network.semantics["neurons"]]
    if set(arrays) != {INPUT, *names}:
        raise InputError(
            f"{shown(path)}: holds as arrays: {', '.join(map(shown, arrays)) or 'none'}. Expected {INPUT}, and the spikes of "
            f"{', '.join(names)}."
        )
    begin = arrays[INPUT].shape[:2]
    x = _numbers(path, INPUT, arrays[INPUT], begin, network.graph.input.shape)
    theirs = [
        _numbers(path, name, arrays[name], begin, shape) for name, shape in zip(names, sizes, strict=True)
    ]
    return require_spikes(network.graph, x, theirs, "the framework")


def _numbers(path: Path, name: str, values: Any, begin: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Return float64 ``[N, T, C, H, W]``; axes of one may be left out."""
    fits = len(begin) == 2 and min(begin) >= 1 and values.shape[:2] == begin
    if not fits or [size for size in values.shape[2:] if size > 1] != [size for size in shape if size > 1]:
        raise InputError(
            f"{shown(path)}: {name} has shape {list(values.shape)}; expected {['N', 'T', *shape]}, of one N and T in all arrays."
        )
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise InputError(f"{shown(path)}: {name} must hold finite numbers, not {values.dtype}.")
    return np.asarray(values, np.float64).reshape(*begin, *shape)
