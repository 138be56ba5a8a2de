"""Train a baseline and a SAST network, and follow both from surrogate spikes to integer programs.

    sastdeploy data make nmnist-sim
    python examples/train_and_compare.py [--data FOLDER] [--work FOLDER] [--limit 4000] [--epochs 10]

Simulated N-MNIST recordings of the digits that ship with sastdeploy; no network needed. Prints one line per method:
surrogate spikes, hard spikes, the gap, INT8, INT4. Interrupted in a training, the same call goes on from its last
epoch; a finished training is made anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sastdeploy import TrainingSettings, compile, evaluate, fit, load_dataset, simulate, summarise


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("example-results"))
    parser.add_argument("--limit", type=int, default=4000, help="training recordings")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rho", type=float, default=0.3)
    options = parser.parse_args()
    training, validation, test = (
        load_dataset("nmnist-sim", split, root=options.data, limit=None if split == "test" else options.limit)
        for split in ("train", "validation", "test")
    )
    print(f"{len(training):,} training recordings, {len(test):,} for the test (simulated)")
    print(f"{'method':10}{'surrogate':>11}{'hard':>9}{'gap':>9}{'INT8':>9}{'INT4':>9}{'kSynOps INT8':>15}")
    for method, rho in (("baseline", 0.0), ("sast", options.rho)):
        out = options.work / f"{method}.pt"
        interrupted = Path(f"{out}.state").exists()
        checkpoint = fit(
            training, validation, "fc_0p40m", TrainingSettings(method, rho, epochs=options.epochs),
            out=out, resume=interrupted, force=not interrupted,
        )  # fmt: skip
        floats = evaluate(checkpoint, test)
        int8, int4 = (
            summarise(program, simulate(program, test), test.labels)
            for program in (compile(checkpoint, name).program for name in ("loihi_int8", "aggressive_int4"))
        )
        print(
            f"{method:10}{floats.surrogate:11.2%}{floats.hard:9.2%}{floats.gap:9.2%}{int8['accuracy']['value']:9.2%}"
            f"{int4['accuracy']['value']:9.2%}{int8['ksynops']['all']['mean']:15,.1f}"
        )


if __name__ == "__main__":
    main()
