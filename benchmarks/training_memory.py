"""Peak memory and seconds per epoch of SAST against a baseline, and of fused kernels against plain torch.

    python benchmarks/training_memory.py --data DIR [--limit 4000] [--epochs 2]

Prints one JSON object; the ratio of peaks is the figure to quote.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def measure(method: str, options: argparse.Namespace, kernels: str = "fused") -> dict[str, float]:
    """Return the peak resident memory (MiB) and the mean seconds per epoch of one training."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ckpt.pt"
        program = "import sys; from sastdeploy.cli.main import main; import resource\ntry: main(sys.argv[1:])\nexcept SystemExit as s: code = s.code\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\nsys.exit(code)"
        call = [
            "train", "--dataset", "nmnist-sim", "--arch", options.arch, "--method", method, "--kernels", kernels, "--epochs", str(options.epochs),
            "--limit", str(options.limit), "--seed", str(options.seed), "--out", str(out), "--data", options.data,
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", program, *call], capture_output=True, text=True, check=True
        )
        records = [
            json.loads(line) for line in out.with_name("ckpt.pt.jsonl").read_text("utf-8").splitlines()
        ]
    unit = 1 if sys.platform == "darwin" else 1024
    peak = int(done.stderr.split()[-1]) * unit / 2**20
    return {
        "peak_mib": round(peak, 1),
        "seconds_per_epoch": sum(r["seconds"] for r in records) / len(records),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", default="fc_0p40m")
    parser.add_argument("--limit", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {method: measure(method, options) for method in ("baseline", "sast")}
    plain = measure("baseline", options, "torch")
    ratios = {key: found["sast"][key] / found["baseline"][key] for key in found["sast"]}
    settings = {key: value for key, value in vars(options).items() if key != "data"}
    fused = {key: found["baseline"][key] / plain[key] for key in plain}
    print(json.dumps({
        "settings": settings, **found, "plain_torch_baseline": plain, "sast_over_baseline": ratios, "fused_over_plain": fused,
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
