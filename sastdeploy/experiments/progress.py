"""Where a sweep's trials stand and how long the rest takes, judged by the epochs that they report."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sastdeploy import InputError
from sastdeploy._files.reading import MIB, brief, parse_json, read_text, shown
from sastdeploy.experiments.record import load_record
from sastdeploy.experiments.spec import Trial


@dataclass(frozen=True)
class Epochs:
    """A trial's finished epochs, their seconds in all, and the last one's validation accuracy with hard spikes (0 to 1)."""

    count: int = 0
    seconds: float = 0.0
    hard_accuracy: float | None = None


@dataclass(frozen=True)
class State:
    """Where one trial stands: ``done`` (it has a record), ``begun`` (it has finished epochs) or ``waiting``.

    A trial that is done has its selected epoch's accuracy, not the last one's.
    """

    address: str
    trial: Trial
    state: str
    epochs: Epochs


class Logs:
    """Read trials' epoch logs below a work folder; a log is read again only where its size or time of change differs."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self._seen: dict[str, tuple[tuple[int, int, int], Epochs]] = {}

    def read(self, address: str) -> Epochs:
        """Return what the trial's log holds now; nothing where it has none.

        Raises:
            InputError: the log is damaged.
        """
        log = self.work / address / "ckpt.pt.jsonl"
        try:
            facts = log.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Epochs()
        stamp = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if address not in self._seen or self._seen[address][0] != stamp:
            self._seen[address] = (stamp, _epochs(log))
        return self._seen[address][1]


def _epochs(log: Path) -> Epochs:
    lines = log_lines(log, "seconds", "hard_accuracy")
    seconds = sum(line["seconds"] for line in lines)
    return Epochs(len(lines), seconds, lines[-1]["hard_accuracy"] if lines else None)


def log_lines(log: Path, *names: str) -> list[dict[str, Any]]:
    """Return the epochs of a training's log, each with finite numbers of these names.

    Raises:
        InputError: the log is missing or damaged.
    """
    try:
        text = read_text(log, limit=64 * MIB)
        lines = [
            parse_json(line, f"{log}: line {number}") for number, line in enumerate(text.splitlines(), 1)
        ]
    except InputError as error:
        raise InputError(f"{error} {_ANEW}") from error
    for number, line in enumerate(lines, 1):
        for name in names:
            value: Any = line.get(name) if isinstance(line, dict) else None
            if type(value) not in (int, float) or not 0 <= value < 1e300:
                raise InputError(
                    f"{shown(log)}: line {number}: expected an epoch's {name}, a number of at least 0, found {brief(value)}. {_ANEW}"
                )
    return lines


_ANEW = "Remove its folder to train the trial anew."


def finished(records: Path) -> set[str]:
    """Return the addresses that have a record: one listing of the folder, however many trials there are."""
    if not records.is_dir():
        return set()
    with os.scandir(records) as entries:
        return {e.name[:-5] for e in entries if e.name.endswith(".json") and not e.name.startswith(".")}


class Watch:
    """Follow a sweep: every log is read once at the start, later only what `read` or `note` names."""

    def __init__(self, trials: dict[str, Trial], work: Path, records: Path) -> None:
        self.trials, self.records = trials, records
        self._logs = Logs(work)
        self._done: dict[str, Epochs] = {}
        self._begun: dict[str, Epochs] = {}
        self.read(set(trials) - finished(records))

    def read(self, addresses: Iterable[str]) -> None:
        """Read these trials' logs again."""
        for address in addresses:
            self._begun[address] = self._logs.read(address)

    def note(self, address: str, epochs: Epochs) -> None:
        """Take a trial's epochs from elsewhere than its log."""
        self._begun[address] = epochs

    def states(self) -> list[State]:
        """Return where every trial stands.

        Raises:
            InputError: a record is damaged.
        """
        have, states = finished(self.records), []
        for address, trial in self.trials.items():
            if address in have:
                if address not in self._done:
                    self._done[address] = _of_record(self.records / f"{address}.json", trial)
                states.append(State(address, trial, "done", self._done[address]))
            else:
                epochs = self._begun.get(address, Epochs())
                states.append(State(address, trial, "begun" if epochs.count else "waiting", epochs))
        return states


def _of_record(path: Path, trial: Trial) -> Epochs:
    record = load_record(path, trial)
    return Epochs(trial.epochs, record["seconds"]["training"], record["validation"]["hard_accuracy"])


def seconds_left(states: Collection[State], processes: int) -> float | None:
    """Return the estimated seconds until the last trial's training ends; None before any epoch has been measured.

    Remaining epochs times the mean seconds of an epoch of the same point (where it has none yet: of its architecture and
    method; else of all), shared among ``processes``; never less than the longest single trial needs. The evaluation
    after the last epoch is not counted.
    """
    paces: dict[object, tuple[int, float]] = {}
    for state in states:
        for kind in _kinds(state.trial):
            count, seconds = paces.get(kind, (0, 0.0))
            paces[kind] = (count + state.epochs.count, seconds + state.epochs.seconds)
    if not paces or not paces[None][0]:
        return None
    needed = [0.0]
    for state in states:
        if state.state != "done":
            count, seconds = next(paces[kind] for kind in _kinds(state.trial) if paces[kind][0])
            needed.append((state.trial.epochs - state.epochs.count) * seconds / count)
    return max(sum(needed) / max(1, processes), *needed)


def _kinds(trial: Trial) -> tuple[object, ...]:
    return replace(trial, seed=0), (trial.arch, trial.method), None
