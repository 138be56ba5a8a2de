"""From nothing to a first result: simulated recordings, two trainings, four programs, one table of Table 4's form."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sastdeploy import InputError
from sastdeploy._files import atomic
from sastdeploy._files.reading import exists, read_text
from sastdeploy.provenance import git_commit, versions

SCHEMA = "sastdeploy.quickstart/1"
DATASET = "nmnist-sim"
METHODS = ("baseline", "sast")
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

    def with_seed(self, seed: int) -> QuickstartSettings:
        """Return the settings with another seed."""
        return replace(self, seed=seed)


FULL = QuickstartSettings(train=4000, test=2000, epochs=15)
SMALL = QuickstartSettings(train=400, test=200, epochs=3)

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
    *,
    force: bool = False,
    say: Say = lambda text: None,
    bar: Bar = no_bar,
) -> dict[str, Any]:
    """Do everything below ``out`` and return the summary that it also writes to ``out/summary.json``.

    Finished steps are found and not repeated, so an interrupted run goes on where it was.

    Raises:
        InputError: ``out`` holds a quickstart of other settings (``force`` starts anew), or cannot be written.
    """
    began = time.perf_counter()
    _claim(out, settings, force)
    seconds: dict[str, float] = {}
    root = out / "data"
    _timed(seconds, "simulate recordings", partial(_make, root, settings, bar), say)
    picture = _timed(seconds, "draw", partial(_draw_one, root, out), say)
    for method in METHODS:
        _timed(seconds, f"train {method}", partial(_train, out, root, method, settings, bar, say), say)
    rows = _timed(seconds, "compile and simulate", partial(_programs, out, root), say)
    accuracies = _timed(seconds, "evaluate", partial(_evaluate, out, root), say)
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
    text = json.dumps(summary, indent=2, allow_nan=False)
    atomic.write_text(out / "summary.json", text + "\n")
    written: dict[str, Any] = json.loads(text)
    return written


def _claim(out: Path, settings: QuickstartSettings, force: bool) -> None:
    """Take the folder for these settings; a folder of other settings is cleared only by force."""
    marker = out / "settings.json"
    wanted = json.dumps(asdict(settings))
    if exists(marker) and read_text(marker) != wanted:
        if not force:
            raise InputError(
                f"{out}: holds a quickstart of other settings. Choose another --out, or replace it with --force."
            )
        atomic.remove_folder(out)
    elif not exists(marker) and exists(out) and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and holds no quickstart. Choose another folder with --out.")
    atomic.write_text(marker, wanted)


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any], say: Say) -> Any:
    say(f"-- {name}")
    began = time.perf_counter()
    result = work()
    seconds[name] = time.perf_counter() - began
    return result


def _make(root: Path, settings: QuickstartSettings, bar: Bar) -> None:
    from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

    with bar("simulated recordings", settings.train + settings.test) as advance:
        make_nmnist_sim(
            root, train=settings.train, test=settings.test, seed=settings.seed,
            progress=lambda done, total: advance(done),
        )  # fmt: skip


def _draw_one(root: Path, out: Path) -> Path:
    from sastdeploy import read_events
    from sastdeploy.report.recording_figures import draw_recording

    path = min((root / DATASET / "Test" / "7").glob("*.bin"))
    title = f"simulated N-MNIST recording {path.relative_to(root / DATASET)}"
    return draw_recording(read_events(path), (34, 34, 2), out / "recording.png", title=title, force=True)


def _train(out: Path, root: Path, method: str, settings: QuickstartSettings, bar: Bar, say: Say) -> None:
    from sastdeploy import TrainingSettings, fit, load_checkpoint, load_dataset

    path = out / f"{method}.pt"
    if path.exists():
        load_checkpoint(path)
        return
    training, validation = (
        load_dataset(DATASET, part, root=root, seed=settings.seed) for part in ("train", "validation")
    )
    chosen = TrainingSettings(
        method=method, rho=settings.rho if method == "sast" else 0.0, epochs=settings.epochs,
        batch_size=settings.batch_size, seed=settings.seed,
    )  # fmt: skip
    with bar(f"training {method}", settings.epochs) as advance:
        fit(
            training, validation, settings.arch, chosen, out=path, command="sastdeploy quickstart", resume=True,
            report=lambda record: advance(record["epoch"] + 1), say=lambda text: say(f"WARNING: {text}"),
        )  # fmt: skip


def _programs(out: Path, root: Path) -> list[dict[str, Any]]:
    """Compile both checkpoints for both profiles, simulate the four programs, and return Table 4's rows."""
    from sastdeploy import (
        compile,
        load_checkpoint,
        load_dataset,
        load_program,
        save_program,
        simulate,
        summarise,
    )
    from sastdeploy.program.file import program_hash

    test = load_dataset(DATASET, "test", root=root)
    rows: list[dict[str, Any]] = []
    for profile in PROFILES:
        baseline = 0.0
        for method in METHODS:
            path = out / f"{method}.{profile}.onnx"
            save_program(path, compile(load_checkpoint(out / f"{method}.pt"), profile).program, force=True)
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


def _evaluate(out: Path, root: Path) -> dict[str, Any]:
    from sastdeploy import evaluate, load_checkpoint, load_dataset
    from sastdeploy.networks.checkpoint import checkpoint_hash

    test = load_dataset(DATASET, "test", root=root)
    result = {}
    for method in METHODS:
        checkpoint = load_checkpoint(out / f"{method}.pt")
        result[method] = asdict(evaluate(checkpoint, test)) | {"checkpoint_hash": checkpoint_hash(checkpoint)}
    return result


def _bars(out: Path, rows: list[dict[str, Any]]) -> Path:
    from sastdeploy.report.figures import Bar as DrawnBar
    from sastdeploy.report.figures import accuracy_bars

    bars = [
        DrawnBar(
            row["profile"],
            row["method"],
            row["accuracy"]["value"],
            row["accuracy"]["low"],
            row["accuracy"]["high"],
        )
        for row in rows
    ]
    path = out / "accuracy.png"
    accuracy_bars(bars, path, "Integer programs on simulated N-MNIST (95 % intervals)")
    return path
