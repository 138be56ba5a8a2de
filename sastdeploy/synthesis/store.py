"""Folders of simulated recordings: made in parallel, resumed after an interruption, sealed by a manifest.

``simulated.partial.json`` states the parameters from the start; ``simulated.json``, written last, marks a complete set.
While the first is there, readers refuse the set. Each recording is written whole or not at all, so an interrupted set goes on with those that are missing.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from sastdeploy import __version__
from sastdeploy._files import atomic
from sastdeploy._files.locks import alone
from sastdeploy._files.reading import exists, read_json, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.simulated import MANIFEST, content_hash, no_manifest, read_manifest

_PARTIAL = "simulated.partial.json"
FORMAT = 1

Progress = Callable[[int, int], None]
Chunk = TypeVar("Chunk")
Made = tuple[str, str, int]
"""A recording: file name, its SHA-256, events."""


def make_set(
    folder: Path,
    parameters: dict[str, Any],
    work: Callable[[Chunk], list[Made]],
    chunks: Iterable[Chunk],
    total: int,
    *,
    files: list[str],
    processes: int | None,
    progress: Progress | None,
    force: bool,
    finish: Callable[[], None] | None = None,
) -> Path:
    """Fill ``folder`` by ``work`` over ``chunks`` and return it; nothing is done where no file is missing.

    Args:
        parameters: everything that the recordings depend on, JSON-ready.
        work: a module-level function (chunk) -> [(file name, its SHA-256, events)], which skips existing
            files.
        files: names of all that belongs to a complete set, the manifest left out.
        processes: number of processes; None takes every core. The bytes do not depend on it.
        progress: called with (recordings done, recordings in all).
        finish: writes what belongs to the set beside the recordings, before the manifest.

    Raises:
        InputError: the folder holds a set of other parameters (``force`` replaces it), or cannot be written; or recordings of
            a set that was complete are not those that were made.
    """
    if processes is not None and (type(processes) is not int or not 1 <= processes <= 1024):
        raise InputError(
            f"processes {processes!r}: outside 1 to 1024. Choose a number of processes, or leave it out."
        )
    parameters = json.loads(json.dumps(parameters))
    if _is_done(folder, parameters, files):
        return folder
    # By a lock beside the folder: a set that is replaced is removed whole.
    with alone(
        folder,
        "another process is making this set at this moment. Wait for its end, then repeat the command.",
    ):
        if _is_done(folder, parameters, files):
            return folder
        before = _claimed(folder, parameters, force)
        rows: list[Made] = []
        for made in _spread(work, chunks, processes):
            rows += made
            if progress is not None:
                progress(len(rows), total)
        if finish is not None:
            finish()
        if not _is_complete(folder, files):
            raise InputError(
                f"{shown(folder)}: recordings are gone that were there when they were made. Repeat the command."
            )
        content = content_hash((name, digest) for name, digest, _ in rows)
        if before is not None and content != before["sha256"]:
            raise InputError(
                f"{shown(folder)}: its recordings are not those that were made (their SHA-256 is another). Remove the folder and make the set "
                "again."
            )
        manifest = {
            "format": FORMAT,
            "simulated": True,
            "parameters": parameters,
            "recordings": len(rows),
            "events": sum(count for _, _, count in rows),
            "sha256": content,
            "sastdeploy": __version__,
        }
        atomic.write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        (folder / _PARTIAL).unlink(missing_ok=True)
        return folder


def _claimed(folder: Path, parameters: dict[str, Any], force: bool) -> dict[str, Any] | None:
    """Mark the folder as that of a set of these parameters in the making; return the manifest of what it held, None without one.

    Raises:
        InputError: as `make_set`, of what is in the folder.
    """
    stated = _stated(folder)
    if force and stated is not None and stated != parameters:
        atomic.remove_folder(folder)
        stated = None
    if stated is not None and stated != parameters:
        different = sorted(k for k in {*stated, *parameters} if stated.get(k) != parameters.get(k))
        raise InputError(
            f"{folder}: holds a simulated set of other parameters ({', '.join(different)} differ). "
            f"Choose another folder with --data, or replace it with --force."
        )
    before = read_manifest(folder) if exists(folder / MANIFEST) else None
    if stated is None and not _is_free(folder):
        raise InputError(
            f"{shown(folder)}: is not empty and holds no simulated set. Choose another folder, or empty this one."
        )
    atomic.remove_remnants(folder / _PARTIAL)
    atomic.write_text(folder / _PARTIAL, json.dumps({"parameters": parameters}, indent=1) + "\n")
    return before


def _is_done(folder: Path, parameters: dict[str, Any], files: list[str]) -> bool:
    """Say whether the folder holds the complete set of these parameters."""
    # Both are there after a process was killed between the two, and where a set was found to be another than it was.
    sealed = exists(folder / MANIFEST) and not exists(folder / _PARTIAL)
    return sealed and _stated(folder) == parameters and _is_complete(folder, files)


def is_made(path: Path) -> bool:
    """Return whether a recording was written before. One that is empty was not: a power cut can leave it so."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _is_complete(folder: Path, files: list[str]) -> bool:
    """Say whether every file is there; or none of their places, where the recordings are kept in zip files."""
    places = {name.split("/")[0] for name in files}
    return all(is_made(folder / name) for name in files) or not any(exists(folder / name) for name in places)


def _is_free(folder: Path) -> bool:
    try:
        return not exists(folder) or not set(folder.iterdir()) - set(atomic.remnants(folder / _PARTIAL))
    except OSError:
        return False


def _stated(folder: Path) -> dict[str, Any] | None:
    """Return the parameters of the set in a folder, complete or not; None without one."""
    if exists(folder / MANIFEST):
        content = read_manifest(folder)
    elif not exists(folder / _PARTIAL):
        return None
    else:
        content = read_json(folder / _PARTIAL)
        if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
            raise no_manifest(folder / _PARTIAL)
    parameters: dict[str, Any] = content["parameters"]
    return parameters


def _watch_parent() -> None:
    """Let this process end as soon as the one that started it has, be it killed."""
    threading.Thread(target=_end_after, args=(parent_process(),), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _spread(
    work: Callable[[Chunk], list[Made]], chunks: Iterable[Chunk], processes: int | None
) -> Iterator[list[Made]]:
    chunks = list(chunks)
    workers = min(processes or os.cpu_count() or 1, max(1, len(chunks)))
    if workers == 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_watch_parent) as pool:
        try:
            yield from pool.map(work, chunks)
        except BrokenProcessPool as error:
            raise InputError(
                "a process that makes recordings was ended from outside: by a lack of memory, or in a script without "
                "if __name__ == '__main__'. Repeat it, with fewer processes; it goes on where it was."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
