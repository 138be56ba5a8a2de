"""The program's arrays by name, and as the raw bytes of ONNX initializers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.records import Program, Readout, SumPool

PER_CHANNEL = ("multiplier", "shift", "bias", "threshold")
"""Fields of a LIF layer with one int32 per output channel; a readout has the first three."""


def program_arrays(program: Program) -> dict[str, tuple[NDArray, int]]:
    """Return every array by its name in the file (``LAYER/weight`` ...), with the bits it is stored in (4, 8, 32)."""
    arrays: dict[str, tuple[NDArray, int]] = {}
    for part in (*program.layers, program.readout):
        if isinstance(part, SumPool):
            continue
        arrays[f"{part.name}/weight"] = (part.weight, stored_bits(part.weight_bits))
        holder = part if isinstance(part, Readout) else part.lif
        for field in PER_CHANNEL:
            if hasattr(holder, field):
                arrays[f"{part.name}/{field}"] = (getattr(holder, field), 32)
    return arrays


def stored_bits(weight_bits: int) -> int:
    """Return 4 for weights that ONNX's INT4 holds, else 8."""
    return 4 if weight_bits <= 4 else 8


def to_raw(array: NDArray, bits: int) -> bytes:
    """Return ONNX ``raw_data``: little-endian, C order; 4-bit values two to a byte, the first in the low half."""
    if bits == 32:
        return np.ascontiguousarray(array, "<i4").tobytes()
    flat = np.ascontiguousarray(array, np.int8).reshape(-1)
    if bits == 8:
        return flat.tobytes()
    halves = np.zeros(len(flat) + len(flat) % 2, np.uint8)
    halves[: len(flat)] = flat.view(np.uint8) & 0x0F
    return (halves[0::2] | (halves[1::2] << 4)).tobytes()


def from_raw(raw: bytes, shape: tuple[int, ...], bits: int) -> NDArray:
    """Return the array that `to_raw` wrote (int32 for 32 bits, else int8); the caller has checked the length."""
    if bits == 32:
        return np.frombuffer(raw, "<i4").astype(np.int32).reshape(shape)
    if bits == 8:
        return np.frombuffer(raw, np.int8).reshape(shape).copy()
    packed = np.frombuffer(raw, np.uint8)
    halves = np.stack((packed & 0x0F, packed >> 4), axis=1).reshape(-1)[: int(np.prod(shape))]
    return ((halves.astype(np.int8) ^ 8) - 8).reshape(shape)
