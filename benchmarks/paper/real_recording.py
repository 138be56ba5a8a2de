"""Networks trained on simulated N-MNIST only, asked about one real N-MNIST recording.

    sastdeploy data make nmnist-sim --images MNIST_FOLDER --data DIR
    python benchmarks/paper/real_recording.py --data DIR --recording sample_nmnist.bin --out benchmarks/paper/REAL_RECORDING.json

Trains one network per seed on all simulated recordings (the validation part held out), compiles each for loihi_int8,
reports accuracy on the simulated test recordings, and the class and scores of the integer program on the real recording.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sastdeploy import (
    TrainingSettings,
    bin_events,
    compile,
    fit,
    load_dataset,
    read_events,
    save_program,
    simulate,
)
from sastdeploy._files import atomic
from sastdeploy.program.file import program_hash
from sastdeploy.provenance import git_commit
from sastdeploy.simulator.metrics import accuracy

NAME = "nmnist-sim"


def ask(options: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Train with one seed, compile, and return what the program says."""
    root = Path(options.data)
    training, validation, test = (
        load_dataset(NAME, part, root=root, seed=seed) for part in ("train", "validation", "test")
    )
    settings = TrainingSettings(
        options.method, options.rho if options.method == "sast" else 0.0, epochs=options.epochs, seed=seed
    )
    checkpoint = fit(
        training, validation, options.arch, settings, out=folder / f"seed{seed}.pt", resume=True,
        command="benchmarks/paper/real_recording.py", report=lambda r: print(json.dumps({"seed": seed, **r}), flush=True),
    )  # fmt: skip
    program = compile(checkpoint, "loihi_int8").program
    save_program(folder / f"seed{seed}.loihi_int8.onnx", program, force=True)
    own = program.preprocessing
    counts = bin_events(read_events(options.recording), own.sensor_size, own.frame_size, own.time_bins)
    answer = simulate(program, counts[None])
    return {
        "seed": seed,
        "program_hash": program_hash(program),
        "simulated_test": accuracy(test.labels, simulate(program, test).predicted),
        "predicted": int(answer.predicted[0]),
        "scores": answer.scores[0].tolist(),
        "training_recordings": len(training),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--recording", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", default="real-recording", help="folder for checkpoints and programs")
    parser.add_argument("--arch", default="fc_0p40m")
    parser.add_argument("--method", default="baseline")
    parser.add_argument("--rho", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    rows = [ask(options, seed, Path(options.work)) for seed in range(options.seeds)]
    settings = {key: getattr(options, key) for key in ("arch", "method", "rho", "epochs", "seeds")}
    record = {
        "settings": settings,
        "commit": git_commit(),
        "recording": Path(options.recording).name,
        "answers": rows,
    }
    atomic.write_text(options.out, json.dumps(record, indent=2) + "\n")
    atomic.write_text(Path(options.out).with_suffix(".md"), page(record))


def page(record: dict[str, Any]) -> str:
    """Return the record as a Markdown page: one row per seed."""
    s = record["settings"]
    lines = [
        "# A real recording, asked of networks that saw simulated ones only",
        "",
        f"`{s['arch']}`, {s['method']}, {s['epochs']} epochs on {record['answers'][0]['training_recordings']:,} simulated "
        f"recordings (all 60,000 MNIST digits less the validation part), compiled for `loihi_int8`, and the integer "
        f"program run on `{record['recording']}`. Commit {record['commit'][:7]}; command in `benchmarks/paper/real_recording.py`.",
        "",
    ]
    lines += [
        "| seed | simulated test accuracy | answer | its score | next best score |",
        "|---|---|---|---|---|",
    ]
    for row in record["answers"]:
        ranked = sorted(row["scores"], reverse=True)
        value = row["simulated_test"]["value"]
        lines.append(f"| {row['seed']} | {value:.2%} | {row['predicted']} | {ranked[0]:,} | {ranked[1]:,} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
