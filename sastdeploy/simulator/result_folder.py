"""A run's result on disk: a folder that appears whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.atomic import replacing
from sastdeploy.errors import InputError
from sastdeploy.simulator.result import RunResult

SUMMARY = "summary.json"
ARRAYS = "recordings.npz"


def check_folder(folder: Path) -> None:
    """Guarantee that `write_folder` will not touch anything but an earlier result.

    Raises:
        InputError: the path is a file, or a folder with anything that is no simulation result.
    """
    if not folder.exists():
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


def write_folder(
    folder: Path,
    summary: dict[str, Any],
    result: RunResult,
    labels: NDArray[np.int64] | None = None,
    names: Iterable[str] = (),
) -> None:
    """Put ``summary.json``, ``recordings.npz`` and ``trace.LAYER.npz`` into ``folder`` in one step.

    An earlier result there is replaced; an interruption leaves it, or nothing.

    Raises:
        InputError: the folder holds other files, or cannot be written.
    """
    check_folder(folder)
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}). Choose another folder with --out DIR."
        ) from error
    try:
        fresh.chmod(0o755)
        # Through `replacing` for its sync to the disk: the folder's move must not overtake its content.
        with replacing(fresh / ARRAYS) as temporary:
            np.savez_compressed(temporary, **recording_arrays(result, labels, names))  # type: ignore[arg-type]
        for layer in result.traces:
            write_trace(fresh / f"trace.{layer}.npz", result, layer)
        with replacing(fresh / SUMMARY) as temporary:
            temporary.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", "utf-8")
        _take_the_place(fresh, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}). Choose another folder.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def recording_arrays(
    result: RunResult, labels: NDArray[np.int64] | None, names: Iterable[str]
) -> dict[str, NDArray]:
    """Return the arrays of ``recordings.npz``: one row per recording, and ``neuron_spikes.LAYER`` per layer."""
    arrays: dict[str, NDArray] = {
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


def write_trace(path: Path, result: RunResult, layer: str) -> None:
    """Write ``membrane`` int32 and ``spikes`` uint8, each ``[N, T, outputs]``, of one traced layer to an .npz file."""
    trace = result.traces[layer]
    with replacing(path) as temporary:
        np.savez_compressed(temporary, membrane=trace.membranes, spikes=trace.spikes)


def _is_trace(name: str) -> bool:
    return name.startswith("trace.") and name.endswith(".npz")


def _take_the_place(fresh: Path, folder: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    try:
        folder.rename(old)
        try:
            fresh.rename(folder)
        except BaseException:
            old.rename(folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
