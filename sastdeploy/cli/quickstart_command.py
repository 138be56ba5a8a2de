"""``sastdeploy quickstart``."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--out",
    type=click.Path(),
    default="quickstart-results",
    show_default=True,
    help="Folder for everything it makes.",
)
@click.option(
    "--small",
    is_flag=True,
    help="A tenth of the recordings and a few epochs: shows that everything runs (nothing is learnt), in about a minute.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random draw."
)
@click.option(
    "--force", is_flag=True, help="Start anew: what a quickstart made in the folder is removed first."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (the content of summary.json).")
def command(out: str, small: bool, seed: int, force: bool, as_json: bool) -> None:
    """From nothing to a first result.

    Makes simulated N-MNIST recordings, trains a baseline and a SAST network on them, compiles each for two hardware
    profiles, runs the four integer programs on the test recordings, and compares. Then trains both again on frames with small
    values, where there is a gap to close. Needs no network and no data. Run it again after an interruption and it goes on where
    it was.
    """
    import json
    from dataclasses import replace
    from pathlib import Path

    from sastdeploy.cli.quickstart_tables import print_next, print_small_values, print_summary
    from sastdeploy.cli.terminal import bar
    from sastdeploy.quickstart import FULL, FULL_VALUES, SMALL, SMALL_VALUES, run

    settings, values = (SMALL, SMALL_VALUES) if small else (FULL, FULL_VALUES)
    summary = run(
        Path(out),
        replace(settings, seed=seed),
        replace(values, seed=seed),
        force=force,
        first=(lambda summary: None) if as_json else print_summary,
        say=lambda text: click.echo(text, err=True),
        bar=bar,
    )
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    print_small_values(summary)
    print_next(summary, Path(out))
