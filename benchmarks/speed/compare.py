"""Time two commits of this repository against each other, in turns, on the same net and frames.

    python benchmarks/speed/compare.py OLD [NEW] [--turns 5]        NEW: the working tree by default

Prints the ratio old / new of every measured call (above 1: NEW is faster); the processes of the two take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.timing import facts

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

def best(call, turns):
    call()
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)

print(json.dumps({
    'INT8, fc_0p40m, 1,024 recordings': best(lambda: engine.run(program, frames, threads=1), 5),
    'INT4, the same': best(lambda: engine.run(program4, frames, threads=1), 5),
    'INT8, conv_0p42m, 64 recordings': best(lambda: engine.run(conv_program, few, threads=1), 3),
    'baseline gradient, batch 128': best(lambda: plain_gradient(network, loss), 10),
    'SAST gradient, batch 128': best(lambda: sharpness_aware_gradient(network, loss, loss, 0.3), 10),
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--turns", type=int, default=5)
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
            seconds: dict[str, dict[str, list[float]]] = {}
            for _ in range(options.turns):
                for name, tree in trees.items():
                    environment = {**os.environ, "PYTHONPATH": str(tree)}
                    call = [sys.executable, "-c", MEASURE]
                    done = subprocess.run(
                        call, cwd=tree, env=environment, check=True, capture_output=True, text=True
                    )
                    for what, value in json.loads(done.stdout.splitlines()[-1]).items():
                        seconds.setdefault(what, {}).setdefault(name, []).append(value)
        finally:
            for tree in set(trees.values()) - {ROOT}:
                subprocess.run(
                    ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=True
                )
    for what, times in seconds.items():
        old, new = facts(times["old"]), facts(times["new"])
        print(
            f"{what}: {old['min'] * 1e3:.2f} ms -> {new['min'] * 1e3:.2f} ms, ratio {old['min'] / new['min']:.2f} "
            f"(medians {old['median'] / new['median']:.2f}, spread {old['spread']:.2f} / {new['spread']:.2f})"
        )


if __name__ == "__main__":
    main()
