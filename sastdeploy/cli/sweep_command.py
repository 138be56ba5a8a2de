"""``sastdeploy sweep``: run, status and report of an experiment file."""

from __future__ import annotations

from pathlib import Path

import click

from sastdeploy.cli.options import DATA

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


def _loaded(file: str, data: str | None, records: str | None):
    from sastdeploy.cli.options import data_folder
    from sastdeploy.sweeps.experiment import load_experiment
    from sastdeploy.sweeps.local import addresses

    experiment = load_experiment(file)
    return (
        experiment,
        addresses(experiment, data_folder(data)),
        Path(records) if records else Path(file).parent / "records",
    )


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
def run(file: str, data: str | None, work: str, records: str | None, processes: int | None) -> None:
    """Run the trials of FILE that have no record yet.

    Interrupted or killed, the same call goes on: at most one epoch of each running trial is lost.
    """
    from sastdeploy.cli.options import data_folder
    from sastdeploy.report.terminal import progress
    from sastdeploy.simulator.engine import usable_cores
    from sastdeploy.sweeps.local import run_all, states

    experiment, trials, folder = _loaded(file, data, records)
    with progress() as bar:
        total = sum(trial.epochs for trial in trials.values())
        task = bar.add_task(experiment.name, total=total)

        def show() -> None:
            now = states(trials, Path(work), folder)
            done, busy = (sum(s.state == kind for s in now) for kind in ("done", "running"))
            text = f"{experiment.name}: {done} of {len(now)} trials done, {busy} begun; epochs"
            bar.update(task, completed=sum(s.epochs for s in now), description=text)

        run_all(
            trials, data_folder(data), Path(work), folder, processes or usable_cores(), show,
            lambda text: click.echo(text, err=True),
        )  # fmt: skip
    if experiment.select_by is not None:
        from sastdeploy.sweeps.selection import read_tests

        chosen = read_tests(experiment, trials, data_folder(data), Path(work), folder)
        click.echo(
            f"Chosen by validation, test recordings read once: {len(chosen)} trials ({folder}/{experiment.name}.selection.json)."
        )
    click.echo(f"{len(trials)} trials have records in {folder}. Next: sastdeploy sweep report {file}")


@command.command()
@_FILE
@DATA
@_WORK
@_RECORDS
def status(file: str, data: str | None, work: str, records: str | None) -> None:
    """Show where every trial of FILE stands."""
    from sastdeploy.report.terminal import print_table
    from sastdeploy.sweeps.experiment import label, varied
    from sastdeploy.sweeps.local import states

    experiment, trials, folder = _loaded(file, data, records)
    names = varied(experiment)
    rows = [
        (s.address, label(s.trial, names), s.trial.seed, s.state, f"{s.epochs}/{s.trial.epochs}")
        for s in states(trials, Path(work), folder)
    ]
    print_table(("trial", "point", "seed", "state", "epochs"), rows)


@command.command()
@_FILE
@DATA
@_RECORDS
@click.option(
    "--out", type=click.Path(), default=None, help="Write the section to this file.  [default: stdout]"
)
@click.option(
    "--figures", type=click.Path(), default=None, help="Draw the section's figures into this folder."
)
def report(file: str, data: str | None, records: str | None, out: str | None, figures: str | None) -> None:
    """Print the tables of FILE from the trials' records, and draw its figures."""
    from sastdeploy import atomic
    from sastdeploy.sweeps.pictures import draw, embed
    from sastdeploy.sweeps.points import aggregate
    from sastdeploy.sweeps.report import section

    experiment, trials, folder = _loaded(file, data, records)
    results = aggregate(experiment, trials, folder)
    pictures = embed(draw(results, Path(figures)), Path(figures), Path(out or "-")) if figures else ""
    text = section(results, pictures)
    if out:
        atomic.write_text(Path(out), text)
        click.echo(f"wrote {out}", err=True)
    else:
        click.echo(text)
