"""Running an experiment's trials in processes of this machine."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sastdeploy import InputError
from sastdeploy.experiments.progress import finished
from sastdeploy.experiments.results import without_measures
from sastdeploy.experiments.spec import Experiment, Trial
from sastdeploy.experiments.trial import TAKEN

TRIES = 3
"""How often a trial is started again when its process was killed; each start goes on where the last one stopped."""


def addresses(experiment: Experiment, root: Path | None) -> dict[str, Trial]:
    """Return the trials by their addresses, which cover the data's content.

    Raises:
        InputError: the data set is missing.
    """
    hashes: dict[tuple[str, int], str] = {}
    trials = {}
    for trial in experiment.trials:
        key = (trial.dataset, trial.time_bins)
        if key not in hashes:
            hashes[key] = data_hash(*key, root)
        trials[trial.address(hashes[key])] = trial
    return trials


def data_hash(dataset: str, time_bins: int, root: Path | None) -> str:
    """Return the hash of a data set's training and test recordings in ``time_bins`` bins.

    Raises:
        InputError: the data set is missing.
    """
    from sastdeploy.recordings import splits

    return splits.data_hash(dataset, time_bins=time_bins, root=root)


def run_all(
    trials: dict[str, Trial],
    root: Path | None,
    work: Path,
    records: Path,
    processes: int,
    show: Callable[[set[str]], None] = lambda running: None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run every trial that has no record yet, ``processes`` at a time; return when all have one.

    Where a record lacks a measure that its trial asks for and the checkpoint was kept, the measure is taken of it.
    Another sweep may run the same trials at the same time: each is taken by one of them.

    Args:
        show: called once a second with the addresses that run here. say: called with what the user should know.

    Raises:
        InputError: a trial failed; the others' records are kept, and the same call goes on.
    """
    waiting, measured = list(trials), set[str]()

    def still_wanted() -> list[str]:
        """Return what waits and has no record, or one without a measure for which there is a checkpoint."""
        have = finished(records)
        new = {a: trials[a] for a in waiting if a in have and a not in measured}
        measured.update(a for a in without_measures(new, records) if (work / a / "ckpt.pt").exists())
        return [a for a in waiting if a not in have or a in measured]

    waiting = still_wanted()
    tries, again = dict.fromkeys(waiting, 0), dict.fromkeys(waiting, 0.0)
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed: list[str] = []
    looked = -math.inf
    try:
        while (waiting and not failed) or running:
            now = time.monotonic()
            for address in [a for a in waiting if again[a] <= now][: max(0, processes - len(running))]:
                if not failed:
                    waiting.remove(address)
                    running[address] = start(address, trials[address], root, work, records)
            for address, process in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[address]
                if code == TAKEN:
                    # Left by a killed sweep, or another sweep's: its record is waited for.
                    again[address] = now + 2
                    waiting.append(address)
                elif code < 0 and tries[address] < TRIES - 1:
                    tries[address] += 1
                    say(
                        f"trial {address}: its process was killed (signal {-code}); it goes on from its last epoch"
                    )
                    waiting.append(address)
                elif code:
                    failed.append(f"trial {address}: {failure(address, code, work)}")
            if now - looked >= 1:
                looked, waiting = now, still_wanted()
                show(set(running))
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
    show(set())
    if failed:
        raise InputError(
            f"{failed[0]} ({len(failed)} failed; see {work}/ADDRESS/errors.txt). Mend it and run the sweep again: finished trials are kept."
        )


def start(
    address: str,
    trial: Trial,
    root: Path | None,
    work: Path,
    records: Path,
    *,
    with_parent: bool = False,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a trial's process, one thread of computation; its errors go to ``work/ADDRESS/errors.txt``.

    Args:
        with_parent: the process ends when this one does; otherwise it outlives it.
        folder: where relative paths of the trial's own files begin; None for this process's folder.
    """
    order = {
        "address": address, "trial": asdict(trial), "root": str(root) if root else None, "work": str(work),
        "records": str(records), "with_parent": with_parent,
    }  # fmt: skip
    (work / address).mkdir(parents=True, exist_ok=True)
    # Appended: another sweep may be at the same trial, and the process that has its lock empties the file.
    with (work / address / "errors.txt").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "sastdeploy.experiments.trial", json.dumps(order)],
            stdin=subprocess.PIPE if with_parent else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True, cwd=folder,
        )  # fmt: skip


def failure(address: str, code: int, work: Path) -> str:
    """Return why a trial's process ended with this code: the last line of its errors."""
    text = (work / address / "errors.txt").read_text("utf-8", errors="replace").strip()
    return text.splitlines()[-1] if text else f"ended with code {code}"
