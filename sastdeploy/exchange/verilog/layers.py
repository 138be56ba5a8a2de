"""The parameters and memories of every layer of the core."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import InputError
from sastdeploy.program.fixedpoint import Overflow, Rounding
from sastdeploy.program.layers.weights import stored_bits
from sastdeploy.program.limits import worst_sums
from sastdeploy.program.records import ConvLif, DenseLif, Lif, ProgramLayer, Readout, SumPool
from sastdeploy.windows import Shape, Window

Integers = NDArray[np.integer]
_ROUNDINGS = (Rounding.FLOOR, Rounding.NEAREST, Rounding.TOWARD_ZERO)
_RESETS = ("none", "subtract", "zero")
_MULTIPLIER_BITS = 16
"""Of a multiplier that is read from the file, with its sign."""
_NEURONS = frozenset({
    "multiplier", "shift", "bias", "threshold", "leak_multiplier", "leak_shift", "leak_rounding", "membrane", "overflow",
    "spike_test", "reset", "reset_delay",
})  # fmt: skip
"""What of `Lif` the core's neurons have."""
_READOUT = frozenset({
    "name", "kind", "weight", "weight_bits", "multiplier", "shift", "bias", "fraction_bits", "global_sum_pool",
})  # fmt: skip
"""What of `Readout` it has: the counts of spikes."""


@dataclass(frozen=True)
class LayerCore:
    """One layer of the core.

    Args:
        parameters: of its module, by name. weights: as they lie in ROM, or None of a pool. channels: a word for each channel, or None.
        outputs: how many values it gives. window: inputs that each of them reads. y_bits: of a value. state_bits: of all its states.
    """

    parameters: dict[str, int]
    weights: Integers | None
    channels: tuple[int, ...] | None
    outputs: int
    window: int
    y_bits: int
    state_bits: int

    @property
    def clocks(self) -> int:
        """Clocks of one step: every input of every window, three more for an output, and two to start and to end."""
        return self.outputs * (self.window + 3) + 2

    @property
    def rom_bits(self) -> int:
        weights = 0 if self.weights is None else self.weights.size * self.parameters["WEIGHT_BITS"]
        return weights + len(self.channels or ()) * self.parameters.get("CHANNEL_BITS", 0)


def layer_core(layer: ProgramLayer, shape: Shape, largest: int) -> LayerCore:
    """Return the core's form of a layer that reads values up to ``largest`` of ``shape``.

    Raises:
        InputError: the core has no such layer or neurons.
    """
    if layer.kind not in _GEOMETRIES:
        raise InputError(
            f"layer {layer.name}: a {layer.kind} layer is nothing the Verilog core holds. Allowed: dense, conv, sum_pool. "
            "Export it with --to c."
        )
    if layer.source is not None:
        raise InputError(
            f"layer {layer.name}: hears another layer than the one before it; the core's layers stand one after another. Export it with "
            "--to c."
        )
    if layer.further:
        raise InputError(
            f"layer {layer.name}: has further inputs, from layers before the last one; the core's layers have one. Export it with "
            "--to c."
        )
    geometry = _GEOMETRIES[layer.kind](layer, shape)
    outputs = math.prod(layer.output_shape(shape))
    y_bits = layer.largest_output(largest).bit_length()
    common = {**geometry, "X_BITS": largest.bit_length(), "Y_BITS": y_bits}
    if layer.lif is None:
        sums = {"NEURONS": 0, "POOL": 1, "SUM_BITS": y_bits + 1, "WEIGHT_BITS": 2}
        return _core({**common, **sums}, None, None, outputs, 0)
    lif, name = layer.lif, layer.name
    if lif.max_spikes > 1:
        raise InputError(
            f"layer {name}: its neurons send up to {lif.max_spikes} spikes in a step; the core's send one. Export it with --to c."
        )
    if lif.starts():
        raise InputError(
            f"layer {name}: its neurons start elsewhere than at 0; the core's start there. Export it with --to c."
        )
    if lif.floor is not None:
        raise InputError(
            f"layer {name}: its membranes have a floor; the core's have none but their format's lower end. Export it with --to c."
        )
    _check_known(name, lif, _NEURONS)
    if lif.reset not in _RESETS:
        raise InputError(
            f"layer {name}: reset {lif.reset}; the core's neurons do {', '.join(_RESETS)}. Export it with --to c."
        )
    if differing := lif.per_neuron():
        raise InputError(
            f"layer {name}: {' and '.join(differing)} differ within a channel; the core's neurons have one of each per channel. Export it with "
            "--to c."
        )
    if lif.decays():
        raise InputError(
            f"layer {name}: its channels decay differently; the core's neurons have one decay a layer. Export it with --to c."
        )
    worst, bits = worst_sums(layer.weight, largest), lif.membrane.bits
    update_bits = max(_signed_bits(int(lif.worst_updates(worst).max())), bits + 1)
    neurons = {
        "STATE_BITS": bits, "UPDATE_BITS": update_bits,
        "LEAK_MULTIPLIER": int(lif.leak_multiplier), "LEAK_SHIFT": lif.leak_shift,
        "LEAK_ROUNDING": _ROUNDINGS.index(lif.leak_rounding), "LEAK_BITS": bits + _signed_bits(int(lif.leak_multiplier)), "WRAP": int(lif.overflow == Overflow.WRAP),
        "ABOVE": int(lif.spike_test == ">"), "RESET": _RESETS.index(lif.reset), "DELAY": lif.reset_delay,
        **_gains(lif, worst, update_bits),
    }  # fmt: skip
    channels = _words((15, lif.multiplier), (6, lif.shift), (bits, lif.bias), (bits, lif.threshold))
    weights = {"WEIGHT_BITS": stored_bits(layer.weight_bits), "CHANNEL_BITS": 21 + 2 * bits}
    return _core({**common, **neurons, **weights}, layer.weight, channels, outputs, outputs * bits)


def readout_core(readout: Readout, shape: Shape, steps: int) -> LayerCore:
    """Return the core's form of the readout; the biases are those of all steps together.

    Raises:
        InputError: it reads anything but counts of spikes.
    """
    if readout.further:
        raise InputError(
            f"{readout.name}: has further inputs, from layers before the last one; the core's readout has one. Export it with --to c."
        )
    _check_known(readout.name, readout, _READOUT)
    worst = worst_sums(readout.weight, readout.summed(shape, steps, 1))
    classes, bits = len(readout.weight), _signed_bits(int(worst.max()))
    channels, rows, columns = shape if readout.global_sum_pool else (math.prod(shape), 1, 1)
    parameters = {
        "NEURONS": 0, "READOUT": 1, "SHARED": int(readout.global_sum_pool), "CHANNELS": classes,
        **_input((channels, rows, columns), Window((rows, columns), (1, 1), (0, 0)), channels),
        "X_BITS": 1, "Y_BITS": 32, "STATE_BITS": bits, "UPDATE_BITS": 32, **_gains(readout, worst, 32),
        "WEIGHT_BITS": stored_bits(readout.weight_bits), "CHANNEL_BITS": 21 + 32,
    }  # fmt: skip
    words = _words((15, readout.multiplier), (6, readout.shift), (32, readout.bias.astype(np.int64) * steps))
    return _core(parameters, readout.weight, words, classes, classes * bits)


def _check_known(where: str, part: Lif | Readout, written: frozenset[str]) -> None:
    """Accept what has nothing beyond the ``written`` fields, or the others' defaults.

    Raises:
        InputError: names layer and field.
    """
    for field in fields(part):
        if field.name not in written and getattr(part, field.name) != field.default:
            raise InputError(
                f"layer {where}: the Verilog core has no {field.name} other than {field.default}. Export it with --to c."
            )


def _core(
    parameters: dict[str, int],
    weights: Integers | None,
    channels: tuple[int, ...] | None,
    outputs: int,
    state_bits: int,
) -> LayerCore:
    window = parameters["X_CHANNELS"] * parameters["KERNEL_ROWS"] * parameters["KERNEL_COLUMNS"]
    farthest = max(
        *(value for key, value in parameters.items() if key.endswith(("CHANNELS", "ROWS", "COLUMNS"))),
        parameters["X_ROWS"] + 2 * parameters["PADDING_ROWS"],
        parameters["X_COLUMNS"] + 2 * parameters["PADDING_COLUMNS"],
    )
    parameters = {
        **parameters,
        "COUNTER_BITS": farthest.bit_length(),
        "Y_PLACE_BITS": place_bits(outputs),
        "WEIGHTS": 1 if weights is None else weights.size,
        "WEIGHT_PLACE_BITS": 1 if weights is None else place_bits(weights.size),
    }
    return LayerCore(parameters, weights, channels, outputs, window, parameters["Y_BITS"], state_bits)


def place_bits(values: int) -> int:
    """Return the bits of an address of so many values."""
    return max(1, (values - 1).bit_length())


def _dense(layer: DenseLif, shape: Shape) -> dict[str, int]:
    inputs = math.prod(shape)
    return {
        "CHANNELS": len(layer.weight),
        **_input((inputs, 1, 1), Window((1, 1), (1, 1), (0, 0)), inputs),
    }


def _conv(layer: ConvLif, shape: Shape) -> dict[str, int]:
    return {**_output(layer.output_shape(shape)), **_input(shape, layer.window, shape[0])}


def _pool(layer: SumPool, shape: Shape) -> dict[str, int]:
    # A window has one channel, but the places of all are read.
    return {**_output(layer.output_shape(shape)), **_input(shape, layer.window, 1)}


_GEOMETRIES: dict[str, Callable[..., dict[str, int]]] = {"dense": _dense, "conv": _conv, "sum_pool": _pool}


def _output(shape: Shape) -> dict[str, int]:
    return dict(zip(("CHANNELS", "ROWS", "COLUMNS"), shape))


def _input(shape: Shape, window: Window, channels: int) -> dict[str, int]:
    names = ("KERNEL", "STRIDE", "PADDING")
    pairs = (window.kernel, window.stride, window.padding)
    sides = {
        f"{name}_{side}": pair[n]
        for name, pair in zip(names, pairs)
        for n, side in enumerate(("ROWS", "COLUMNS"))
    }
    return {
        "X_CHANNELS": channels, "X_ROWS": shape[1], "X_COLUMNS": shape[2], "X_PLACE_BITS": place_bits(math.prod(shape)),
        **sides,
    }  # fmt: skip


def _gains(part: Lif | Readout, worst: Integers, update_bits: int) -> dict[str, int]:
    """Return the widths of sums and products, and multiplier and shift where all channels share them."""
    sum_bits = _signed_bits(int(worst.max()))
    shift = int(part.shift.max())
    product = _signed_bits(int((worst * part.multiplier.astype(np.int64)).max()) + (1 << shift) // 2)
    product_bits, multiplier = max(product, shift + 2, update_bits), _shared(part.multiplier)
    # The bits that Yosys gives the product. Of a wider register it loses the copies of the sign in an iCE40's multiplier.
    natural = sum_bits + (_MULTIPLIER_BITS if multiplier < 0 else _signed_bits(multiplier))
    return {
        "SUM_BITS": sum_bits,
        "PRODUCT_BITS": product_bits,
        "GAIN_BITS": min(product_bits, natural),
        "MULTIPLIER": multiplier,
        "SHIFT": _shared(part.shift),
    }


def _shared(values: Integers) -> int:
    return int(values[0]) if (values == values[0]).all() else -1


def _signed_bits(largest: int) -> int:
    """Return the bits of two's complement that hold ``-largest`` to ``largest``."""
    return max(2, largest.bit_length() + 1)


def _words(*parts: tuple[int, Integers]) -> tuple[int, ...]:
    """Return for every channel its numbers side by side, the first in the highest bits."""
    words = [0] * len(parts[0][1])
    for bits, values in parts:
        words = [word << bits | int(value) & (1 << bits) - 1 for word, value in zip(words, values)]
    return tuple(words)
