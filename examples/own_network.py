"""A network of one's own, declared in YAML: what it costs at most, a short training, and its integer program.

python examples/own_network.py [NETWORK.yaml] [--work FOLDER] [--train 1000] [--epochs 4]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.networks.builtin import describe, load_architecture
from sastdeploy.program.file import save_program
from sastdeploy.recordings.frames import Preprocessing
from sastdeploy.recordings.splits import find_scale, load_dataset
from sastdeploy.simulator import engine
from sastdeploy.simulator.metrics import summarise
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from sastdeploy.training.loop import train
from sastdeploy.training.settings import TrainingSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default=str(Path(__file__).with_name("network.yaml")))
    parser.add_argument("--work", type=Path, default=Path("example-results"))
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    architecture = load_architecture(options.network, (2, 34, 34), 10)
    for layer in describe(architecture, time_bins=10):
        print(
            f"{layer.name:9} {layer.kind:9} {layer.output_shape}: {layer.learnable:,} learnable parameters, fan-in {layer.fan_in:,}, "
            f"at most {layer.largest_synops / 1000:,.1f} kSynOps per recording"
        )
    root = options.work / "network-data"
    make_nmnist_sim(root, train=options.train, test=max(10, options.train // 4), seed=0)
    training, validation, test = (
        load_dataset("nmnist-sim", part, root=root) for part in ("train", "validation", "test")
    )
    clip = find_scale(training.frames)
    preprocessing = Preprocessing((34, 34, 2), (34, 34), 10, clip, float(clip))
    # Large weights at the start: with the usual ones this network hardly spikes, and so short a training learns nothing.
    settings = TrainingSettings(epochs=options.epochs, batch_size=32, learning_rate=3e-3, init_scale=3.0)
    checkpoint = train(
        training, validation, architecture, preprocessing, settings, options.work / "own.pt",
        dataset="nmnist-sim", command="examples/own_network.py", force=True,
        report=lambda r: print(f"epoch {r['epoch'] + 1}: loss {r['loss']:.3f}, hard accuracy {r['hard_accuracy']:.1%}"),
    )  # fmt: skip
    program = compile(checkpoint, load_profile("loihi_int8")).program
    save_program(options.work / "own.onnx", program)
    figures = summarise(program, engine.run(program, test.frames), test.labels)
    operations = figures["ksynops"]["all"]
    print(
        f"INT8: {figures['accuracy']['value']:.1%} of {len(test):,} simulated recordings, {operations['mean']:,.1f} kSynOps "
        f"each (at most {operations['maximum']:,.1f}); program in {options.work / 'own.onnx'}"
    )


if __name__ == "__main__":
    main()
