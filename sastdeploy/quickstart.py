"""From nothing to a first result: simulated recordings, two trainings, four programs, one table of Table 4's form.

And to a second one: a sweep of two trainings on frames with small values, where there is a gap to close.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sastdeploy import InputError
from sastdeploy._files import atomic
from sastdeploy._files.locks import alone
from sastdeploy._files.reading import exists, read_json
from sastdeploy.provenance import git_commit, usable_cores, versions

if TYPE_CHECKING:
    from sastdeploy import Checkpoint, TrainingSettings

SCHEMA = "sastdeploy.quickstart/1"
DATASET = "nmnist-sim"
METHODS = ("baseline", "sast")
SMALL_VALUES_FOLDER = "small-values"
MARKER = "settings.json"
"""What a quickstart's folder is known by."""
PROFILES = ("loihi_int8", "aggressive_int4")


@dataclass(frozen=True)
class QuickstartSettings:
    """How much of everything: recordings made, epochs trained, and the paper's rho for N-MNIST."""

    train: int
    test: int
    epochs: int
    rho: float = 0.3
    batch_size: int = 64
    arch: str = "fc_0p40m"
    seed: int = 0


@dataclass(frozen=True)
class SmallValuesSettings:
    """How much of everything in the second comparison: recordings, SAST's epochs, and what counts are divided by, as 8-bit images are.

    The baseline has twice as many epochs, and so as many gradients.
    """

    train: int
    test: int
    epochs: int
    clip: int = 6
    divisor: float = 255.0
    rho: float = 0.3
    arch: str = "fc_0p40m"
    seed: int = 0


FULL = QuickstartSettings(train=4000, test=2000, epochs=15)
SMALL = QuickstartSettings(train=400, test=200, epochs=3)
FULL_VALUES = SmallValuesSettings(train=12000, test=2000, epochs=200)
SMALL_VALUES = SmallValuesSettings(train=400, test=200, epochs=2)

Say = Callable[[str], None]
Advance = Callable[[int], None]
"""Told how much of a step is done."""
Bar = Callable[[str, int], AbstractContextManager[Advance]]
"""Makes a progress bar: what is done, and how much there is."""


@contextmanager
def no_bar(description: str, total: int) -> Iterator[Advance]:
    """Show nothing."""
    yield lambda done: None


def run(
    out: Path,
    settings: QuickstartSettings,
    values: SmallValuesSettings,
    *,
    force: bool = False,
    first: Callable[[dict[str, Any]], None] = lambda summary: None,
    say: Say = lambda text: None,
    bar: Bar = no_bar,
) -> dict[str, Any]:
    """Do everything below ``out`` and return the summary that it also writes to ``out/summary.json``.

    Finished steps are found and not repeated, so an interrupted run goes on where it was.

    Args:
        values: of the second comparison. first: told the summary of the first, before the second begins.

    Raises:
        InputError: ``out`` holds a quickstart of other settings or damaged files (``force`` starts anew), or cannot be written.
    """
    atomic.check_way(out)
    with alone(
        out, "another quickstart is at work there. Wait for its end, or choose another folder with --out."
    ):
        return _run(out, settings, values, force, first, say, bar)


def _run(
    out: Path,
    settings: QuickstartSettings,
    values: SmallValuesSettings,
    force: bool,
    first: Callable[[dict[str, Any]], None],
    say: Say,
    bar: Bar,
) -> dict[str, Any]:
    _claim(out, settings, force)
    _claim(out / SMALL_VALUES_FOLDER, values, force)
    try:
        summary = _first(out, settings, values, say, bar)
        first(summary)
        second = _small_values(out / SMALL_VALUES_FOLDER, values, say, bar)
    except InputError as error:
        damaged = str(error).startswith(str(out)) and "cannot be written" not in str(error)
        advice = " To begin this quickstart again: --force." if damaged else ""
        raise InputError(f"{error}{advice}") from error
    return _written(out, summary | {"small_values": second})


def _first(
    out: Path, settings: QuickstartSettings, values: SmallValuesSettings, say: Say, bar: Bar
) -> dict[str, Any]:
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    root = out / "data"
    make = partial(_make, root, settings.train, settings.test, settings.seed, bar)
    _timed(seconds, "simulate recordings", make, say)
    picture = _timed(seconds, "draw", partial(_draw_one, root, out), say)
    checkpoints: dict[str, Checkpoint] = {}
    for method in METHODS:
        chosen = _chosen(method, settings.rho, settings.epochs, settings.batch_size, settings.seed)
        train = partial(_train, out / f"{method}.pt", root, settings.arch, chosen, bar, say)
        checkpoints[method] = _timed(seconds, f"train {method}", train, say)
    rows = _timed(seconds, "compile and simulate", partial(_programs, out, checkpoints, root), say)
    accuracies = _timed(seconds, "evaluate", partial(_evaluate, checkpoints, root), say)
    summary = {
        "schema": SCHEMA,
        "dataset": DATASET,
        "simulated": True,
        "settings": asdict(settings),
        "float": accuracies,
        "table_4": rows,
        "figures": {"recording": str(picture), "bars": str(_bars(out, rows))},
        "seconds": seconds | {"all": time.perf_counter() - began},
        "provenance": {"versions": versions("torch", "numpy", "numba", "onnx"), "commit": git_commit()},
    }
    return _written(out, summary | _earlier(out, values))


def _earlier(out: Path, values: SmallValuesSettings) -> dict[str, Any]:
    """Return the second comparison of a run that came to its end before, for the summary that takes the place of its."""
    try:
        second = read_json(out / "summary.json")["small_values"]
        return {"small_values": second} if second["settings"] == asdict(values) else {}
    except (InputError, KeyError, TypeError):
        return {}


def _small_values(folder: Path, settings: SmallValuesSettings, say: Say, bar: Bar) -> dict[str, Any]:
    """Train both methods on frames with small values, with as many gradients, and return what came of it."""
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    root = folder / "data"
    make = partial(_make, root, settings.train, settings.test, settings.seed, bar)
    _timed(seconds, "simulate more recordings", make, say)
    both = f"baseline {2 * settings.epochs} epochs, SAST {settings.epochs}"
    sweep = partial(_sweep, folder, root, settings, bar, say)
    checkpoints = _timed(seconds, f"train both on small values, side by side: {both}", sweep, say)
    accuracies = _timed(seconds, "evaluate", partial(_evaluate, checkpoints, root), say)
    return {
        "settings": asdict(settings),
        "float": accuracies,
        "figure": str(_gap_bars(folder, accuracies, settings.divisor)),
        "seconds": seconds | {"all": time.perf_counter() - began},
    }


def _sweep(
    folder: Path, root: Path, settings: SmallValuesSettings, bar: Bar, say: Say
) -> dict[str, Checkpoint]:
    """Run both trainings as a sweep, a core each, and return the methods' checkpoints; one that is gone is trained anew."""
    from sastdeploy.experiments.progress import Watch
    from sastdeploy.experiments.record import load_record
    from sastdeploy.experiments.runner import data_hash, run_all
    from sastdeploy.experiments.spec import Trial
    from sastdeploy.experiments.trial import kept_checkpoint

    same = Trial(
        DATASET, settings.arch, seed=settings.seed, clip=settings.clip, divisor_factor=settings.divisor / settings.clip
    )  # fmt: skip
    baseline = replace(same, epochs=2 * settings.epochs)
    sast = replace(same, method="sast", rho=settings.rho, epochs=settings.epochs)
    data = data_hash(DATASET, same.time_bins, root)
    trials = {trial.address(data): trial for trial in (baseline, sast)}
    work, records = folder / "work", folder / "records"
    kept = {address: work / address / "ckpt.pt" for address in trials}
    for address, path in kept.items():
        if not exists(path):
            (records / f"{address}.json").unlink(missing_ok=True)
    watch = Watch(trials, work, records)
    with bar("training both", 3 * settings.epochs) as advance:

        def show(running: set[str]) -> None:
            watch.read(running)
            advance(sum(state.epochs.count for state in watch.states()))

        run_all(trials, root, work, records, min(len(trials), usable_cores()), show, say)
    return {
        trial.method: kept_checkpoint(kept[address], load_record(records / f"{address}.json", trial))
        for address, trial in trials.items()
    }


def _written(out: Path, summary: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(summary, indent=2, allow_nan=False)
    atomic.write_text(out / "summary.json", text + "\n")
    written: dict[str, Any] = json.loads(text)
    return written


def _claim(out: Path, settings: QuickstartSettings | SmallValuesSettings, force: bool) -> None:
    """Take the folder for these settings; what a quickstart made there before is removed by force only."""
    marker = out / MARKER
    wanted = asdict(settings)
    before = _settings(marker)
    if before is None:
        if exists(out) and (not out.is_dir() or set(out.iterdir()) - set(atomic.remnants(marker))):
            raise InputError(f"{out}: exists and holds no quickstart. Choose another folder with --out.")
    elif force:
        _clear(out)
    elif before != wanted:
        raise InputError(
            f"{out}: holds a quickstart of other settings. Choose another --out, or replace it with --force."
        )
    atomic.remove_remnants(marker)
    atomic.write_text(marker, json.dumps(wanted))


def _settings(marker: Path) -> dict[str, Any] | None:
    """Return the settings of the quickstart in a folder; None without one. Others have files of the marker's name, too."""
    try:
        settings = read_json(marker)
    except InputError:
        return None
    ours = (
        isinstance(settings, dict) and {"train", "test", "epochs", "rho", "arch", "seed"} <= settings.keys()
    )
    return settings if ours else None


def _clear(out: Path) -> None:
    """Remove what a quickstart makes, and nothing else; the marker last, so that what is left can be removed again."""
    for name in ("data", SMALL_VALUES_FOLDER):
        if exists(out / name):
            atomic.remove_folder(out / name)
    made = [f"{method}.{end}" for method in METHODS for end in ("pt", "pt.jsonl", "pt.state", *(f"{p}.onnx" for p in PROFILES))]  # fmt: skip
    for name in (*made, "recording.png", "accuracy.png", "summary.json", MARKER):
        (out / name).unlink(missing_ok=True)


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any], say: Say) -> Any:
    say(f"-- {name}")
    began = time.perf_counter()
    result = work()
    seconds[name] = time.perf_counter() - began
    return result


def _make(root: Path, train: int, test: int, seed: int, bar: Bar) -> None:
    from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

    with bar("simulated recordings", train + test) as advance:
        make_nmnist_sim(root, train=train, test=test, seed=seed, progress=lambda done, total: advance(done))


def _draw_one(root: Path, out: Path) -> Path:
    from sastdeploy import read_events
    from sastdeploy.report.recording_figures import draw_recording

    path = min((root / DATASET / "Test" / "7").glob("*.bin"))
    title = f"simulated N-MNIST recording {path.relative_to(root / DATASET)}"
    return draw_recording(read_events(path), (34, 34, 2), out / "recording.png", title=title, force=True)


def _chosen(method: str, rho: float, epochs: int, batch_size: int, seed: int) -> TrainingSettings:
    from sastdeploy import TrainingSettings

    return TrainingSettings(
        method=method, rho=rho if method == "sast" else 0.0, epochs=epochs, batch_size=batch_size, seed=seed
    )


def _train(path: Path, root: Path, arch: str, settings: TrainingSettings, bar: Bar, say: Say) -> Checkpoint:
    """Return the checkpoint of a training, which is taken from its file where it is finished."""
    from sastdeploy import TrainingRun, find_preprocessing, fit_all, load_architecture, load_dataset

    training, validation = (
        load_dataset(DATASET, part, root=root, seed=settings.seed) for part in ("train", "validation")
    )
    network = load_architecture(arch, training.frames.shape, len(training.classes))
    preprocessing = find_preprocessing(training)
    run = TrainingRun(training, validation, network, preprocessing, settings, path, "sastdeploy quickstart")
    with bar(f"training {settings.method}", settings.epochs) as advance:
        (checkpoint,) = fit_all(
            [run], resume=True, skip_finished=True, report=lambda _, record: advance(record["epoch"] + 1),
            say=lambda text: say(f"WARNING: {text}"),
        )  # fmt: skip
        advance(settings.epochs)
    return checkpoint


def _programs(out: Path, checkpoints: dict[str, Checkpoint], root: Path) -> list[dict[str, Any]]:
    """Compile both checkpoints for both profiles, simulate the four programs, and return Table 4's rows."""
    from sastdeploy import compile, load_dataset, load_program, save_program, simulate, summarise
    from sastdeploy.program.file import program_hash

    test = load_dataset(DATASET, "test", root=root)
    rows: list[dict[str, Any]] = []
    for profile in PROFILES:
        baseline = 0.0
        for method, checkpoint in checkpoints.items():
            path = out / f"{method}.{profile}.onnx"
            save_program(path, compile(checkpoint, profile).program, force=True)
            program = load_program(path)
            figures = summarise(program, simulate(program, test), test.labels)
            operations = figures["ksynops"]["all"]
            baseline = operations["mean"] if method == "baseline" else baseline
            rows.append({
                "profile": profile, "method": method, "accuracy": figures["accuracy"], "ksynops": operations["mean"],
                "largest_ksynops": operations["maximum"], "r_ops": operations["mean"] / baseline,
                "program": str(path), "program_hash": program_hash(program), "data_hash": test.data_hash,
            })  # fmt: skip
    return rows


def _evaluate(checkpoints: dict[str, Checkpoint], root: Path) -> dict[str, Any]:
    from sastdeploy import evaluate, load_dataset
    from sastdeploy.networks.checkpoint import checkpoint_hash

    test = load_dataset(DATASET, "test", root=root)
    return {
        method: asdict(evaluate(checkpoint, test)) | {"checkpoint_hash": checkpoint_hash(checkpoint)}
        for method, checkpoint in checkpoints.items()
    }


def _bars(out: Path, rows: list[dict[str, Any]]) -> Path:
    from sastdeploy.report.figures import Bar as DrawnBar
    from sastdeploy.report.figures import accuracy_bars

    bars = [
        DrawnBar(row["profile"], row["method"], *(row["accuracy"][key] for key in ("value", "low", "high")))
        for row in rows
    ]
    path = out / "accuracy.png"
    accuracy_bars(bars, path, "Integer programs on simulated N-MNIST (95 % intervals)")
    return path


def _gap_bars(folder: Path, accuracies: dict[str, Any], divisor: float) -> Path:
    from sastdeploy.report.figures import Bar as DrawnBar
    from sastdeploy.report.figures import accuracy_bars

    bars = [
        DrawnBar(f"{spikes} spikes", method, found[spikes], *found[f"{spikes}_interval"])
        for spikes in ("surrogate", "hard")
        for method, found in accuracies.items()
    ]
    path = folder / "accuracy.png"
    title = f"Simulated N-MNIST, counts divided by {divisor:g} (95 % intervals)"
    accuracy_bars(bars, path, title, "accuracy (%)")
    return path
