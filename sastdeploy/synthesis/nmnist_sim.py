"""Simulated N-MNIST in the official format: ``nmnist-sim/Train/<digit>/<index>.bin`` and ``Test/...``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.atomic import write_bytes
from sastdeploy._files.reading import read_bytes
from sastdeploy.errors import InputError
from sastdeploy.recordings.events import MAX_RECORDING
from sastdeploy.recordings.nmnist import nmnist_bytes
from sastdeploy.synthesis.store import Made, Progress, is_made, make_set

_CHUNK = 200
_SPLITS = ("Train", "Test")
_Chunk = tuple[str, int, int, NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]
"""Folder, split's number, seed; the recordings' indices, images and labels."""


def make_nmnist_sim(
    root: Path | str,
    *,
    images: Path | str | None = None,
    train: int = 12000,
    test: int = 2000,
    seed: int = 0,
    processes: int | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> Path:
    """Make ``<root>/nmnist-sim`` and return it; the same call again finds it complete and does nothing.

    Args:
        images: folder of MNIST's four IDX files (then up to 60,000 / 10,000); None takes the shipped
            12,000 / 2,000.
        train, test: number of recordings, a seeded draw stratified by digit; test may be 0.
        seed: 0 to 2**31 - 1; each recording depends on it, its split and its image's place in the set only.
        processes: None takes every core. The bytes are the same for any number.
        progress: called with (recordings done, recordings in all).
        force: replace a set of other parameters.

    Raises:
        InputError: a parameter is out of range, an image file is bad, or the folder holds another set.
    """
    from sastdeploy.synthesis.mnist import load_digits, stratified
    from sastdeploy.synthesis.saccades import SaccadeScene

    if type(seed) is not int or not 0 <= seed < 1 << 31:
        raise InputError(
            f"seed {seed!r}: outside 0 to {(1 << 31) - 1}. Choose a whole number within that range."
        )
    folder = Path(root) / "nmnist-sim"
    scene = SaccadeScene()
    chunks: list[_Chunk] = []
    hashes: dict[str, str] = {}
    files: list[str] = []
    for number, (split, count) in enumerate((("train", train), ("test", test))):
        digits = load_digits(split, images)
        hashes[split] = hashlib.sha256(digits.images.tobytes() + digits.labels.tobytes()).hexdigest()
        if type(count) is not int or not (split == "train") <= count <= len(digits):
            raise InputError(
                f"{split} {count!r}: outside {int(split == 'train')} to {len(digits)}, the number of "
                f"{split} images. "
                f"Choose fewer, or give the folder of the full MNIST files (60,000 and 10,000)."
            )
        if count == 0:
            continue
        chosen = stratified(digits.labels, count, seed)
        files += [_file(number, label, index) for label, index in zip(digits.labels[chosen], chosen)]
        for start in range(0, count, _CHUNK):
            part = chosen[start : start + _CHUNK]
            chunks.append((str(folder), number, seed, part, digits.images[part], digits.labels[part]))
    parameters = {
        "dataset": "nmnist-sim",
        "seed": seed,
        "train": train,
        "test": test,
        "scene": scene.to_dict(),
        "images_sha256": hashes,
    }
    return make_set(
        folder,
        parameters,
        _make_digits,
        chunks,
        train + test,
        files=files,
        processes=processes,
        progress=progress,
        force=force,
    )


def _file(split: int, label: int, index: int) -> str:
    return f"{_SPLITS[split]}/{label}/{index + 1:05d}.bin"


def _make_digits(chunk: _Chunk) -> list[Made]:
    """Write the recordings of one chunk; return (name, SHA-256, events) of each."""
    from sastdeploy.synthesis.saccades import SaccadeScene, draw_digit

    folder, split, seed, indices, images, labels = chunk
    scene = SaccadeScene()
    rows = []
    for index, image, label in zip(indices.tolist(), images, labels.tolist()):
        name = _file(split, label, index)
        path = Path(folder) / name
        if is_made(path):
            content = read_bytes(path, limit=MAX_RECORDING)
        else:
            content = nmnist_bytes(draw_digit(image, scene, (seed, split, index)))
            write_bytes(path, content, sync=False)
        rows.append((name, hashlib.sha256(content).hexdigest(), len(content) // 5))
    return rows
