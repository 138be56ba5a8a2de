"""The training loop: epochs, selection, and a state on disk that loses at most one epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sastdeploy import atomic
from sastdeploy.architecture import Architecture
from sastdeploy.checkpoint import Checkpoint, load_tensors, save_checkpoint
from sastdeploy.errors import InputError
from sastdeploy.frames import LabelledFrames, Preprocessing
from sastdeploy.networks import architecture_to_dict
from sastdeploy.provenance import git_commit, versions
from sastdeploy.training.inference import network_inputs, predict
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.settings import TrainingSettings
from sastdeploy.training.sharpness import gradient_norm, plain_gradient, sharpness_aware_gradient

STATE_FORMAT = 2
_FIRST, _SECOND = 11, 12
"""Names of the two independent streams of minibatches, B and B'."""

Report = Callable[[dict[str, Any]], None]


@dataclass
class _Progress:
    """What a resumed run needs: everything else is drawn anew from the seed and the epoch's number."""

    epoch: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1
    best: dict[str, NDArray] = field(default_factory=dict)


def train(
    training: LabelledFrames,
    validation: LabelledFrames,
    architecture: Architecture,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    out: Path | str,
    *,
    dataset: str,
    command: str = "",
    resume: bool = False,
    force: bool = False,
    report: Report = lambda record: None,
) -> Checkpoint:
    """Train a network, write the checkpoint of its best epoch to ``out``, and return it.

    Selection: highest validation accuracy with hard spikes, the earliest epoch on ties; no test recording is seen.
    After each epoch ``<out>.state`` holds all that a resumed run needs (it ends with the same bits), and
    ``<out>.jsonl`` one line per epoch: loss, surrogate_accuracy, hard_accuracy, gap, gradient_norm, seconds, ...

    Args:
        dataset, command: for provenance.
        resume: go on from ``<out>.state``. force: replace an existing checkpoint.
        report: called with each epoch's record.

    Raises:
        InputError: ``out`` exists, nothing to resume, a state of other settings, or data that do not fit.
    """
    out = Path(out)
    state_path, log_path = out.with_name(out.name + ".state"), out.with_name(out.name + ".jsonl")
    _check_data(training, validation, architecture, preprocessing)
    identity = {
        "settings": settings.to_dict(),
        "architecture": architecture_to_dict(architecture),
        "preprocessing": preprocessing.to_dict(),
        "data": [dataset, training.data_hash, len(training), len(validation)],
    }
    fused = settings.kernels == "fused"
    network = SpikingNetwork(architecture, fused)
    network.initialise(torch.Generator().manual_seed(settings.seed))
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=fused)
    progress = _begin(out, state_path, identity, network, optimiser, resume, force)
    for epoch in range(progress.epoch, settings.epochs):
        record = _run_epoch(epoch, network, optimiser, training, preprocessing, settings)
        record |= _validate(network, validation, preprocessing)
        progress.records.append(record)
        if (
            progress.best_epoch < 0
            or record["hard_accuracy"] > progress.records[progress.best_epoch]["hard_accuracy"]
        ):
            progress.best_epoch, progress.best = epoch, network.parameters_as_arrays()
        progress.epoch = epoch + 1
        _save_state(state_path, identity, network, optimiser, progress)
        atomic.write_text(log_path, "".join(json.dumps(r) + "\n" for r in progress.records))
        report(record)
    checkpoint = _checkpoint(progress, training, architecture, preprocessing, settings, dataset, command)
    save_checkpoint(out, checkpoint)
    state_path.unlink(missing_ok=True)
    return checkpoint


def _check_data(
    training: LabelledFrames,
    validation: LabelledFrames,
    architecture: Architecture,
    preprocessing: Preprocessing,
) -> None:
    if len(training) == 0 or len(validation) == 0:
        raise InputError(
            f"{len(training)} training and {len(validation)} validation recordings: both need at least one."
        )
    for part in (training, validation):
        if part.frames.shape != architecture.input_shape or part.frames.time_bins != preprocessing.time_bins:
            raise InputError(
                f"frames {part.frames.shape} in {part.frames.time_bins} bins do not fit the network's input "
                f"{architecture.input_shape} and {preprocessing.time_bins} bins."
            )
    if len(training.classes) != architecture.classes:
        raise InputError(
            f"{len(training.classes)} classes in the data, {architecture.classes} in the network."
        )


def _begin(out, state_path, identity, network, optimiser, resume: bool, force: bool) -> _Progress:
    if resume and state_path.exists():
        return _load_state(state_path, identity, network, optimiser)
    if out.exists() and not force:
        if resume:
            raise InputError(
                f"{out}: is finished, and there is no {state_path.name} to resume. Use --force to train anew."
            )
        raise InputError(f"{out}: exists. Choose another name, or replace it with --force.")
    if state_path.exists() and not force:
        raise InputError(
            f"{state_path}: an interrupted run is there. Go on with --resume, or start anew with --force."
        )
    return _Progress()


def batches(count: int, size: int, seed: int, stream: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Yield an epoch's minibatches: a fresh permutation for each (seed, stream, epoch), cut into pieces of ``size``."""
    order = np.random.default_rng((seed, stream, epoch)).permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def _run_epoch(
    epoch, network, optimiser, training, preprocessing, settings: TrainingSettings
) -> dict[str, Any]:
    began = time.perf_counter()
    rate = settings.rate(epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate

    draw = network_inputs(network, training.frames, preprocessing)

    def loss_on(chosen: NDArray[np.int64]):
        def loss():
            return F.cross_entropy(network(draw(chosen)), torch.from_numpy(training.labels[chosen]))

        return loss

    streams = [
        batches(len(training), settings.batch_size, settings.seed, s, epoch) for s in (_FIRST, _SECOND)
    ]
    total, norms, evaluations = 0.0, [], 0
    for first, second in zip(*streams):
        if settings.method == "sast":
            loss = sharpness_aware_gradient(
                network, loss_on(first), loss_on(second), settings.rho, settings.delta
            )
            evaluations += 2
        else:
            loss = plain_gradient(network, loss_on(first))
            evaluations += 1
        norms.append(gradient_norm(network))
        optimiser.step()
        total += loss * len(first)
    average = total / len(training)
    if not np.isfinite(average):
        raise InputError(
            f"epoch {epoch}: the loss is {average}. Lower the learning rate (now {rate:g}) or rho."
        )
    return {
        "epoch": epoch,
        "loss": average,
        "gradient_norm": float(np.mean(norms)),
        "gradient_evaluations": evaluations,
        "learning_rate": rate,
        "seconds": time.perf_counter() - began,
    }


def _validate(
    network: SpikingNetwork, data: LabelledFrames, preprocessing: Preprocessing
) -> dict[str, float]:
    smooth, hard = (
        float((predict(network, data.frames, preprocessing, h) == data.labels).mean()) for h in (False, True)
    )
    return {"surrogate_accuracy": smooth, "hard_accuracy": hard, "gap": smooth - hard}


def _save_state(path: Path, identity, network, optimiser, progress: _Progress) -> None:
    content = {
        "format": "sastdeploy.training-state",
        "format_version": STATE_FORMAT,
        "identity": identity,
        "epoch": progress.epoch,
        "records": progress.records,
        "best_epoch": progress.best_epoch,
        "best": {name: torch.from_numpy(value) for name, value in progress.best.items()},
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    with atomic.replacing(path) as temporary:
        torch.save(content, temporary)


def _load_state(path: Path, identity, network, optimiser) -> _Progress:
    content = load_tensors(path)
    if content.get("format") != "sastdeploy.training-state" or content.get("format_version") != STATE_FORMAT:
        raise InputError(f"{path}: is no training state of this version. Start anew with --force.")
    for part, now in identity.items():
        before = content["identity"][part]
        if before != now:
            raise InputError(
                f"{path}: cannot be resumed, {_difference(part, before, now)}. Repeat the first call's options."
            )
    network.load_state_dict(content["network"])
    optimiser.load_state_dict(content["optimiser"])
    best = {name: value.numpy() for name, value in content["best"].items()}
    return _Progress(content["epoch"], content["records"], content["best_epoch"], best)


def _difference(part: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                return f"{part}.{key} was {before.get(key)} and is now {now.get(key)}"
    return f"{part} was {before} and is now {now}"


def _checkpoint(progress, training, architecture, preprocessing, settings, dataset, command) -> Checkpoint:
    chosen = progress.records[progress.best_epoch]
    # Seconds vary from run to run; the checkpoint holds only what the seed determines.
    facts = {key: value for key, value in chosen.items() if key != "seconds"}
    return Checkpoint(
        architecture,
        progress.best,
        preprocessing,
        training.classes,
        dataset,
        {**settings.to_dict(), "selected": facts},
        {
            "command": command,
            "data_hash": training.data_hash,
            "training_recordings": len(training),
            "threads": torch.get_num_threads(),
            "versions": versions("torch", "numpy"),
            "commit": git_commit(),
        },
    )
