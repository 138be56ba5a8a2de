"""A small Table 4, made anew and held against the committed one: what CI runs.

    python benchmarks/small_table4.py            fail if anything moved
    python benchmarks/small_table4.py --write    make the committed result anew (a few minutes: five seeds)

Two things are asked. The committed programs, on recordings simulated anew, must give exactly the committed figures: recordings,
program files and the engine decide them, and all three are exact. Networks trained anew must give accuracies and SynOps within a
band: training sums in floating point, whose last bits depend on the processor. The bands are three standard deviations over the five
seeds, kept with the result.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sastdeploy import atomic
from sastdeploy.events.splits import load_frames
from sastdeploy.metrics import summarise
from sastdeploy.program_file import load_program, program_hash
from sastdeploy.provenance import git_commit, versions
from sastdeploy.quickstart import DATASET, QuickstartSettings, run
from sastdeploy.simulator.engine import run as simulate

HERE = Path(__file__).parent
KEPT = HERE / "small_table4"
"""The committed programs, and ``result.json``."""
SETTINGS = QuickstartSettings(
    train=1500, test=600, epochs=40, arch=str(HERE / "experiments" / "networks" / "narrow.yaml")
)
SEEDS = range(5)
DEVIATIONS = 3.0
FIGURES = ("accuracy", "ksynops")


def trained(out: Path, seed: int) -> dict[str, dict[str, Any]]:
    """Make recordings, train and compile below ``out``; return `figures_of` the programs."""
    run(out, SETTINGS.with_seed(seed))
    return figures_of(out, out / "data")


def figures_of(folder: Path, root: Path) -> dict[str, dict[str, Any]]:
    """Return Table 4's figures of the programs in a folder, by method and profile, on the test recordings below ``root``."""
    test = load_frames(DATASET, "test", root=root)
    found = {}
    for path in sorted(folder.glob("*.onnx")):
        program = load_program(path)
        figures = summarise(program, simulate(program, test.frames), test.labels)
        found[path.stem] = {
            "accuracy": 100 * figures["accuracy"]["value"], "ksynops": figures["ksynops"]["all"]["mean"],
            "program_hash": program_hash(program), "data_hash": test.data_hash,
        }  # fmt: skip
    return found


def moved(
    kept: dict[str, Any], again: dict[str, dict[str, Any]], anew: dict[str, dict[str, Any]]
) -> list[str]:
    """Return what differs from the committed result, one sentence each.

    Args:
        kept: the content of ``result.json``. again: of the committed programs. anew: of networks trained anew.
    """
    said = []
    for name, row in kept["programs"].items():
        for key, value in row.items():
            there = again.get(name, {}).get(key)
            if there != value:
                said.append(
                    f"{name}: the committed program gives {key} {there}, exactly {value} is committed."
                )
        for key in FIGURES:
            value, band = anew[name][key], kept["bands"][name][key]
            if abs(value - row[key]) > band:
                said.append(
                    f"{name}, trained anew: {key} {value:.2f}, committed {row[key]:.2f}, allowed is {band:.2f} to either side."
                )
    return said


def write() -> None:
    commit, by_seed = git_commit(), []
    with TemporaryDirectory() as folder:
        for seed in SEEDS:
            by_seed.append(trained(Path(folder) / str(seed), seed))
        for path in sorted((Path(folder) / "0").glob("*.onnx")):
            shutil.copy(path, KEPT / path.name)
        programs = figures_of(KEPT, Path(folder) / "0" / "data")
    bands = {
        name: {key: DEVIATIONS * statistics.stdev(rows[name][key] for rows in by_seed) for key in FIGURES}
        for name in by_seed[0]
    }
    record = {
        "seed": 0, "seeds_of_the_bands": list(SEEDS), "deviations": DEVIATIONS, "programs": programs, "bands": bands,
        "commit": commit, "versions": versions("torch", "numpy", "numba"),
    }  # fmt: skip
    atomic.write_text(KEPT / "result.json", json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def check() -> None:
    kept = json.loads((KEPT / "result.json").read_text("utf-8"))
    with TemporaryDirectory() as folder:
        anew = trained(Path(folder) / "0", 0)
        again = figures_of(KEPT, Path(folder) / "0" / "data")
    for name, row in anew.items():
        print(
            f"{name}: {row['accuracy']:.2f} % (committed {kept['programs'][name]['accuracy']:.2f}), {row['ksynops']:.1f} kSynOps "
            f"({kept['programs'][name]['ksynops']:.1f})"
        )
    said = moved(kept, again, anew)
    if said:
        sys.exit(
            "\n".join([*said, f"If the change is meant: python {Path(__file__).name} --write, and commit."])
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="make the committed result anew")
    (write if parser.parse_args().write else check)()


if __name__ == "__main__":
    main()
