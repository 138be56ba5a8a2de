"""NumPy in, NumPy out: train on arrays of one's own, compile, simulate, and look at every spike and membrane.

    python examples/own_arrays.py [--epochs 8]

The arrays here are noise with a bright column that shows the class; put your own in their place.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sastdeploy import LabelledFrames, TrainingSettings, compile, fit, load_architecture, simulate

CLASSES = ["left", "middle", "right"]


def recordings(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return event counts [N, T, P, H, W] and labels [N]."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.1, (count, 8, 2, 12, 12))
    labels = rng.integers(0, len(CLASSES), count)
    for recording, label in zip(counts, labels):
        recording[..., 4 * label + 1] += rng.poisson(0.6, recording[..., 0].shape)
    return counts, labels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    training, validation = (LabelledFrames.from_dense(*recordings(300, seed), CLASSES) for seed in (0, 1))
    network = Path(__file__).with_name("network.yaml")
    architecture = load_architecture(str(network), training.frames.shape, len(CLASSES))
    settings = TrainingSettings(epochs=options.epochs, batch_size=32, init_scale=3.0)
    checkpoint = fit(training, validation, architecture, settings)
    program = compile(checkpoint, "aggressive_int4").program

    counts, labels = recordings(40, seed=2)
    layer = program.layers[0].name
    result = simulate(program, counts, trace=layer)
    spikes, membranes = result.traces[layer].spikes, result.traces[layer].membranes
    print(f"INT4 accuracy {(result.predicted == labels).mean():.1%} on {len(labels)} recordings")
    print(f"synaptic operations per recording: {result.synops.sum(axis=1).mean():,.0f}")
    print(f"{layer}: spikes {spikes.dtype} {list(spikes.shape)}, a rate of {spikes.mean():.3f}")
    print(f"{layer}: membranes {membranes.dtype}, {membranes.min()} to {membranes.max()} steps")


if __name__ == "__main__":
    main()
