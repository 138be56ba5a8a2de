"""The one recipe: find the frames' scale, build the network, train it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import load_architecture
from sastdeploy.networks.checkpoint import Checkpoint, load_checkpoint
from sastdeploy.recordings.binning import find_scale
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.loop import train
from sastdeploy.training.run import Report, Run
from sastdeploy.training.settings import TrainingSettings


def fit(
    training: LabelledFrames,
    validation: LabelledFrames,
    architecture: Architecture | str = "fc_0p40m",
    settings: TrainingSettings | None = None,
    *,
    out: Path | str | None = None,
    preprocessing: Preprocessing | None = None,
    command: str = "",
    resume: bool = False,
    force: bool = False,
    report: Report = lambda record: None,
    warn: Callable[[str], None] = lambda text: None,
    group: Group = ALONE,
) -> Checkpoint:
    """Return the trained network of the best epoch: the highest validation accuracy with hard spikes.

    The same recordings, settings and number of threads give the same bits.

    Args:
        training, validation: recordings of the same shape and classes; the test recordings are no business of this.
        architecture: a network, ``fc_0p40m``, ``conv_0p42m``, or the path of a YAML file.
        settings: method, epochs, learning rate, seed, ...; default: a baseline of 30 epochs.
        out: checkpoint to write, with a log ``<out>.jsonl`` and, while it trains, ``<out>.state``. None writes nothing.
        preprocessing: how counts become values; default: clipped at a count that covers 99 % of those of the training
            recordings, and divided by it.
        command: for the checkpoint's provenance.
        resume: go on from ``<out>.state``, where there is one. force: replace an existing checkpoint.
        report: called after each epoch with its record: epoch (from 0), loss, surrogate_accuracy, hard_accuracy, gap,
            gradient_norm, spike_rates, seconds, ...
        warn: called with what the user should know: a class without recordings, layers that never spike.
        group: the processes that train together (`sastdeploy.training.distributed.processes`).

    Raises:
        InputError: recordings, network and preprocessing do not fit each other; ``out`` exists or cannot be written;
            there is nothing to resume, or a run of other settings; or the loss is no longer finite.

    Example::

        training, validation = (load_dataset("nmnist-sim", part) for part in ("train", "validation"))
        checkpoint = fit(training, validation, settings=TrainingSettings("sast", rho=0.3), out="ckpt.pt")
    """
    if isinstance(architecture, str):
        architecture = load_architecture(architecture, training.frames.shape, len(training.classes))
    settings = settings or TrainingSettings()
    preprocessing = preprocessing or find_preprocessing(training)
    with TemporaryDirectory(prefix="sastdeploy-") as folder:
        return train(
            training, validation, architecture, preprocessing, settings, out or Path(folder) / "ckpt.pt",
            dataset=training.dataset, command=command, resume=resume, force=force, report=report, warn=warn,
            group=group,
        )  # fmt: skip


def fit_all(
    runs: Sequence[Run],
    *,
    resume: bool = False,
    force: bool = False,
    skip_finished: bool = False,
    report: Callable[[int, dict[str, Any]], None] = lambda which, record: None,
    warn: Callable[[str], None] = lambda text: None,
    group: Group = ALONE,
) -> list[Checkpoint]:
    """Train several networks and return their checkpoints: with kernels ``packed`` at once, else one after the other.

    Args:
        resume: go on with interrupted runs. skip_finished: then keep the checkpoints of finished ones, too.
        report: called after each epoch with a run's place in ``runs`` and its record.

    Raises:
        InputError: as `fit`.
    """
    keep = resume and skip_finished
    kept = {w for w, run in enumerate(runs) if keep and run.out.exists() and not run.state_path.exists()}
    left = [which for which in range(len(runs)) if which not in kept]
    done = {which: load_checkpoint(runs[which].out) for which in kept}
    if left and all(runs[which].settings.kernels == "packed" for which in left):
        from sastdeploy.training.packed.loop import train_pack

        trained = train_pack(
            [runs[which] for which in left], group.device, resume=resume, force=force, warn=warn,
            report=lambda place, record: report(left[place], record),
        )  # fmt: skip
        done |= dict(zip(left, trained))
    else:
        for which in left:
            run = runs[which]
            done[which] = train(
                run.training, run.validation, run.architecture, run.preprocessing, run.settings, run.out,
                dataset=run.dataset, command=run.command, resume=resume, force=force, group=group, warn=warn,
                report=partial(report, which),
            )  # fmt: skip
    return [done[which] for which in range(len(runs))]


def find_preprocessing(
    training: LabelledFrames,
    *,
    clip: int | None = None,
    divisor: float | None = None,
    normalisation: str = "fixed",
) -> Preprocessing:
    """Return how the training recordings' counts become frame values in [0, 1].

    Args:
        clip: counts above it are clipped; default: `find_scale`, which covers 99 % of the training counts.
        divisor: at least the clip; default: the clip, so that the largest value is 1.
        normalisation: ``fixed`` or ``sample_max``, as in `Preprocessing`.

    Raises:
        InputError: a value out of range, or training frames without any event.
    """
    polarities, height, width = training.frames.shape
    clip = find_scale(training.frames) if clip is None else clip
    return Preprocessing(
        training.sensor_size or (width, height, polarities),
        (width, height),
        training.frames.time_bins,
        clip,
        float(clip if divisor is None else divisor),
        normalisation,
        training.window_us,
        training.binning,
        training.events_per_bin,
    )
