"""Train a baseline and a SAST network, and follow both from smooth spikes to integer programs.

    python examples/train_and_compare.py [--work FOLDER] [--train 4000] [--epochs 10]

Simulated N-MNIST recordings of the digits that ship with sastdeploy; no network needed. Prints one line per step of the
way: smooth spikes, hard spikes, INT8, INT4. Interrupted in a training, the same call goes on from its last epoch; a
finished training is made anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.builtin import load_architecture
from sastdeploy.recordings.frames import LabelledFrames, Preprocessing
from sastdeploy.recordings.splits import find_scale, load_dataset
from sastdeploy.simulator import engine
from sastdeploy.simulator.metrics import summarise
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from sastdeploy.training.inference import evaluate
from sastdeploy.training.loop import train
from sastdeploy.training.settings import TrainingSettings


def data(work: Path, train_count: int) -> dict[str, LabelledFrames]:
    make_nmnist_sim(work / "data", train=train_count, test=max(10, train_count // 4), seed=0)
    return {
        split: load_dataset("nmnist-sim", split, root=work / "data")
        for split in ("train", "validation", "test")
    }


def trained(
    work: Path, sets: dict[str, LabelledFrames], architecture: Architecture, settings: TrainingSettings
):
    # Counts are clipped where 99 % of the training counts lie below, and scaled to [0, 1].
    clip = find_scale(sets["train"].frames)
    preprocessing = Preprocessing((34, 34, 2), (34, 34), 10, clip, float(clip))
    out = work / f"{settings.method}.pt"
    goes_on = out.with_name(f"{out.name}.state").exists() or not out.exists()
    return train(
        sets["train"], sets["validation"], architecture, preprocessing, settings, out, dataset="nmnist-sim",
        command="examples/train_and_compare.py", resume=goes_on, force=not goes_on,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("example-results"))
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rho", type=float, default=0.3)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sets = data(options.work, options.train)
    architecture = load_architecture("fc_0p40m", (2, 34, 34), 10)
    print(f"{len(sets['train']):,} training recordings, {len(sets['test']):,} for the test (simulated)")
    print(f"{'method':10}{'smooth':>9}{'hard':>9}{'gap':>9}{'INT8':>9}{'INT4':>9}{'kSynOps INT8':>15}")
    for method in ("baseline", "sast"):
        settings = TrainingSettings(method, options.rho if method == "sast" else 0.0, epochs=options.epochs)
        checkpoint = trained(options.work, sets, architecture, settings)
        floats = evaluate(checkpoint, sets["test"])
        programs = {}
        for profile in ("loihi_int8", "aggressive_int4"):
            program = compile(checkpoint, load_profile(profile)).program
            programs[profile] = summarise(
                program, engine.run(program, sets["test"].frames), sets["test"].labels
            )
        int8, int4 = programs["loihi_int8"], programs["aggressive_int4"]
        print(
            f"{method:10}{floats.surrogate:9.2%}{floats.hard:9.2%}{floats.gap:9.2%}{int8['accuracy']['value']:9.2%}"
            f"{int4['accuracy']['value']:9.2%}{int8['ksynops']['all']['mean']:15,.1f}"
        )


if __name__ == "__main__":
    main()
