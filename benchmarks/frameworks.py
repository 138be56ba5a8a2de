"""Networks that other frameworks trained, on simulated recordings: their own accuracy, ours in float, and the programs'.

    sastdeploy data make nmnist-sim --train 6000 --test 1000
    python benchmarks/frameworks.py [--data FOLDER] [--limit 6000] [--epochs 5] [--seed 0] [--out FILE.json]

A table per framework that is installed (snntorch, spikingjelly, lava-dl): 128 hidden neurons, scores are spike counts, 10 bins. A profile
is asked twice: with its own neuron (``--neuron profile``), and with the network's in its place. lava-dl is in no package index: put the
folder ``src`` of its repository into PYTHONPATH; its networks are Loihi's integers, so they are compiled for ``loihi1`` and every spike
of the test recordings is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sastdeploy import (
    Framing,
    HardwareProfile,
    ImportedNetwork,
    LabelledFrames,
    compile,
    from_lava,
    from_module,
    load_dataset,
    load_profile,
    simulate,
    summarise,
)
from sastdeploy.exchange.evaluation import evaluate_network

PROFILES = ("loihi_int8", "aggressive_int4")
STEPS, HIDDEN, BATCH = 10, 128, 64


@dataclass(frozen=True)
class Candidate:
    """A network of a framework, before and after its training.

    Args:
        net: with parameters. spikes: of the last neurons, ``[N, T, K]``, from counts ``[N, T, P, H, W]``.
        network: as imported. rate: of learning. clip: of the counts.
        programs: by name, how it is compiled; the second value says whether every spike must be the framework's.
    """

    net: nn.Module
    spikes: Callable[[torch.Tensor], torch.Tensor]
    network: Callable[[], ImportedNetwork]
    rate: float = 2e-3
    clip: int = 4
    programs: dict[str, tuple[Callable[[ImportedNetwork], Any], bool]] = field(default_factory=dict)


def snntorch() -> Candidate:
    """Return a network of snnTorch's leaky neurons."""
    import snntorch as snn
    from snntorch import surrogate, utils

    def neurons() -> nn.Module:
        leaky: nn.Module = snn.Leaky(beta=0.8, init_hidden=True, spike_grad=surrogate.atan())
        return leaky

    return _stepwise("snntorch", neurons, utils.reset)


def spikingjelly() -> Candidate:
    """Return a network of SpikingJelly's leaky neurons, reset to zero."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    def neurons() -> nn.Module:
        node: nn.Module = neuron.LIFNode(
            tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan()
        )
        return node

    return _stepwise("spikingjelly", neurons, functional.reset_net)


def _stepwise(name: str, neurons: Callable[[], nn.Module], fresh: Callable[[nn.Module], Any]) -> Candidate:
    """Return a network that is called once a step; ``fresh`` starts it anew."""
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(2 * 34 * 34, HIDDEN), neurons(), nn.Linear(HIDDEN, 10), neurons()
    )

    def spikes(counts: torch.Tensor) -> torch.Tensor:
        fresh(net)
        return torch.stack([net(step) for step in (counts / 4).unbind(1)], 1)

    def network() -> ImportedNetwork:
        fresh(net)
        framing = Framing("nmnist-sim", STEPS, clip=4, divisor=4.0)
        return from_module(net, torch.zeros(1, 2, 34, 34), framing=framing, name=name)

    def compiler(profile: HardwareProfile, own: bool) -> Callable[[ImportedNetwork], Any]:
        def program(network: ImportedNetwork) -> Any:
            lif = next(node for node in network.graph.nodes if node.kind == "lif")
            changes = (
                {key: getattr(lif, key) for key in ("spike_test", "reset", "reset_delay")} if own else {}
            )
            return compile(network, replace(profile, **changes), neuron="profile").program

        return program

    programs = {
        f"{profile}, {whose} neuron": (compiler(load_profile(profile), whose == "own"), False)
        for profile in PROFILES
        for whose in ("its", "own")
    }
    return Candidate(net, spikes, network, programs=programs)


def lava_dl() -> Candidate:
    """Return a network of lava-dl's CUBA neurons, with the 8-bit weights and 24-bit states of Loihi."""
    # Its detection part needs OpenCV and torchvision, and nothing here needs that part.
    unused = "lava.lib.dl.slayer.object_detection"
    sys.modules[unused] = types.ModuleType(unused)
    import h5py
    from lava.lib.dl.slayer.block import cuba

    neuron = {
        "threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.1, "tau_grad": 0.1, "scale_grad": 1.5,
        "requires_grad": False,
    }  # fmt: skip
    layers = [
        cuba.Dense(neuron, inputs, outputs, weight_norm=True, delay_shift=True)
        for inputs, outputs in ((2 * 34 * 34, HIDDEN), (HIDDEN, 10))
    ]

    def spikes(counts: torch.Tensor) -> torch.Tensor:
        """A layer's spikes arrive a step later: step t of the last is step t + 2 of lava-dl."""
        x = nn.functional.pad(counts.flatten(2).transpose(1, 2), (0, len(layers)))
        for layer in layers:
            x = layer(x)
        return x[..., len(layers) :].transpose(1, 2)

    def network() -> ImportedNetwork:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lava-dl.net"
            with h5py.File(path, "w") as file:
                for number, layer in enumerate(layers):
                    layer.export_hdf5(file.create_group(f"layer/{number}"))
            return from_lava(path, framing=Framing("nmnist-sim", STEPS, clip=1))

    programs = {"loihi1": (lambda network: compile(network, "loihi1").program, True)}
    return Candidate(nn.ModuleList(layers), spikes, network, rate=1e-3, clip=1, programs=programs)


FRAMEWORKS = {"snntorch": snntorch, "spikingjelly": spikingjelly, "lava-dl": lava_dl}
MODULES = {"lava-dl": "lava"}


def train(candidate: Candidate, data: LabelledFrames, epochs: int, seed: int) -> None:
    """Train on the cross-entropy of spike counts."""
    order, optimiser = (
        np.random.default_rng(seed),
        torch.optim.Adam(candidate.net.parameters(), candidate.rate),
    )
    for _ in range(epochs):
        shuffled = order.permutation(len(data))
        for begin in range(0, len(data), BATCH):
            chosen = shuffled[begin : begin + BATCH]
            scores = candidate.spikes(_counts(data, chosen, candidate.clip)).sum(1)
            loss = nn.functional.cross_entropy(scores, torch.from_numpy(data.labels[chosen].astype(np.int64)))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


def own_spikes(candidate: Candidate, data: LabelledFrames) -> np.ndarray:
    """Return the framework's own spikes of the last neurons ``[N, T, K]``."""
    with torch.no_grad():
        return np.concatenate([
            candidate.spikes(_counts(data, np.arange(begin, min(begin + BATCH, len(data))), candidate.clip)).numpy() != 0
            for begin in range(0, len(data), BATCH)
        ])  # fmt: skip


def _counts(data: LabelledFrames, chosen: np.ndarray, clip: int) -> torch.Tensor:
    return torch.from_numpy(data.frames.select(chosen).dense()).float().clamp(max=clip)


def measured(candidate: Candidate, test: LabelledFrames) -> dict[str, Any]:
    """Return accuracies by form (of equal counts the first class counts), and spikes that differ where none may."""
    theirs = own_spikes(candidate, test)
    network = candidate.network()
    rates = {
        "its own": float((theirs.sum(1).argmax(1) == test.labels).mean()),
        "our float": evaluate_network(network, test).accuracy,
    }
    row: dict[str, Any] = {"accuracy": rates}
    for name, (program_of, same) in candidate.programs.items():
        program = program_of(network)
        last = program.layers[-1].name
        result = simulate(program, test, trace=(last,) if same else ())
        rates[name] = float(summarise(program, result, test.labels)["accuracy"]["value"])
        if same:
            ours = result.traces[last].spikes.reshape(theirs.shape) != 0
            row |= {"spikes": int(theirs.sum()), "differing": int((ours != theirs).sum())}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--limit", type=int, default=6000, help="training recordings")
    parser.add_argument("--test-limit", type=int, help="test recordings; all by default")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    training = load_dataset("nmnist-sim", "train", root=options.data, limit=options.limit)
    test = load_dataset("nmnist-sim", "test", root=options.data, limit=options.test_limit)
    facts: dict[str, Any] = {
        "training": len(training), "test": len(test), "epochs": options.epochs, "seed": options.seed, "frameworks": [],
    }  # fmt: skip
    print(
        f"{len(training):,} training recordings, {len(test):,} for the test (simulated), seed {options.seed}"
    )
    for name, make in FRAMEWORKS.items():
        if find_spec(MODULES.get(name, name)) is None:
            print(f"{name}: not installed")
            continue
        torch.manual_seed(options.seed)
        candidate = make()
        train(candidate, training, options.epochs, options.seed)
        row = {"framework": name, "version": _version(name), **measured(candidate, test)}
        facts["frameworks"].append(row)
        print(f"{name} {row['version']}")
        for form, rate in row["accuracy"].items():
            print(f"    {form:34}{rate:8.2%}", flush=True)
        if "spikes" in row:
            print(
                f"    {row['spikes']:,} spikes of the last neurons, {row['differing']:,} differ", flush=True
            )
    if options.out:
        options.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from its repository"


if __name__ == "__main__":
    main()
