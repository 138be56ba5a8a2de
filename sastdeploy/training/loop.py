"""The training loop: epochs, selection, and a state on disk that loses at most one epoch."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

from sastdeploy._files.locks import alone
from sastdeploy.errors import InputError, SastdeployError
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.provenance import git_commit
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training.devices import exact_products
from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.epoch import run_epoch, weights_in_use
from sastdeploy.training.inference import SpikeCounts, lif_layer_sizes, predict
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.outputs import BUSY, check_out
from sastdeploy.training.resumption import Progress
from sastdeploy.training.run import Report, Say, TrainingRun, begin, check_run, identity
from sastdeploy.training.settings import kernels_for


@exact_products()
def train(
    run: TrainingRun,
    *,
    resume: bool = False,
    force: bool = False,
    report: Report = lambda record: None,
    say: Say = lambda text: None,
    group: Group = ALONE,
) -> Checkpoint:
    """Train a network, write the checkpoint of its best epoch to ``run.out``, and return it.

    Selection: highest validation accuracy with hard spikes, the earliest epoch on ties (of the epochs with quantized
    weights, where there are any); no test recording is seen. After each epoch ``<out>.state`` holds all that a
    resumed run needs (it ends with the same bits), and ``<out>.jsonl`` one line per epoch: loss, surrogate_accuracy,
    hard_accuracy, gap, spike_rates, gradient_norm, ... Layers that send no hard spike on any validation recording in
    the chosen epoch stand in the checkpoint's training facts (``selected.silent_layers``), and so do the factors of
    ``init alive`` (``init_factors``).

    Args:
        run: what is trained, with kernels ``fused`` or ``torch``; `sastdeploy.training.packed.loop` trains the others.
        resume: go on from ``<out>.state``. force: replace an existing checkpoint.
        report: called with each epoch's record.
        say: called with what the user should know: a class without recordings, layers that never spike.
        group: the processes that train together, each of which calls this with the same arguments; only the first
            writes and reports. A run is resumed by as many processes as began it, on the same kind of device. Seeded
            draws are made on the CPU, so that initial weights and minibatches are the same on every device.

    Raises:
        InputError: ``out`` exists, nothing to resume, a state of other settings, data that do not fit, kernels that do
            not fit the device, or processes that were given different things.
        SastdeployError: the processes have lost each other, or no longer hold the same parameters.
    """
    git_commit()  # Asked before the work; the checkpoint tells it.
    settings = run.settings
    kernels_for(group.device.type, settings.kernels, group.size == 1 and settings.quantize_bits == 0)
    check_out(run.path, resume, force)
    with alone(run.path, BUSY) if group.first else nullcontext():
        check_out(run.path, resume, force)  # once more: another training may have ended since
        return _train(run, resume, report, say, group)


def _train(run: TrainingRun, resume: bool, report: Report, say: Say, group: Group) -> Checkpoint:
    say = say if group.first else lambda text: None
    check_run(run, say)
    settings = run.settings
    if group.size > settings.batch_size:
        raise InputError(
            f"batch_size {settings.batch_size}: smaller than the number of processes, {group.size}. "
            f"Start fewer processes or choose a larger batch."
        )
    standing = begin(run, resume, group, group.device, say)
    network, progress = standing.network, standing.progress
    shared = identity(run, group)
    _check_equal(group, shared, network, progress)
    for epoch in range(progress.epoch, settings.epochs):
        network.slope = settings.slope(epoch, run.architecture.neuron.slope)
        record = run_epoch(
            epoch, network, standing.optimiser, run.training, run.preprocessing, settings, group
        )
        with weights_in_use(network, settings, epoch):
            record |= _validate(network, run.validation, run.preprocessing, group)
            standing.add(record, network.parameters_as_arrays)
        _check_equal(group, shared, network, progress)
        if group.first:
            standing.save()
            report(record)
    return standing.finish(say) if group.first else standing.checkpoint()


def _check_equal(group: Group, shared: dict[str, Any], network: SpikingNetwork, progress: Progress) -> None:
    """Accept processes that were given the same, stand at the same epoch and hold the same parameters, bit for bit."""
    if group.size == 1:
        return
    begun = json.dumps([shared, progress.epoch], sort_keys=True).encode()
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
