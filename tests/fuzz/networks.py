"""Valid checkpoints, networks, states, programs, profiles, experiments and records, and how each is read."""

import gzip
import io
import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.fuzz import containers, mutation
from tests.fuzz.inputs import ROOT, written

_ADDRESS = "0123456789abcdef"


def checkpoints(folder: Path) -> list[bytes]:
    from sastdeploy.networks.checkpoint import save_checkpoint
    from tests import small_networks as small

    for architecture in (small.DENSE, small.CONV, small.POOL):
        save_checkpoint(folder / f"{architecture.name}.pt", small.checkpoint_of(architecture))
    return [path.read_bytes() for path in sorted(folder.glob("*.pt"))]


def read_checkpoint(folder: Path, content: bytes) -> object:
    from sastdeploy.networks.builtin import describe
    from sastdeploy.networks.checkpoint import load_checkpoint

    return describe(load_checkpoint(written(folder, "c.pt", content)).architecture)


def nirs(folder: Path) -> list[bytes]:
    """Return files of frameworks, and of our own with delays and with numbers of each neuron."""
    from sastdeploy import export_nir
    from tests.tiny_programs import three_neurons, two_delays

    packed = (ROOT / "tests/fixtures/nir").glob("s[np]*.nir.gz")
    own = [
        export_nir(program(), folder / "own.nir", force=True).path.read_bytes()
        for program in (two_delays, three_neurons)
    ]
    return [*(gzip.decompress(path.read_bytes()) for path in sorted(packed)), *own]


def read_nir(folder: Path, content: bytes) -> object:
    from sastdeploy import from_nir
    from sastdeploy._files import own_process

    own_process.MAX_SECONDS = 3.0  # HDF5 does not end on some inputs
    return from_nir(written(folder, "n.nir", content))


def trained_weights(folder: Path) -> list[bytes]:
    packed = (ROOT / "tests/fixtures/brevitas").glob("*.onnx.gz")
    return [gzip.decompress(path.read_bytes()) for path in sorted(packed)]


def read_weights(folder: Path, content: bytes) -> object:
    from sastdeploy.exchange.onnx_weights import read_trained_weights

    return [each and each.weight for each in read_trained_weights(written(folder, "w.onnx", content))]


def networks(folder: Path) -> list[bytes]:
    from sastdeploy import from_nir, save_network

    for number, content in enumerate(nirs(folder)):
        save_network(folder / f"{number}.pt", from_nir(written(folder, "n.nir", content)))
    return [path.read_bytes() for path in sorted(folder.glob("*.pt"))]


def mutated_networks(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change the graph's text, or what a checkpoint's mutation changes."""
    if rng.random() < 0.4:
        return containers.mutated_tensors(rng, content, other)
    import torch

    tree, target = torch.load(io.BytesIO(content), weights_only=True), io.BytesIO()
    tree["manifest"]["graph"] = mutation.mutated_text(rng, tree["manifest"]["graph"])
    torch.save(tree, target)
    return target.getvalue()


def read_network(folder: Path, content: bytes) -> object:
    from sastdeploy import compile, load_network

    return compile(load_network(written(folder, "n.pt", content)), "cortex_m", neuron="profile")


class _Stopped(Exception):
    """Ends a training after its first epoch."""


def _lesson(folder: Path):
    """Return a training of two epochs that takes no time."""
    from sastdeploy.training.run import TrainingRun
    from sastdeploy.training.settings import TrainingSettings
    from tests import small_networks as small

    preprocessing = small.checkpoint_of().preprocessing
    settings = TrainingSettings(epochs=2, batch_size=8, kernels="torch")
    parts = small.labelled(count=8), small.labelled(count=6, seed=1)
    return TrainingRun(*parts, small.DENSE, preprocessing, settings, folder / "t.pt")


def states(folder: Path) -> list[bytes]:
    from sastdeploy.training.loop import train

    def stop(record):
        raise _Stopped

    with suppress(_Stopped):
        train(_lesson(folder), report=stop)
    return [(folder / "t.pt.state").read_bytes()]


def read_state(folder: Path, content: bytes) -> object:
    from sastdeploy.training.loop import train

    written(folder, "t.pt.state", content)
    return train(_lesson(folder), resume=True)


def programs(folder: Path) -> list[bytes]:
    from sastdeploy.compiler.compile import compile
    from sastdeploy.compiler.profiles import load_profile
    from sastdeploy.program.file import save_program
    from tests import small_networks as small
    from tests.tiny_programs import one_neuron, three_neurons, two_delays

    programs = [one_neuron(), one_neuron(max_spikes=31), two_delays(), three_neurons()]
    for architecture in (small.DENSE, small.CONV, small.POOL):
        for profile in ("loihi_int8", "aggressive_int4"):
            programs.append(compile(small.checkpoint_of(architecture), load_profile(profile)).program)
    for number, program in enumerate(programs):
        save_program(folder / f"{number}.onnx", program)
    return [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]


def read_program(folder: Path, content: bytes) -> object:
    from sastdeploy.program.file import load_program, read_manifest

    path = written(folder, "p.onnx", content)
    read_manifest(path)
    return load_program(path)


def files(*patterns: str) -> Callable[[Path], list[bytes]]:
    def inputs(folder: Path) -> list[bytes]:
        return [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]

    return inputs


def read_profile(folder: Path, content: bytes) -> object:
    from sastdeploy.compiler.profiles import load_profile

    return load_profile(str(written(folder, "p.yaml", content)))


def read_architecture(folder: Path, content: bytes) -> object:
    from sastdeploy.networks.builtin import describe, load_architecture

    return describe(load_architecture(str(written(folder, "a.yaml", content)), (2, 34, 34), 10))


def read_experiment(folder: Path, content: bytes) -> object:
    from sastdeploy.experiments.spec import load_experiment

    (folder / "networks").symlink_to(ROOT / "benchmarks" / "paper" / "networks")
    return load_experiment(written(folder, "e.yaml", content))


def _trial():
    from sastdeploy.experiments.spec import Trial

    return Trial("nmnist-sim", arch="net.yaml", method="sast", rho=0.3, epochs=2, profiles=("loihi_int8",))


def records(folder: Path) -> list[bytes]:
    from tests import synthetic_records as synthetic

    measures = {
        "activity": synthetic.activity(), "margins": synthetic.margins(), "contraction": synthetic.contraction(),
        "bounds": synthetic.bounds(), "calibration": synthetic.calibration(0.9, 0.8), "robustness": synthetic.robustness(0.8),
    }  # fmt: skip
    records = (synthetic.record(_trial(), 0.9, 0.8), synthetic.record(_trial(), 0.9, 0.8, measures))
    return [json.dumps({"address": _ADDRESS, **record}).encode() for record in records]


def read_record(folder: Path, content: bytes) -> object:
    from sastdeploy.experiments.record import load_any, load_record

    path = written(folder, f"{_ADDRESS}.json", content)
    load_any(path)
    return load_record(path, _trial())
