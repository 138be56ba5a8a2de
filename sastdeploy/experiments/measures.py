"""What a sweep can ask of a trained network besides its accuracy: each measure is a small JSON-ready record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sastdeploy import Checkpoint, LabelledFrames

MEASURED = 2000
"""Recordings at most that measures look at (and corrupt); classes in proportion."""


@dataclass(frozen=True)
class Subject:
    """A trained network and what it may be asked about.

    ``test`` is None while the choice between trials is open; ``profiles``: those that took the network.
    """

    checkpoint: Checkpoint
    validation: LabelledFrames
    test: LabelledFrames | None
    root: Path | None
    profiles: tuple[str, ...]
    seed: int


def _test(subject: Subject) -> LabelledFrames:
    if subject.test is None:
        raise ValueError("a measure of NEED_TEST was asked for before the choice")
    return subject.test


def _activity(subject: Subject) -> Any:
    from sastdeploy.analysis.activity import activity

    return activity(subject.checkpoint, subject.validation)


def _margins(subject: Subject) -> Any:
    from sastdeploy.analysis.margins import margins

    return {
        "hard": margins(subject.checkpoint, subject.validation),
        "surrogate": margins(subject.checkpoint, subject.validation, hard=False),
    }


def _contraction(subject: Subject) -> Any:
    from sastdeploy.analysis.contraction import contraction

    return contraction(subject.checkpoint, subject.validation)


def _bounds(subject: Subject) -> Any:
    from sastdeploy.analysis.bounds import bounds

    return bounds(subject.checkpoint, subject.validation, seed=subject.seed)


def _calibration(subject: Subject) -> Any:
    from sastdeploy.analysis.calibration import calibration

    return calibration(subject.checkpoint, subject.validation, _test(subject))


def _robustness(subject: Subject) -> Any:
    from sastdeploy.analysis.robustness import robustness

    return robustness(
        subject.checkpoint,
        subject.root,
        profiles=subject.profiles,
        limit=MEASURED,
        seed=subject.seed,
        threads=1,
    )


def _overflows(subject: Subject) -> Any:
    from sastdeploy import compile, simulate, summarise

    test = _test(subject)
    programs = {}
    for profile in subject.profiles:
        program = compile(subject.checkpoint, profile).program
        layers = summarise(program, simulate(program, test, threads=1), test.labels)["layers"]
        steps = program.preprocessing.time_bins * len(test)
        updates = sum(row["outputs"] * steps for row in layers if row["overflow_share"] is not None)
        low, high = (sum(row[f"overflow_{end}"] for row in layers) for end in ("low", "high"))
        programs[profile] = {"low": low, "high": high, "updates": updates}
    return {"recordings": len(test), "programs": programs}


MEASURES: dict[str, Callable[[Subject], Any]] = {
    "activity": _activity, "margins": _margins, "contraction": _contraction, "bounds": _bounds,
    "calibration": _calibration, "robustness": _robustness, "overflows": _overflows,
}  # fmt: skip
"""By name: spike rates and the surrogate's tail; margins; gamma-hat; the theory's bounds; what
thresholds and input scale can still mend at deployment; corrupted recordings; membrane updates of the integer programs outside
their format. All on validation recordings but the last three.
"""

NEED_TEST = ("calibration", "robustness", "overflows")
"""Measures that read test recordings."""
