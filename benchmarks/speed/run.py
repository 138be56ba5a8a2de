"""Run the speed benchmarks one after another, each in a process of its own.

    python benchmarks/speed/run.py --work FOLDER           the short set, without other frameworks (about a minute)
    python benchmarks/speed/run.py --work FOLDER --peers   everything, then PERFORMANCE.md (about 10 minutes)

Results go to FOLDER/results; those of the whole set are copied to benchmarks/speed/results when all of it is done, so that one that
is interrupted leaves the committed results alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SHORT = (
    ("inference.py", "--work", "{work}", "--recordings", "2000", "--turns", "3"),
    ("training.py", "--work", "{work}", "--turns", "3"),
    ("growth.py", "--turns", "1"),
)
ALL = (
    ("inference.py", "--work", "{work}", "--recordings", "2000", "--turns", "9"),
    ("training.py", "--work", "{work}", "--turns", "41"),
    ("xylo.py", "--turns", "41"),
    ("growth.py", "--turns", "5"),
    ("start_memory.py", "--work", "{work}"),
    ("training.py", "--work", "{work}", "--arch", "conv_0p42m", "--turns", "5", "--steps", "1"),
    ("inference.py", "--work", "{work}", "--arch", "conv_0p42m", "--recordings", "128", "--turns", "5"),
    ("limits.py", "--work", "{work}"),
    ("data_path.py", "--work", "{work}", "--files", "1000", "--turns", "7"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument(
        "--images", type=Path, help="folder of the full MNIST, to time making all 70,000 recordings"
    )
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    results = work / "results"
    environment = {**os.environ, "SASTDEPLOY_BENCH_RESULTS": str(results)}
    for script, *words in ALL if options.peers else SHORT:
        call = [sys.executable, str(HERE / script), *(word.format(work=work) for word in words)]
        if script == "data_path.py" and options.images:
            call += ["--images", str(options.images)]
        print("\n==", script, *words, flush=True)
        subprocess.run(call, check=True, env=environment)
    if options.peers:
        for path in sorted(results.glob("*.json")):
            shutil.copy(path, HERE / "results")
        subprocess.run([sys.executable, str(HERE / "report.py")], check=True)


if __name__ == "__main__":
    main()
