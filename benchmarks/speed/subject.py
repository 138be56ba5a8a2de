"""What is timed: simulated N-MNIST recordings and networks for them, made once in a working folder."""

from __future__ import annotations

from pathlib import Path

from sastdeploy import (
    Checkpoint,
    LabelledFrames,
    Preprocessing,
    Program,
    compile,
    load_architecture,
    load_checkpoint,
    load_dataset,
)

TRAIN, TEST, SEED, EPOCHS = 6000, 2000, 0, 5
RATE = 0.1
"""Share of steps at which a neuron of the lively network fires, in every layer."""


def recordings(work: Path, split: str = "test", limit: int | None = None) -> LabelledFrames:
    """Return simulated N-MNIST frames (T = 10) from the digits that ship with sastdeploy."""
    from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

    root = work / "data"
    if not (root / "nmnist-sim" / "simulated.json").exists():
        make_nmnist_sim(root, train=TRAIN, test=TEST, seed=SEED, processes=2)
    return load_dataset("nmnist-sim", split, root=root, limit=limit)


def checkpoint(work: Path, architecture: str = "fc_0p40m") -> Checkpoint:
    """Return the network that is timed: ``fc_0p40m`` trained for a few epochs, others random but lively."""
    import sys

    from sastdeploy.cli.main import main

    path = work / f"{architecture}.pt"
    recordings(work, limit=1)
    if architecture != "fc_0p40m":
        return lively(work, architecture)
    if not path.exists():
        call = [
            "train", "--dataset", "nmnist-sim", "--arch", architecture, "--data", str(work / "data"), "--out", str(path),
            "--epochs", str(EPOCHS), "--limit", str(TRAIN), "--seed", str(SEED), "--threads", "1",
        ]  # fmt: skip
        try:
            main(call)
        except SystemExit as done:
            if done.code:
                sys.exit(done.code)
    return load_checkpoint(path)


def lively(work: Path, architecture: str) -> Checkpoint:
    """Return random weights, scaled layer by layer until a tenth of the neurons fire at each step on real activity.

    A convolution trained for minutes stays all but silent, and silence is cheap: that would flatter an event-driven run.
    """
    import torch

    from sastdeploy.training.inference import frame_values
    from sastdeploy.training.networks import SpikingNetwork

    data = recordings(work, limit=32)
    preprocessing = Preprocessing((34, 34, 2), (34, 34), 10, 6, 6.0)
    network = SpikingNetwork(load_architecture(architecture, (2, 34, 34), 10), fused=False)
    network.initialise(torch.Generator().manual_seed(SEED))
    x = frame_values(data.frames, slice(None), preprocessing)
    for i in range(len(network.architecture.layers)):
        weight = network.value(f"layers.{i}.weight")
        low, high, original = 0.0, 200.0, weight.detach().clone()
        for _ in range(12):
            scale = (low + high) / 2
            record: list[tuple[torch.Tensor, torch.Tensor]] = []
            with torch.no_grad():
                weight.copy_(scale * original)
                network(x, True, record)
            low, high = (low, scale) if float(record[i][0].mean()) > RATE else (scale, high)
    facts = {"method": "baseline", "rho": 0.0, "seed": SEED, "epochs": 0, "selected": {"epoch": 0}}
    return Checkpoint(
        network.architecture, network.parameters_as_arrays(), preprocessing, data.classes, "nmnist-sim", facts,
        {"command": f"random, every layer scaled to a spike rate of {RATE}"},
    )  # fmt: skip


def program(work: Path, profile: str, architecture: str = "fc_0p40m") -> Program:
    """Return the network compiled for a profile."""
    return compile(checkpoint(work, architecture), profile).program
