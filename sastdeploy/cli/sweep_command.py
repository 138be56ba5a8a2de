"""``sastdeploy sweep``: run, status and report of an experiment file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sastdeploy.cli.options import DATA, FORCE, JSON

if TYPE_CHECKING:
    from sastdeploy.experiments.spec import Experiment, Trial

_FILE = click.argument("file", type=click.Path())
_WORK = click.option(
    "--work", type=click.Path(), default="sweep-work", show_default=True, help="Folder of checkpoints and training states."
)  # fmt: skip
_RECORDS = click.option(
    "--records",
    type=click.Path(),
    default=None,
    help="Folder of the records.  [default: records, beside FILE]",
)


def _loaded(file: str, data: str | None, records: str | None) -> tuple[Experiment, dict[str, Trial], Path]:
    from sastdeploy.cli.arguments import folder
    from sastdeploy.cli.options import data_folder
    from sastdeploy.experiments.runner import addresses
    from sastdeploy.experiments.spec import load_experiment

    place = folder(records or str(Path(file).parent / "records"), "--records")
    experiment = load_experiment(file)
    return experiment, addresses(experiment, data_folder(data)), place


@click.group()
def command() -> None:
    """Run a grid of trainings, each once; go on after interruption; report."""


@command.command()
@_FILE
@DATA
@_WORK
@_RECORDS
@click.option(
    "--processes", type=click.IntRange(1), default=None, help="Trials at a time.  [default: every core]"
)
@click.option(
    "--device",
    default=None,
    help="Train trials with 'kernels: packed' at once on cuda, cuda:N or cpu, before the rest of their work runs on the cores.",
)
@click.option(
    "--scheduler", default=None, metavar="ADDRESS", help="Run on the Dask cluster at tcp://HOST:PORT instead."
)
def run(
    file: str,
    data: str | None,
    work: str,
    records: str | None,
    processes: int | None,
    device: str | None,
    scheduler: str | None,
) -> None:
    """Run the trials of FILE that have no record yet.

    Interrupted or killed, the same call goes on: at most one epoch of each running trial is lost.

    With --scheduler the trials are tasks of a Dask cluster, one per thread of its workers. --data and --work are then
    folders as the workers see them; without --data each worker uses its own SASTDEPLOY_DATA. The records are written here.
    """
    from sastdeploy import InputError
    from sastdeploy._files.atomic import check_writable
    from sastdeploy.cli.arguments import folder as place
    from sastdeploy.cli.arguments import pasted
    from sastdeploy.cli.options import data_folder
    from sastdeploy.experiments.display import SweepDisplay
    from sastdeploy.experiments.progress import Watch
    from sastdeploy.experiments.results import without_measures
    from sastdeploy.experiments.spec import varied
    from sastdeploy.provenance import usable_cores

    if scheduler and processes:
        raise click.UsageError(
            "--processes is for this machine; with --scheduler the workers' threads count."
        )
    if scheduler and device:
        raise click.UsageError("--device is for this machine; leave it out with --scheduler.")
    place(work, "--work")
    experiment, trials, folder = _loaded(file, data, records)
    if device and not any(trial.kernels == "packed" for trial in trials.values()):
        raise click.UsageError(
            f"--device: no trial of {file} has 'kernels: packed'. Set it there under 'fixed', or leave --device out."
        )
    check_writable(folder / f"{next(iter(trials))}.json")
    watch = Watch(trials, Path(work), folder)
    watch.states()  # A damaged record is told before anything runs.
    with SweepDisplay(experiment.name, varied(experiment)) as display:
        if scheduler:
            from sastdeploy.experiments.cluster import run_on_cluster

            run_on_cluster(
                trials, Path(data).absolute() if data else None, Path(work).absolute(), folder, scheduler, watch.note,
                lambda running, threads: display.update(watch.states(), running, threads), display.say,
            )  # fmt: skip
        else:
            from sastdeploy.experiments.runner import run_all

            count = processes or usable_cores()

            def show(running: set[str]) -> None:
                watch.read(running)
                display.update(watch.states(), running, count)

            failure, wanted = None, trials
            if device:
                from sastdeploy.experiments.packs import evaluable, train_packs

                try:
                    train_packs(trials, data_folder(data), Path(work), folder, device, show, display.say)
                except InputError as error:  # The other networks' checkpoints are written.
                    failure, wanted = error, evaluable(trials, Path(work))
            run_all(wanted, data_folder(data), Path(work), folder, count, show, display.say)
            if failure is not None:
                raise failure
    if experiment.select_by is not None:
        from sastdeploy.experiments.selection import choose, read_tests

        chosen = read_tests(experiment, trials, data_folder(data), Path(work), folder)
        click.echo(
            f"Chosen by validation, test recordings read once: {len(chosen)} trials ({folder}/{experiment.name}.selection.json)."
        )
        if before := choose(experiment, trials, folder).get("read_before"):
            click.echo(
                f"The test recordings had been read before for {len(before)} equal trainings of other experiments "
                f"({before[0]}.json and others): say so where this choice is reported.",
                err=True,
            )
    lacking = without_measures(trials, folder)
    if lacking:
        click.echo(
            f"{len(lacking)} records lack measures that {file} asks for ({lacking[0]}.json and others). "
            + (
                "Run it again without --scheduler, where the --work folder with their checkpoints is."
                if scheduler
                else f"Their checkpoints are not in {work}: give the --work folder that has them, or remove those records and "
                "run again: then they are trained anew."
            ),
            err=True,
        )
    words = ["sastdeploy", "sweep", "report", pasted(file)]
    for option, value in (("--data", data), ("--records", records)):
        words += [option, pasted(value)] if value else []
    click.echo(f"{len(trials)} trials have records in {folder}. Next: {' '.join(words)}")


@command.command()
@_FILE
@DATA
@_WORK
@_RECORDS
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=None,
    help="Trials at a time, for the time left.  [default: every core]",
)
@JSON
def status(
    file: str, data: str | None, work: str, records: str | None, processes: int | None, as_json: bool
) -> None:
    """Show where every trial of FILE stands, and how long the rest takes."""
    import json

    from sastdeploy.cli.terminal import print_table, print_text
    from sastdeploy.experiments.display import duration
    from sastdeploy.experiments.progress import Watch, seconds_left
    from sastdeploy.experiments.spec import label, varied
    from sastdeploy.provenance import usable_cores

    experiment, trials, folder = _loaded(file, data, records)
    names, count = varied(experiment), processes or usable_cores()
    states = Watch(trials, Path(work), folder).states()
    left, done = seconds_left(states, count), sum(s.state == "done" for s in states)
    if as_json:
        listed = [
            {
                "address": s.address, "point": label(s.trial, names), "seed": s.trial.seed, "state": s.state,
                "epochs": s.epochs.count, "of": s.trial.epochs, "hard_accuracy": s.epochs.hard_accuracy,
                "seconds": s.epochs.seconds,
            }
            for s in states
        ]  # fmt: skip
        content = {
            "experiment": experiment.name, "done": done, "left": len(states) - done, "processes": count,
            "seconds_left": left, "trials": listed,
        }  # fmt: skip
        click.echo(json.dumps(content, indent=1))
        return
    rows = [
        (s.address, label(s.trial, names), s.trial.seed, s.state, f"{s.epochs.count}/{s.trial.epochs}",
         "-" if s.epochs.hard_accuracy is None else f"{100 * s.epochs.hard_accuracy:.2f}")
        for s in states
    ]  # fmt: skip
    print_table(("trial", "point", "seed", "state", "epochs", "hard, %"), rows)
    print_text(
        f"{done} of {len(states)} trials done; training left about {duration(left)} with {count} at a time"
    )


@command.command()
@_FILE
@DATA
@_RECORDS
@click.option("--out", type=click.Path(), default=None, help="Write to this file.  [default: stdout]")
@click.option("--figures", type=click.Path(), default=None, help="Draw the figures into this folder.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every figure of every point as CSV.")
@FORCE
@JSON
def report(
    file: str,
    data: str | None,
    records: str | None,
    out: str | None,
    figures: str | None,
    as_csv: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Print the tables of FILE in Markdown from the trials' records, and draw its figures."""
    import json

    from sastdeploy._files import atomic
    from sastdeploy.experiments.figures import draw, embed
    from sastdeploy.experiments.report import report as report_text
    from sastdeploy.experiments.results import aggregate
    from sastdeploy.experiments.tables import csv_text

    if as_csv and as_json:
        raise click.UsageError("--csv and --json: name one of the two.")
    experiment, trials, folder = _loaded(file, data, records)
    if out:
        atomic.check_writable(out, inputs=[file, *_files_of(experiment), *folder.glob("*.json")])
    results = aggregate(experiment, trials, folder)
    pictures = ""
    if figures:
        with atomic.adding_files(figures, force=force) as fresh:
            drawn = draw(results, fresh)
        pictures = embed(drawn, Path(figures), Path(out or "-"))
    if as_json:
        text = json.dumps(results.to_dict(), indent=1)
    elif as_csv:
        text = csv_text(results)
    else:
        text = report_text(results, pictures)
    if out:
        atomic.write_text(out, text, force=force)
        click.echo(f"wrote {out}", err=True)
    else:
        click.echo(text.rstrip("\n"))


def _files_of(experiment: Experiment) -> set[str]:
    """Return the paths of the networks' and profiles' own files."""
    named = {name for trial in experiment.trials for name in (trial.arch, *trial.profiles)}
    return {name for name in named if name.endswith((".yaml", ".yml"))}
