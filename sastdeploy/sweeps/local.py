"""Running an experiment's trials in processes of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sastdeploy import atomic
from sastdeploy.errors import InputError
from sastdeploy.sweeps.experiment import Experiment, Trial
from sastdeploy.sweeps.trial import TAKEN

TRIES = 3
"""How often a trial is started again when its process was killed; each start goes on where the last one stopped."""


@dataclass(frozen=True)
class State:
    """Where one trial stands: ``done``, ``running`` (with the epochs behind it) or ``waiting``."""

    address: str
    trial: Trial
    state: str
    epochs: int


def addresses(experiment: Experiment, root: Path | None) -> dict[str, Trial]:
    """Return the trials by their addresses, which cover the data's content.

    Raises:
        InputError: the data set is missing.
    """
    hashes: dict[tuple[str, int], str] = {}
    found = {}
    for trial in experiment.trials:
        key = (trial.dataset, trial.time_bins)
        if key not in hashes:
            hashes[key] = data_hash(*key, root)
        found[trial.address(hashes[key])] = trial
    return found


def data_hash(dataset: str, time_bins: int, root: Path | None) -> str:
    """Return the hash of a data set's training and test recordings in ``time_bins`` bins.

    Raises:
        InputError: the data set is missing.
    """
    from sastdeploy.events.splits import load_frames

    parts = [load_frames(dataset, split, time_bins=time_bins, root=root) for split in ("train", "test")]
    return "+".join(part.data_hash for part in parts)


def states(trials: dict[str, Trial], work: Path, records: Path) -> list[State]:
    """Return where every trial stands, judged by the files that it leaves."""
    found = []
    for address, trial in trials.items():
        log = work / address / "ckpt.pt.jsonl"
        epochs = len(log.read_text("utf-8").splitlines()) if log.exists() else 0
        state = "done" if (records / f"{address}.json").exists() else "running" if epochs else "waiting"
        found.append(State(address, trial, state, trial.epochs if state == "done" else epochs))
    return found


def run_all(
    trials: dict[str, Trial],
    root: Path | None,
    work: Path,
    records: Path,
    processes: int,
    show: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run every trial that has no record yet, ``processes`` at a time; return when all have one.

    Another sweep may run the same trials at the same time: each is taken by one of them.

    Raises:
        InputError: a trial failed; the others' records are kept, and the same call goes on.
    """
    waiting = [address for address in trials if not (records / f"{address}.json").exists()]
    tries, again = dict.fromkeys(waiting, 0), dict.fromkeys(waiting, 0.0)
    running: dict[str, subprocess.Popen] = {}
    failed: list[str] = []
    try:
        while (waiting and not failed) or running:
            now = time.monotonic()
            for address in [a for a in waiting if again[a] <= now][: max(0, processes - len(running))]:
                if not failed:
                    waiting.remove(address)
                    running[address] = _start(address, trials[address], root, work, records)
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
                    text = (work / address / "errors.txt").read_text("utf-8").strip()
                    failed.append(
                        f"trial {address}: {text.splitlines()[-1] if text else f'ended with code {code}'}"
                    )
            waiting = [a for a in waiting if not (records / f"{a}.json").exists()]
            show()
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
    if failed:
        raise InputError(
            f"{failed[0]} ({len(failed)} failed; see {work}/ADDRESS/errors.txt). Mend it and run the sweep again: finished trials are kept."
        )


def _start(address: str, trial: Trial, root: Path | None, work: Path, records: Path) -> subprocess.Popen:
    order = work / address / "trial.json"
    order.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "address": address, "trial": asdict(trial), "root": str(root) if root else None, "work": str(work),
        "records": str(records),
    }  # fmt: skip
    atomic.write_text(order, json.dumps(content, indent=1))
    with (work / address / "errors.txt").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "sastdeploy.sweeps.trial", str(order)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
        )  # fmt: skip
