"""A run's result on disk: a folder that appears whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.atomic import check_way, replacing, replacing_folder
from sastdeploy._files.reading import exists, open_regular, read_json, shown
from sastdeploy.errors import InputError
from sastdeploy.simulator.result import RunResult

SUMMARY = "summary.json"
ARRAYS = "recordings.npz"
MAX_ARRAYS = 8 << 30


def check_folder(folder: Path, identity: dict[str, Any] | None = None) -> None:
    """Guarantee that `write_folder` will not touch anything but an earlier result.

    Args:
        identity: what the result there must be of, by `_IDENTITY`'s keys and ``program``, its hash; None for any.

    Raises:
        InputError: the path is a file, a folder with anything that is no simulation result, or another run's result; or none
            that `check_way` accepts.
    """
    check_way(folder)
    if not exists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file. Choose a folder for the result with --out DIR.")
    names = sorted(entry.name for entry in folder.iterdir())
    foreign = [n for n in names if n not in (SUMMARY, ARRAYS) and not _is_trace(n)]
    if foreign or (names and SUMMARY not in names):
        raise InputError(
            f"{folder}: holds '{(foreign or names)[0]}', which is no simulation result; nothing was written. "
            "Choose a new folder with --out DIR."
        )
    if names and identity is not None and _identity(folder) != identity:
        raise _other_run(folder)


def write_folder(
    folder: Path,
    summary: dict[str, Any],
    result: RunResult,
    labels: NDArray[np.int64] | None = None,
    names: Iterable[str] = (),
    *,
    force: bool = False,
) -> None:
    """Put ``summary.json``, ``recordings.npz`` and ``trace.LAYER.npz`` into ``folder`` in one step.

    The result of an earlier run on the same inputs is replaced, and its traces of other layers are kept.

    Args:
        force: replace another run's result too, traces included.

    Raises:
        InputError: the folder holds other files, or another run's result without ``force``; or it cannot be written.
    """
    check_folder(folder)
    with replacing_folder(folder) as fresh:
        np.savez_compressed(fresh / ARRAYS, **recording_arrays(result, labels, names))  # type: ignore[arg-type]  # taken for allow_pickle, a bool
        for layer in result.traces:
            np.savez_compressed(fresh / f"trace.{layer}.npz", **_traced(result, layer))  # type: ignore[arg-type]  # as above
        (fresh / SUMMARY).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", "utf-8")
        if folder.is_dir() and any(folder.iterdir()):
            if _identity(folder) == _identity(fresh) and _same_arrays(folder / ARRAYS, fresh / ARRAYS):
                for path in folder.iterdir():
                    if _is_trace(path.name) and not (fresh / path.name).exists():
                        shutil.copyfile(path, fresh / path.name)
            elif not force:
                raise _other_run(folder)


_IDENTITY = ("dataset", "split", "limit", "recording")
"""Keys of a summary that, with the program's hash, tell one run from another before it has begun."""


def _identity(folder: Path) -> dict[str, Any]:
    """Return which program ran on which recordings, as a result's summary tells it; nothing of a damaged one."""
    try:
        summary = read_json(folder / SUMMARY)
        identity = {key: summary.get(key) for key in _IDENTITY}
        return {**identity, "program": summary["provenance"]["program_hash"]}
    except (InputError, AttributeError, KeyError, TypeError):
        return {"program": None}


def _same_arrays(one: Path, other: Path) -> bool:
    """Return whether two .npz files hold equal arrays; a damaged file equals none."""
    try:
        with open_regular(one, limit=MAX_ARRAYS) as first, np.load(other) as second:
            arrays = np.load(first)
            return set(arrays) == set(second) and all(np.array_equal(arrays[n], second[n]) for n in second)
    except Exception:  # BadZipFile, ValueError, zlib.error, ...
        return False


def _other_run(folder: Path) -> InputError:
    return InputError(
        f"{shown(folder)}: holds the result of another run. Choose another folder with --out, or replace it with --force."
    )


def recording_arrays(
    result: RunResult, labels: NDArray[np.int64] | None, names: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``recordings.npz``: one row per recording, and ``neuron_spikes.LAYER`` per layer."""
    arrays: dict[str, NDArray[Any]] = {
        "scores": result.scores,
        "predicted": result.predicted,
        "active": result.active,
        "events": result.events,
        "synops": result.synops,
        "synops_events": result.synops_events,
        "synops_nonzero": result.synops_nonzero,
        "overflow_low": result.overflow_low,
        "overflow_high": result.overflow_high,
        "layers": np.array(result.layers, dtype=np.str_),
        "names": np.array(list(names), dtype=np.str_),
        **{f"neuron_spikes.{name}": counts for name, counts in zip(result.layers, result.neuron_spikes)},
    }
    return arrays if labels is None else {**arrays, "labels": labels}


def write_trace(path: Path, result: RunResult, layer: str, *, force: bool = False) -> None:
    """Write ``membrane`` int32 and ``spikes`` uint8, each ``[N, T, outputs]``, of one traced layer to an .npz file."""
    with replacing(path, force=force) as temporary:
        np.savez_compressed(temporary, **_traced(result, layer))  # type: ignore[arg-type]  # taken for allow_pickle, a bool


def _traced(result: RunResult, layer: str) -> dict[str, NDArray[Any]]:
    trace = result.traces[layer]
    return {"membrane": trace.membranes, "spikes": trace.spikes}


def _is_trace(name: str) -> bool:
    return name.startswith("trace.") and name.endswith(".npz")
