"""HDF5 files of networks: lava-dl's `.net`, and how values, shapes and names inside such a file are changed."""

from __future__ import annotations

import io
import random
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from tests.fuzz import mutation
from tests.fuzz.inputs import written

_NEURON = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
_WINDOW = {"stride": [2, 2], "padding": [0, 1], "dilation": [1, 1]}
_ODD = (0, 1, -1, 7, 4096, 4097, -4097, 2**31, 2**63 - 1, -(2**63), 1e308, -1e-308, float("nan"), float("inf"), b"CUBA", b"", "\ud7ff", True)  # fmt: skip


def lava_nets(folder: Path) -> list[bytes]:
    """Return a file of every kind of layer, and one of dense layers alone."""
    conv = np.arange(-72, 72, 2, np.float32)[:36].reshape(2, 2, 3, 3, 1)
    every = [
        {"type": "input", "shape": [2, 9, 8], "weight": 40.0, "bias": 36.0, "neuron": _NEURON},
        {"type": "conv", "shape": [2, 4, 4], "weight": conv, "groups": 1, "delay": np.array([2.0, 0.0]), **_WINDOW, "neuron": _NEURON},
        {"type": "pool", "shape": [2, 2, 2], "kernelSize": [2, 2], **_WINDOW, "padding": [0, 0], "neuron": _NEURON},
        {"type": "flatten", "shape": [1, 1, 8]},
        {"type": "dense", "shape": [3, 1, 1], "weight": np.arange(24.0) * 2 - 24, "delay": np.zeros(3), "neuron": _NEURON},
    ]  # fmt: skip
    dense = [{"type": "dense", "shape": [n, 1, 1], "weight": np.full((n, m), 8.0), "neuron": _NEURON} for n, m in ((4, 6), (3, 4))]  # fmt: skip
    return [_net(layers) for layers in (every, dense)]


def _net(layers: list[dict[str, object]]) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for number, layer in enumerate(layers):
            for key, value in layer.items():
                where = f"layer/{number}/{key}"
                if key == "type":
                    file[where] = np.array([str(value).encode()], "S10")
                elif isinstance(value, dict):
                    for field, inner in value.items():
                        file[f"{where}/{field}"] = inner
                else:
                    file[where] = np.asarray(value)
    return content.getvalue()


def mutated_values(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Change bytes one time in four, values otherwise."""
    if rng.random() < 0.25:
        return mutation.mutated_bytes(rng, content, other)
    opened = io.BytesIO(content)
    with h5py.File(opened, "r+") as file:
        for _ in range(rng.randint(1, 3)):
            names: list[str] = []
            file.visit(names.append)
            if not names:
                break
            # HDF5 refuses some changes: a name that is taken, a place inside a value.
            with suppress(ValueError, OSError, KeyError, RuntimeError, TypeError):
                _change(rng, file, rng.choice(names))
    return opened.getvalue()


def _change(rng: random.Random, file: h5py.File, name: str) -> None:
    kind = rng.randrange(6)
    old = file[name]
    value = old[()] if isinstance(old, h5py.Dataset) else None
    if kind == 0:
        del file[name]
    elif kind == 1:
        file.move(name, f"{name.rsplit('/', 1)[0]}/{rng.choice(['weight', 'shape', 'type', 'delay', 'bias', '9', 'x'])}{rng.choice(['', '_'])}")  # fmt: skip
    elif value is None or kind == 2:
        del file[name]
        file[name] = rng.choice(_ODD)
    elif kind == 3:
        del file[name]
        file[name] = np.resize(np.asarray(value), rng.choice([(0,), (1,), (3, 0), (2, 2), (5, 1, 1, 1, 1), (1000,)]))  # fmt: skip
    elif np.asarray(value).dtype.kind in "if" and np.size(value):
        changed = np.array(value, np.float64).reshape(-1)
        odd = rng.choice([v for v in _ODD if isinstance(v, (int, float))])
        changed[rng.randrange(len(changed))] = odd
        del file[name]
        file[name] = changed.reshape(np.shape(value))
    else:
        del file[name]
        file.create_group(name)


def read_lava(folder: Path, content: bytes) -> object:
    from sastdeploy import from_lava
    from sastdeploy._files import own_process

    own_process.MAX_SECONDS = 3.0  # HDF5 does not end on some inputs
    return from_lava(written(folder, "n.net", content))
