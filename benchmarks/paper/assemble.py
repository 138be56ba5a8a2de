"""Write RESULTS.md with its figures, and ADVICE.md beside it, from the experiments' files and their committed records; the same files give the same bytes.

python benchmarks/paper/assemble.py [--check] [--data FOLDER]

Records are found by their trials' addresses, which cover the data. ``data.json`` holds the data sets' hashes, so that neither
these pages nor their check needs the data; ``--data`` writes it anew from a folder that has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent
"""Holds the committed measurements of training's seconds and memory."""
sys.path.insert(0, str(HERE))

from advice import advice  # noqa: E402
from claims import EQUAL_COMPUTE  # noqa: E402
from confirmed import confirmed  # noqa: E402
from first_page import first_page  # noqa: E402
from names import MAP, missing  # noqa: E402
from overhead import overhead  # noqa: E402

from sastdeploy._files import atomic  # noqa: E402
from sastdeploy.errors import InputError  # noqa: E402
from sastdeploy.experiments.figures import draw, embed, tail_and_gap  # noqa: E402
from sastdeploy.experiments.report import section  # noqa: E402
from sastdeploy.experiments.results import Results, aggregate  # noqa: E402
from sastdeploy.experiments.runner import data_hash  # noqa: E402
from sastdeploy.experiments.spec import Experiment, Trial, load_experiment  # noqa: E402

FIRST = (
    "table1", "corruption", "table1-full", "table1-gestures", "corruption-gestures", "table2", "table2-states", "table2-gestures",
    *EQUAL_COMPUTE, *MAP,
)  # fmt: skip
"""The sections' order; what is not named follows by name."""
ADVICE = "ADVICE.md"
"""The page of steps, beside the page of results."""


def experiments(folder: Path) -> list[Experiment]:
    """Return the folder's experiments in the page's order."""
    found = [load_experiment(path) for path in sorted(folder.glob("*.yaml"))]
    return sorted(found, key=lambda e: (FIRST.index(e.name) if e.name in FIRST else len(FIRST), e.name))


def hashes_of(all_experiments: list[Experiment], data: Path, known: dict[str, str]) -> dict[str, str]:
    """Return the hashes of the data sets that the experiments use; what the folder does not have keeps its known one."""
    found = dict(known)
    for name, trial in {key(trial): trial for e in all_experiments for trial in e.trials}.items():
        try:
            found[name] = data_hash(trial.dataset, trial.time_bins, data)
        except InputError as error:
            print(f"{name}: {'kept as it was' if name in known else 'no hash'} ({error})", file=sys.stderr)
    return dict(sorted(found.items()))


def key(trial: Trial) -> str:
    return f"{trial.dataset}, {trial.time_bins} bins"


def results_of(experiment: Experiment, hashes: dict[str, str], records: Path) -> Results | None:
    """Return the experiment's results; None if none of its trials has a record."""
    trials = {t.address(hashes[key(t)]): t for t in experiment.trials if key(t) in hashes}
    known = {t.address("unknown data"): t for t in experiment.trials if key(t) not in hashes}
    if not any((records / f"{address}.json").exists() for address in trials):
        return None
    return aggregate(experiment, {**trials, **known}, records)


def page(found: dict[str, tuple[Experiment, Results | None]], pictures: dict[str, str]) -> str:
    """Return RESULTS.md. ``pictures``: by experiment the Markdown of its figures."""
    parts = [
        "# Results\n",
        f"What to do about a gap in your own network: [{ADVICE}]({ADVICE}), one page.\n",
        "Written by `python benchmarks/paper/assemble.py` from the files and records in `benchmarks/paper/`; every number comes from "
        "the records, those of SAST's overhead from the files named beside them.\n",
        first_page({name: results for name, (_, results) in found.items()}, overhead(BENCHMARKS)),
    ]
    if "tail" in pictures:
        parts.append(pictures["tail"])
    for name, (experiment, results) in found.items():
        if results is None:
            parts.append(f"## {experiment.title}\n\n{missing(name)}")
        else:
            parts.append(section(results, pictures.get(name, "")))
    parts.append(confirmed(HERE / "confirmed.json"))
    return "\n".join(parts)


def assemble(folder: Path, records: Path, target: Path, figures: Path, canvas: Path) -> dict[Path, str]:
    """Return the pages by place: the results at ``target`` with their figures in ``figures``, drawn into ``canvas``; the advice beside it."""
    hashes = json.loads((folder / "data.json").read_text("utf-8")) if (folder / "data.json").exists() else {}
    found = {e.name: (e, results_of(e, hashes, records)) for e in experiments(folder)}
    there = {name: results for name, (_, results) in found.items() if results is not None}
    pictures = {name: embed(draw(results, canvas), figures, target) for name, results in there.items()}
    tail = tail_and_gap([there[name] for name in MAP if name in there], canvas / "map-tail.svg")
    if tail is not None:
        pictures["tail"] = embed((tail,), figures, target)
    return {
        target: page(found, pictures),
        target.with_name(ADVICE): advice({name: results for name, (_, results) in found.items()}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail if a page or figure is not what the records give; write nothing",
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets: write data.json first")
    parser.add_argument("--records", type=Path, default=HERE / "records", help="folder of the records")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md", help="the page of results")
    parser.add_argument("--figures", type=Path, default=HERE / "figures", help="folder of the figures")
    options = parser.parse_args()
    if options.data:
        place = HERE / "data.json"
        known = json.loads(place.read_text("utf-8")) if place.exists() else {}
        atomic.write_text(
            place, json.dumps(hashes_of(experiments(HERE), options.data, known), indent=1) + "\n"
        )
    if options.check:
        with TemporaryDirectory() as canvas:
            pages = assemble(HERE, options.records, options.out, options.figures, Path(canvas))
            drawn = {options.figures / path.name: path.read_bytes() for path in Path(canvas).iterdir()}
        wanted = {**{path: text.encode() for path, text in pages.items()}, **drawn}
        differing = [
            path for path, content in wanted.items() if not path.exists() or path.read_bytes() != content
        ]
        told = ", ".join(str(path) for path in differing)
        sys.exit(f"{told}: differs from the committed records; run {sys.argv[0]}." if differing else 0)
    for path, text in assemble(HERE, options.records, options.out, options.figures, options.figures).items():
        atomic.write_text(path, text)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
