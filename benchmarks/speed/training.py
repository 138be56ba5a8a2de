"""Milliseconds of one training step at batch 128, one thread: fused kernels, plain torch, and the peers.

    python benchmarks/speed/training.py --work FOLDER [--arch conv_0p42m] [--turns 15] [--steps 5]

All start from the same weights and take the same minibatches in turn; before timing, losses of the first one are compared. A turn is
several steps in a row, as a training takes them: a single step between those of other frameworks would find the caches full
of theirs. Peers get every batch as a ready dense tensor in the order that they take, the CSR variant as a ready CSR matrix; our steps
draw and convert theirs. Peers train as their guides show: hard spikes forward, their arctan (sinabs, Norse: default) surrogate
backward, Adam.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.speed.peers import PACKAGES, PEERS, available, definition, laid_out, loss_of
from benchmarks.speed.subject import SEED, checkpoint, recordings
from benchmarks.speed.timing import as_after_loading, interleaved, one_thread, save
from sastdeploy import Checkpoint, LabelledFrames
from sastdeploy.networks.architecture import Dense
from sastdeploy.training.inference import frame_values, network_inputs
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.neurons import run_lif
from sastdeploy.training.optimiser import adam
from sastdeploy.training.sharpness import plain_gradient, sharpness_aware_gradient

BATCHES = 7
"""Minibatches that every candidate takes in turn."""
LOSS = 1e-4
"""Relative difference up to which two losses of the same weights and recordings count as one."""
CSR = "torch, CSR first layer"

Chosen = NDArray[np.int64]
"""Numbers of a minibatch's recordings."""


def our_steps(
    start: Checkpoint, data: LabelledFrames, chosen: list[Chosen], kernels: str
) -> dict[str, Callable[[], None]]:
    """Return a baseline and a SAST step of our network, and a gradient by itself."""
    network = SpikingNetwork(start.architecture, fused=kernels == "fused")
    network.load_arrays(start.parameters)
    optimiser = adam(network, 0.0)
    labels = torch.from_numpy(data.labels.copy())
    draw = network_inputs(network, data.frames, start.preprocessing)
    following = itertools.cycle(chosen).__next__

    def loss() -> Callable[[], Tensor]:
        batch = following()
        return lambda: loss_of(network(draw(batch)), labels[batch])

    def baseline() -> None:
        plain_gradient(network, loss())
        optimiser.step(1e-3)

    def sast() -> None:
        sharpness_aware_gradient(network, loss(), loss(), 0.3)
        optimiser.step(1e-3)

    def gradient() -> None:
        plain_gradient(network, loss())

    return {f"{kernels} baseline": baseline, f"{kernels} SAST": sast, f"{kernels} gradient": gradient}


def our_loss(start: Checkpoint, data: LabelledFrames, chosen: Chosen, kernels: str) -> float:
    network = SpikingNetwork(start.architecture, fused=kernels == "fused")
    network.load_arrays(start.parameters)
    with torch.inference_mode():
        draw = network_inputs(network, data.frames, start.preprocessing)
        return float(loss_of(network(draw(chosen)), torch.from_numpy(data.labels[chosen])))


def step_of(model: torch.nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Callable[[], None]:
    """Return a step of Adam on batches ``(values, labels)`` in turn."""
    optimiser, following = torch.optim.Adam(model.parameters(), lr=1e-3), itertools.cycle(batches).__next__

    def step() -> None:
        x, labels = following()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss_of(model(x), labels))
        optimiser.step()

    return step


class SparseFirst(torch.nn.Module):
    """Plain torch with the first layer as a product of a CSR matrix ``[T B, inputs]``: what a user can write who knows of it."""

    def __init__(self, start: Checkpoint) -> None:
        super().__init__()
        self.architecture, self.steps = start.architecture, start.preprocessing.time_bins
        self.values = torch.nn.ParameterDict({
            name.replace(".", "_"): torch.from_numpy(array.copy()) for name, array in start.parameters.items() if not name.endswith("threshold")
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        neuron, s = self.architecture.neuron, x
        for i in range(len(self.architecture.layers)):
            weight, bias = self.values[f"layers_{i}_weight"], self.values[f"layers_{i}_bias"]
            current = (
                torch.sparse.mm(s, weight.t()) + bias
                if i == 0
                else torch.nn.functional.linear(s, weight, bias)
            )
            if i == 0:
                current = current.view(self.steps, -1, current.shape[1])
            s, _ = run_lif(current, torch.tensor(neuron.threshold), neuron.alpha, 25.0, False)
        return torch.nn.functional.linear(
            s.mean(0), self.values["readout_weight"], self.values["readout_bias"]
        )


def checked(
    start: Checkpoint,
    data: LabelledFrames,
    x: Tensor,
    chosen: Chosen,
    model: torch.nn.Module | None,
    name: str,
) -> None:
    """Guarantee that the losses of the first minibatch agree: fused with plain torch, a peer with torch under its own rule.

    Raises:
        SystemExit: they do not.
    """
    labels = torch.from_numpy(data.labels[chosen])
    with torch.no_grad():
        if model is not None and name in PEERS:
            kind = PEERS[name]
            theirs = float(loss_of(model(laid_out(x, kind.time_first)), labels))
            expected = float(loss_of(definition(start, kind.rule, kind.strict)(laid_out(x, True)), labels))
        else:
            expected = our_loss(start, data, chosen, "torch")
            theirs = (
                our_loss(start, data, chosen, "fused")
                if model is None
                else float(loss_of(model(csr(x)), labels))
            )
    if not abs(theirs - expected) <= LOSS * abs(expected):
        raise SystemExit(f"{name}: loss {theirs} instead of {expected}; nothing is timed.")


def csr(x: Tensor) -> Tensor:
    return laid_out(x, True).flatten(0, 1).flatten(1).to_sparse_csr()


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
    network = SpikingNetwork(trained.architecture, fused=False)
    network.initialise(torch.Generator().manual_seed(SEED))
    start = replace(trained, parameters=network.parameters_as_arrays())
    data = recordings(options.work, limit=1000)
    rng = np.random.default_rng(SEED)
    chosen = [np.sort(rng.permutation(len(data))[: options.batch]) for _ in range(BATCHES)]
    values = [frame_values(data.frames, batch, start.preprocessing) for batch in chosen]
    labels = [torch.from_numpy(data.labels[batch]) for batch in chosen]
    checked(start, data, values[0], chosen[0], None, "fused")
    candidates = our_steps(start, data, chosen, "fused") | our_steps(start, data, chosen, "torch")
    for name, peer in available().items():
        checked(start, data, values[0], chosen[0], peer(start), name)
        candidates[name] = step_of(
            peer(start).train(), [(laid_out(x, peer.time_first), y) for x, y in zip(values, labels)]
        )
    if isinstance(start.architecture.layers[0], Dense):
        sparse = SparseFirst(start)
        checked(start, data, values[0], chosen[0], sparse, CSR)
        candidates[CSR] = step_of(sparse, [(csr(x), y) for x, y in zip(values, labels)])

    def several(step: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: [step() for _ in range(options.steps)]

    turns = {name: several(step) for name, step in candidates.items()}
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
        "baseline_over_csr": {k: measured[CSR][k] / ours[k] for k in ("min", "median")} if CSR in measured else None,
        "baseline_over_plain_torch": {k: measured["torch baseline"][k] / ours[k] for k in ("min", "median")},
        "sast_over_baseline": {k: measured["fused SAST"][k] / ours[k] for k in ("min", "median")},
    }, *[PACKAGES[n] for n in available()])  # fmt: skip


if __name__ == "__main__":
    main()
