"""The one recipe: find the frames' scale, build the network, train it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sastdeploy.errors import InputError, short
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import load_architecture
from sastdeploy.networks.checkpoint import Checkpoint, load_checkpoint
from sastdeploy.recordings.binning import find_scale
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.recordings.preprocessing import MAX_DIVISOR, Preprocessing
from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.loop import train
from sastdeploy.training.run import Report, TrainingRun, other_run
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
    say: Callable[[str], None] = lambda text: None,
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
        say: called with what the user should know: a class without recordings, layers that never spike.
        group: the processes that train together (`sastdeploy.training.distributed.processes`).

    Raises:
        InputError: recordings, network and preprocessing do not fit each other; ``out`` exists or cannot be written;
            there is nothing to resume, or a run of other settings; or the loss is no longer finite.

    Example::

        training, validation = (load_dataset("nmnist-sim", part) for part in ("train", "validation"))
        checkpoint = fit(training, validation, settings=TrainingSettings("sast", rho=0.3), out="sast.pt")
    """
    if isinstance(architecture, str):
        architecture = load_architecture(architecture, training.frames.shape, len(training.classes))
    preprocessing = preprocessing or find_preprocessing(training)
    with TemporaryDirectory(prefix="sastdeploy-") as folder:
        run = TrainingRun(
            training, validation, architecture, preprocessing, settings or TrainingSettings(),
            out or Path(folder) / "ckpt.pt", command,
        )  # fmt: skip
        (checkpoint,) = fit_all(
            [run], resume=resume, force=force, report=lambda _, record: report(record), say=say, group=group
        )
        return checkpoint


def fit_all(
    runs: Sequence[TrainingRun],
    *,
    resume: bool = False,
    force: bool = False,
    skip_finished: bool = False,
    report: Callable[[int, dict[str, Any]], None] = lambda which, record: None,
    say: Callable[[str], None] = lambda text: None,
    group: Group = ALONE,
) -> list[Checkpoint]:
    """Train several networks, such as one per seed, and return their checkpoints in the order of ``runs``.

    Those with kernels ``packed`` are trained at once, the others one after the other. Each is the network that `fit`
    returns of the same recordings and settings (with ``packed`` within float32 rounding).

    Args:
        runs: what each network is trained on and with, and its file; no two write the same file.
        resume: go on from ``<out>.state`` where there is one. skip_finished: with ``resume``, take the checkpoint of a run
            that is finished from its file, if it is of the same run. force: replace existing checkpoints.
        report: called after each epoch with a run's place in ``runs`` and its record, as `fit` describes it.
        say: called with what the user should know: a class without recordings, layers that never spike.
        group: the processes that train together (`sastdeploy.training.distributed.processes`).

    Raises:
        InputError: as `fit`; two runs write the same file; or a finished checkpoint is of another run.

    Example::

        runs = []
        for seed in range(3):
            training, validation = (load_dataset("nmnist-sim", part, seed=seed) for part in ("train", "validation"))
            network = load_architecture("fc_0p40m", training.frames.shape, len(training.classes))
            settings = TrainingSettings("sast", rho=0.3, seed=seed)
            runs.append(
                TrainingRun(training, validation, network, find_preprocessing(training), settings, f"ckpt-s{seed}.pt")
            )
        checkpoints = fit_all(runs)
    """
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise InputError("two runs write the same checkpoint. Give each a file of its own.")
    keep = resume and skip_finished
    done: dict[int, Checkpoint] = {}
    for which, run in enumerate(runs):
        if keep and run.path.exists() and not run.state_path.exists():
            finished = load_checkpoint(run.path)
            other = other_run(run, group, finished)
            if not other:
                done[which] = finished
            elif not force:
                raise InputError(
                    f"{run.path}: is finished and of another run, {other}. Repeat the first call's options, or train it anew with --force."
                )
    packed = [
        which for which, run in enumerate(runs) if which not in done and run.settings.kernels == "packed"
    ]
    if packed:
        from sastdeploy.training.packed.loop import train_pack

        done |= zip(
            packed,
            train_pack(
                [runs[which] for which in packed], group, resume=resume, force=force, say=say,
                report=lambda place, record: report(packed[place], record),
            ),
        )  # fmt: skip
    for which, run in enumerate(runs):
        if which not in done:
            done[which] = train(
                run, resume=resume, force=force, report=partial(report, which), say=say, group=group
            )
    return [done[which] for which in range(len(runs))]


def find_preprocessing(
    training: LabelledFrames,
    *,
    clip: int | None = None,
    divisor: float | None = None,
    normalisation: str = "fixed",
) -> Preprocessing:
    """Return how the training recordings' counts become frame values in [0, 1]: ``min(count, clip) / divisor``.

    Sensor, frames and bins are those of ``training``. The test recordings are no business of this.

    Args:
        training: the recordings that the network learns from.
        clip: events per pixel, polarity and bin above which a count is clipped, 1 to 127; default: the smallest clip that
            leaves 99 % of the counts above zero as they are.
        divisor: events, at least the clip; default: the clip, so that the largest value is 1. A larger one makes every value
            smaller, which costs no clipped count.
        normalisation: ``fixed``, or ``sample_max``, as in `sastdeploy.Preprocessing`.

    Raises:
        InputError: a value out of range, or training recordings without any event.

    Example::

        training = load_dataset("nmnist-sim", "train")
        preprocessing = find_preprocessing(training)
        print(preprocessing.c_clip, preprocessing.divisor)
        wider = find_preprocessing(training, clip=preprocessing.c_clip, divisor=4.0 * preprocessing.c_clip)
    """
    polarities, height, width = training.frames.shape
    if clip is None:
        clip = find_scale(training.frames)
        if divisor is not None and 0 < divisor < clip:
            raise InputError(
                f"divisor {short(divisor)}: below {clip}, at which the counts are clipped, so frame values would exceed 1. Choose a divisor "
                f"of at least {clip}, or a clip too."
            )
    value = clip if divisor is None else divisor
    return Preprocessing(
        training.sensor_size or (width, height, polarities),
        (width, height),
        training.frames.time_bins,
        clip,
        float(value) if abs(value) <= MAX_DIVISOR else value,
        normalisation,
        training.window_us,
        training.binning,
        training.events_per_bin,
    )
