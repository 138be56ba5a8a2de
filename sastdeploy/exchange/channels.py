"""Values that somebody's file gives for a layer, as one per channel."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from sastdeploy.errors import CompileError
from sastdeploy.exchange.parts import Array, Integrators, Neurons
from sastdeploy.windows import Shape


def per_channel(values: Array, shape: Shape, part: Any, what: str) -> Array:
    """Return one value per channel of ``shape``, from one for all, one per channel, or one per value that is the same in each.

    Raises:
        CompileError: another shape, or values that differ within a channel.
    """
    values = squeezed(np.asarray(values, np.float64), shape)
    try:
        full = np.broadcast_to(values, shape)
    except ValueError:
        raise CompileError(
            f"{part.name}: {what} of shape {values.shape} for {shape[0]} channels of {shape[1]} x {shape[2]}."
        ) from None
    rows = full.reshape(shape[0], -1)
    if not (rows == rows[:, :1]).all():
        place = int(np.argmax((rows != rows[:, :1]).any(1)))
        raise CompileError(
            f"{part.name}: {what} differs within channel {place}; engines compute one per channel."
        )
    if not np.isfinite(rows).all():
        raise CompileError(f"{part.name}: {what} is not finite.")
    return rows[:, 0].copy()


def squeezed(values: Array, shape: Shape) -> Array:
    """Return values that broadcast to ``[C, H, W]``: a batch of one is dropped, one per channel stands along C."""
    if values.size == 1:
        return values.reshape(1, 1, 1)
    if values.size == prod(shape):
        return values.reshape(shape)
    if values.size == shape[0]:
        return values.reshape(-1, 1, 1)
    return values


def is_one_value(values: Array) -> bool:
    return bool((values == values.flat[0]).all())


def decay_of(
    part: Neurons | Integrators, decays: Array | None, shape: Shape, reasons: list[str]
) -> float | Array | None:
    """Return the decay of a whole layer, or of each channel where they differ; None where there is none, or none that fits."""
    if decays is None:
        return None
    try:
        each = per_channel(decays, shape, part, "decay")
    except CompileError as error:
        reasons += error.reasons
        return None
    return float(each[0]) if (each == each[0]).all() else each
