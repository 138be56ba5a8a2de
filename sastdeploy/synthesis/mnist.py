"""MNIST digit images: the ones that ship inside the package, or the full original files.

Both are IDX files (LeCun's format: big-endian magic 0x00000803 for images, 0x00000801 for labels, the sizes, then
bytes). The shipped ones are compressed by xz, the original ones by gzip or not at all.
"""

from __future__ import annotations

import lzma
import os
import struct
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy._files.reading import exists, parsing, read_bytes
from sastdeploy.errors import InputError

SIDE = 28
SHIPPED = {"train": 12000, "test": 2000}
_ORIGINAL = {"train": ("train", 60000), "test": ("t10k", 10000)}
_MAX_FILE = 64 << 20
"""The full training images are 47 MB; anything beyond this limit is not MNIST (and may be a decompression bomb)."""
_MEMORY = 256 << 20
"""That unpacking an xz stream may take."""


@dataclass(frozen=True)
class DigitImages:
    """Images uint8 ``[N, 28, 28]`` (0 is background), labels uint8 ``[N]`` 0 to 9, and where they came from."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    source: str

    def __len__(self) -> int:
        return len(self.labels)


def load_digits(split: str, folder: Path | str | None = None) -> DigitImages:
    """Return the ``train`` or ``test`` images: shipped ones (12,000 / 2,000), or the IDX files of ``folder``.

    Raises:
        InputError: unknown split; a file is missing, truncated, of the wrong kind, or does not fit its
        partner.
    """
    if split not in SHIPPED:
        raise InputError(f"digit images: unknown split '{split}'. Allowed: {', '.join(SHIPPED)}.")
    if folder is None:
        shelf = resources.files("sastdeploy") / "data"
        images_name, labels_name = (
            f"mnist-{split}-images-idx3-ubyte.xz",
            f"mnist-{split}-labels-idx1-ubyte.xz",
        )
        images = parse_images(_unpack((shelf / images_name).read_bytes(), images_name), images_name)
        labels = parse_labels(_unpack((shelf / labels_name).read_bytes(), labels_name), labels_name)
        source = f"shipped MNIST subset ({split})"
    else:
        folder = Path(folder)
        prefix = _ORIGINAL[split][0]
        images_path = find_idx(folder, f"{prefix}-images-idx3-ubyte")
        labels_path = find_idx(folder, f"{prefix}-labels-idx1-ubyte")
        images = parse_images(_read(images_path), images_path)
        labels = parse_labels(_read(labels_path), labels_path)
        source = f"IDX files ({split})"
        images_name, labels_name = str(images_path), str(labels_path)
    if len(images) != len(labels):
        raise InputError(
            f"{images_name}: {len(images)} images, but {labels_name} holds {len(labels)} labels. "
            f"Take both files from the same download."
        )
    return DigitImages(images, labels, source)


def find_idx(folder: Path, name: str) -> Path:
    """Return the path of ``name`` in ``folder``: plain, ``.gz``, or with the dot that some mirrors put before idx.

    Raises:
        InputError: the folder does not exist, or holds none of them.
    """
    if not os.path.isdir(folder):
        raise InputError(
            f"{folder}: no such folder. Give the folder that holds MNIST's four IDX files "
            f"(train-images-idx3-ubyte "
            f"and its partners, with or without .gz)."
        )
    for candidate in (name, name + ".gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
        if exists(folder / candidate):
            return folder / candidate
    raise InputError(
        f"{folder}: neither {name} nor {name}.gz found. Put MNIST's four original IDX files there, "
        f"or leave the folder out to use the digits that ship with the package."
    )


def parse_images(content: bytes, where: Path | str) -> NDArray[np.uint8]:
    """Return uint8 ``[N, 28, 28]`` from the bytes of an IDX3 file. Raises InputError as `load_digits`."""
    count, rows, columns = _header(content, where, magic=0x803, sizes=3, kind="images")
    if (rows, columns) != (SIDE, SIDE):
        raise InputError(
            f"{where}: images are {rows}x{columns}. Allowed: {SIDE}x{SIDE}. Give MNIST's own files."
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(count, SIDE, SIDE)


def parse_labels(content: bytes, where: Path | str) -> NDArray[np.uint8]:
    """Return uint8 ``[N]`` from the bytes of an IDX1 file. Raises InputError as `load_digits`."""
    _header(content, where, magic=0x801, sizes=1, kind="labels")
    labels = np.frombuffer(content, np.uint8, offset=8)
    if labels.max() > 9:
        at = int(np.argmax(labels > 9))
        raise InputError(
            f"{where}: label {labels[at]} at offset {8 + at}. Allowed: 0 to 9. Download the file again."
        )
    return labels


def _header(content: bytes, where: Path | str, magic: int, sizes: int, kind: str) -> tuple[int, ...]:
    start = 4 + 4 * sizes
    if len(content) < start:
        raise InputError(
            f"{where}: {len(content)} bytes, shorter than an IDX header of {start} bytes. Download the "
            f"file again."
        )
    number, *shape = struct.unpack(f">{1 + sizes}I", content[:start])
    if number != magic:
        raise InputError(
            f"{where}: magic number 0x{number:08x} at offset 0. Allowed for {kind}: 0x{magic:08x}. "
            f"Give the IDX file of MNIST's {kind}."
        )
    if shape[0] == 0:
        raise InputError(f"{where}: holds no {kind}. Download the file again.")
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise InputError(
            f"{where}: {len(content)} bytes, but its header announces {shape[0]} {kind}, which is "
            f"{expected} bytes. "
            f"Download the file again."
        )
    return tuple(shape)


def _read(path: Path) -> bytes:
    return _unpack(read_bytes(path, limit=_MAX_FILE), path)


def _unpack(content: bytes, where: Path | str) -> bytes:
    """Return the content, unpacked where it is a gzip or xz stream; no more than the limit is ever unpacked."""
    unpacker: Any
    if content[:2] == b"\x1f\x8b":
        unpacker, kind = zlib.decompressobj(wbits=31), "gzip"
    elif content[:6] == b"\xfd7zXZ\x00":
        unpacker, kind = lzma.LZMADecompressor(memlimit=_MEMORY), "xz"
    else:
        return content
    with parsing(where, f"{kind} file"):
        plain: bytes = unpacker.decompress(content, _MAX_FILE + 1)
    if len(plain) > _MAX_FILE:
        raise InputError(f"{where}: unpacks to more than {_MAX_FILE >> 20} MiB. MNIST's files are smaller.")
    if not unpacker.eof:
        raise InputError(f"{where}: the {kind} stream ends early. Download the file again.")
    return plain


def encode_images(images: NDArray[np.uint8]) -> bytes:
    """Return the IDX3 bytes of uint8 ``[N, 28, 28]``; `parse_images` reverses it."""
    return struct.pack(">4I", 0x803, *images.shape) + np.ascontiguousarray(images, np.uint8).tobytes()


def encode_labels(labels: NDArray[np.uint8]) -> bytes:
    """Return the IDX1 bytes of uint8 ``[N]``; `parse_labels` reverses it."""
    return struct.pack(">2I", 0x801, len(labels)) + np.ascontiguousarray(labels, np.uint8).tobytes()


def stratified(labels: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.int64]:
    """Return ``count`` ascending indices whose shares of the digits are those of ``labels`` (largest remainder).

    Raises:
        InputError: ``count`` is below 1 or above the number of labels.
    """
    if not 1 <= count <= len(labels):
        raise InputError(
            f"count {count}: outside 1 to {len(labels)}, the number of images. Choose a count within that "
            f"range."
        )
    present = np.bincount(labels, minlength=10)
    exact = present * count / len(labels)
    take = np.floor(exact).astype(int)
    rest = np.argsort(-(exact - take), kind="stable")[: count - take.sum()]
    take[rest] += 1
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels == digit))[: take[digit]] for digit in range(10)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
