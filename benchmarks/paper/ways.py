"""A way of training as the command that does it, and what it costs against another."""

from __future__ import annotations

from pathlib import Path

from sastdeploy.experiments.results import Point
from sastdeploy.experiments.spec import FILES, Trial
from sastdeploy.networks.builtin import describe, load_architecture
from sastdeploy.recordings.catalog import dataset

DIVISOR = "D"
"""Stands for the divisor in a command: the records know only how many times the clip it is."""
_OPTIONS = {"learning_rate": "lr"}
"""Options of the command that are not named as the trial's settings are."""
_NOT_TOLD = ("dataset", "epochs", "divisor_factor", "seed", "limit", "profiles", "measures", "select")
"""Told in places of their own, or which recordings and seeds, not which way."""


def command(trial: Trial) -> str:
    """Return the ``sastdeploy train`` command of a trial; seed and number of recordings are left out, and what is the default."""
    said = [f"sastdeploy train --dataset {trial.dataset}"]
    for name, field in Trial.__dataclass_fields__.items():
        value = getattr(trial, name)
        if name == "epochs":
            said.append(f"--epochs {value}")
        elif name not in _NOT_TOLD and value != field.default:
            value = f"{value:g}" if type(value) is float else _place(value) if name == "arch" else value
            said.append(f"--{_OPTIONS.get(name, name).replace('_', '-')} {value}")
    if trial.divisor_factor != 1:
        said.append(f"--divisor {DIVISOR}")
    return " ".join(said)


def _place(arch: str) -> str:
    """Return a network's file as it lies in the project, whatever folder the experiment was read from; a built-in's name as it is."""
    path = Path(arch)
    return f"benchmarks/paper/{path.parent.name}/{path.name}" if arch.endswith(FILES) else arch


def kinds(trial: Trial) -> set[str]:
    """Return the kinds of the network's layers."""
    return {layer.kind for layer in _layers(trial)}


def work(point: Point, reference: Point) -> float:
    """Return how many times the reference's work a point's training is: gradient evaluations x synapses x time bins."""
    theirs, ours = (
        p.samples["gradient evaluations"].mean * sum(layer.largest_synops for layer in _layers(p.trial))
        for p in (reference, point)
    )
    return ours / theirs


def compute(point: Point, reference: Point) -> str:
    """Return `work` in words: equal within 5 %, or how many times the reference's."""
    times = work(point, reference)
    return "equal" if 0.95 <= times <= 1.05 else f"{times:.2g} times"


def _layers(trial: Trial):
    facts = dataset(trial.dataset)
    shape = facts.frame_shape
    return describe(load_architecture(trial.arch, shape, len(facts.classes)), trial.time_bins)
