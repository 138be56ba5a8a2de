"""One network's training on its way: how it begins, what an epoch adds, how it ends. The loops decide how a step is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sastdeploy._files import atomic
from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import architecture_to_dict
from sastdeploy.networks.checkpoint import Checkpoint, save_checkpoint, silence
from sastdeploy.provenance import git_commit, versions
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training.distributed import Group
from sastdeploy.training.epoch import FIRST, batches
from sastdeploy.training.inference import check_fit, network_inputs
from sastdeploy.training.initial import ALIVE_RATE, alive_factors
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import FusedAdam, adam
from sastdeploy.training.resumption import Optimiser, Progress, difference, load_state, save_state
from sastdeploy.training.settings import TrainingSettings

Report = Callable[[dict[str, Any]], None]
"""Called after each epoch with its record."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainingRun:
    """What one training is made of, and where it is written; `sastdeploy.fit_all` trains it.

    Args:
        training, validation: recordings of the same shape and classes, as `sastdeploy.load_dataset` returns them.
        architecture: the network, as of `sastdeploy.load_architecture`.
        preprocessing: how counts become frame values, as of `sastdeploy.find_preprocessing`.
        settings: method, epochs, learning rate, seed, ...
        out: checkpoint to write, with a log ``<out>.jsonl`` and, while it trains, ``<out>.state``.
        command: for the checkpoint's provenance.
    """

    training: LabelledFrames
    validation: LabelledFrames
    architecture: Architecture
    preprocessing: Preprocessing
    settings: TrainingSettings
    out: Path | str
    command: str = ""

    @property
    def path(self) -> Path:
        """``out`` as a path."""
        return Path(self.out)

    @property
    def state_path(self) -> Path:
        """The state that an interrupted training leaves."""
        return self.path.with_name(self.path.name + ".state")

    @property
    def log_path(self) -> Path:
        """The log, with one line per epoch."""
        return self.path.with_name(self.path.name + ".jsonl")


@dataclass
class Standing:
    """How far a run has come: its network and optimiser as they are after ``progress.epoch`` epochs."""

    run: TrainingRun
    group: Group
    network: SpikingNetwork
    optimiser: Optimiser
    factors: dict[str, float]
    progress: Progress = field(default_factory=Progress)

    def add(self, record: dict[str, Any], parameters: Callable[[], dict[str, Any]]) -> None:
        """Take an epoch's record over; where it is the best so far, keep its parameters too."""
        self.progress.records.append(record)
        if _better(self.progress, self.run.settings):
            self.progress.best_epoch, self.progress.best = record["epoch"], parameters()
        self.progress.epoch = record["epoch"] + 1

    def save(self) -> None:
        """Write the state that a resumed run goes on from, and the log."""
        save_state(
            self.run.state_path, identity(self.run, self.group), self.network, self.optimiser, self.progress
        )
        self.write_log()

    def write_log(self) -> None:
        """Write ``<out>.jsonl``, one line per epoch."""
        lines = "".join(json.dumps(record) + "\n" for record in self.progress.records)
        atomic.write_text(self.run.log_path, lines)

    def finish(self, say: Say) -> Checkpoint:
        """Write the best epoch's checkpoint, remove the state, and return the checkpoint."""
        checkpoint = self.checkpoint()
        if message := silence(checkpoint.training["selected"].get("silent_layers", [])):
            say(message)
        # Once more: a run that was killed between its last state and its log has no epoch left to write it.
        self.write_log()
        # Whether a file there may be replaced was asked before the work.
        save_checkpoint(self.run.path, checkpoint, force=True)
        self.run.state_path.unlink(missing_ok=True)
        return checkpoint

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the best epoch so far."""
        run, progress = self.run, self.progress
        chosen = progress.records[progress.best_epoch]
        # Seconds vary from run to run; the checkpoint holds only what the seed determines.
        facts = {k: v for k, v in chosen.items() if k not in ("seconds", "cpu_seconds", "spike_rates")}
        # What is as it should be adds nothing, so that the checkpoint's hash is that of earlier versions.
        if silent := [name for name, rate in chosen.get("spike_rates", {}).items() if rate == 0]:
            facts["silent_layers"] = silent
        factors = {"init_factors": self.factors} if self.factors else {}
        seconds = run.training.seconds
        return Checkpoint(
            replace(run.architecture, neuron=replace(run.architecture.neuron, slope=chosen["slope"])),
            progress.best,
            run.preprocessing,
            run.training.classes,
            run.training.dataset,
            {**run.settings.to_dict(), **factors, "selected": facts},
            {
                "command": run.command,
                "data_hash": run.training.data_hash,
                "training_recordings": len(run.training),
                **(
                    {}
                    if seconds is None
                    else {"recording_seconds": [float(seconds.min()), float(seconds.max())]}
                ),
                "threads": torch.get_num_threads(),
                "processes": self.group.size,
                "device": self.group.device.type,
                "versions": versions("torch", "numpy"),
                "commit": git_commit(),
            },
        )


def identity(run: TrainingRun, group: Group) -> dict[str, Any]:
    """Return what a resumed training in ``group`` must share with the one that it resumes."""
    return {
        "device": group.device.type,
        "settings": run.settings.to_dict(),
        "architecture": architecture_to_dict(run.architecture),
        "preprocessing": run.preprocessing.to_dict(),
        "data": [run.training.dataset, run.training.data_hash, len(run.training), len(run.validation)],
        "processes": group.size,
    }


def other_run(run: TrainingRun, group: Group, checkpoint: Checkpoint) -> str:
    """Return in what a finished checkpoint is of another run than this one, the first difference; empty if in nothing."""
    stored, own = checkpoint.training, checkpoint.architecture
    if run.settings.slope_end:  # holds the slope of its epoch, not the first
        own = replace(own, neuron=replace(own.neuron, slope=run.architecture.neuron.slope))
    facts = checkpoint.provenance
    data = [checkpoint.dataset, facts.get("data_hash"), facts.get("training_recordings"), len(run.validation)]
    made = {
        "device": facts.get("device", "cpu"),
        "settings": {name: stored[name] for name in stored if name not in ("selected", "init_factors")},
        "architecture": architecture_to_dict(own),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "data": data,
        "processes": facts.get("processes", 1),
    }
    return difference(made, identity(run, group))


def check_run(run: TrainingRun, say: Say) -> None:
    """Accept recordings that fit the network; ``say`` is told of a class without one.

    Raises:
        InputError: no recording, another shape, number of time bins or of classes.
    """
    if len(run.training) == 0 or len(run.validation) == 0:
        raise InputError(
            f"{len(run.training)} training and {len(run.validation)} validation recordings: both need at least one."
        )
    for part in (run.training, run.validation):
        check_fit(run.architecture, run.preprocessing, part.frames)
    if len(run.training.classes) != run.architecture.classes:
        raise InputError(
            f"{len(run.training.classes)} classes in the data, {run.architecture.classes} in the network."
        )
    for name, part in (("training", run.training), ("validation", run.validation)):
        for class_name in classes_without_recordings(part):
            say(f"class '{class_name}' has no {name} recording.")


def begin(run: TrainingRun, resume: bool, group: Group, device: torch.device, say: Say) -> Standing:
    """Return the run's standing with its network on ``device``: a fresh network, or one that goes on from ``<out>.state``.

    ``say`` is told where other threads than before give other rounding. Seeded draws are made on the CPU, so that initial weights are
    the same on every device.

    Raises:
        InputError: the state is damaged, or of another run.
    """
    network = SpikingNetwork(run.architecture, fused=run.settings.kernels == "fused")
    network.initialise(torch.Generator().manual_seed(run.settings.seed), run.settings.init_scale)
    factors = _start_alive(network, run) if run.settings.init == "alive" else {}
    network.to(device)
    # A pack of networks has its own steps, and keeps here what the next one needs.
    keep = FusedAdam if run.settings.kernels == "packed" else adam
    standing = Standing(run, group, network, keep(network, run.settings.weight_decay), factors)
    if resume and run.state_path.exists():
        standing.progress = load_state(run.state_path, identity(run, group), network, standing.optimiser)
        before, now = standing.progress.threads, torch.get_num_threads()
        if before not in (None, now) and group.device.type == "cpu":
            say(
                f"{run.state_path}: was written with {before} threads, and goes on with {now}: it ends with other rounding. "
                f"With {before} (--threads) it ends with the same bits."
            )
    return standing


def _start_alive(network: SpikingNetwork, run: TrainingRun) -> dict[str, float]:
    """Scale a fresh network on the whole first minibatch, on the CPU and in every process alike; return the factors."""
    first = next(batches(len(run.training), run.settings.batch_size, run.settings.seed, FIRST, 0))
    return alive_factors(
        network, network_inputs(network, run.training.frames, run.preprocessing)(first), ALIVE_RATE
    )


def classes_without_recordings(data: LabelledFrames) -> tuple[str, ...]:
    """Return the names of the classes that no recording belongs to."""
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return tuple(name for name, count in zip(data.classes, counts) if count == 0)


def _better(progress: Progress, settings: TrainingSettings) -> bool:
    """Say whether the last epoch is the best so far; the first with quantized weights leaves all before it behind."""
    *_, last = progress.records
    if progress.best_epoch < 0 or settings.quantized(last["epoch"]) > settings.quantized(progress.best_epoch):
        return True
    return bool(last["hard_accuracy"] > progress.records[progress.best_epoch]["hard_accuracy"])
