"""What is timed: simulated N-MNIST recordings and networks trained on them, made once in a working folder."""

from __future__ import annotations

from pathlib import Path

from sastdeploy.checkpoint import Checkpoint, load_checkpoint
from sastdeploy.compiler import compile_checkpoint
from sastdeploy.frames import LabelledFrames
from sastdeploy.program import Program

TRAIN, TEST, SEED = 6000, 2000, 0
EPOCHS = {"fc_0p40m": 5, "conv_0p42m": 1}
LIMIT = {"fc_0p40m": 6000, "conv_0p42m": 1500}


def recordings(work: Path, split: str = "test", limit: int | None = None) -> LabelledFrames:
    """Return simulated N-MNIST frames (T = 10) from the digits that ship with sastdeploy."""
    from sastdeploy.events.simulate import make_nmnist_sim
    from sastdeploy.events.splits import load_frames

    root = work / "data"
    if not (root / "nmnist-sim" / "simulated.json").exists():
        make_nmnist_sim(root, train=TRAIN, test=TEST, seed=SEED, processes=2)
    return load_frames("nmnist-sim", split, root=root, limit=limit)


def checkpoint(work: Path, architecture: str = "fc_0p40m") -> Checkpoint:
    """Return a network trained for a few epochs: real weights and real spike rates, not a good network."""
    import sys

    from sastdeploy.cli.main import main

    path = work / f"{architecture}.pt"
    recordings(work, limit=1)
    if not path.exists():
        call = [
            "train", "--dataset", "nmnist-sim", "--arch", architecture, "--data", str(work / "data"), "--out", str(path),
            "--epochs", str(EPOCHS[architecture]), "--limit", str(LIMIT[architecture]), "--seed", str(SEED), "--threads", "1",
        ]  # fmt: skip
        try:
            main(call)
        except SystemExit as done:
            if done.code:
                sys.exit(done.code)
    return load_checkpoint(path)


def program(work: Path, profile: str, architecture: str = "fc_0p40m") -> Program:
    """Return the network compiled for a profile."""
    from sastdeploy.hardware import load_profile

    return compile_checkpoint(checkpoint(work, architecture), load_profile(profile))
