"""``sastdeploy train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sastdeploy.cli.arguments import options_named, pasted, stated
from sastdeploy.cli.options import DATA, JSON, SKIP_BAD, binning_options, window_us

if TYPE_CHECKING:
    from pathlib import Path

    from sastdeploy import TrainingSettings

MAX_SEEDS = 1000
_FRAMES = {
    "time_bins": "time-bins",
    "c_clip": "clip",
    "divisor": "divisor",
    "events_per_bin": "events-per-bin",
}


class _Seeds(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """Whole numbers and ranges of them, as in ``0-4,7``."""

    name = "SEEDS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        seeds: list[int] = []
        for part in value.split(","):
            first, _, last = part.partition("-")
            ends = (first, last if _ else first)
            if not all(end.isascii() and end.isdigit() and len(end) < 20 for end in ends) or int(
                ends[0]
            ) > int(ends[1]):
                self.fail(
                    f"'{part}' is no seed and no range of seeds. Give them as in 0-4 or 0,3,7.", param, ctx
                )
            if int(ends[1]) - int(ends[0]) + len(seeds) >= MAX_SEEDS:
                self.fail(f"more than {MAX_SEEDS:,} seeds.", param, ctx)
            seeds += range(int(ends[0]), int(ends[1]) + 1)
        if len(set(seeds)) < len(seeds):
            self.fail("a seed stands twice. Leave one of them out.", param, ctx)
        return tuple(seeds)


@click.command()
@click.option(
    "--dataset",
    required=True,
    help="nmnist-sim, dvsgesture-sim (simulated), nmnist or dvsgesture (real), or a folder of your own recordings.",
)
@click.option(
    "--arch", default="fc_0p40m", show_default=True, help="fc_0p40m, conv_0p42m, or a YAML file of your own."
)
@click.option(
    "--method",
    type=click.Choice(["baseline", "sast", "asam", "random"]),
    default="baseline",
    show_default=True,
    help="baseline: one gradient per step; sast: two, sharpness-aware; asam: the same, a step in proportion to each weight; random: one, at a random point.",
)
@click.option(
    "--rho",
    type=float,
    default=None,
    help="Length of the step of sast, asam and random.  [default: 0.3; baseline has none]",
)
@click.option(
    "--delta",
    type=float,
    default=1e-12,
    show_default=True,
    help="Added to the gradient's norm that divides the ascent step, against a division by 0.",
)
@click.option(
    "--epochs", type=int, default=30, show_default=True, help="Passes over the training recordings."
)
@click.option("--batch-size", type=int, default=128, show_default=True, help="Recordings per step.")
@click.option(
    "--lr",
    type=float,
    default=1e-3,
    show_default=True,
    help="Learning rate of Adam at the start of its cosine.",
)
@click.option(
    "--alpha", type=float, default=0.5, show_default=True, help="Leak factor of the membrane per time bin."
)
@click.option(
    "--threshold", type=float, default=1.0, show_default=True, help="Spike threshold theta of every neuron."
)
@click.option("--slope", type=float, default=25.0, show_default=True, help="Slope k of the arctan surrogate.")
@click.option(
    "--forward",
    # smooth is the earlier word for surrogate.
    type=click.Choice(["surrogate", "hard", "smooth"]),
    metavar="[surrogate|hard]",
    default="surrogate",
    show_default=True,
    help="Spikes of the forward pass; hard: with the surrogate's gradient backward.",
)
@click.option(
    "--slope-end",
    type=float,
    default=0.0,
    help="Slope in the last epoch; it changes from --slope by equal factors.  [default: unchanged]",
)
@click.option(
    "--weight-decay", type=float, default=0.0, show_default=True, help="Decoupled weight decay (AdamW)."
)
@click.option(
    "--init-scale", type=float, default=1.0, show_default=True, help="Factor on the initial weights."
)
@click.option(
    "--init",
    type=click.Choice(["paper", "alive"]),
    default="paper",
    show_default=True,
    help="Initial weights: paper: as PyTorch draws them (the paper states none); alive: scaled layer by layer until each spikes on the first minibatch.",
)
@click.option(
    "--quantize-bits",
    type=int,
    default=0,
    help="Train with weights rounded to 2 to 8 bits in the last --quantize-epochs epochs.  [default: never]",
)
@click.option(
    "--quantize-epochs", type=int, default=0, help="Number of last epochs with rounded weights.  [default: 0]"
)
@click.option("--time-bins", type=int, default=10, show_default=True, help="Time bins T per recording.")
@binning_options
@click.option(
    "--clip",
    type=int,
    default=None,
    help="Event counts above it are clipped.  [default: covers 99 % of the training counts]",
)
@click.option(
    "--divisor",
    type=float,
    default=None,
    help="Frame value is min(count, clip) / divisor.  [default: the clip]",
)
@click.option(
    "--normalisation",
    type=click.Choice(["fixed", "sample_max"]),
    default="fixed",
    show_default=True,
    help="sample_max divides by a recording's own largest count, known only at its end: such a network cannot be compiled.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of weights, minibatches and the validation draw.",
)
@click.option(
    "--seeds",
    type=_Seeds(),
    default=None,
    help="Train one network per seed, as in 0-4 or 0,3,7; ckpt.pt becomes ckpt-s0.pt, ...  With cuda all at once.",
)
@click.option(
    "--limit",
    type=int,
    default=None,
    help="Use at most this many training and at most as many validation recordings, classes in proportion.  [default: all]",
)
@click.option("--out", type=click.Path(), default="ckpt.pt", show_default=True, help="Checkpoint to write.")
@DATA
@SKIP_BAD
@click.option("--resume", is_flag=True, help="Go on with an interrupted run of the same options.")
@click.option("--force", is_flag=True, help="Replace an existing checkpoint.")
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=None,
    help="Threads of torch, in each process; float sums can differ in the last bit between numbers.  [default: torch's own; under torchrun 1]",
)
@click.option(
    "--kernels",
    type=click.Choice(["fused", "torch", "packed"]),
    default=None,
    help="torch: the plain definition, several times slower; packed: all networks in one batched step; equal within rounding.  [default: fused; with cuda packed]",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="cpu, cuda or cuda:N; under torchrun cuda, each process its own. It has not been run on a GPU yet.",
)
@JSON
def command(dataset: str, arch: str, method: str, rho: float | None, delta: float, epochs: int, batch_size: int,
            lr: float, alpha: float, threshold: float, slope: float, forward: str, slope_end: float,
            weight_decay: float, init_scale: float, init: str, quantize_bits: int, quantize_epochs: int, time_bins: int, window: float | None, binning: str, events_per_bin: int | None, clip: int | None,
            divisor: float | None, normalisation: str, seed: int, seeds: tuple[int, ...] | None, limit: int | None, out: str, data: str | None,
            skip_bad: bool, resume: bool, force: bool, threads: int | None, kernels: str | None,
            device: str, as_json: bool) -> None:  # fmt: skip
    """Train a network with surrogate spikes and keep the epoch that is best with hard ones.

    Writes OUT, and OUT.jsonl with one line per epoch. The test recordings are never read.
    'torchrun --nproc-per-node N -m sastdeploy train ...' trains one network on N processes, which share each batch.
    """
    import json
    import os
    import shlex
    import sys
    from pathlib import Path

    from sastdeploy import Preprocessing, load_architecture
    from sastdeploy.cli.options import dataset_facts, load_data, note_simulated
    from sastdeploy.cli.terminal import progress
    from sastdeploy.networks.architecture import Neuron
    from sastdeploy.training.settings import kernels_for, shown_training

    if seeds and stated("seed"):
        raise click.UsageError("--seeds names every seed; leave out --seed.")
    if method == "baseline" and stated("delta"):
        raise click.UsageError("--delta is for the methods sast, asam and random; leave it out.")
    facts = dataset_facts(dataset)
    packable = quantize_bits == 0 and os.environ.get("WORLD_SIZE", "1") == "1"
    settings = _settings(
        method=method, rho=rho, delta=delta, epochs=epochs,
        batch_size=batch_size, learning_rate=lr, seed=seed, kernels=kernels_for(device, kernels, packable), forward=forward, slope_end=slope_end,
        weight_decay=weight_decay, init_scale=init_scale, init=init, quantize_bits=quantize_bits, quantize_epochs=quantize_epochs,
    )  # fmt: skip
    least = 1 if clip is None else clip
    with options_named(_FRAMES):
        # Told before recordings are read, in which a clip is found where none is given.
        Preprocessing(facts.sensor_size, facts.frame_size, time_bins, least, least if divisor is None else divisor, normalisation,
                      window_us(window), binning, events_per_bin)  # fmt: skip
    outs = {s: _numbered(Path(out), s) for s in seeds} if seeds else {seed: Path(out)}
    architecture = load_architecture(
        arch, facts.frame_shape, len(facts.classes), Neuron(alpha, threshold, slope)
    )
    from dataclasses import replace

    import torch

    from sastdeploy import TrainingRun, find_preprocessing, fit_all
    from sastdeploy.cli.options import data_folder
    from sastdeploy.recordings.reading import ARRAYS, SUFFIXES
    from sastdeploy.training.distributed import processes
    from sastdeploy.training.outputs import check_out

    # A path may hold bytes that are no text.
    command_line = shlex.join(["sastdeploy", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()
    for path in outs.values():
        if not (seeds and resume and path.exists()):
            recorded = path.suffix in (*SUFFIXES, *ARRAYS)
            check_out(
                path, resume, force, inputs=[arch, *([facts.folder(data_folder(data))] if recorded else [])]
            )
    with processes(device) as group:
        if group.size > 1 and threads is None:
            threads = torch.get_num_threads()  # read now: Numba's start sets it to the number of cores
        runs: list[TrainingRun] = []
        for number, path in outs.items():
            with group.first_before_others():
                training, validation = (
                    load_data(
                        dataset,
                        split,
                        data,
                        time_bins=time_bins,
                        window_us=window_us(window),
                        binning=binning,
                        events_per_bin=events_per_bin,
                        limit=limit,
                        seed=number,
                        skip_bad=skip_bad,
                    )
                    for split in ("train", "validation")
                )
                if not runs:
                    note_simulated(facts, data)
            preprocessing = find_preprocessing(
                training, clip=clip, divisor=divisor, normalisation=normalisation
            )
            own = replace(settings, seed=number)
            runs.append(
                TrainingRun(training, validation, architecture, preprocessing, own, path, command_line)
            )
        click.echo(
            f"{len(training):,} training and {len(validation):,} validation recordings; frame value = "
            f"min(count, {preprocessing.c_clip}) / {preprocessing.divisor:g}"
            + (" per recording's maximum" if normalisation == "sample_max" else "")
            + (
                ""
                if window is None
                else f"; events from {window:g} ms after a recording's start are left out"
            )
            + ("; bins are parts of the window" if binning == "window" else "")
            + (f"; bins hold {events_per_bin:,} events" if events_per_bin else ""),
            err=True,
        )
        if threads:
            _use_threads(threads)
        with progress() as bar:
            task = bar.add_task(f"training {architecture.name} ({method})", total=epochs * len(runs))
            epochs_done = dict.fromkeys(range(len(runs)), 0)

            def report(which: int, record: dict[str, Any]) -> None:
                epochs_done[which] = record["epoch"] + 1
                name = f"seed {runs[which].settings.seed}, " if seeds else ""
                bar.update(task, completed=sum(epochs_done.values()), description=(
                    f"{name}epoch {record['epoch'] + 1}: loss {record['loss']:.3f}, surrogate {record['surrogate_accuracy']:.1%}, "
                    f"hard {record['hard_accuracy']:.1%}"))  # fmt: skip

            checkpoints = fit_all(
                runs, resume=resume, force=force, report=report, skip_finished=seeds is not None,
                say=lambda text: click.echo(f"WARNING: {text}", err=True), group=group,
            )  # fmt: skip
        if as_json:
            printed = [
                {
                    "schema": "sastdeploy.training/1",
                    "checkpoint": str(run.out),
                    **shown_training(checkpoint.training),
                }
                for run, checkpoint in zip(runs, checkpoints)
            ]
            whole = {"schema": "sastdeploy.trainings/1", "trainings": printed} if seeds else printed[0]
            click.echo(json.dumps(whole, indent=2))
            return
        for run, checkpoint in zip(runs, checkpoints):
            chosen = checkpoint.training["selected"]
            click.echo(
                f"{run.out}: epoch {chosen['epoch'] + 1} of {epochs}, validation accuracy {chosen['surrogate_accuracy']:.2%} with "
                f"surrogate spikes, {chosen['hard_accuracy']:.2%} with hard spikes (gap {100 * chosen['gap']:.2f} points)."
            )
        spiking = [
            run.out
            for run, checkpoint in zip(runs, checkpoints)
            if not checkpoint.training["selected"].get("silent_layers")
        ]
        if spiking:
            # What was rounded for few bits goes to a profile of few, where its thresholds fit.
            small = 0 < quantize_bits <= 4 and runs[0].architecture.neuron.threshold < 7.5
            profile = "aggressive_int4" if small else "loihi_int8"
            click.echo(f"Next: sastdeploy compile {pasted(spiking[0])} --profile {profile}")


def _numbered(out: Path, seed: int) -> Path:
    """Return a seed's own file beside ``out``: ckpt-s3.pt for ckpt.pt."""
    return out.with_name(f"{out.stem}-s{seed}{out.suffix}")


def _use_threads(threads: int) -> None:
    """Let torch use this many threads, and Numba's kernels as many of them as it has.

    Torch is not held to the cores: the same bits as on a larger machine take the same number of threads.
    """
    import numba
    import torch

    most = numba.config.NUMBA_NUM_THREADS
    if threads > most:
        click.echo(
            f"threads {threads}: more than this machine's cores, which is slower; torch uses {threads}, the compiled "
            f"kernels {most}.",
            err=True,
        )
    numba.set_num_threads(min(threads, most))
    torch.set_num_threads(threads)


def _settings(**values: Any) -> TrainingSettings:
    """Return the settings; an error names the option instead of the field."""
    from dataclasses import fields

    from sastdeploy import TrainingSettings

    names = {field.name: field.name.replace("_", "-") for field in fields(TrainingSettings)}
    with options_named({**names, "learning_rate": "lr"}):
        return TrainingSettings(**values)
