"""The training loop: epochs, selection, and a state on disk that loses at most one epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy._files import atomic
from sastdeploy.errors import InputError, SastdeployError
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import architecture_to_dict
from sastdeploy.networks.checkpoint import Checkpoint, load_tensors, save_checkpoint, save_tensors
from sastdeploy.provenance import git_commit, versions
from sastdeploy.recordings.frames import LabelledFrames, Preprocessing
from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.inference import check_fit, network_inputs, predict
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import FusedAdam, PlainAdam, adam
from sastdeploy.training.quantized import quantized_weights
from sastdeploy.training.settings import TrainingSettings, kernels_for
from sastdeploy.training.sharpness import (
    plain_gradient,
    random_direction_gradient,
    sharpness_aware_gradient,
)

STATE_FORMAT = 4
_FIRST, _SECOND, _DIRECTION = 11, 12, 13
"""Names of independent random streams: minibatches B and B', and random steps."""

Optimiser = FusedAdam | PlainAdam
Report = Callable[[dict[str, Any]], None]


@dataclass
class _Progress:
    """What a resumed run needs: everything else is drawn anew from the seed and the epoch's number."""

    epoch: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = -1
    best: dict[str, NDArray[np.float32]] = field(default_factory=dict)


# Only convolutions on a GPU read these. By default they may round to TF32, and differ in bits from run to run.
@torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
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
    group: Group = ALONE,
) -> Checkpoint:
    """Train a network, write the checkpoint of its best epoch to ``out``, and return it.

    Selection: highest validation accuracy with hard spikes, the earliest epoch on ties (of the epochs with quantized
    weights, where there are any); no test recording is seen.
    After each epoch ``<out>.state`` holds all that a resumed run needs (it ends with the same bits), and
    ``<out>.jsonl`` one line per epoch: loss, surrogate_accuracy, hard_accuracy, gap, gradient_norm, seconds, ...

    Args:
        dataset, command: for provenance.
        resume: go on from ``<out>.state``. force: replace an existing checkpoint.
        report: called with each epoch's record.
        group: the processes that train together, each of which calls this with the same arguments; only the first
            writes and reports. A run is resumed by as many processes as began it, on the same kind of device. Seeded
            draws are made on the CPU, so that initial weights and minibatches are the same on every device.

    Raises:
        InputError: ``out`` exists, nothing to resume, a state of other settings, data that do not fit, kernels that do
            not fit the device, or processes that were given different things.
        SastdeployError: the processes have lost each other, or no longer hold the same parameters.
    """
    git_commit()  # Asked before the work; the checkpoint tells it.
    out = Path(out)
    check_out(out, resume, force)
    state_path, log_path = out.with_name(out.name + ".state"), out.with_name(out.name + ".jsonl")
    _check_data(training, validation, architecture, preprocessing)
    kernels_for(group.device.type, settings.kernels)
    if group.size > settings.batch_size:
        raise InputError(
            f"batch_size {settings.batch_size}: smaller than the number of processes, {group.size}. "
            f"Start fewer processes or choose a larger batch."
        )
    identity = {
        "device": group.device.type,
        "settings": settings.to_dict(),
        "architecture": architecture_to_dict(architecture),
        "preprocessing": preprocessing.to_dict(),
        "data": [dataset, training.data_hash, len(training), len(validation)],
        "processes": group.size,
    }
    network = SpikingNetwork(architecture, fused=settings.kernels == "fused")
    network.initialise(torch.Generator().manual_seed(settings.seed), settings.init_scale)
    network.to(group.device)
    optimiser = adam(network, settings.weight_decay)
    progress = _begin(state_path, identity, network, optimiser, resume)
    _check_equal(group, identity, network, progress)
    for epoch in range(progress.epoch, settings.epochs):
        network.slope = settings.slope(epoch, architecture.neuron.slope)
        record = _run_epoch(epoch, network, optimiser, training, preprocessing, settings, group)
        with _held(network, settings, epoch):
            record |= _validate(network, validation, preprocessing, group)
            progress.records.append(record)
            if _better(progress, settings):
                progress.best_epoch, progress.best = epoch, network.parameters_as_arrays()
        progress.epoch = epoch + 1
        _check_equal(group, identity, network, progress)
        if group.first:
            _save_state(state_path, identity, network, optimiser, progress)
            _write_log(log_path, progress)
            report(record)
    checkpoint = _checkpoint(
        progress, training, architecture, preprocessing, settings, dataset, command, group
    )
    if group.first:
        # Once more: a run that was killed between its last state and its log has no epoch left to write it.
        _write_log(log_path, progress)
        save_checkpoint(out, checkpoint)
        state_path.unlink(missing_ok=True)
    return checkpoint


def _write_log(path: Path, progress: _Progress) -> None:
    atomic.write_text(path, "".join(json.dumps(record) + "\n" for record in progress.records))


def _held(network: SpikingNetwork, settings: TrainingSettings, epoch: int) -> AbstractContextManager[None]:
    """Return the context in which an epoch computes: with quantized weights, or with the weights as they are."""
    return quantized_weights(network, settings.quantize_bits) if settings.quantized(epoch) else nullcontext()


def _better(progress: _Progress, settings: TrainingSettings) -> bool:
    """Say whether the last epoch is the best so far; the first with quantized weights leaves all before it behind."""
    *_, last = progress.records
    if progress.best_epoch < 0 or settings.quantized(last["epoch"]) > settings.quantized(progress.best_epoch):
        return True
    return bool(last["hard_accuracy"] > progress.records[progress.best_epoch]["hard_accuracy"])


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
        check_fit(architecture, preprocessing, part.frames)
    if len(training.classes) != architecture.classes:
        raise InputError(
            f"{len(training.classes)} classes in the data, {architecture.classes} in the network."
        )


def _check_equal(
    group: Group, identity: dict[str, Any], network: SpikingNetwork, progress: _Progress
) -> None:
    """Accept processes that were given the same, stand at the same epoch and hold the same parameters, bit for bit."""
    if group.size == 1:
        return
    begun = json.dumps([identity, progress.epoch], sort_keys=True).encode()
    if unlike := group.mismatched_ranks(begun):
        raise InputError(
            f"ranks {unlike}: have other settings, data or a state of another epoch than rank 0. "
            f"Give every process the same options and the same files."
        )
    if unlike := group.mismatched_ranks(
        b"".join(p.tobytes() for p in network.parameters_as_arrays().values())
    ):
        raise SastdeployError(
            f"epoch {progress.epoch}: ranks {unlike} hold other parameters than rank 0. Run all processes on one kind "
            f"of machine with the same number of threads; --resume goes on from the last epoch that agreed."
        )


def _begin(
    state_path: Path, identity: dict[str, Any], network: SpikingNetwork, optimiser: Optimiser, resume: bool
) -> _Progress:
    if resume and state_path.exists():
        return _load_state(state_path, identity, network, optimiser)
    return _Progress()


def check_out(out: Path, resume: bool, force: bool) -> None:
    """Accept a checkpoint's path that can be written, and a run there that may be begun or gone on with.

    Raises:
        InputError: it cannot be written; it exists, or an interrupted run is there, without ``force`` or ``resume``.
    """
    atomic.check_writable(out)
    state_path = out.with_name(out.name + ".state")
    if resume and state_path.exists():
        return
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


def batches(count: int, size: int, seed: int, stream: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Yield an epoch's minibatches: a fresh permutation for each (seed, stream, epoch), cut into pieces of ``size``."""
    order = np.random.default_rng((seed, stream, epoch)).permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def _run_epoch(
    epoch: int,
    network: SpikingNetwork,
    optimiser: Optimiser,
    training: LabelledFrames,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    group: Group,
) -> dict[str, Any]:
    began, busy = time.perf_counter(), time.process_time()
    rate = settings.rate(epoch)
    draw = network_inputs(network, training.frames, preprocessing)

    def loss_on(chosen: NDArray[np.int64]) -> Callable[[], Tensor]:
        own = chosen[group.share(len(chosen))]

        def loss() -> Tensor:
            if len(own) == 0:
                return 0.0 * network.value("readout.bias").sum()
            scores = network(draw(own), settings.forward == "hard")
            mean = F.cross_entropy(scores, torch.from_numpy(training.labels[own]).to(scores.device))
            return mean * (len(own) / len(chosen))

        return loss

    streams = [
        batches(len(training), settings.batch_size, settings.seed, s, epoch) for s in (_FIRST, _SECOND)
    ]
    directions = torch.Generator().manual_seed(
        int(np.random.SeedSequence((settings.seed, _DIRECTION, epoch)).generate_state(1, np.uint64)[0]) >> 1
    )
    total, norms, evaluations = 0.0, [], 0
    for first, second in zip(*streams):
        with _held(network, settings, epoch):
            if settings.method in ("sast", "asam"):
                loss = sharpness_aware_gradient(
                    network,
                    loss_on(first),
                    loss_on(second),
                    settings.rho,
                    settings.delta,
                    settings.method == "asam",
                    group,
                )
                evaluations += 2
            elif settings.method == "random":
                loss = random_direction_gradient(network, loss_on(first), settings.rho, directions, group)
                evaluations += 1
            else:
                loss = plain_gradient(network, loss_on(first), group)
                evaluations += 1
        norms.append(optimiser.step(rate))
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
        "slope": network.slope,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - busy,
    }


def _validate(
    network: SpikingNetwork, data: LabelledFrames, preprocessing: Preprocessing, group: Group
) -> dict[str, float]:
    own = data if group.size == 1 else data.select(group.share(len(data)))
    right = [int((predict(network, own.frames, preprocessing, h) == own.labels).sum()) for h in (False, True)]
    smooth, hard = (count / len(data) for count in group.sum_counts(right))
    return {"surrogate_accuracy": smooth, "hard_accuracy": hard, "gap": smooth - hard}


def _save_state(
    path: Path, identity: dict[str, Any], network: SpikingNetwork, optimiser: Optimiser, progress: _Progress
) -> None:
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
    save_tensors(path, _on_cpu(content))


def _on_cpu(value: Any) -> Any:
    """Return the same dicts and lists with every tensor on the CPU."""
    if isinstance(value, dict):
        return {key: _on_cpu(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_on_cpu(part) for part in value]
    return value.cpu() if isinstance(value, torch.Tensor) else value


def _load_state(
    path: Path, identity: dict[str, Any], network: SpikingNetwork, optimiser: Optimiser
) -> _Progress:
    remedy = "Remove it, or start anew with --force."
    try:
        content = load_tensors(path)
    except InputError as error:
        raise InputError(f"{error} {remedy}") from error
    known = (
        content.get("format") == "sastdeploy.training-state" and content.get("format_version") == STATE_FORMAT
    )
    if not known or not isinstance(content.get("identity"), dict):
        raise InputError(f"{path}: is no training state of this version. {remedy}")
    recorded = {"device": "cpu", **content["identity"]}  # earlier states name none, and are all of the CPU
    for part, now in identity.items():
        before = recorded.get(part)
        if before != now:
            raise InputError(
                f"{path}: cannot be resumed, {_difference(part, before, now)}. Repeat the first call's options."
            )
    try:
        network.load_state_dict(content["network"])
        optimiser.load_state_dict(content["optimiser"])
        best = {name: value.numpy() for name, value in content["best"].items()}
        progress = _Progress(content["epoch"], content["records"], content["best_epoch"], best)
        _check_whole(progress, network.parameters_as_arrays())
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: is damaged ({' '.join(str(error).split())}). {remedy}") from error
    return progress


def _check_whole(progress: _Progress, parameters: dict[str, NDArray[np.float32]]) -> None:
    numbers = [record["epoch"] for record in progress.records if {"hard_accuracy", "slope"} <= record.keys()]
    if numbers != list(range(progress.epoch)) or progress.best_epoch not in numbers:
        raise ValueError("its epochs do not fit one another")
    if {n: v.shape for n, v in progress.best.items()} != {n: v.shape for n, v in parameters.items()}:
        raise ValueError("the best epoch's parameters do not fit the network")


def _difference(part: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if before.get(key) != now.get(key):
                return f"{part}.{key} was {before.get(key)} and is now {now.get(key)}"
    return f"{part} was {before} and is now {now}"


def _checkpoint(
    progress: _Progress,
    training: LabelledFrames,
    architecture: Architecture,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    dataset: str,
    command: str,
    group: Group,
) -> Checkpoint:
    chosen = progress.records[progress.best_epoch]
    # Seconds vary from run to run; the checkpoint holds only what the seed determines.
    facts = {key: value for key, value in chosen.items() if key not in ("seconds", "cpu_seconds")}
    return Checkpoint(
        replace(architecture, neuron=replace(architecture.neuron, slope=chosen["slope"])),
        progress.best,
        preprocessing,
        training.classes,
        dataset,
        {**settings.to_dict(), "selected": facts},
        {
            "command": command,
            "data_hash": training.data_hash,
            "training_recordings": len(training),
            **(
                {}
                if training.seconds is None
                else {"recording_seconds": [float(training.seconds.min()), float(training.seconds.max())]}
            ),
            "threads": torch.get_num_threads(),
            "processes": group.size,
            "device": group.device.type,
            "versions": versions("torch", "numpy"),
            "commit": git_commit(),
        },
    )
