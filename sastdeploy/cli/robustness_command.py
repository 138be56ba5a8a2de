"""``sastdeploy robustness``."""

from __future__ import annotations

import click

from sastdeploy.cli.options import DATA, DATASET, FORCE, JSON, LIMIT, SKIP_BAD


@click.command()
@click.argument("checkpoint", type=click.Path())
@DATASET
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="test",
    show_default=True,
    help="Which recordings.",
)
@LIMIT
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    help="Hardware profile whose integer program is run too; repeat for several.  [default: none]",
)
@click.option(
    "--corruption",
    "corruptions",
    multiple=True,
    help="Kind and level, as in drop:0.3, hot_pixels:5, jitter:2ms, noise:1Hz, flip:0.5; repeat for several."
    "  [default: three or four levels of each]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the corruptions.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="Threads of the integer programs; the result does not depend on it.  [default: every core]",
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False),
    default=None,
    help="Draw accuracy against level into this folder, a file per kind.  [default: none]",
)
@FORCE
@DATA
@SKIP_BAD
@JSON
def command(
    checkpoint: str,
    dataset: str | None,
    split: str,
    limit: int | None,
    profiles: tuple[str, ...],
    corruptions: tuple[str, ...],
    seed: int,
    threads: int | None,
    figures: str | None,
    force: bool,
    data: str | None,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of CHECKPOINT on corrupted recordings: surrogate spikes, hard spikes, integer programs.

    Events are lost, added, moved in time or mirrored before they are counted; every level sees the same recordings.
    """
    import json
    from functools import partial
    from pathlib import Path

    from sastdeploy import load_checkpoint
    from sastdeploy._files import atomic
    from sastdeploy._files.reading import shown
    from sastdeploy.analysis.robustness import DEFAULT, grid
    from sastdeploy.cli.arguments import folder
    from sastdeploy.cli.options import data_folder, load_data_for
    from sastdeploy.cli.robustness_tables import print_records
    from sastdeploy.cli.terminal import progress
    from sastdeploy.networks.checkpoint import checkpoint_hash
    from sastdeploy.recordings.corrupted_frames import corrupted_frames
    from sastdeploy.recordings.corruption import Corruption
    from sastdeploy.report.robustness_figures import draw

    if figures:
        folder(figures, "--figures")
    chosen = tuple(dict.fromkeys(Corruption.parse(text) for text in corruptions)) or DEFAULT
    trained = load_checkpoint(checkpoint)
    name, clean, simulated = load_data_for(trained, checkpoint, dataset, split, data, limit, skip_bad)
    corrupt = partial(corrupted_frames, clean, name, split, root=data_folder(data), seed=seed)
    with progress() as bar:
        task = bar.add_task("corrupting, running", total=1 + len(chosen))
        records = grid(
            trained, clean, corrupt, chosen, profiles, threads=threads,
            progress=lambda done, total: bar.update(task, completed=done), say=partial(click.echo, err=True),
        )  # fmt: skip
    kind = "simulated recordings" if simulated else "recordings"
    title = f"{checkpoint} on {len(clean):,} {split} {kind} of {name}, corrupted"
    if as_json:
        click.echo(json.dumps({
            "schema": "sastdeploy.robustness/1", "checkpoint": checkpoint, "checkpoint_hash": checkpoint_hash(trained),
            "dataset": name, "split": split, "simulated": simulated, "limit": limit, "seed": seed, "records": records,
        }, indent=2, allow_nan=False))  # fmt: skip
    else:
        print_records(records, title)
    if figures:
        with atomic.adding_files(figures, force=force, inputs=[checkpoint]) as fresh:
            drawn = draw(records, fresh, f"{shown(Path(checkpoint).name)}: {len(clean):,} {kind} of {name}")
        for path in drawn:
            click.echo(f"wrote {Path(figures) / path.name}", err=True)
