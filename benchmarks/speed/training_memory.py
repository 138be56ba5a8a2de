"""Peak memory of SAST against a baseline, and of fused kernels against plain torch; writes TRAINING_MEMORY.json.

    python benchmarks/speed/training_memory.py --data DIR

Every figure is the median over processes of their own, each a training of few recordings; the ratio of peaks is the figure to
quote. One more process before them compiles the kernels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sastdeploy._files import atomic
from sastdeploy.provenance import git_commit, versions

TARGET = Path(__file__).with_name("TRAINING_MEMORY.json")
# Few recordings: of many, the mapped pages of the frame cache would be most of what is resident.
SETTINGS = (
    {"arch": "fc_0p40m", "limit": 400, "epochs": 2, "seed": 0},
    {"arch": "conv_0p42m", "limit": 600, "epochs": 1, "seed": 0},
)
PROGRAM = """
import resource, sys
from sastdeploy.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def peak(settings: dict[str, Any], data: str, method: str, kernels: str = "fused") -> float:
    """Return the peak resident memory of one training, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        call = [
            "train", "--dataset", "nmnist-sim", "--data", data, "--method", method, "--kernels", kernels, *options,
            "--out", str(Path(folder) / "ckpt.pt"),
        ]  # fmt: skip
        done = subprocess.run([sys.executable, "-c", PROGRAM, *call], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(call)}: failed\n{done.stderr}")
    unit = 1 if sys.platform == "darwin" else 1024
    return round(int(done.stderr.split()[-1]) * unit / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    commit, records = git_commit(), []
    for settings in SETTINGS:
        peak(settings, options.data, "sast")
        baseline, sast, plain = (
            statistics.median(peak(settings, options.data, *how) for _ in range(options.runs))
            for how in (("baseline",), ("sast",), ("baseline", "torch"))
        )
        records.append({
            "settings": settings | {"runs": options.runs}, "commit": commit, "versions": versions("torch", "numpy", "numba"),
            "baseline": {"peak_mib": baseline}, "sast": {"peak_mib": sast}, "plain_torch_baseline": {"peak_mib": plain},
            "sast_over_baseline": {"peak_mib": sast / baseline}, "fused_over_plain": {"peak_mib": baseline / plain},
        })  # fmt: skip
        print(json.dumps(records[-1], indent=1))
    atomic.write_text(options.out, json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
