"""Values that somebody's file gives for a layer, as one per channel, or one per neuron where they differ within a channel."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from sastdeploy.errors import CompileError
from sastdeploy.exchange.parts import Array, Integrators, Neurons
from sastdeploy.program.layers.each import along_map, largest_of_channels, shortest
from sastdeploy.program.layers.start import STARTS
from sastdeploy.windows import Shape


def per_channel(values: Array, shape: Shape, part: Any, what: str) -> Array:
    """Return one value per channel of ``shape``, from one for all, one per channel, or one per value that is the same in each.

    Raises:
        CompileError: another shape, or values that differ within a channel.
    """
    each = per_neuron(values, shape, part, what)
    if each.ndim == 3:
        place = int(np.argmax((each != each[:, :1, :1]).any((1, 2))))
        raise CompileError(
            f"{part.name}: {what} differs within channel {place}; engines compute one per channel."
        )
    return each


def per_neuron(values: Array, shape: Shape, part: Any, what: str) -> Array:
    """Return one value per channel ``[C]``, or one per neuron ``[C, H, W]`` where they differ within a channel.

    Raises:
        CompileError: values of another shape, or that are not finite.
    """
    full = at_each(np.asarray(values, np.float64), shape, part.name, what)
    if not np.isfinite(full).all():
        raise CompileError(f"{part.name}: {what} is not finite.")
    return shortest(full.copy())


def neuron_values(
    part: Neurons | Integrators, shape: Shape, factor: Array | None, reasons: list[str]
) -> dict[str, Array]:
    """Return gain, one per channel, offset, threshold and, where given, starts and floor of neurons ``shape``; add to ``reasons`` where no engine computes them.

    factor: of what reaches each neuron, ``[C, H, W]``, beside their gain; None where there is none.
    """
    values: dict[str, Array] = {}
    given = [name for name in (*STARTS, "floor") if getattr(part, name, None) is not None]
    for name in ("gain", "offset", *(("threshold",) if isinstance(part, Neurons) else ()), *given):
        try:
            values[name] = per_neuron(getattr(part, name), shape, part, name)
        except CompileError as error:
            reasons += error.reasons
    if reasons:
        return values
    if factor is not None:
        with np.errstate(over="ignore"):
            values["gain"] = shortest(along_map(values["gain"]) * factor)
        if not np.isfinite(values["gain"]).all():
            reasons.append(f"{part.name}: an input gain that is not finite with the factors before it.")
            return values
    if (np.abs(values["gain"]) < np.finfo(np.float32).tiny).any():
        least = np.abs(values["gain"]).min()
        reasons.append(f"{part.name}: an input gain of {least:g}, so that nothing reaches its neurons.")
        return values
    try:
        return _with_shared_gains(values, part)
    except CompileError as error:
        reasons += error.reasons
    return values


def _with_shared_gains(values: dict[str, Array], part: Neurons | Integrators) -> dict[str, Array]:
    """Return gain, offset, threshold, starts and floor with one gain per channel, as all its positions share their weights.

    Where the gain differs within a channel, G its largest, each membrane (and synaptic current) is measured in ``gain / G`` of its own unit:
    ``u G / gain`` grows by ``G x + offset G / gain`` and spikes at ``threshold G / gain``, which are the same spikes, however the reset acts.

    Raises:
        CompileError: a gain that is not positive there, or membranes that are read, whose unit is that of their scores.
    """
    gain = values["gain"]
    if gain.ndim == 1:
        return values
    place = int(np.argmax((gain != gain[:, :1, :1]).any((1, 2))))
    where = f"{part.name}: an input gain that differs within channel {place}"
    if isinstance(part, Integrators):
        raise CompileError(
            f"{where}, of membranes that are read; engines share weights within a channel. Use one gain per channel."
        )
    if (gain <= 0).any():
        raise CompileError(
            f"{where} and is {gain.min():g} somewhere; engines measure such membranes in units of it, so it must be positive."
        )
    largest = largest_of_channels(gain)
    with np.errstate(over="ignore"):
        units = along_map(largest) / gain
        if not np.isfinite(units).all():
            raise CompileError(f"{where} by more than any float holds.")
        measured = {
            name: shortest(along_map(each) * units) for name, each in values.items() if name != "gain"
        }
    return {"gain": largest, **measured}


def at_each(values: Array, shape: Shape, name: str, what: str) -> Array:
    """Return values, read by their shape, as one per position ``[C, H, W]``.

    One for all, and what broadcasts to ``[C, H, W]``, as in the frameworks; or one per channel ``[C]``, or all in one row. Leading axes of
    length 1 are batches and dropped; where the map has axes of length 1, the values may leave them out.

    Raises:
        CompileError: another shape, or one that says two things, such as ``[C]`` where a row of the map has C positions, too.
    """
    if values.size == 1:
        return np.broadcast_to(values.reshape(1, 1, 1), shape)
    readings = _readings(values, shape)
    if not readings:
        raise CompileError(
            f"{name}: {what} of shape {values.shape} for {shape[0]} channels of {shape[1]} x {shape[2]}; allowed are one value, one per "
            f"channel ({shape[0]}, 1, 1), or one per position {shape}."
        )
    if any((other != readings[0]).any() for other in readings[1:]):
        raise CompileError(
            f"{name}: {what} of shape {values.shape} can be one per channel or one per column of {shape[0]} channels of {shape[1]} x {shape[2]}; "
            f"write ({shape[0]}, 1, 1) for channels, or all of {shape}."
        )
    return readings[0]


def _readings(values: Array, shape: Shape) -> list[Array]:
    """Return the arrays ``[C, H, W]`` that values of this shape can mean."""
    if shape[1:] == (1, 1):  # neurons in a row, in whatever direction the file has it
        fits = values.size == shape[0] == max(values.shape)
        return [values.reshape(shape)] if fits else []
    while values.ndim > 1 and len(values) == 1 and values.ndim != 3:
        values = values[0]
    short = (shape[0], *(length for length in shape[1:] if length > 1))
    readings: list[Array] = []
    for form in dict.fromkeys((shape, short)):
        try:
            readings.append(np.broadcast_to(values, form).reshape(shape))
        except ValueError:
            continue
    if values.shape == (shape[0],):
        readings.append(np.broadcast_to(values.reshape(-1, 1, 1), shape))
    if values.shape == (prod(shape),):
        readings.append(values.reshape(shape))
    return readings


def is_one_value(values: Array) -> bool:
    return bool((values == values.flat[0]).all())


def decay_of(
    part: Neurons | Integrators, decays: Array | None, shape: Shape, reasons: list[str]
) -> float | Array | None:
    """Return the decay of a whole layer, or of each channel or neuron where they differ; None where there is none, or none that fits."""
    if decays is None:
        return None
    try:
        each = per_neuron(decays, shape, part, "decay")
    except CompileError as error:
        reasons += error.reasons
        return None
    return float(each.flat[0]) if (each == each.flat[0]).all() else each
