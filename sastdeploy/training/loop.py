"""The training loop: epochs, selection, and a state on disk that loses at most one epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sastdeploy._files import atomic
from sastdeploy._files.locks import held
from sastdeploy._files.reading import exists
from sastdeploy.errors import InputError, SastdeployError
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import architecture_to_dict
from sastdeploy.networks.checkpoint import Checkpoint, save_checkpoint, silence
from sastdeploy.provenance import git_commit, versions
from sastdeploy.recordings.frames import LabelledFrames, Preprocessing
from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.epoch import FIRST, batches, run_epoch, weights_in_use
from sastdeploy.training.inference import SpikeCounts, check_fit, lif_layer_sizes, network_inputs, predict
from sastdeploy.training.initial import ALIVE_RATE, alive_factors
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import adam
from sastdeploy.training.resumption import Progress, load_state, save_state
from sastdeploy.training.settings import TrainingSettings, kernels_for

Report = Callable[[dict[str, Any]], None]


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
    warn: Callable[[str], None] = lambda text: None,
    group: Group = ALONE,
) -> Checkpoint:
    """Train a network, write the checkpoint of its best epoch to ``out``, and return it.

    Selection: highest validation accuracy with hard spikes, the earliest epoch on ties (of the epochs with quantized
    weights, where there are any); no test recording is seen.
    After each epoch ``<out>.state`` holds all that a resumed run needs (it ends with the same bits), and
    ``<out>.jsonl`` one line per epoch: loss, surrogate_accuracy, hard_accuracy, gap, spike_rates, gradient_norm, ...
    Layers that send no hard spike on any validation recording in the chosen epoch stand in the checkpoint's training
    facts (``selected.silent_layers``), and so do the factors of ``init alive`` (``init_factors``).

    Args:
        dataset, command: for provenance.
        resume: go on from ``<out>.state``. force: replace an existing checkpoint.
        report: called with each epoch's record.
        warn: called with what the user should know: a class without recordings, layers that never spike.
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
    with _alone(out) if group.first else nullcontext():
        check_out(out, resume, force)  # once more: another training may have ended since
        return _train(
            training,
            validation,
            architecture,
            preprocessing,
            settings,
            out,
            dataset,
            command,
            resume,
            report,
            group,
            warn,
        )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Guarantee that no other process trains into the same file meanwhile."""
    from filelock import Timeout

    lock = out.with_name(f".{out.name}.lock")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with held(lock, wait=False):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as error:
        raise InputError(
            f"{out}: another training is writing it at this moment. Wait for its end, or choose another name."
        ) from error


def _train(
    training: LabelledFrames,
    validation: LabelledFrames,
    architecture: Architecture,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    out: Path,
    dataset: str,
    command: str,
    resume: bool,
    report: Report,
    group: Group,
    warn: Callable[[str], None],
) -> Checkpoint:
    state_path, log_path = out.with_name(out.name + ".state"), out.with_name(out.name + ".jsonl")
    _check_data(training, validation, architecture, preprocessing)
    if group.first:
        for name, part in (("training", training), ("validation", validation)):
            for class_name in classes_without_recordings(part):
                warn(f"class '{class_name}' has no {name} recording.")
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
    factors = _start_alive(network, training, preprocessing, settings) if settings.init == "alive" else {}
    network.to(group.device)
    optimiser = adam(network, settings.weight_decay)
    progress = Progress()
    if resume and state_path.exists():
        progress = load_state(state_path, identity, network, optimiser)
    _check_equal(group, identity, network, progress)
    for epoch in range(progress.epoch, settings.epochs):
        network.slope = settings.slope(epoch, architecture.neuron.slope)
        record = run_epoch(epoch, network, optimiser, training, preprocessing, settings, group)
        with weights_in_use(network, settings, epoch):
            record |= _validate(network, validation, preprocessing, group)
            progress.records.append(record)
            if _better(progress, settings):
                progress.best_epoch, progress.best = epoch, network.parameters_as_arrays()
        progress.epoch = epoch + 1
        _check_equal(group, identity, network, progress)
        if group.first:
            save_state(state_path, identity, network, optimiser, progress)
            _write_log(log_path, progress)
            report(record)
    checkpoint = _checkpoint(
        progress, training, architecture, preprocessing, settings, factors, dataset, command, group
    )
    if group.first:
        if message := silence(checkpoint.training["selected"].get("silent_layers", [])):
            warn(message)
        # Once more: a run that was killed between its last state and its log has no epoch left to write it.
        _write_log(log_path, progress)
        save_checkpoint(out, checkpoint)
        state_path.unlink(missing_ok=True)
    return checkpoint


def _start_alive(
    network: SpikingNetwork,
    training: LabelledFrames,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
) -> dict[str, float]:
    """Scale a fresh network on the whole first minibatch, on the CPU and in every process alike; return the factors."""
    first = next(batches(len(training), settings.batch_size, settings.seed, FIRST, 0))
    return alive_factors(network, network_inputs(network, training.frames, preprocessing)(first), ALIVE_RATE)


def classes_without_recordings(data: LabelledFrames) -> tuple[str, ...]:
    """Return the names of the classes that no recording belongs to."""
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return tuple(name for name, count in zip(data.classes, counts) if count == 0)


def _write_log(path: Path, progress: Progress) -> None:
    atomic.write_text(path, "".join(json.dumps(record) + "\n" for record in progress.records))


def _better(progress: Progress, settings: TrainingSettings) -> bool:
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


def _check_equal(group: Group, identity: dict[str, Any], network: SpikingNetwork, progress: Progress) -> None:
    """Accept processes that were given the same, stand at the same epoch and hold the same parameters, bit for bit."""
    if group.size == 1:
        return
    begun = json.dumps([identity, progress.epoch], sort_keys=True).encode()
    if ranks := group.mismatched_ranks(begun):
        raise InputError(
            f"ranks {ranks}: have other settings, data or a state of another epoch than rank 0. "
            f"Give every process the same options and the same files."
        )
    if ranks := group.mismatched_ranks(
        b"".join(p.tobytes() for p in network.parameters_as_arrays().values())
    ):
        raise SastdeployError(
            f"epoch {progress.epoch}: ranks {ranks} hold other parameters than rank 0. Run all processes on one kind "
            f"of machine with the same number of threads; --resume goes on from the last epoch that agreed."
        )


def check_out(out: Path, resume: bool, force: bool, inputs: Iterable[str] = ()) -> None:
    """Accept a checkpoint's path that can be written, and a run there that may be begun or gone on with.

    Args:
        inputs: files that are read, which ``force`` does not replace either.

    Raises:
        InputError: it cannot be written, is no regular file, or is one of the inputs; it exists, or an interrupted run is there, without ``force`` or ``resume``.
    """
    atomic.check_writable(out)
    state_path, log_path = out.with_name(out.name + ".state"), out.with_name(out.name + ".jsonl")
    for path in (out, state_path, log_path):
        atomic.check_writable(path, inputs=inputs)
        atomic.check_regular(path)
    if resume and exists(state_path):
        return
    if exists(out) and not force:
        if resume:
            raise InputError(
                f"{out}: is finished, and there is no {state_path.name} to resume. Use --force to train anew."
            )
        raise InputError(f"{out}: exists. Choose another name, or replace it with --force.")
    if exists(state_path) and not force:
        raise InputError(
            f"{state_path}: an interrupted run is there. Go on with --resume, or start anew with --force."
        )
    # Who resumes owns what an interrupted run left here, a log without its state too.
    if exists(log_path) and not (force or resume):
        raise InputError(
            f"{log_path}: exists, and belongs to no checkpoint. Choose another name, or replace it with --force."
        )


def _validate(
    network: SpikingNetwork, data: LabelledFrames, preprocessing: Preprocessing, group: Group
) -> dict[str, Any]:
    own = data if group.size == 1 else data.select(group.share(len(data)))
    spikes = SpikeCounts()
    correct = [
        int((predict(network, own.frames, preprocessing, hard, spikes if hard else None) == own.labels).sum())
        for hard in (False, True)
    ]
    layers = lif_layer_sizes(network.architecture)
    sent = spikes.counts or [0] * len(layers)
    surrogate, hard, *sent = group.sum_counts([*correct, *sent])
    states = len(data) * preprocessing.time_bins
    return {
        "surrogate_accuracy": surrogate / len(data),
        "hard_accuracy": hard / len(data),
        "gap": surrogate / len(data) - hard / len(data),
        "spike_rates": {
            name: count / (states * neurons) for (name, neurons), count in zip(layers.items(), sent)
        },
    }


def _checkpoint(
    progress: Progress,
    training: LabelledFrames,
    architecture: Architecture,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    factors: dict[str, float],
    dataset: str,
    command: str,
    group: Group,
) -> Checkpoint:
    chosen = progress.records[progress.best_epoch]
    # Seconds vary from run to run; the checkpoint holds only what the seed determines.
    facts = {
        key: value for key, value in chosen.items() if key not in ("seconds", "cpu_seconds", "spike_rates")
    }
    # What is as it should be adds nothing, so that the checkpoint's hash is that of earlier versions.
    if silent := [name for name, rate in chosen.get("spike_rates", {}).items() if rate == 0]:
        facts["silent_layers"] = silent
    return Checkpoint(
        replace(architecture, neuron=replace(architecture.neuron, slope=chosen["slope"])),
        progress.best,
        preprocessing,
        training.classes,
        dataset,
        {**settings.to_dict(), **({"init_factors": factors} if factors else {}), "selected": facts},
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
