"""Time two commits of this repository against each other, call by call, on the same net and frames.

    python benchmarks/speed/compare.py OLD [NEW] [--pairs 5] [--rounds 20]        NEW: the working tree by default

One process of each commit stays alive, and the same call is timed in the one and then in the other, so that a busy moment
of the machine meets both. Prints the median of these paired ratios old / new (above 1: NEW is faster), its smallest and
largest value over the pairs of processes, and the fastest call of each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]

MEASURE = """
import importlib, json, time, sys
import numpy as np
import torch, numba
torch.set_num_threads(1)
numba.set_num_threads(1)

def first(name, *places):
    # Modules have moved since older commits: the first of the places that is there, the newest first.
    for place in places:
        try:
            return getattr(importlib.import_module(f'sastdeploy.{place}'), name)
        except (ImportError, AttributeError):
            pass
    raise ImportError(f'{name}: in none of {places}')

Neuron = first('Neuron', 'networks.architecture', 'architecture')
Checkpoint = first('Checkpoint', 'networks.checkpoint', 'checkpoint')
Frames = first('Frames', 'recordings.frames', 'frames')
Preprocessing = first('Preprocessing', 'recordings.preprocessing', 'recordings.frames', 'frames')
load_profile = first('load_profile', 'compiler.profiles', 'hardware')
load_architecture = first('load_architecture', 'networks.builtin', 'networks')
from sastdeploy.simulator import engine
from sastdeploy.training import inference
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.sharpness import plain_gradient, sharpness_aware_gradient
rng = np.random.default_rng(0)

def compiled(checkpoint, profile):
    try:
        return first('compile_checkpoint', 'compiler.compile', 'compiler')(checkpoint, load_profile(profile))
    except ImportError:
        return first('compile', 'compiler.compile')(checkpoint, profile).program

preprocessing = Preprocessing((34, 34, 2), (34, 34), 10, 2, 2.0)
training = {'method': 'baseline', 'rho': 0.0, 'seed': 0, 'epochs': 1, 'selected': {'epoch': 0}}

def random(arch, scale):
    network = SpikingNetwork(load_architecture(arch, (2, 34, 34), 10, Neuron()))
    network.initialise(torch.Generator().manual_seed(0))
    arrays = {name: scale * a if name.endswith('weight') else a for name, a in network.parameters_as_arrays().items()}
    checkpoint = Checkpoint(network.architecture, arrays, preprocessing, tuple('0123456789'), 'nmnist-sim', training, {'command': 'random'})
    return network, [compiled(checkpoint, profile) for profile in ('loihi_int8', 'aggressive_int4')]

network, (program, program4) = random('fc_0p40m', 1)
conv, (conv_program, _) = random('conv_0p42m', 6)
frames = Frames.from_dense((rng.random((1024, 10, 2, 34, 34)) < 0.08).astype(np.uint8))
few = frames.select(slice(0, 64))
chosen = np.arange(128)
if hasattr(inference, 'network_inputs'):
    draw = inference.network_inputs(network, frames, preprocessing)
else:
    def draw(chosen):
        return inference.network_input(network, frames, chosen, preprocessing)

def loss():
    return network(draw(chosen)).square().mean()

CALLS = {
    'INT8, fc_0p40m, 1,024 recordings': lambda: engine.run(program, frames, threads=1),
    'INT4, the same': lambda: engine.run(program4, frames, threads=1),
    'INT8, conv_0p42m, 64 recordings': lambda: engine.run(conv_program, few, threads=1),
    'baseline gradient, batch 128': lambda: plain_gradient(network, loss),
    'SAST gradient, batch 128': lambda: sharpness_aware_gradient(network, loss, loss, 0.3),
}
for call in CALLS.values():
    call()
print(json.dumps(list(CALLS)), flush=True)
for line in sys.stdin:
    call = CALLS[json.loads(line)]
    began = time.perf_counter()
    call()
    print(json.dumps(time.perf_counter() - began), flush=True)
"""


class Worker:
    """A process of one commit that times one call whenever it is asked to."""

    def __init__(self, tree: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", MEASURE],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.calls: list[str] = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended with status {self._process.wait()}; its error stands above")
        return json.loads(line)

    def seconds(self, call: str) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(trees: dict[str, Path], pairs: int, rounds: int) -> dict[str, list[list[tuple[float, float]]]]:
    """Return the seconds (old, new) of every call: one list per pair of processes, one entry per round."""
    seconds: dict[str, list[list[tuple[float, float]]]] = {}
    for pair in range(pairs):
        old, new = Worker(trees["old"]), Worker(trees["new"])
        for call in new.calls:
            timed = []
            for turn in range(rounds):
                if (pair + turn) % 2:
                    after = new.seconds(call)
                    timed.append((old.seconds(call), after))
                else:
                    before = old.seconds(call)
                    timed.append((before, new.seconds(call)))
            seconds.setdefault(call, []).append(timed)
        old.close()
        new.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trees = {}
        for name, commit in (("old", options.old), ("new", options.new)):
            trees[name] = ROOT
            if commit:
                trees[name] = Path(folder) / name
                git = [
                    "git",
                    "-C",
                    str(ROOT),
                    "worktree",
                    "add",
                    "--detach",
                    "--quiet",
                    str(trees[name]),
                    commit,
                ]
                subprocess.run(git, check=True)
        try:
            seconds = compare(trees, options.pairs, options.rounds)
        finally:
            for tree in set(trees.values()) - {ROOT}:
                subprocess.run(
                    ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=True
                )
    for call, timed in seconds.items():
        ratios = [median(old / new for old, new in rounds) for rounds in timed]
        old, new = (1e3 * min(times[which] for rounds in timed for times in rounds) for which in (0, 1))
        print(
            f"{call}: ratio {median(ratios):.2f} (pairs of processes {min(ratios):.2f} to {max(ratios):.2f}; "
            f"fastest {old:.2f} ms -> {new:.2f} ms)"
        )


if __name__ == "__main__":
    main()
