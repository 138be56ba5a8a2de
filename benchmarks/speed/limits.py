"""Where the milliseconds of a training step and of a first result go, part by part, one thread.

python benchmarks/speed/limits.py --work FOLDER [--turns 15]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from benchmarks.speed.subject import SEED, checkpoint, recordings
from benchmarks.speed.timing import as_after_loading, environment, interleaved, one_thread, save
from sastdeploy.cli.simulate_command import UNUSED
from sastdeploy.training import fused, sparse
from sastdeploy.training import sparse_kernels as kernels
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import FusedAdam
from sastdeploy.training.sparse import SparseFrames


def training_parts(work: Path, turns: int) -> dict[str, Any]:
    """Return seconds per part of one step of fc_0p40m at batch 128, and the bytes of rows that its two sums touch."""
    trained, data = checkpoint(work), recordings(work, limit=1000)
    rng = np.random.default_rng(SEED)
    chosen = np.sort(rng.permutation(len(data))[:128])
    source = SparseFrames(data.frames, trained.preprocessing)
    x = source.draw(chosen)
    rows, width = len(x.start), 168
    weight = torch.randn(x.inputs, width).numpy()
    gradient = torch.randn(rows, width).numpy()
    bias, out, back = np.zeros(width, np.float32), torch.empty(rows, width), torch.empty(x.inputs, width)
    ends, entry = sparse._sorted(x)
    kind, _ = kernels.pieces(width)
    membrane, spikes = gradient.reshape(10, -1, width).copy(), np.empty((10, rows // 10, width), np.float32)
    theta = np.ones(width, np.float32)
    alpha, slope = np.float32(0.5), np.float32(25)
    dense = torch.randn(64, width)
    network = SpikingNetwork(trained.architecture)
    network.initialise(torch.Generator().manual_seed(SEED))
    optimiser = FusedAdam(network, 0.0)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    measured = interleaved(
        {
            "drawing the batch": lambda: source.draw(chosen),
            "first layer, sum": lambda: kernels.sum_inputs(x.start, x.stop, x.index, x.count, x.worth, x.which, weight, bias, *kind, out.numpy()),
            "first layer, sorting by input": lambda: sparse._sorted(x),
            "first layer, weight gradient": lambda: kernels.sum_rows(ends, entry, x.worth, x.which, gradient, *kind, back.numpy()),
            "LIF forward, first layer": lambda: fused._forward(membrane, theta, alpha, slope, False, spikes),
            "LIF backward, first layer": lambda: fused._backward(membrane, theta, alpha, slope, spikes),
            "one dense product, second layer": lambda: out @ dense.T,
            "Adam, with the gradient's norm": lambda: optimiser.step(1e-3),
        },
        turns,
    )  # fmt: skip
    events = int((x.stop - x.start).sum())
    both = int((ends[2::4] - ends[1::4]).sum())
    row_bytes = {"sum": events * width * 4, "weight gradient": (events - both) * width * 4}
    return {"seconds": measured, "events": events, "row_bytes": row_bytes}


def start_parts(turns: int) -> dict[str, dict[str, float]]:
    """Return seconds of processes that do ever more of what a run on many recordings needs."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({UNUSED}))\n"
    load = (
        "import numpy as np; from sastdeploy.simulator.numba_engine.kernels import clip_counts as k\n"
        "k(np.ones(1, np.uint8), np.uint8(1), np.zeros(1, np.uint8))"
    )
    scripts = {
        "Python alone": "pass",
        "import numpy": "import numpy",
        "import numba": "import numba",
        "import the kernels": "import sastdeploy.simulator.numba_engine.chunks",
        "load the smallest kernel from the cache": load,
        "the same, SciPy and cffi hidden": hidden + load,
    }

    def process(script: str) -> None:
        subprocess.run([sys.executable, "-c", script], check=True, env=environment())

    return interleaved({name: partial(process, script) for name, script in scripts.items()}, turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=15)
    options = parser.parse_args()
    one_thread()
    as_after_loading()
    save(
        "limits",
        {"seed": SEED, "training": training_parts(options.work, options.turns), "start": start_parts(5)},
    )


if __name__ == "__main__":
    main()
