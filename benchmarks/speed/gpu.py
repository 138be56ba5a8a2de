"""How long a training step takes on a GPU, alone and in packs, and whether it computes what the CPU does.

    python benchmarks/speed/gpu.py --device cuda --out gpu-fc.json
    python benchmarks/speed/gpu.py --device cuda --archs conv_0p42m --packs 1 2 15 --steps 20 --out gpu-conv.json

The step is compiled, which needs a C compiler and Python's headers; without them it says so and runs as it is.
Recordings are random counts in the shape of N-MNIST frames, so no data set is needed. Equality: a pack of three networks
against the plain definition on the CPU; repeatability: the same pack twice.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sastdeploy import (
    LabelledFrames,
    Preprocessing,
    TrainingRun,
    TrainingSettings,
    fit_all,
    load_architecture,
)
from sastdeploy._files import atomic
from sastdeploy.networks.checkpoint import checkpoint_hash
from sastdeploy.provenance import git_commit, versions
from sastdeploy.training.devices import CPU, device_of, exact_products
from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.packed.loop import Pack
from sastdeploy.training.run import begin

SHAPE, BINS, CLASSES = (2, 34, 34), 10, 10
METHODS: dict[str, dict[str, Any]] = {"baseline": {}, "sast": {"method": "sast", "rho": 0.3}}


def recordings(count: int, seed: int) -> LabelledFrames:
    """Return random frames whose class shows in one row of pixels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    counts = rng.poisson(0.06, (count, BINS, *SHAPE)).astype(np.uint8)
    for n, label in enumerate(labels):
        counts[n, :, :, 3 * label] += rng.poisson(1.0, counts[n, :, :, 3 * label].shape).astype(np.uint8)
    return LabelledFrames.from_dense(counts, labels, [str(k) for k in range(CLASSES)])


def run_of(
    folder: Path,
    arch: str,
    parts: tuple[LabelledFrames, LabelledFrames],
    number: int,
    kernels: str,
    epochs: int,
    **settings: Any,
) -> TrainingRun:
    """Return a training of seed ``number``."""
    return TrainingRun(
        *parts, load_architecture(arch, SHAPE, CLASSES), Preprocessing((34, 34, 2), (34, 34), BINS, 6, 6.0),
        TrainingSettings(seed=number, epochs=epochs, kernels=kernels, **settings), folder / f"{arch}-{kernels}-{number}.pt",
    )  # fmt: skip


@exact_products()
def milliseconds(
    arch: str, method: str, networks: int, group: Group, steps: int, count: int
) -> dict[str, Any]:
    """Return the time of one step of a pack, and beside it of one minibatch of its epochs' validation."""
    parts = recordings(count, 0), recordings(256, 1)
    with TemporaryDirectory() as folder:
        runs = [run_of(Path(folder), arch, parts, m, "packed", 1, **METHODS[method]) for m in range(networks)]
        began = time.perf_counter()
        pack = Pack([begin(run, False, group, CPU, print) for run in runs], group.device, print)
        prepared = time.perf_counter() - began
    done = 0
    seconds = 0.0
    while done < steps:
        pack.begin_epoch(0)
        _wait(group.device)
        began = time.perf_counter()
        for _ in range(min(pack.steps, steps - done)):
            pack.step()
        _wait(group.device)
        seconds += time.perf_counter() - began
        done += min(pack.steps, steps - done)
    pack.validation.records()
    began = time.perf_counter()
    pack.validation.records()
    validation = time.perf_counter() - began
    return {
        "arch": arch, "method": method, "networks": networks, "steps": steps, "prepared_s": round(prepared, 2),
        "ms_per_step": round(1000 * seconds / steps, 4), "ms_per_network": round(1000 * seconds / steps / networks, 4),
        "ms_per_validation_batch": round(1000 * validation / pack.validation.steps, 4),
    }  # fmt: skip


def _wait(device: torch.device) -> None:
    """Return when the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def furthest(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return the largest difference of a parameter."""
    return max(float(abs(one[name] - other[name]).max()) for name in one)


def equality(arch: str, method: str, group: Group, count: int) -> dict[str, Any]:
    """Return how far two epochs of a pack of three are from the plain definition on the CPU, and whether its bits repeat.

    ``moved``: how far the plain definition moved the parameter that it moved furthest, of the network that moved least: a device that
    computes nothing is as far off. ``largest_loss_difference``: relative, over networks and epochs.
    """
    parts = recordings(count, 2), recordings(100, 3)
    with TemporaryDirectory() as folder:
        packed, again = (
            [run_of(Path(folder) / name, arch, parts, m, "packed", 2, **METHODS[method]) for m in range(3)]
            for name in ("a", "b")
        )
        plain = [run_of(Path(folder), arch, parts, m, "torch", 2, **METHODS[method]) for m in range(3)]
        starts = [begin(run, False, ALONE, CPU, print).network.parameters_as_arrays() for run in plain]
        first, second = (fit_all(runs, group=group) for runs in (packed, again))
        alone = fit_all(plain)
        losses = [np.array([log_losses(run) for run in runs]) for runs in (packed, plain)]
    difference = max(furthest(one.parameters, other.parameters) for one, other in zip(first, alone))
    moved = min(furthest(start, one.parameters) for start, one in zip(starts, alone))
    apart = float(np.abs(losses[0] / losses[1] - 1).max())
    return {
        "arch": arch, "method": method, "largest_difference": difference, "moved": moved, "largest_loss_difference": apart,
        "equal": difference < 0.01 * moved and apart < 1e-3,
        "same_bits": [checkpoint_hash(c) for c in first] == [checkpoint_hash(c) for c in second],
    }  # fmt: skip


def log_losses(run: TrainingRun) -> list[float]:
    """Return the losses of a training's epochs."""
    return [json.loads(line)["loss"] for line in run.log_path.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--recordings", type=int, default=8192)
    parser.add_argument("--packs", type=int, nargs="+", default=[1, 15, 45])
    parser.add_argument("--archs", nargs="+", default=["fc_0p40m"])
    options = parser.parse_args()
    group = Group(device=device_of(options.device))
    device = group.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    lines: dict[str, Any] = {
        "device": name,
        "commit": git_commit(),
        "versions": versions("torch", "numpy"),
        "steps": [],
        "equality": [],
    }
    for arch in options.archs:
        for method in METHODS:
            lines["equality"].append(equality(arch, method, group, min(options.recordings, 500)))
            print(lines["equality"][-1], flush=True)
            for networks in options.packs:
                lines["steps"].append(
                    milliseconds(arch, method, networks, group, options.steps, options.recordings)
                )
                print(lines["steps"][-1], flush=True)
                # What was measured is kept, whatever comes next.
                atomic.write_text(options.out, json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
