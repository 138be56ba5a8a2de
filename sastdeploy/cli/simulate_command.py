"""``sastdeploy simulate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sastdeploy.cli.arguments import stated
from sastdeploy.cli.options import BEGIN, COLUMNS, DATA, FORCE, JSON, SKIP_BAD, UNIT, window_option, window_us

if TYPE_CHECKING:
    from sastdeploy.simulator.simulate import EarlyAnswer

UNUSED = ("scipy", "cffi")
"""Packages that Numba imports, where they are installed, before it loads its first kernel: 0.35 s of the 1.2 s of
processor time of a first run, for linear algebra and foreign functions that no kernel here calls."""


@click.command()
@click.argument("program", type=click.Path(), required=False)
@click.option(
    "--dataset",
    default=None,
    help="Data set to run on, or folder of your own recordings.  [default: the one the program was trained on]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Which recordings of the data set.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=None,
    help="At most this many recordings, drawn with the classes in their proportions.  [default: all]",
)
@click.option(
    "--recording",
    type=click.Path(),
    default=None,
    help="Run on one event file (.bin, .aedat, .npy, .dat, ...) instead of a data set.  [default: none]",
)
@UNIT
@COLUMNS
@BEGIN
@window_option("the program's own; with --recording only")
@click.option(
    "--engine",
    type=click.Choice(["auto", "numba", "reference", "onnxruntime"]),
    default="auto",
    show_default=True,
    help="Which engine computes; all give the same integers. auto: reference up to 8 recordings, else numba.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    help="Threads; the result does not depend on it.  [default: every core]",
)
@click.option("--profile-run", is_flag=True, help="Show where the time went, layer by layer (engine numba).")
@JSON
@click.option(
    "--out",
    type=click.Path(),
    default=None,
    help="Write summary.json and arrays per recording into this folder.  [default: none]",
)
@click.option(
    "--trace",
    "traces",
    multiple=True,
    help="Write membranes and spikes of this layer at every step to trace.LAYER.npz, "
    "in --out's folder or here; repeat for several.  [default: none]",
)
@FORCE
@DATA
@SKIP_BAD
def command(
    program: str | None,
    dataset: str | None,
    split: str,
    limit: int | None,
    recording: str | None,
    unit: str | None,
    columns: str | None,
    begin: str | None,
    window: float | None,
    engine: str,
    threads: int | None,
    profile_run: bool,
    as_json: bool,
    out: str | None,
    traces: tuple[str, ...],
    force: bool,
    data: str | None,
    skip_bad: bool,
) -> None:
    """Simulate an integer program on recordings, bit by bit.

    Without PROGRAM, the one compiled program (.onnx) in the working folder that fits the data is taken.
    """
    from sastdeploy._files.atomic import check_writable
    from sastdeploy.program.file import program_hash
    from sastdeploy.program.records import NOT_STATED
    from sastdeploy.simulator.result_folder import check_folder

    if recording and stated("split", "limit", "skip_bad"):
        raise click.UsageError(
            "--split, --limit and --skip-bad choose recordings of a data set; leave them out with --recording."
        )
    if not recording and (unit or columns or begin or window):
        raise click.UsageError(
            "--unit, --columns, --begin and --window say how --recording is read; name one."
        )
    if profile_run and engine not in ("auto", "numba"):
        raise click.UsageError("--profile-run times the layers of engine numba; leave out --engine.")
    if profile_run:
        engine = "numba"
    from sastdeploy.recordings.npy import parse_columns

    folder, traces = Path(out) if out else None, tuple(dict.fromkeys(traces))
    if folder:
        check_folder(folder)
    from sastdeploy.cli.options import dataset_facts

    read = [each for each in (program, recording) if each]
    for path in (
        [folder / Path(each).name for each in read] if folder else [f"trace.{layer}.npz" for layer in traces]
    ):
        check_writable(path, inputs=read)
    dataset = dataset_facts(dataset).name if dataset else None
    loaded = _program(program, dataset, recording)
    if not dataset and not recording:
        if loaded.dataset == NOT_STATED:
            raise click.UsageError(
                f"{program or loaded.name} does not state its recordings. Name a data set with --dataset, or an event file with --recording."
            )
        dataset = dataset_facts(loaded.dataset).name
    if folder and not force:
        over = {"dataset": dataset or loaded.dataset, "split": split, "limit": limit, "recording": None}
        if recording:
            over = {**dict.fromkeys(over), "recording": recording}
        check_folder(folder, {**over, "program": program_hash(loaded)})
    if recording:
        reading = {
            "unit": unit,
            "columns": columns and parse_columns(columns),
            "begin": begin,
            "window_us": window_us(window),
        }
        _recording(
            loaded,
            dataset,
            Path(recording),
            reading,
            engine,
            threads,
            traces,
            folder,
            force,
            as_json,
            profile_run,
        )
        return
    from sastdeploy.simulator.result_folder import write_folder
    from sastdeploy.simulator.simulate import simulate_dataset

    with without(*UNUSED), _Bars() as bars:
        run = simulate_dataset(
            loaded,
            dataset or loaded.dataset,
            split=split,
            limit=limit,
            root=Path(data) if data else None,
            engine=engine,
            threads=threads,
            trace=traces,
            skip_bad=skip_bad,
            say=_say,
            binning=bars.binning,
            progress=bars.simulating,
            early=None if as_json else _say_early,
        )
    if folder:
        write_folder(folder, run.summary, run.result, run.labelled.labels, run.labelled.names, force=force)
        _say(f"wrote {folder}")
    if as_json:
        click.echo(json.dumps(run.summary, indent=2, allow_nan=False))
    else:
        from sastdeploy.cli.simulation_tables import print_stages, print_summary

        print_summary(run.summary)
        if profile_run:
            operations = {
                row["target"]: row["all"]["mean"] * 1000 for row in run.summary["ksynops"]["sources"]
            }
            print_stages(run.summary["speed"]["stages"], run.summary["recordings"], operations)
    if not folder:
        _write_traces(run.result, force)


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Guarantee that importing these packages fails, as if they were not installed; those imported before stay."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None bars the import
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _say(text: str) -> None:
    click.echo(text, err=True)


def _say_early(answer: EarlyAnswer) -> None:
    noun = "recording" if answer.recordings == 1 else f"{answer.recordings} recordings"
    _say(
        f"first {noun}: {answer.correct} correct, {answer.synops / 1000:,.1f} kSynOps each "
        "(plain engine, same integers); loading compiled kernels"
    )


def _program(program: str | None, dataset: str | None, recording: str | None) -> Any:
    from sastdeploy import load_program
    from sastdeploy.simulator.simulate import choose_program

    if program:
        return load_program(program)
    sensor = None
    if recording:
        from sastdeploy.recordings.reading import SUFFIXES

        sensor = SUFFIXES.get(Path(recording).suffix)
    path = choose_program(Path.cwd(), dataset, sensor, _say)
    _say(f"program: {path.name}, the only one here that fits")
    return load_program(path)


class _Bars:
    """Two progress bars on stderr, each shown once its work begins."""

    def __init__(self) -> None:
        from sastdeploy.cli.terminal import progress

        self._bars = progress()
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *failure: Any) -> None:
        # Stopping bars that never started would print an empty line before an error's text.
        if self._tasks:
            self._bars.stop()

    def binning(self, done: int, total: int) -> None:
        self._show("reading recordings", done, total)

    def simulating(self, done: int, total: int) -> None:
        self._show("simulating", done, total)

    def _show(self, what: str, done: int, total: int) -> None:
        if not self._tasks:
            self._bars.start()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)


def _recording(
    program: Any,
    dataset: str | None,
    path: Path,
    reading: dict[str, Any],
    engine: str,
    threads: int | None,
    traces: tuple[str, ...],
    folder: Path | None,
    force: bool,
    as_json: bool,
    profile_run: bool,
) -> None:
    from sastdeploy._files.reading import shown
    from sastdeploy.simulator.recording import simulate_recording
    from sastdeploy.simulator.result_folder import write_folder
    from sastdeploy.simulator.simulate import check_fit

    for remark in check_fit(program, dataset) if dataset else []:
        _say(f"{program.name}: {remark}")
    result, answer = simulate_recording(
        program, path, **reading, engine=engine, threads=threads, trace=traces, say=_say
    )
    gestures = answer.get("gestures")
    if folder:
        spans = [f"@{part['start_us']}-{part['stop_us']}us" for part in gestures] if gestures else [""]
        write_folder(folder, answer, result, names=[shown(path) + span for span in spans], force=force)
        _say(f"wrote {folder}")
    if as_json:
        click.echo(json.dumps(answer, indent=2, allow_nan=False))
    else:
        from sastdeploy.cli.simulation_tables import print_recording, print_stages

        print_recording(shown(path), answer)
        if profile_run:
            operations = dict(zip((*result.layers, program.readout.name), result.synops.mean(axis=0)))
            print_stages(answer["speed"]["stages"], len(result), operations)
    if not folder:
        _write_traces(result, force)


def _write_traces(result: Any, force: bool) -> None:
    from sastdeploy.simulator.result_folder import write_trace

    for layer in result.traces:
        path = Path(f"trace.{layer}.npz")
        write_trace(path, result, layer, force=force)
        _say(f"wrote {path}")
