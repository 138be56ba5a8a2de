"""Write results.json, the tables and the figures from the experiments' files and their records; the same files give the same bytes.

    python benchmarks/paper/assemble.py [--check] [--data FOLDER]

Records are found by their trials' addresses, which cover the data. ``data.json`` holds the data sets' hashes, so that neither
the results nor their check needs the data; ``--data`` writes it anew from a folder that has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.paper import tail
from benchmarks.paper.claims import best_epoch, claims, settings
from benchmarks.paper.other_records import confirmation, cost, totals, trained_twice, trainings_csv
from sastdeploy import InputError
from sastdeploy._files import atomic
from sastdeploy.experiments.figures import draw
from sastdeploy.experiments.results import Point, Results, aggregate
from sastdeploy.experiments.runner import data_hash
from sastdeploy.experiments.spec import Experiment, Trial, label, load_experiment, varied
from sastdeploy.experiments.tables import csv_text
from sastdeploy.statistics import Sample, holm

HERE = Path(__file__).resolve().parent
DIGITS = 7
"""Significant digits of results.json: more than any page prints, fewer than differ between processors."""
ACCURACIES = ("surrogate", "hard", "gap", "loihi_int8 accuracy", "aggressive_int4 accuracy")
TWICE = "table1-small-values"
"""The experiment whose trials were trained twice: ``records/`` has those of one machine, ``earlier/`` the first ones, of two."""
CORRECTED = "p of the difference to the reference, corrected"
MEASURABLE = 1.0
"""Points: of a smaller gap no share is taken."""
WELL_SCALED = {"hard": "hard", "gap": "gap", "surrogate": "surrogate", "calibrated": "hard"}
"""What a point has that is compared with the point at a largest frame value of 1, and with which of its figures."""


def experiments(folder: Path) -> list[Experiment]:
    """Return the folder's experiments by name."""
    return [load_experiment(path) for path in sorted(folder.glob("*.yaml")) if path.name != "quoted.yaml"]


def key(trial: Trial) -> str:
    """Return the name of a trial's data in ``data.json``."""
    return f"{trial.dataset}, {trial.time_bins} bins"


def hashes_of(all_experiments: list[Experiment], data: Path, known: dict[str, str]) -> dict[str, str]:
    """Return the hashes of the data sets that the experiments use; what the folder does not have keeps its known one."""
    hashes = dict(known)
    for name, trial in {key(trial): trial for e in all_experiments for trial in e.trials}.items():
        try:
            hashes[name] = data_hash(trial.dataset, trial.time_bins, data)
        except InputError as error:
            print(f"{name}: {'kept as it was' if name in known else 'no hash'} ({error})", file=sys.stderr)
    return dict(sorted(hashes.items()))


def results_of(experiment: Experiment, hashes: dict[str, str], records: Path) -> Results | None:
    """Return the experiment's results; None if none of its trials has a record."""
    trials = {trial.address(hashes.get(key(trial), "unknown data")): trial for trial in experiment.trials}
    if not any((records / f"{address}.json").exists() for address in trials):
        return None
    return aggregate(experiment, trials, records)


def content(
    pairs: Sequence[tuple[Experiment, Results | None]],
    earlier: tuple[Experiment, Results] | None,
    folder: Path,
    records: Path,
    benchmarks: Path,
) -> dict[str, Any]:
    """Return what results.json holds: every experiment's figures, the map's tail, and what other records say."""
    there = [results for _, results in pairs if results is not None]
    mapped = [results for results in there if results.experiment.name in tail.MAP]
    return {
        "trainings": totals(there),
        "cost of SAST": cost(benchmarks),
        "evaluated again": confirmation(folder / "confirmed.json"),
        "trained twice": trained_twice(folder / "earlier", records)
        | (_experiment(*earlier) if earlier else {}),
        "tail and gap": tail.correlations(tail.trainings(mapped)),
        "claims": claims(there, folder),
        "experiments": {experiment.name: _experiment(experiment, results) for experiment, results in pairs},
    }


def _experiment(experiment: Experiment, results: Results | None) -> dict[str, Any]:
    """Return an experiment's figures with its points by label, those without a record included."""
    names = varied(experiment)
    points: dict[str, Any] = {label(group[0], names): {"seeds": []} for group in experiment.groups}
    facts: dict[str, Any] = {"title": experiment.title, "trials_done": 0, "trials": len(experiment.trials)}
    for group in experiment.groups:
        points[label(group[0], names)]["settings"] = settings(group)
    if results is not None:
        facts = results.to_dict()
        for point, made in zip(results.points, facts.pop("points")):
            points[point.label] |= made | {
                "less_well_scaled": _difference_from_well_scaled(results, point.label),
                "less_baseline": _difference_from_baseline(results, point.label),
            }
            if (gradients := best_epoch(point)) is not None:
                points[point.label]["figures"]["gradients to the best epoch"] = gradients.to_dict()
            points[point.label][CORRECTED] = {}
            if (closed := gap_closed(results, point)) is not None:
                points[point.label]["figures"]["gap closed"] = closed.to_dict()
        for name, p in corrected(results).items():
            points[name][CORRECTED] = {"hard": p}
        for name, sample in within_fewest_gradients(results).items():
            points[name]["figures"]["best validation hard within the fewest gradients"] = sample.to_dict()
    for name, figures in experiment.published.items():
        if name in points:
            points[name]["published"] = figures
    return {**facts, "settings": settings(experiment.trials), "points": points}


def within_fewest_gradients(results: Results) -> dict[str, Sample]:
    """Return by point the best validation accuracy with hard spikes within as many gradients as the cheapest point takes.

    Of points whose records hold their curves; empty unless two have one. Accuracy in percent, over seeds.
    """
    having = {
        point.label: [(seed, record) for seed, record in zip(point.seeds, point.raw) if "curve" in record]
        for point in results.points
    }
    having = {name: records for name, records in having.items() if records}
    if len(having) < 2:
        return {}
    fewest = min(record["gradient_evaluations"] for records in having.values() for _, record in records)
    best = {}
    for name, records in having.items():
        values = []
        for _, record in records:
            hard = record["curve"]["hard"]
            epochs = fewest * len(hard) // record["gradient_evaluations"]
            values.append(100 * max(hard[:epochs]))
        best[name] = Sample(tuple(seed for seed, _ in records), tuple(values))
    return best


def gap_closed(results: Results, point: Point) -> Sample | None:
    """Return by seed the percent of its reference's gap that a point closes; None where a reference's gap is not `MEASURABLE`."""
    reference = results.point(point.reference or "")
    if reference is None or "gap" not in reference.samples:
        return None
    gaps, less = reference.samples["gap"], point.differences.get("gap")
    if less is None or min(gaps.values) < MEASURABLE:
        return None
    of = dict(zip(gaps.seeds, gaps.values))
    return Sample(less.seeds, tuple(-100 * value / of[seed] for seed, value in zip(less.seeds, less.values)))


def corrected(results: Results) -> dict[str, float]:
    """Return, of an experiment whose reference is no baseline, by point Holm's p that it has the reference's accuracy with hard spikes.

    Corrected for the number of points.
    """
    reference, *others = results.points
    if reference.trial.method == "baseline":
        return {}
    pairs = {point.label: point.differences.get("hard") for point in others}
    having = {name: p for name, pair in pairs.items() if pair and (p := pair.p_value) is not None}
    return dict(zip(having, holm(list(having.values()))))


def _difference_from_well_scaled(results: Results, name: str) -> dict[str, Any]:
    """Return, of an experiment over input scales, a point's figures less those of its first point with a largest frame value of 1."""
    well = next((p for p in results.points if p.trial.divisor_factor == 1.0 and "hard" in p.samples), None)
    point = results.point(name)
    if "divisor_factor" not in results.experiment.compare_within or well is None or point is None:
        return {}
    return _differences(point, well, WELL_SCALED)


def _difference_from_baseline(results: Results, name: str) -> dict[str, Any]:
    """Return, of an experiment whose reference has another method, a point's figures less those of its first baseline."""
    baseline = next((p for p in results.points if p.trial.method == "baseline" and p.samples), None)
    point = results.point(name)
    if results.points[0].trial.method == "baseline" or baseline is None or point in (None, baseline):
        return {}
    return _differences(point, baseline, {name: name for name in ACCURACIES})


def _differences(point: Point, other: Point, pairs: dict[str, str]) -> dict[str, Any]:
    """Return by a figure of the point its difference, paired by seed, to the other's figure that ``pairs`` names."""
    differences = {
        mine: point.samples[mine].paired_difference(other.samples[theirs])
        for mine, theirs in pairs.items()
        if mine in point.samples and theirs in other.samples
    }
    return {mine: sample.to_dict() for mine, sample in differences.items() if sample is not None}


def json_text(value: Any, indent: str = "") -> str:
    """Return JSON with one line per figure: what nests at most twice stands on one line."""
    if not isinstance(value, dict | list) or _height(value) <= 2:
        return json.dumps(_rounded(value), ensure_ascii=False)
    inner = indent + " "
    if isinstance(value, dict):
        lines = [f"{json.dumps(k, ensure_ascii=False)}: {json_text(v, inner)}" for k, v in value.items()]
    else:
        lines = [json_text(one, inner) for one in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{closing}"


def _height(value: Any) -> int:
    if not isinstance(value, dict | list | tuple):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_height, inner), default=0)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def assemble(folder: Path, records: Path, benchmarks: Path, canvas: Path) -> dict[str, bytes]:
    """Return every file by its place below the folder: results.json, tables/NAME.csv and tables/trainings.csv, figures/NAME-KIND.svg.

    Args:
        benchmarks: holds the committed measurements of training's seconds and memory. canvas: an empty folder to draw in.
    """
    hashes = json.loads((folder / "data.json").read_text("utf-8"))
    pairs = [(experiment, results_of(experiment, hashes, records)) for experiment in experiments(folder)]
    twice = next((e for e, _ in pairs if e.name == TWICE), None)
    results = twice and results_of(twice, hashes, folder / "earlier")
    earlier = (twice, results) if twice and results else None
    files = {
        "results.json": (json_text(content(pairs, earlier, folder, records, benchmarks)) + "\n").encode()
    }
    for experiment, results in pairs:
        if results is not None:
            draw(results, canvas)
            files[f"tables/{experiment.name}.csv"] = csv_text(results).encode()
    there = [results for _, results in pairs if results is not None]
    files["tables/trainings.csv"] = trainings_csv(there).encode()
    mapped = tail.trainings([results for results in there if results.experiment.name in tail.MAP])
    if mapped:
        tail.draw(mapped, canvas / "map-tail.svg")
    return files | {f"figures/{path.name}": path.read_bytes() for path in sorted(canvas.iterdir())}


def differing(files: dict[str, bytes], folder: Path) -> list[str]:
    """Return the files that are missing, differ, or that no experiment gives any more."""
    there = {f"{part}/{path.name}" for part in ("tables", "figures") for path in (folder / part).glob("*.*")}
    wrong = {
        place
        for place, data in files.items()
        if not (folder / place).exists() or (folder / place).read_bytes() != data
    }
    return sorted(wrong | there - files.keys())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="fail if a file is not what the records give; write nothing"
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets: write data.json first")
    options = parser.parse_args()
    if options.data:
        place = HERE / "data.json"
        known = json.loads(place.read_text("utf-8")) if place.exists() else {}
        atomic.write_text(
            place, json.dumps(hashes_of(experiments(HERE), options.data, known), indent=1) + "\n"
        )
    with TemporaryDirectory() as canvas:
        files = assemble(HERE, HERE / "records", HERE.parent, Path(canvas))
    changed = differing(files, HERE)
    if options.check:
        sys.exit(
            f"not what the records give: {', '.join(changed)}; run python benchmarks/paper/assemble.py."
            if changed
            else 0
        )
    for name in changed:
        if name in files:
            (HERE / name).parent.mkdir(exist_ok=True)
            atomic.write_bytes(HERE / name, files[name])
        else:
            (HERE / name).unlink()
        print(f"{'wrote' if name in files else 'removed'} {name}")


if __name__ == "__main__":
    main()
