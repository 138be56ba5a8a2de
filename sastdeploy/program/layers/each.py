"""Numbers of a layer's neurons: one per channel ``[C]``, or one per neuron ``[C, H, W]`` where they differ within a channel."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.limits import Shape, described, refuse

_Number = TypeVar("_Number", np.int32, np.int64, np.float64)


def along_map(values: NDArray[_Number]) -> NDArray[_Number]:
    """Return values ``[C]`` or ``[C, H, W]`` in a form that broadcasts over ``[C, H, W]``."""
    return values if values.ndim == 3 else values.reshape(-1, 1, 1)


def shortest(values: NDArray[_Number]) -> NDArray[_Number]:
    """Return one value per channel where the neurons of every channel agree, else the values as they are."""
    rows = values.reshape(len(values), -1)
    return rows[:, 0].copy() if (rows == rows[:, :1]).all() else values


def largest_of_channels(values: NDArray[_Number]) -> NDArray[_Number]:
    """Return the largest value of every channel, ``[C]``."""
    largest: NDArray[_Number] = values.reshape(len(values), -1).max(1)
    return largest


def faulty_form(name: str, values: Any, shape: Shape, dtype: str) -> tuple[str, str] | None:
    """Return what is wrong with the form of values for neurons ``shape``, and what is allowed; None of the shortest that says them."""
    channels = shape[:1]
    if not isinstance(values, np.ndarray) or values.dtype != dtype or values.shape not in (channels, shape):
        map_too = f", or {list(shape)}, one per neuron" if shape[1:] != (1, 1) else ""
        return (
            f"{name} is {described(values)}",
            f"{dtype} of shape {list(channels)}, one per output channel{map_too}",
        )
    if values.ndim == 3 and shortest(values).ndim == 1:
        return (
            f"{name} is one number in each channel",
            f"{dtype} of shape {list(channels)}, one per output channel",
        )
    return None


def check_each(where: str, name: str, values: Any, shape: Shape, low: int, high: int) -> None:
    """Accept int32 ``[C]`` or ``[C, H, W]`` from ``low`` to ``high``, for neurons ``shape``, in the shortest form.

    Raises:
        InputError: names layer, field, value and what is allowed.
    """
    if fault := faulty_form(name, values, shape, "int32"):
        refuse(where, *fault)
    wrong = (values < low) | (values > high)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        refuse(where, f"{name}{list(place)} is {values[place]}", f"{low} to {high}")
