"""Networks that other frameworks trained, on simulated recordings: their own accuracy, ours in float, and the programs'.

    sastdeploy data make nmnist-sim --train 6000 --test 1000
    python benchmarks/frameworks.py [--data FOLDER] [--limit 6000] [--epochs 5] [--seed 0]

A line per framework that is installed (snntorch, spikingjelly): 128 hidden neurons, scores are spike counts, 10 bins. Each
profile is asked twice: with its own neuron (``--neuron profile``), and with the network's in its place.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
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
    from_module,
    load_dataset,
    load_profile,
    simulate,
    summarise,
)
from sastdeploy.exchange.evaluation import evaluate_network

PROFILES = ("loihi_int8", "aggressive_int4")
CLIP, STEPS, HIDDEN, BATCH, RATE = 4, 10, 128, 64, 2e-3


def snntorch() -> tuple[nn.Sequential, Callable[[nn.Module], Any]]:
    """Return a network of snnTorch's leaky neurons, and what starts it anew."""
    import snntorch as snn
    from snntorch import surrogate, utils

    def neurons() -> nn.Module:
        leaky: nn.Module = snn.Leaky(beta=0.8, init_hidden=True, spike_grad=surrogate.atan())
        return leaky

    return _body(neurons), utils.reset


def spikingjelly() -> tuple[nn.Sequential, Callable[[nn.Module], Any]]:
    """Return a network of SpikingJelly's leaky neurons, reset to zero, and what starts it anew."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    def neurons() -> nn.Module:
        node: nn.Module = neuron.LIFNode(
            tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan()
        )
        return node

    return _body(neurons), functional.reset_net


FRAMEWORKS = {"snntorch": snntorch, "spikingjelly": spikingjelly}


def _body(neurons: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(2 * 34 * 34, HIDDEN), neurons(), nn.Linear(HIDDEN, 10), neurons()
    )


def train(
    net: nn.Module, fresh: Callable[[nn.Module], Any], data: LabelledFrames, epochs: int, seed: int
) -> None:
    """Train on the cross-entropy of spike counts."""
    order, optimiser = np.random.default_rng(seed), torch.optim.Adam(net.parameters(), RATE)
    for _ in range(epochs):
        shuffled = order.permutation(len(data))
        for begin in range(0, len(data), BATCH):
            chosen = shuffled[begin : begin + BATCH]
            counts = _counts(net, fresh, data, chosen)
            loss = nn.functional.cross_entropy(counts, torch.from_numpy(data.labels[chosen].astype(np.int64)))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()


def accuracy(net: nn.Module, fresh: Callable[[nn.Module], Any], data: LabelledFrames) -> float:
    """Return the framework's own accuracy; of equal counts the first class counts."""
    correct = 0
    with torch.no_grad():
        for begin in range(0, len(data), BATCH):
            chosen = np.arange(begin, min(begin + BATCH, len(data)))
            counts = _counts(net, fresh, data, chosen).numpy()
            correct += int((counts.argmax(1) == data.labels[chosen]).sum())
    return correct / len(data)


def _counts(
    net: nn.Module, fresh: Callable[[nn.Module], Any], data: LabelledFrames, chosen: np.ndarray
) -> torch.Tensor:
    """Return the spike counts of the last neurons ``[N, K]``."""
    frames = torch.from_numpy(data.frames.select(chosen).dense()).float().clamp(max=CLIP) / CLIP
    fresh(net)
    return torch.stack([net(step) for step in frames.unbind(1)]).sum(0)


def deployed(network: ImportedNetwork, test: LabelledFrames) -> list[float]:
    """Return the accuracy of the program of every profile, with the profile's neuron and with the network's."""
    lif = next(node for node in network.graph.nodes if node.kind == "lif")
    rates = []
    for profile in map(load_profile, PROFILES):
        own: HardwareProfile = replace(
            profile, **{key: getattr(lif, key) for key in ("spike_test", "reset", "reset_delay")}
        )
        for hardware in (profile, own):
            program = compile(network, hardware, neuron="profile").program
            rates.append(float(summarise(program, simulate(program, test), test.labels)["accuracy"]["value"]))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--limit", type=int, default=6000, help="training recordings")
    parser.add_argument("--test-limit", type=int, help="test recordings; all by default")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    training = load_dataset("nmnist-sim", "train", root=options.data, limit=options.limit)
    test = load_dataset("nmnist-sim", "test", root=options.data, limit=options.test_limit)
    print(
        f"{len(training):,} training recordings, {len(test):,} for the test (simulated), seed {options.seed}"
    )
    columns = [f"{name[-4:].upper()}, {whose} neuron" for name in PROFILES for whose in ("its", "own")]
    print(f"{'framework':14}{'framework':>11}{'our float':>11}" + "".join(f"{c:>18}" for c in columns))
    for name, make in FRAMEWORKS.items():
        if find_spec(name) is None:
            print(f"{name}: not installed")
            continue
        torch.manual_seed(options.seed)
        net, fresh = make()
        train(net, fresh, training, options.epochs, options.seed)
        framing = Framing("nmnist-sim", STEPS, clip=CLIP, divisor=float(CLIP))
        fresh(net)
        network = from_module(net, torch.zeros(1, 2, 34, 34), framing=framing, name=name)
        rates = [
            accuracy(net, fresh, test),
            evaluate_network(network, test).accuracy,
            *deployed(network, test),
        ]
        print(
            f"{name:14}{rates[0]:11.2%}{rates[1]:11.2%}" + "".join(f"{rate:18.2%}" for rate in rates[2:]),
            flush=True,
        )


if __name__ == "__main__":
    main()
