"""The program's arrays by name, and as the raw bytes of ONNX initializers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.program.records import Program


def program_arrays(program: Program) -> dict[str, tuple[NDArray[np.signedinteger], int]]:
    """Return every array by its name in the file (``LAYER/weight`` ...), with the bits it is stored in (4, 8, 32)."""
    parts = (*program.layers, program.readout)
    return {f"{part.name}/{field}": stored for part in parts for field, stored in part.arrays().items()}


def to_raw(array: NDArray[np.signedinteger], bits: int) -> bytes:
    """Return ONNX ``raw_data``: little-endian, C order; 4-bit values two to a byte, the first in the low half.

    Raises:
        InputError: the array's type is not int8 (int32 for 32 bits), or a value does not fit 4 bits.
    """
    wanted = np.int32 if bits == 32 else np.int8
    if array.dtype != wanted:
        raise InputError(f"array: is {array.dtype}, but {bits}-bit numbers are kept as {np.dtype(wanted)}.")
    if bits == 32:
        return np.ascontiguousarray(array, "<i4").tobytes()
    flat = np.ascontiguousarray(array).reshape(-1)
    if bits == 8:
        return flat.tobytes()
    outside = (flat < -8) | (flat > 7)
    if outside.any():
        raise InputError(f"array: holds {flat[outside][0]}, which 4 bits cannot. Allowed: -8 to 7.")
    halves = np.zeros(len(flat) + len(flat) % 2, np.uint8)
    halves[: len(flat)] = flat.view(np.uint8) & 0x0F
    return (halves[0::2] | (halves[1::2] << 4)).tobytes()


def from_raw(raw: bytes, shape: tuple[int, ...], bits: int) -> NDArray[np.signedinteger]:
    """Return the array that `to_raw` wrote (int32 for 32 bits, else int8); the caller has checked the length."""
    if bits == 32:
        return np.frombuffer(raw, "<i4").astype(np.int32).reshape(shape)
    if bits == 8:
        return np.frombuffer(raw, np.int8).reshape(shape).copy()
    packed = np.frombuffer(raw, np.uint8)
    halves = np.stack((packed & 0x0F, packed >> 4), axis=1).reshape(-1)[: int(np.prod(shape))]
    return ((halves.astype(np.int8) ^ 8) - 8).reshape(shape)
