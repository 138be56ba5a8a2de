"""Valid recordings, archives, data sets, images and caches, and how each is read."""

import gzip
import io
import json
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sastdeploy.errors import SastdeployError
from tests.fuzz import containers, mutation
from tests.fuzz.inputs import written

_CHANGED = 1_600_000_000
"""Time of change of every file of a data set, so that its cache has the same name in every folder."""


def _events(count: int, seed: int, size: tuple[int, int] = (34, 34)):
    from sastdeploy.recordings.events import EVENT_DTYPE

    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, size[0], count), rng.integers(0, size[1], count)
    events["p"], events["t"] = rng.integers(0, 2, count), np.sort(rng.integers(0, 300_000, count))
    return events


def digits(folder: Path) -> list[bytes]:
    from sastdeploy.recordings.nmnist import nmnist_bytes

    return [nmnist_bytes(_events(count, count)) for count in (1, 40, 500)]


def _packed(count: int, seed: int) -> bytes:
    """Return an .npy file as in tonic's re-packing: columns x, y, p, and t in milliseconds."""
    events = _events(count, seed, (128, 128))
    columns = np.stack([events[name] for name in "xyp"] + [events["t"] // 1000], axis=1)
    target = io.BytesIO()
    np.save(target, columns.astype(np.float64))
    return target.getvalue()


def arrays(folder: Path) -> list[bytes]:
    structured = io.BytesIO()
    np.save(structured, _events(30, 3, (128, 128)))
    return [_packed(1, 1), _packed(200, 2), structured.getvalue()]


def aedats(folder: Path) -> list[bytes]:
    from sastdeploy.recordings.aedat31 import aedat31_bytes

    return [aedat31_bytes(_events(count, count, (128, 128))) for count in (1, 300, 5000)]


def files_of(form: str) -> Callable[[Path], list[bytes]]:
    """Return the valid inputs of a format that `tests.event_files` writes."""

    def inputs(folder: Path) -> list[bytes]:
        from tests import event_files

        write = getattr(event_files, f"{form}_bytes")
        return [write(_events(count, count, (128, 128))) for count in (1, 60, 2000)]

    return inputs


def reader_of_events(name: str) -> Callable[[Path, bytes], object]:
    def read(folder: Path, content: bytes) -> object:
        from sastdeploy._files import own_process
        from sastdeploy.recordings.reading import read_events

        own_process.MAX_SECONDS = 3.0  # of the formats that a process of its own reads
        return read_events(written(folder, name, content))

    return read


LABELS = b"class,startTime_usec,endTime_usec\r\n1,0,100000\r\n4,100000,250000\r\n11,250000,300000\r\n"


def read_labels(folder: Path, content: bytes) -> object:
    from sastdeploy.recordings.dvsgesture import read_gestures

    written(folder, "user01_led_labels.csv", content)
    return list(read_gestures(written(folder, "user01_led.aedat", aedats(folder)[1])))


def _zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return target.getvalue()


def zips(folder: Path) -> list[bytes]:
    recordings = digits(folder)
    return [_zip({f"Train/{k}/{k + 1:05}.bin": recordings[k % 3] for k in range(10)})]


def mutated_zips(rng: random.Random, content: bytes, other: bytes) -> bytes:
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


def read_zip(folder: Path, content: bytes) -> None:
    written(folder, "nmnist/Train.zip", content)
    _read_all("nmnist", folder)


def tars(folder: Path) -> list[bytes]:
    files = {
        "trials_to_train.txt": b"user01_led.aedat\nuser02_lab.aedat\n",
        "trials_to_test.txt": b"user02_lab.aedat\n",
    }
    for name in ("user01_led", "user02_lab"):
        files |= {f"{name}.aedat": aedats(folder)[1], f"{name}_labels.csv": LABELS}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"DvsGesture/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return [target.getvalue()]


def mutated_tars(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return containers.mutated_tar(rng, content, other, containers.text_inside)


def read_tar(folder: Path, content: bytes) -> None:
    written(folder, "dvsgesture/DvsGesture.tar.gz", content)
    _read_all("dvsgesture", folder)


def idx(folder: Path) -> list[bytes]:
    from sastdeploy.synthesis.mnist import encode_images, encode_labels

    rng = np.random.default_rng(0)
    images = encode_images(rng.integers(0, 256, (3, 28, 28)).astype(np.uint8))
    return [images, gzip.compress(images, 1), encode_labels(np.array([1, 2, 3], np.uint8))]


def read_idx(folder: Path, content: bytes) -> object:
    from sastdeploy.synthesis.mnist import load_digits

    images, _, labels = idx(folder)
    if content[2:4] == labels[2:4]:
        written(folder, "train-labels-idx1-ubyte", content)
        written(folder, "train-images-idx3-ubyte", images)
    else:
        written(folder, "train-labels-idx1-ubyte", labels)
        written(folder, "train-images-idx3-ubyte" + ".gz" * (content[:2] == b"\x1f\x8b"), content)
    return load_digits("train", folder)


def _gestures(root: Path) -> None:
    """Write a data set of four recordings by two people, as re-packed for tonic."""
    for user in (1, 2):
        for label in (0, 5):
            name = f"dvsgesture/ibmGestureTrain/user0{user}_led/{label}.npy"
            os.utime(written(root, name, _packed(60, 10 * user + label)), (_CHANGED, _CHANGED))


def _frames(root: Path) -> object:
    from sastdeploy.recordings.splits import load_dataset

    data = load_dataset("dvsgesture", "train", root=root)
    return data.frames.dense()


def caches(folder: Path) -> list[bytes]:
    _gestures(folder)
    _frames(folder)
    (cache_,) = (path for path in (folder / ".frames").iterdir() if path.is_dir())
    return [_zip({f"{cache_.name}/{path.name}": path.read_bytes() for path in sorted(cache_.iterdir())})]


def mutated_cache(rng: random.Random, content: bytes, other: bytes) -> bytes:
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
        files[name] = mutation.mutated_json(rng, files[name], files[name])
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


def read_cache(folder: Path, content: bytes) -> object:
    _gestures(folder)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            written(folder, f".frames/{name}", archive.read(name))
    return _frames(folder)


_OWN = ("left", "right")
DECLARATIONS = (
    b"name: Mine\nsimulated: true\nsensor_size: [34, 34]\npolarities: 1\ndownsample: 2\nclasses: [left, right]\nunit: us\n"
    b"split: {kind: draw, of: recording, seed: 3, validation: 0.1, test: 0.3}\n",
    b"columns: xytp\nsplit:\n  kind: list\n  train: [left/0.npy, right/0.npy]\n  test: [left/1.npy, right/2.npy]\n",
)
MANIFESTS = (
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
            written(folder, f"own/{label}/{k}.npy", target.getvalue())
    written(folder, f"own/{name}", content)
    opened = open_folder(str(folder / "own"))
    return describe_folder(opened), declaration_text(opened.declaration)


def read_declaration(folder: Path, content: bytes) -> object:
    return _read_own(folder, "dataset.yaml", content)


def read_manifest(folder: Path, content: bytes) -> object:
    return _read_own(folder, "manifest.csv", content)


def tables(folder: Path) -> list[bytes]:
    made = _events(30, 5, (128, 128))
    rows = "\n".join(f"{t},{x},{y},{p}" for x, y, t, p in made.tolist())
    return [f"t,x,y,p\n{rows}\n".encode(), f"# time x y polarity\n{rows}".replace(",", " ").encode()]


def archives(folder: Path) -> list[bytes]:
    made, parts, whole = _events(30, 5, (128, 128)), io.BytesIO(), io.BytesIO()
    np.savez(parts, **{name: made[name] for name in "xytp"})
    np.savez_compressed(whole, events=made)
    return [parts.getvalue(), whole.getvalue()]
