"""One target per reader: valid inputs, how they are changed, and the public reader that must accept or refuse the result.

``inputs(folder)`` returns valid inputs, made in an empty folder. ``read(folder, content)`` writes an input into an empty
folder and reads it as a command would; any exception but `SastdeployError` is a finding.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sastdeploy.errors import SastdeployError
from tests.fuzz import containers, mutation

ROOT = Path(__file__).resolve().parents[2]
_ADDRESS = "0123456789abcdef"
_CHANGED = 1_600_000_000
"""Time of change of every file of a data set, so that its cache has the same name in every folder."""


@dataclass(frozen=True)
class Target:
    name: str
    inputs: Callable[[Path], list[bytes]]
    mutate: Callable[[random.Random, bytes, bytes], bytes]
    read: Callable[[Path, bytes], object]


def _written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _text(rng: random.Random, content: bytes, other: bytes) -> bytes:
    if rng.random() < 0.1:
        return mutation.mutated_bytes(rng, content, other)
    return mutation.encoded(rng, mutation.mutated_text(rng, content.decode("utf-8")))


def _yaml(rng: random.Random, content: bytes, other: bytes) -> bytes:
    import yaml

    if rng.random() < 0.5:
        return _text(rng, content, other)
    tree = mutation.mutated_tree(rng, yaml.safe_load(content))
    try:
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    except (yaml.YAMLError, ValueError):  # what YAML cannot say
        return _text(rng, content, other)


def _json(rng: random.Random, content: bytes, other: bytes) -> bytes:
    if rng.random() < 0.4:
        return _text(rng, content, other)
    tree = mutation.mutated_tree(rng, json.loads(content))
    return json.dumps(tree, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass")


def _checkpoints(folder: Path) -> list[bytes]:
    from sastdeploy.networks.checkpoint import save_checkpoint
    from tests import small_networks as small

    for architecture in (small.DENSE, small.CONV, small.POOL):
        save_checkpoint(folder / f"{architecture.name}.pt", small.checkpoint_of(architecture))
    return [path.read_bytes() for path in sorted(folder.glob("*.pt"))]


def _read_checkpoint(folder: Path, content: bytes) -> object:
    from sastdeploy.networks.builtin import describe
    from sastdeploy.networks.checkpoint import load_checkpoint

    return describe(load_checkpoint(_written(folder, "c.pt", content)).architecture)


def _nirs(folder: Path) -> list[bytes]:
    packed = (ROOT / "tests/fixtures/nir").glob("s[np]*.nir.gz")
    return [gzip.decompress(path.read_bytes()) for path in sorted(packed)]


def _read_nir(folder: Path, content: bytes) -> object:
    from sastdeploy import from_nir
    from sastdeploy._files import own_process

    own_process.LONGEST_S = 3.0  # HDF5 does not end on some inputs
    return from_nir(_written(folder, "n.nir", content))


def _networks(folder: Path) -> list[bytes]:
    from sastdeploy import from_nir, save_network

    for number, content in enumerate(_nirs(folder)):
        save_network(folder / f"{number}.pt", from_nir(_written(folder, "n.nir", content)))
    return [path.read_bytes() for path in sorted(folder.glob("*.pt"))]


def _mutated_networks(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change the graph's text, or what a checkpoint's mutation changes."""
    if rng.random() < 0.4:
        return containers.mutated_tensors(rng, content, other)
    import torch

    tree, target = torch.load(io.BytesIO(content), weights_only=True), io.BytesIO()
    tree["manifest"]["graph"] = mutation.mutated_text(rng, tree["manifest"]["graph"])
    torch.save(tree, target)
    return target.getvalue()


def _read_network(folder: Path, content: bytes) -> object:
    from sastdeploy import compile, load_network

    return compile(load_network(_written(folder, "n.pt", content)), "cortex_m", neuron="profile")


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


def _states(folder: Path) -> list[bytes]:
    from sastdeploy.training.loop import train

    def stop(record):
        raise _Stopped

    with suppress(_Stopped):
        train(_lesson(folder), report=stop)
    return [(folder / "t.pt.state").read_bytes()]


def _read_state(folder: Path, content: bytes) -> object:
    from sastdeploy.training.loop import train

    _written(folder, "t.pt.state", content)
    return train(_lesson(folder), resume=True)


def _programs(folder: Path) -> list[bytes]:
    from sastdeploy.compiler.compile import compile
    from sastdeploy.compiler.profiles import load_profile
    from sastdeploy.program.file import save_program
    from tests import small_networks as small
    from tests.tiny_programs import one_neuron

    programs = [one_neuron()]
    for architecture in (small.DENSE, small.CONV, small.POOL):
        for profile in ("loihi_int8", "aggressive_int4"):
            programs.append(compile(small.checkpoint_of(architecture), load_profile(profile)).program)
    for number, program in enumerate(programs):
        save_program(folder / f"{number}.onnx", program)
    return [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]


def _read_program(folder: Path, content: bytes) -> object:
    from sastdeploy.program.file import load_program, read_manifest

    path = _written(folder, "p.onnx", content)
    read_manifest(path)
    return load_program(path)


def _files(*patterns: str) -> Callable[[Path], list[bytes]]:
    def inputs(folder: Path) -> list[bytes]:
        return [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]

    return inputs


def _read_profile(folder: Path, content: bytes) -> object:
    from sastdeploy.compiler.profiles import load_profile

    return load_profile(str(_written(folder, "p.yaml", content)))


def _read_architecture(folder: Path, content: bytes) -> object:
    from sastdeploy.networks.builtin import describe, load_architecture

    return describe(load_architecture(str(_written(folder, "a.yaml", content)), (2, 34, 34), 10))


def _read_experiment(folder: Path, content: bytes) -> object:
    from sastdeploy.experiments.spec import load_experiment

    (folder / "networks").symlink_to(ROOT / "benchmarks" / "paper" / "networks")
    return load_experiment(_written(folder, "e.yaml", content))


def _trial():
    from sastdeploy.experiments.spec import Trial

    return Trial("nmnist-sim", arch="net.yaml", method="sast", rho=0.3, epochs=2, profiles=("loihi_int8",))


def _records(folder: Path) -> list[bytes]:
    from tests import synthetic_records as synthetic

    measures = {
        "activity": synthetic.activity(), "margins": synthetic.margins(), "contraction": synthetic.contraction(),
        "bounds": synthetic.bounds(), "calibration": synthetic.calibration(0.9, 0.8), "robustness": synthetic.robustness(0.8),
    }  # fmt: skip
    records = (synthetic.record(_trial(), 0.9, 0.8), synthetic.record(_trial(), 0.9, 0.8, measures))
    return [json.dumps({"address": _ADDRESS, **record}).encode() for record in records]


def _read_record(folder: Path, content: bytes) -> object:
    from sastdeploy.experiments.record import load_any, load_record

    path = _written(folder, f"{_ADDRESS}.json", content)
    load_any(path)
    return load_record(path, _trial())


def _events(count: int, seed: int, size: tuple[int, int] = (34, 34)):
    from sastdeploy.recordings.events import EVENT_DTYPE

    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, size[0], count), rng.integers(0, size[1], count)
    events["p"], events["t"] = rng.integers(0, 2, count), np.sort(rng.integers(0, 300_000, count))
    return events


def _digits(folder: Path) -> list[bytes]:
    from sastdeploy.recordings.nmnist import nmnist_bytes

    return [nmnist_bytes(_events(count, count)) for count in (1, 40, 500)]


def _packed(count: int, seed: int) -> bytes:
    """Return an .npy file as in tonic's re-packing: columns x, y, p, and t in milliseconds."""
    events = _events(count, seed, (128, 128))
    columns = np.stack([events[name] for name in "xyp"] + [events["t"] // 1000], axis=1)
    target = io.BytesIO()
    np.save(target, columns.astype(np.float64))
    return target.getvalue()


def _arrays(folder: Path) -> list[bytes]:
    structured = io.BytesIO()
    np.save(structured, _events(30, 3, (128, 128)))
    return [_packed(1, 1), _packed(200, 2), structured.getvalue()]


def _aedats(folder: Path) -> list[bytes]:
    from sastdeploy.recordings.aedat31 import aedat31_bytes

    return [aedat31_bytes(_events(count, count, (128, 128))) for count in (1, 300, 5000)]


def _files_of(form: str) -> Callable[[Path], list[bytes]]:
    """Return the valid inputs of a format that `tests.event_files` writes."""

    def inputs(folder: Path) -> list[bytes]:
        from tests import event_files

        write = getattr(event_files, f"{form}_bytes")
        return [write(_events(count, count, (128, 128))) for count in (1, 60, 2000)]

    return inputs


def _reader_of_events(name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, content: bytes) -> object:
        from sastdeploy._files import own_process
        from sastdeploy.recordings.reading import read_events

        own_process.LONGEST_S = 3.0  # of the formats that a process of its own reads
        return read_events(_written(folder, name, content))

    return read


_LABELS = b"class,startTime_usec,endTime_usec\r\n1,0,100000\r\n4,100000,250000\r\n11,250000,300000\r\n"


def _read_labels(folder: Path, content: bytes) -> object:
    from sastdeploy.recordings.dvsgesture import read_gestures

    _written(folder, "user01_led_labels.csv", content)
    return list(read_gestures(_written(folder, "user01_led.aedat", _aedats(folder)[1])))


def _zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return target.getvalue()


def _zips(folder: Path) -> list[bytes]:
    digits = _digits(folder)
    return [_zip({f"Train/{k}/{k + 1:05}.bin": digits[k % 3] for k in range(10)})]


def _mutated_zips(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return containers.mutated_zip(rng, content, other, containers.text_inside)


def _read_all(name: str, root: Path) -> None:
    """Read every recording of a split; a bad one does not hide the others."""
    from sastdeploy.recordings.datasets import dataset
    from sastdeploy.recordings.reading import list_sources

    refused = None
    for source in list_sources(dataset(name), root, "train")[:30]:
        try:
            source.segments()
        except SastdeployError as error:
            refused = error
    if refused:
        raise refused


def _read_zip(folder: Path, content: bytes) -> None:
    _written(folder, "nmnist/Train.zip", content)
    _read_all("nmnist", folder)


def _tars(folder: Path) -> list[bytes]:
    files = {
        "trials_to_train.txt": b"user01_led.aedat\nuser02_lab.aedat\n",
        "trials_to_test.txt": b"user02_lab.aedat\n",
    }
    for name in ("user01_led", "user02_lab"):
        files |= {f"{name}.aedat": _aedats(folder)[1], f"{name}_labels.csv": _LABELS}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"DvsGesture/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return [target.getvalue()]


def _mutated_tars(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return containers.mutated_tar(rng, content, other, containers.text_inside)


def _read_tar(folder: Path, content: bytes) -> None:
    _written(folder, "dvsgesture/DvsGesture.tar.gz", content)
    _read_all("dvsgesture", folder)


def _idx(folder: Path) -> list[bytes]:
    from sastdeploy.synthesis.mnist import encode_images, encode_labels

    rng = np.random.default_rng(0)
    images = encode_images(rng.integers(0, 256, (3, 28, 28)).astype(np.uint8))
    return [images, gzip.compress(images, 1), encode_labels(np.array([1, 2, 3], np.uint8))]


def _read_idx(folder: Path, content: bytes) -> object:
    from sastdeploy.synthesis.mnist import load_digits

    images, _, labels = _idx(folder)
    if content[2:4] == labels[2:4]:
        _written(folder, "train-labels-idx1-ubyte", content)
        _written(folder, "train-images-idx3-ubyte", images)
    else:
        _written(folder, "train-labels-idx1-ubyte", labels)
        _written(folder, "train-images-idx3-ubyte" + ".gz" * (content[:2] == b"\x1f\x8b"), content)
    return load_digits("train", folder)


def _gestures(root: Path) -> None:
    """Write a data set of four recordings by two people, as re-packed for tonic."""
    for user in (1, 2):
        for label in (0, 5):
            name = f"dvsgesture/ibmGestureTrain/user0{user}_led/{label}.npy"
            os.utime(_written(root, name, _packed(60, 10 * user + label)), (_CHANGED, _CHANGED))


def _frames(root: Path) -> object:
    from sastdeploy.recordings.splits import load_dataset

    data = load_dataset("dvsgesture", "train", root=root)
    return data.frames.dense()


def _caches(folder: Path) -> list[bytes]:
    _gestures(folder)
    _frames(folder)
    (cache_,) = (path for path in (folder / ".frames").iterdir() if path.is_dir())
    return [_zip({f"{cache_.name}/{path.name}": path.read_bytes() for path in sorted(cache_.iterdir())})]


def _mutated_cache(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change one file, or leave one out; now and then with the sums that fit, as another version would have written it.

    Not the frames themselves: what was verified by its sums is taken as it is.
    """
    import hashlib

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(files))
    if rng.random() < 0.05:
        del files[name]
    elif name.endswith(".json"):
        files[name] = _json(rng, files[name], files[name])
    elif name.endswith(".npy"):
        files[name] = containers.mutated_npy(rng, files[name], files[name])
    else:
        files[name] = mutation.mutated_bytes(rng, files[name], files[name])
    sums = next((one for one in files if one.endswith("/sums.json")), "")
    if (
        sums
        and name in files
        and not name.endswith(("sums.json", "indptr.npy", ".bin"))
        and rng.random() < 0.5
    ):
        try:
            fitting = json.loads(files[sums]) | {Path(name).name: hashlib.sha256(files[name]).hexdigest()}
            files[sums] = json.dumps(fitting).encode()
        except (ValueError, TypeError):
            pass
    return _zip(files)


def _read_cache(folder: Path, content: bytes) -> object:
    _gestures(folder)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            _written(folder, f".frames/{name}", archive.read(name))
    return _frames(folder)


_OWN = ("left", "right")
_DECLARATIONS = (
    b"name: Mine\nsimulated: true\nsensor_size: [34, 34]\npolarities: 1\ndownsample: 2\nclasses: [left, right]\nunit: us\n"
    b"split: {kind: draw, of: recording, seed: 3, validation: 0.1, test: 0.3}\n",
    b"columns: xytp\nsplit:\n  kind: list\n  train: [left/0.npy, right/0.npy]\n  test: [left/1.npy, right/2.npy]\n",
)
_MANIFESTS = (
    b"file,label\n" + b"".join(b"%s/%d.npy,%s\n" % (c, k, c) for c in (b"left", b"right") for k in range(4)),
    b'file,label,split,group\r\nleft/0.npy,"a, b",train,one\r\nright/0.npy,c,train,two\r\nright/1.npy,c,test,three\r\n',
)


def _read_own(folder: Path, name: str, content: bytes) -> object:
    """Open a folder of eight recordings of two classes whose file ``name`` is the input."""
    from sastdeploy.recordings.own.declaration import declaration_text
    from sastdeploy.recordings.own.description import describe_folder
    from sastdeploy.recordings.own.folder import open_folder

    for label in _OWN:
        for k in range(4):
            target = io.BytesIO()
            np.save(target, _events(20, 10 * len(label) + k))
            _written(folder, f"own/{label}/{k}.npy", target.getvalue())
    _written(folder, f"own/{name}", content)
    opened = open_folder(str(folder / "own"))
    return describe_folder(opened), declaration_text(opened.declaration)


def _read_declaration(folder: Path, content: bytes) -> object:
    return _read_own(folder, "dataset.yaml", content)


def _read_manifest(folder: Path, content: bytes) -> object:
    return _read_own(folder, "manifest.csv", content)


def _tables(folder: Path) -> list[bytes]:
    made = _events(30, 5, (128, 128))
    rows = "\n".join(f"{t},{x},{y},{p}" for x, y, t, p in made.tolist())
    return [f"t,x,y,p\n{rows}\n".encode(), f"# time x y polarity\n{rows}".replace(",", " ").encode()]


def _archives(folder: Path) -> list[bytes]:
    made, parts, whole = _events(30, 5, (128, 128)), io.BytesIO(), io.BytesIO()
    np.savez(parts, **{name: made[name] for name in "xytp"})
    np.savez_compressed(whole, events=made)
    return [parts.getvalue(), whole.getvalue()]


TARGETS = {
    target.name: target
    for target in (
        Target("checkpoint", _checkpoints, containers.mutated_tensors, _read_checkpoint),
        Target("nir", _nirs, mutation.mutated_bytes, _read_nir),
        Target("network", _networks, _mutated_networks, _read_network),
        Target("state", _states, containers.mutated_tensors, _read_state),
        Target("program", _programs, containers.mutated_onnx, _read_program),
        Target("profile", _files("profiles/*.yaml"), _yaml, _read_profile),
        Target(
            "architecture",
            _files("examples/network.yaml", "benchmarks/paper/*/*net*.yaml"),
            _yaml,
            _read_architecture,
        ),
        Target("experiment", _files("benchmarks/paper/table*.yaml"), _yaml, _read_experiment),
        Target("record", _records, _json, _read_record),
        Target("nmnist", _digits, mutation.mutated_bytes, _reader_of_events("r.bin")),
        Target("npy", _arrays, containers.mutated_npy, _reader_of_events("r.npy")),
        Target("aedat", _aedats, mutation.mutated_bytes, _reader_of_events("r.aedat")),
        Target("aedat2", _files_of("aedat2"), mutation.mutated_bytes, _reader_of_events("r.aedat")),
        Target("dat", _files_of("dat"), mutation.mutated_bytes, _reader_of_events("r.dat")),
        Target("evt2", _files_of("evt2"), mutation.mutated_bytes, _reader_of_events("r.raw")),
        Target("evt3", _files_of("evt3"), mutation.mutated_bytes, _reader_of_events("r.raw")),
        Target("hdf5", _files_of("hdf5"), mutation.mutated_bytes, _reader_of_events("r.h5")),
        Target("npz", _archives, _mutated_zips, _reader_of_events("r.npz")),
        Target("table", _tables, _text, _reader_of_events("r.csv")),
        Target("dataset", lambda folder: list(_DECLARATIONS), _yaml, _read_declaration),
        Target("manifest", lambda folder: list(_MANIFESTS), _text, _read_manifest),
        Target("labels", lambda folder: [_LABELS], _text, _read_labels),
        Target("zip", _zips, _mutated_zips, _read_zip),
        Target("tar", _tars, _mutated_tars, _read_tar),
        Target("idx", _idx, mutation.mutated_bytes, _read_idx),
        Target("cache", _caches, _mutated_cache, _read_cache),
    )
}
if find_spec("aedat"):
    TARGETS["aedat4"] = Target(
        "aedat4", _files_of("aedat4"), mutation.mutated_bytes, _reader_of_events("r.aedat4")
    )
