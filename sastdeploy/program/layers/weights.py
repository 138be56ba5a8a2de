"""What every layer with weights writes to a file, and reads from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stored = dict[str, tuple[NDArray[np.signedinteger], int]]
"""Arrays by field, each with the bits that its numbers are stored in (4, 8 or 32)."""


def stored_bits(weight_bits: int) -> int:
    """Return 4 for weights that ONNX's INT4 holds, else 8."""
    return 4 if weight_bits <= 4 else 8


def source_record(source: int | None) -> dict[str, int]:
    """Return the manifest's field of a layer that does not hear the one before it; nothing of others."""
    return {} if source is None else {"source": source}


def weight_record(kind: str, name: str, weight: NDArray[np.int8], bits: int) -> dict[str, Any]:
    """Return the manifest's fields of weights."""
    shape = [int(size) for size in weight.shape]
    return {"kind": kind, "name": name, "weight_bits": bits, "weight_shape": shape}


def stored_arrays(weight: NDArray[np.int8], bits: int, fields: tuple[str, ...], holder: Any) -> Stored:
    """Return the weights and the holder's arrays of one int32 per channel, as far as it has them."""
    channels = {field: (getattr(holder, field), 32) for field in fields if hasattr(holder, field)}
    return {"weight": (weight, stored_bits(bits)), **channels}


def array_shapes(
    record: Mapping[str, Any], fields: tuple[str, ...]
) -> dict[str, tuple[tuple[int, ...], int]]:
    """Return shape and bits of every array that a manifest's record asks for, by field.

    Raises:
        ValueError: the record's shape is none. LookupError, TypeError: a field is missing, or of another type.
    """
    shape = tuple(record["weight_shape"])
    if not 1 <= len(shape) <= 4 or not all(type(size) is int and 0 < size < 1 << 31 for size in shape):
        raise ValueError(f"weight_shape of {record['name']}")
    return {
        "weight": (shape, stored_bits(record["weight_bits"])),
        **dict.fromkeys(fields, (shape[:1], 32)),
    }
