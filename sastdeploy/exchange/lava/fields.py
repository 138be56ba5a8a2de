"""The fields of a layer of lava-dl, as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from sastdeploy.errors import CompileError
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.lava.read import Fields
from sastdeploy.exchange.parts import Array, Pair, floats

WINDOW = (("stride", 1), ("padding", 0), ("dilation", 1))


def integers(value: Any) -> Array:
    """Return weights as they are.

    Raises:
        CompileError: they are no integers.
    """
    weight = floats(value)
    if not np.array_equal(weight, np.round(weight)):
        raise CompileError("weights that are no integers; export the network quantized.")
    return weight


def whole(fields: Fields, key: str, default: int | None = None) -> int:
    """Return one whole number; without a default the field must be there."""
    values = numbers(key, fields[key] if default is None else fields.get(key, default))
    if len(values) != 1:
        raise ValueError(f"{key} holds {len(values)} values, not one; others per channel are not read")
    return values[0]


def pair(fields: Fields, key: str, default: int | None = None) -> Pair:
    """Return ``(y, x)`` of one number for both, or of two; without a default the field must be there."""
    values = numbers(key, fields[key] if default is None else fields.get(key, default))
    if len(values) not in (1, 2):
        raise ValueError(f"{key} is no pair of whole numbers")
    return (values[0], values[-1])


def window(fields: Fields) -> tuple[Pair, Pair, Pair]:
    """Return stride, padding and dilation."""
    stride, padding, dilation = (pair(fields, key, default) for key, default in WINDOW)
    return stride, padding, dilation


def sizes(value: Any) -> tuple[int, ...]:
    """Return a shape of one to three axes, each at least 1."""
    read = tuple(numbers("shape", value))
    if not 1 <= len(read) <= 3 or min(read) < 1:
        raise ValueError(f"shape {read}")
    return read


def numbers(key: str, value: Any) -> list[int]:
    """Return whole numbers; errors name the field."""
    try:
        return p.whole_numbers(value)
    except ValueError as error:
        raise ValueError(f"{key} {error}") from error
