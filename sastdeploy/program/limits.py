"""Limits that every program keeps, the proof that 32 bits hold its sums, and how a record's fields are held against them."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError, short
from sastdeploy.program.fixedpoint import weight_limit
from sastdeploy.windows import MAX_VALUES

Shape = tuple[int, int, int]

INT32_END = 1 << 31
MAX_MULTIPLIER = (1 << 15) - 1
MAX_SHIFT = 46
MAX_LEAK_SHIFT = 15
MAX_SPIKES = 127
"""Of a neuron in a step: values that layers take end there, as counts of frames do."""


def sum_range(weight: NDArray[np.int8], largest_input: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every output's lowest and highest possible ``acc``, int64 ``[outputs]`` (weight's first axis).

    For inputs in ``[0, largest_input]``, each on its own; both are attained, and no partial sum, in whatever order,
    lies outside. (A border neuron of a convolution reaches fewer sources, never more.)
    """
    rows = weight.reshape(len(weight), -1)
    high = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    low = rows.sum(axis=1, dtype=np.int64) - high
    return low * largest_input, high * largest_input


def worst_sums(weight: NDArray[np.int8], largest_input: int) -> NDArray[np.int64]:
    """Return the largest possible ``|acc|`` of every output, by `sum_range`."""
    low, high = sum_range(weight, largest_input)
    return np.maximum(-low, high)


def worst_gained(
    sums: NDArray[np.int64], multiplier: NDArray[np.int32], shift: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return the largest possible ``|(acc * multiplier + 2^(shift-1)) >> shift|`` for ``|acc| <= sums``, int64."""
    unit: NDArray[np.int64] = np.left_shift(1, shift.astype(np.int64), dtype=np.int64)
    return (sums * multiplier.astype(np.int64) + unit // 2) // unit


def prove_int32(where: str, what: str, worst: NDArray[np.int64]) -> None:
    """Accept values whose largest magnitudes ``worst`` all stay below 2^31."""
    place = int(np.argmax(worst))
    if worst[place] >= INT32_END:
        refuse(where, f"{what} of output {place} can reach {worst[place]}", f"below 2^31 = {INT32_END}")


def refuse(where: str, what: str, allowed: str) -> NoReturn:
    raise InputError(
        f"{where}: {what}. Allowed: {allowed}. Compile the checkpoint again, or mend the tool that wrote the program."
    )


def is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def is_pair(value: Any, low: int, high: int) -> bool:
    return type(value) is tuple and len(value) == 2 and all(is_int(v, low, high) for v in value)


def by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {list(value.shape)}"
    return f"a {type(value).__name__}"


def check_weight(where: str, weight: Any, bits: Any, dimensions: int, name: str = "weight") -> None:
    """Accept int8 weights, of the field ``name``, that ``bits`` bits hold in the symmetric narrow range."""
    if not is_int(bits, 2, 8):
        refuse(where, f"weight_bits is {short(bits)}", "a whole number, 2 to 8")
    if not isinstance(weight, np.ndarray) or weight.dtype != np.int8 or weight.ndim != dimensions:
        refuse(where, f"{name} is {described(weight)}", f"an int8 array of {dimensions} dimensions")
    if 0 in weight.shape:
        refuse(where, f"{name} has shape {by(weight.shape)}", "at least 1 along every dimension")
    limit = weight_limit(bits)
    if weight.max() > limit or weight.min() < -limit:
        place = tuple(int(i) for i in np.argwhere((weight > limit) | (weight < -limit))[0])
        refuse(where, f"{name}{list(place)} is {weight[place]}", f"-{limit} to {limit} in {bits} bits")


def check_channels(where: str, name: str, values: Any, channels: int, low: int, high: int) -> None:
    """Accept int32 ``[channels]`` from ``low`` to ``high``."""
    if not isinstance(values, np.ndarray) or values.dtype != np.int32 or values.shape != (channels,):
        refuse(
            where, f"{name} is {described(values)}", f"int32 of shape [{channels}], one per output channel"
        )
    wrong = (values < low) | (values > high)
    if wrong.any():
        place = int(np.argmax(wrong))
        refuse(where, f"{name}[{place}] is {values[place]}", f"{low} to {high}")


def check_output(where: str, output: Shape) -> None:
    """Accept an output of a bearable size."""
    count = output[0] * output[1] * output[2]
    if count > MAX_VALUES:
        refuse(where, f"an output of {by(output)} has {count} values", f"at most {MAX_VALUES}")


def is_one_of(value: Any, allowed: tuple[Any, ...]) -> bool:
    """Return whether a value is an allowed one and of its type: true is not 1."""
    return type(value) is type(allowed[0]) and value in allowed
