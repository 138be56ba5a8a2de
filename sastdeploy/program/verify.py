"""The program's verifier: after it, every index, range and width that an engine relies on is proven."""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding, weight_limit
from sastdeploy.program.records import (
    RESETS,
    SPIKE_TESTS,
    ConvLif,
    DenseLif,
    Lif,
    Program,
    Readout,
    SumPool,
    output_shape,
)
from sastdeploy.recordings.frames import MAX_COUNT, Preprocessing

INT32_END = 1 << 31
MAX_MULTIPLIER = (1 << 15) - 1
MAX_SHIFT = 46
MAX_LEAK_SHIFT = 15
MAX_VALUES = 1 << 24
"""Largest number of values of one frame or one layer's output: keeps a damaged file from asking for all memory."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def verify_program(program: Program) -> None:
    """Return only if the program is valid: every engine can run it without a further check.

    Proven from the integers alone, for inputs up to ``c_clip``: no weighted sum, membrane update or class score
    leaves int32. (``acc * multiplier`` and ``u * leak_multiplier`` stay below 2^46 and are int64 in every engine.)

    Raises:
        InputError: names layer, field, value and what is allowed.
    """
    where = "program"
    if not isinstance(program, Program):
        _refuse(where, f"a {type(program).__name__}", "a Program record")
    _check_text(where, "name", program.name)
    _check_text(where, "dataset", program.dataset)
    _check_preprocessing(program.preprocessing)
    for name in ("profile", "provenance", "costs"):
        if type(getattr(program, name)) is not dict:
            _refuse(where, f"{name} is a {type(getattr(program, name)).__name__}", "a dict of plain values")
        _check_plain(getattr(program, name), name)
    _check_order(program)
    shape, largest = program.preprocessing.frame_shape, program.preprocessing.c_clip
    for layer in program.layers:
        shape, largest = _check_layer(layer, shape, largest)
    _check_readout(program, shape)


def worst_sums(weight: NDArray[np.int8], largest_input: int) -> NDArray[np.int64]:
    """Return the largest possible ``|acc|`` of every output (weight's first axis), int64, for inputs in [0, largest]."""
    rows = weight.reshape(len(weight), -1)
    above = np.maximum(rows, 0).sum(axis=1, dtype=np.int64)
    below = above - rows.sum(axis=1, dtype=np.int64)
    return np.maximum(above, below) * largest_input


def worst_gained(
    sums: NDArray[np.int64], multiplier: NDArray[np.int32], shift: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return the largest possible ``|(acc * multiplier + 2^(shift-1)) >> shift|`` for ``|acc| <= sums``, int64."""
    unit = np.left_shift(1, shift.astype(np.int64), dtype=np.int64)
    return (sums * multiplier.astype(np.int64) + unit // 2) // unit


def _refuse(where: str, found: str, allowed: str) -> NoReturn:
    raise InputError(
        f"{where}: {found}. Allowed: {allowed}. Compile the checkpoint again, or mend the tool that wrote the program."
    )


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _check_text(where: str, name: str, value: Any) -> None:
    if type(value) is not str or not value.strip() or len(value) > 1000 or not value.isprintable():
        _refuse(where, f"{name} is {_short(value)}", "a text of 1 to 1000 printable characters")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_preprocessing(p: Preprocessing) -> None:
    where = "preprocessing"
    if not isinstance(p, Preprocessing):
        _refuse(where, f"a {type(p).__name__}", "a Preprocessing record")
    for name, length in (("sensor_size", 3), ("frame_size", 2)):
        sizes = getattr(p, name)
        if (
            type(sizes) is not tuple
            or len(sizes) != length
            or not all(_is_int(v, 1, MAX_VALUES) for v in sizes)
        ):
            _refuse(where, f"{name} is {_short(sizes)}", f"{length} whole numbers of at least 1")
    if not _is_int(p.time_bins, 1, 1000):
        _refuse(where, f"time_bins is {_short(p.time_bins)}", "a whole number, 1 to 1000")
    if not _is_int(p.c_clip, 1, MAX_COUNT):
        _refuse(where, f"c_clip is {_short(p.c_clip)}", f"a whole number, 1 to {MAX_COUNT}")
    if type(p.divisor) is not float or not math.isfinite(p.divisor) or p.divisor < p.c_clip:
        _refuse(where, f"divisor is {_short(p.divisor)}", f"a finite number of at least c_clip ({p.c_clip})")
    if p.normalisation == "sample_max":
        _refuse(
            where,
            "normalisation is 'sample_max', which needs the whole recording before its first step",
            "'fixed', which hardware can do event by event",
        )
    if p.normalisation != "fixed":
        _refuse(where, f"normalisation is {_short(p.normalisation)}", "'fixed'")
    if math.prod(p.frame_shape) > MAX_VALUES:
        _refuse(where, f"a frame has {math.prod(p.frame_shape)} values", f"at most {MAX_VALUES}")


def _check_plain(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what JSON cannot hold and give back unchanged: tuples, NumPy values, NaN, keys that are no text."""
    if value is None or type(value) in (bool, int):
        return
    if type(value) is str:
        _check_encodable(value, where)
        return
    if type(value) is float and math.isfinite(value):
        return
    if depth < 32 and type(value) is list:
        for position, item in enumerate(value):
            _check_plain(item, f"{where}[{position}]", depth + 1)
        return
    if depth < 32 and type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                _refuse(where, f"the key {_short(key)} is a {type(key).__name__}", "text keys")
            _check_encodable(key, where)
            _check_plain(item, f"{where}.{key}", depth + 1)
        return
    allowed = "finite numbers, text, true, false, null, and lists and dicts of these, nested up to 32 deep"
    _refuse(where, f"{_short(value)} is a {type(value).__name__}", allowed)


def _check_encodable(text: str, where: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        _refuse(where, f"{_short(text)} is no valid Unicode", "text without lone surrogates")


def _check_order(program: Program) -> None:
    layers = program.layers
    if type(layers) is not tuple or not layers:
        _refuse("program", "there is no layer", "a tuple of at least one layer before the readout")
    for layer in layers:
        if not isinstance(layer, DenseLif | ConvLif | SumPool):
            _refuse("program", f"a layer is a {type(layer).__name__}", "DenseLif, ConvLif or SumPool")
    if not isinstance(program.readout, Readout):
        _refuse("program", f"the readout is a {type(program.readout).__name__}", "a Readout")
    seen: set[str] = set()
    for part in (*layers, program.readout):
        if type(part.name) is not str or not _NAME.fullmatch(part.name):
            allowed = "1 to 64 letters, digits and _ . -, not starting with . or -"
            _refuse("program", f"a layer is named {_short(part.name)}", allowed)
        if part.name in seen:
            _refuse("program", f"two layers are named '{part.name}'", "a different name for every layer")
        seen.add(part.name)
    for layer, position in ((layers[0], "first"), (layers[-1], "last")):
        if isinstance(layer, SumPool):
            _refuse(f"layer '{layer.name}'", f"a sum pool is the {position} layer", "dense or conv there")


def _check_layer(
    layer: DenseLif | ConvLif | SumPool, shape: tuple[int, int, int], largest: int
) -> tuple[tuple[int, int, int], int]:
    """Check one layer on inputs of ``shape`` with values up to ``largest``; return the same two of its output."""
    where = f"layer '{layer.name}'"
    if isinstance(layer, SumPool):
        if not _is_int(layer.kernel, 1, min(shape[1:])):
            _refuse(
                where, f"kernel is {_short(layer.kernel)}", f"1 to {min(shape[1:])} on a {_by(shape)} input"
            )
        if layer.kernel**2 * largest > MAX_COUNT:
            found = f"a window of {layer.kernel} x {layer.kernel} inputs up to {largest} sums to {layer.kernel**2 * largest}"
            _refuse(where, found, f"sums up to {MAX_COUNT}")
        return output_shape(layer, shape), layer.kernel**2 * largest
    _check_weight(where, layer.weight, layer.weight_bits, 4 if isinstance(layer, ConvLif) else 2)
    if isinstance(layer, ConvLif):
        _check_window(where, layer, shape)
    elif layer.weight.shape[1] != math.prod(shape):
        found = f"weight has {layer.weight.shape[1]} columns"
        _refuse(where, found, f"{math.prod(shape)}, one per value of its {_by(shape)} input")
    output = output_shape(layer, shape)
    if math.prod(output) > MAX_VALUES:
        _refuse(where, f"an output of {_by(output)} has {math.prod(output)} values", f"at most {MAX_VALUES}")
    _check_lif(where, layer.lif, output[0], worst_sums(layer.weight, largest))
    return output, 1


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _check_weight(where: str, weight: Any, bits: Any, dimensions: int) -> None:
    if not _is_int(bits, 2, 8):
        _refuse(where, f"weight_bits is {_short(bits)}", "a whole number, 2 to 8")
    if not isinstance(weight, np.ndarray) or weight.dtype != np.int8 or weight.ndim != dimensions:
        _refuse(where, f"weight is {_describe(weight)}", f"an int8 array of {dimensions} dimensions")
    if 0 in weight.shape:
        _refuse(where, f"weight has shape {_by(weight.shape)}", "at least 1 along every dimension")
    limit = weight_limit(bits)
    wrong = np.abs(weight.astype(np.int16)) > limit
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        _refuse(where, f"weight{list(place)} is {weight[place]}", f"-{limit} to {limit} in {bits} bits")


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {list(value.shape)}"
    return f"a {type(value).__name__}"


def _check_window(where: str, layer: ConvLif, shape: tuple[int, int, int]) -> None:
    if layer.weight.shape[1] != shape[0]:
        found = f"weight reads {layer.weight.shape[1]} channels"
        _refuse(where, found, f"{shape[0]}, as in its {_by(shape)} input")
    for name, low in (("stride", 1), ("padding", 0)):
        pair = getattr(layer, name)
        if type(pair) is not tuple or len(pair) != 2 or not all(_is_int(v, low, 127) for v in pair):
            _refuse(where, f"{name} is {_short(pair)}", f"a tuple of two whole numbers, {low} to 127")
    for axis in (0, 1):
        size = shape[1 + axis] + 2 * layer.padding[axis]
        if layer.weight.shape[2 + axis] > size:
            found = f"kernel is {layer.weight.shape[2 + axis]} along {'HW'[axis]}"
            _refuse(where, found, f"at most {size}, the padded input")


def _check_channels(where: str, name: str, values: Any, channels: int, low: int, high: int) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != np.int32 or values.shape != (channels,):
        _refuse(
            where, f"{name} is {_describe(values)}", f"int32 of shape [{channels}], one per output channel"
        )
    wrong = (values < low) | (values > high)
    if wrong.any():
        place = int(np.argmax(wrong))
        _refuse(where, f"{name}[{place}] is {values[place]}", f"{low} to {high}")


def _check_lif(where: str, lif: Any, channels: int, sums: NDArray[np.int64]) -> None:
    if not isinstance(lif, Lif):
        _refuse(where, f"lif is a {type(lif).__name__}", "a Lif record")
    if not isinstance(lif.membrane, QFormat):
        _refuse(where, f"membrane is a {type(lif.membrane).__name__}", "a QFormat of 2 to 24 bits")
    low, high = lif.membrane.q_min, lif.membrane.q_max
    _check_channels(where, "multiplier", lif.multiplier, channels, 1, MAX_MULTIPLIER)
    _check_channels(where, "shift", lif.shift, channels, 0, MAX_SHIFT)
    _check_channels(where, "bias", lif.bias, channels, low, high)
    _check_channels(where, "threshold", lif.threshold, channels, 1, high)
    if not _is_int(lif.leak_shift, 0, MAX_LEAK_SHIFT):
        _refuse(where, f"leak_shift is {_short(lif.leak_shift)}", f"a whole number, 0 to {MAX_LEAK_SHIFT}")
    if not _is_int(lif.leak_multiplier, 0, 1 << lif.leak_shift):
        found, end = f"leak_multiplier is {_short(lif.leak_multiplier)}", 1 << lif.leak_shift
        _refuse(where, found, f"a whole number, 0 to {end} (2^leak_shift: no growth)")
    for name, kind in (("leak_rounding", Rounding), ("overflow", Overflow)):
        if not isinstance(getattr(lif, name), kind):
            _refuse(where, f"{name} is {_short(getattr(lif, name))}", ", ".join(k.value for k in kind))
    for name, allowed in (("spike_test", SPIKE_TESTS), ("reset", RESETS)):
        if getattr(lif, name) not in allowed:
            _refuse(where, f"{name} is {_short(getattr(lif, name))}", ", ".join(allowed))
    if not _is_int(lif.reset_delay, 0, 1):
        _refuse(where, f"reset_delay is {_short(lif.reset_delay)}", "0 or 1")
    _prove(where, "the weighted sum", sums)
    current = worst_gained(sums, lif.multiplier, lif.shift)
    # |leak| <= |u| because leak_multiplier <= 2^leak_shift.
    update = current - low + np.abs(lif.bias.astype(np.int64)) + lif.threshold
    _prove(where, "the membrane update", update)


def _prove(where: str, what: str, worst: NDArray[np.int64]) -> None:
    place = int(np.argmax(worst))
    if worst[place] >= INT32_END:
        _refuse(where, f"{what} of output {place} can reach {worst[place]}", f"below 2^31 = {INT32_END}")


def _check_readout(program: Program, shape: tuple[int, int, int]) -> None:
    readout, classes = program.readout, program.classes
    where = f"readout '{readout.name}'"
    _check_weight(where, readout.weight, readout.weight_bits, 2)
    rows, columns = readout.weight.shape
    if type(readout.global_sum_pool) is not bool:
        _refuse(where, f"global_sum_pool is {_short(readout.global_sum_pool)}", "true or false")
    expected = shape[0] if readout.global_sum_pool else math.prod(shape)
    if columns != expected:
        inputs = "channel" if readout.global_sum_pool else "value"
        _refuse(
            where,
            f"weight has {columns} columns",
            f"{expected}, one per {inputs} of the last layer's {_by(shape)} output",
        )
    if type(classes) is not tuple or len(classes) != rows:
        count = len(classes) if type(classes) is tuple else _short(classes)
        _refuse("program", f"there are {count} classes", f"{rows}, one per row of the readout's weight")
    for name in classes:
        _check_text("program", "a class name", name)
    if len(set(classes)) != rows:
        _refuse("program", "two classes have the same name", "a different name for every class")
    _check_channels(where, "multiplier", readout.multiplier, rows, 1, MAX_MULTIPLIER)
    _check_channels(where, "shift", readout.shift, rows, 0, MAX_SHIFT)
    _check_channels(where, "bias", readout.bias, rows, -INT32_END, INT32_END - 1)
    if not _is_int(readout.fraction_bits, 0, 31):
        _refuse(where, f"fraction_bits is {_short(readout.fraction_bits)}", "a whole number, 0 to 31")
    steps = program.preprocessing.time_bins
    sums = worst_sums(readout.weight, steps * (shape[1] * shape[2] if readout.global_sum_pool else 1))
    _prove(where, "the weighted sum", sums)
    scores = worst_gained(sums, readout.multiplier, readout.shift) + steps * np.abs(
        readout.bias.astype(np.int64)
    )
    _prove(where, "the score", scores)
