"""A network of one's own, declared in YAML: a short training, its integer program, and what a port must provide.

sastdeploy data make nmnist-sim
python examples/own_network.py [NETWORK.yaml] [--data FOLDER] [--work FOLDER] [--limit 1000] [--epochs 4]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sastdeploy import (
    TrainingSettings,
    compile,
    fit,
    load_architecture,
    load_dataset,
    save_program,
    simulate,
    summarise,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", default=str(Path(__file__).with_name("network.yaml")))
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("example-results"))
    parser.add_argument("--limit", type=int, default=1000, help="training recordings")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    training, validation, test = (
        load_dataset("nmnist-sim", split, root=options.data, limit=None if split == "test" else options.limit)
        for split in ("train", "validation", "test")
    )
    architecture = load_architecture(options.network, training.frames.shape, len(training.classes))
    checkpoint = fit(
        training, validation, architecture,
        # Large weights at the start: with the usual ones this network hardly spikes, and so short a training learns nothing.
        TrainingSettings(epochs=options.epochs, batch_size=32, learning_rate=3e-3, init_scale=3.0),
        out=options.work / "own.pt", force=True,
        report=lambda r: print(f"epoch {r['epoch'] + 1}: loss {r['loss']:.3f}, hard accuracy {r['hard_accuracy']:.1%}"),
    )  # fmt: skip
    compilation = compile(checkpoint, "loihi_int8")
    for layer in compilation.report.layers:
        print(
            f"{layer.name:9} {layer.kind:8} {layer.neurons:5,} neurons, fan-in {layer.fan_in:,}, {layer.weight_bytes:,} bytes of "
            f"weights, at most {layer.largest_ksynops:,.1f} kSynOps per recording"
        )
    program = compilation.program
    save_program(options.work / "own.onnx", program, force=True)
    figures = summarise(program, simulate(program, test), test.labels)
    operations = figures["ksynops"]["all"]
    print(
        f"INT8: {figures['accuracy']['value']:.1%} of {len(test):,} simulated recordings, {operations['mean']:,.1f} kSynOps "
        f"each (at most {operations['maximum']:,.1f}); program in {options.work / 'own.onnx'}"
    )


if __name__ == "__main__":
    main()
