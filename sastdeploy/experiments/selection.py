"""The choice between trials by validation, made and written down before any test recording is read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy import InputError
from sastdeploy._files import atomic
from sastdeploy._files.locks import held
from sastdeploy.experiments.progress import finished
from sastdeploy.experiments.record import load_any, load_choice, load_record, load_tested
from sastdeploy.experiments.spec import Experiment, Trial, label, varied
from sastdeploy.experiments.trial import read_test_of
from sastdeploy.provenance import git_commit


def choose(experiment: Experiment, trials: dict[str, Trial], records: Path) -> dict[str, Any]:
    """Return the choice of an experiment whose trials all have records: made once, then read from ``NAME.selection.json``.

    Of the points that share their values of ``select_by``, the one with the highest mean validation accuracy with hard
    spikes is chosen, the first on ties. The record holds every candidate's figure, the chosen points, and under
    ``read_before`` the records of other experiments whose equal trainings had read the test recordings by then.

    Raises:
        InputError: a trial has no record, or the choice on disk was made between other trials or other figures.
    """
    target = records / f"{experiment.name}.selection.json"
    by_trial = {trial: address for address, trial in trials.items()}
    names = varied(experiment)
    candidates: list[dict[str, Any]] = []
    for group in experiment.groups:
        addresses = [by_trial[trial] for trial in group]
        figures = []
        for trial, address in zip(group, addresses):
            path = records / f"{address}.json"
            if not path.exists():
                raise InputError(
                    f"{path}: missing; a choice needs every trial's record. Run the sweep to its end first."
                )
            figures.append(load_record(path, trial)["validation"]["hard_accuracy"])
        shared = {name: getattr(group[0], name) for name in experiment.select_by or ()}
        candidates.append(
            {"point": label(group[0], names), "shared": shared, "addresses": addresses, "validation_hard": figures}
        )  # fmt: skip
    best: dict[str, dict[str, Any]] = {}
    for candidate in candidates:
        rival = best.setdefault(json.dumps(candidate["shared"]), candidate)
        if np.mean(candidate["validation_hard"]) > np.mean(rival["validation_hard"]):
            best[json.dumps(candidate["shared"])] = candidate
    chosen = [candidate["point"] for candidate in best.values()]
    choice: dict[str, Any] = {"experiment": experiment.name, "candidates": candidates, "chosen": chosen}
    if target.exists():
        made = load_choice(target, experiment.name)
        if {key: made.get(key) for key in choice} != choice:
            raise InputError(
                f"{target}: this choice was made between other trials or figures. Give the changed experiment a new name: "
                "a choice is not made again after test recordings were read."
            )
        return made
    read = [a for c in candidates for a in c["addresses"] if (records / f"{a}.test.json").exists()]
    if read:
        raise InputError(
            f"{records / f'{read[0]}.test.json'}: test recordings were read, but {target.name} is gone. Put it back: a choice is "
            "not made after test recordings were read."
        )
    choice |= {"read_before": read_before(trials, records), "commit": git_commit()}
    atomic.write_text(target, json.dumps(choice, indent=1) + "\n")
    return choice


def read_before(trials: dict[str, Trial], records: Path) -> list[str]:
    """Return the addresses in the records' folder of trials that read the test recordings and train what one of these trains.

    A training has one address in each experiment that makes a choice, which a new name also is: what such an experiment
    chooses may have been seen elsewhere.
    """
    own = {_training(asdict(trial)) for trial in trials.values()}
    tested = []
    for address in sorted(finished(records) - set(trials)):
        if not re.fullmatch("[0-9a-f]{16}", address):
            continue  # a choice, what a chosen trial read, or a file that is none of ours
        record = load_any(records / f"{address}.json")
        read = "test" in record or (records / f"{address}.test.json").exists()
        if read and _training(record["trial"]) in own:
            tested.append(address)
    return tested


def _training(settings: dict[str, Any]) -> str:
    """Return the settings that decide a training's numbers, from a trial's; older records lack some, at their defaults."""
    full = asdict(Trial(settings["dataset"])) | settings
    return json.dumps(
        {k: v for k, v in full.items() if k not in ("select", "profiles", "measures")}, sort_keys=True
    )


def read_tests(
    experiment: Experiment, trials: dict[str, Trial], root: Path | None, work: Path, records: Path
) -> list[str]:
    """Make the choice, read the test recordings for the chosen trials that have none yet, and return their addresses."""
    with held(records / f"{experiment.name}.selection.lock"):
        choice = choose(experiment, trials, records)
        chosen = [a for c in choice["candidates"] if c["point"] in choice["chosen"] for a in c["addresses"]]
        for address in chosen:
            if (tested := records / f"{address}.test.json").exists():
                load_tested(tested, trials[address])
            else:
                read_test_of(trials[address], address, root, work, records)
    return chosen
