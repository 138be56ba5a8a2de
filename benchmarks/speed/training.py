"""Milliseconds of one training step at batch 128, one thread: fused kernels, plain torch, and the peers.

    python benchmarks/speed/training.py --work FOLDER [--arch conv_0p42m] [--turns 15] [--steps 5]

A turn is several steps in a row, as a training takes them: a single step between those of other frameworks would find the
caches full of theirs.
Peers get their batch as a ready dense tensor; our steps draw and convert theirs. Peers train as their guides show:
hard spikes forward, their arctan (sinabs, Norse: default) surrogate backward, Adam.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from peers import PACKAGES, available, loss_of
from subject import SEED, checkpoint, recordings
from timing import as_after_loading, interleaved, one_thread, save

from sastdeploy.training.inference import frame_values, network_inputs
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import adam
from sastdeploy.training.sharpness import plain_gradient, sharpness_aware_gradient


def our_steps(trained, data, kernels: str, batch: int) -> dict:
    """Return a baseline and a SAST step of our network from its initial weights, and a gradient by itself."""
    network = SpikingNetwork(trained.architecture, fused=kernels == "fused")
    network.initialise(torch.Generator().manual_seed(SEED))
    optimiser = adam(network, 0.0)
    rng = np.random.default_rng(SEED)
    labels = torch.from_numpy(data.labels)
    draw = network_inputs(network, data.frames, trained.preprocessing)

    def loss():
        chosen = np.sort(rng.permutation(len(data))[:batch])

        def value():
            return loss_of(network(draw(chosen)), labels[chosen])

        return value

    def baseline() -> None:
        plain_gradient(network, loss())
        optimiser.step(1e-3)

    def sast() -> None:
        sharpness_aware_gradient(network, loss(), loss(), 0.3)
        optimiser.step(1e-3)

    def gradient() -> None:
        plain_gradient(network, loss())

    return {f"{kernels} baseline": baseline, f"{kernels} SAST": sast, f"{kernels} gradient": gradient}


def peer_step(peer, trained, x, labels):
    model = peer(trained).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss_of(model(x), labels).backward()
        optimiser.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--arch", default="fc_0p40m")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5, help="steps of a turn")
    options = parser.parse_args()
    one_thread()
    as_after_loading()
    trained = checkpoint(options.work, options.arch)
    data = recordings(options.work, limit=1000)
    candidates = our_steps(trained, data, "fused", options.batch) | our_steps(
        trained, data, "torch", options.batch
    )
    x = frame_values(data.frames, slice(0, options.batch), trained.preprocessing)
    labels = torch.from_numpy(data.labels[: options.batch])
    for name, peer in available().items():
        candidates[name] = peer_step(peer, trained, x, labels)
    turns = {
        name: lambda step=step: [step() for _ in range(options.steps)] for name, step in candidates.items()
    }
    measured = {
        name: times | {kind: times[kind] / options.steps for kind in ("min", "median")}
        for name, times in interleaved(turns, options.turns).items()
    }
    peers = [name for name in measured if name == "torch baseline" or name in available()]
    fastest = min(peers, key=lambda name: measured[name]["min"])
    ours = measured["fused baseline"]
    save(f"training-{options.arch}", {
        "arch": options.arch, "batch": options.batch, "steps_in_a_row": options.steps, "seed": SEED, "seconds": measured, "fastest_peer": fastest,
        "baseline_over_fastest_peer": {k: measured[fastest][k] / ours[k] for k in ("min", "median")},
        "baseline_over_plain_torch": {k: measured["torch baseline"][k] / ours[k] for k in ("min", "median")},
        "sast_over_baseline": {k: measured["fused SAST"][k] / ours[k] for k in ("min", "median")},
        "two_gradients_over_baseline": {k: 2 * measured["fused gradient"][k] / ours[k] for k in ("min", "median")},
    }, *[PACKAGES[n] for n in available()])  # fmt: skip


if __name__ == "__main__":
    main()
