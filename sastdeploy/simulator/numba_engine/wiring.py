"""How a layer's inputs reach its neurons: weight rows in the order of the kernels' registers, and lists of which rows are met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.vectors import aligned_zeros, paired_order
from sastdeploy._kernels.vectors import shape as shape_of
from sastdeploy.program.layers.sums import ConvSums
from sastdeploy.program.records import ConvLif, DenseLif, RecurrentLif
from sastdeploy.simulator.numba_engine.tables import Wiring

Shape = tuple[int, int, int]

_MAX_COLUMNS = 320
"""Columns summed at once: ten 512-bit or twenty 256-bit registers for the sums, the rest for two rows."""
_BLOCK_BYTES = 256 << 10
"""Sums and membranes of the positions that go through all steps together: a part of a level-2 cache."""
MAX_LANES = 64
"""Most neurons that take a step together, and most inputs that are listed at once."""


def padded_width(width: int, lanes: int) -> int:
    return -(-width // lanes) * lanes


def _columns(width: int) -> tuple[int, int, int]:
    """Return (V, L, W): how many columns are summed at once, and the width padded to a multiple of V x L."""
    lanes = next((n for n, most in ((64, 1.15), (32, 1.5)) if padded_width(width, n) <= most * width), 16)
    vectors = padded_width(width, lanes) // lanes
    pieces = -(-vectors * lanes // _MAX_COLUMNS)
    at_once = -(-vectors // pieces)
    return at_once, lanes, pieces * at_once * lanes


def neuron_lanes(width: int) -> int:
    """Return how many neurons take a step together: many, unless much of it would be padding."""
    return next((n for n in (MAX_LANES, 32) if padded_width(width, n) <= 1.15 * width), 16)


def _table(weight: NDArray[np.int8]) -> tuple[NDArray[np.int8], int, tuple[int, ...], tuple[int, ...]]:
    """Return the first four fields of `Wiring` for weight rows ``[rows, O]``."""
    rows, width = weight.shape
    vectors, lanes, padded = _columns(width)
    table = aligned_zeros((max(1, rows), padded), np.int8)
    table[:rows, :width] = weight
    pieces = table.reshape(len(table), -1, lanes)
    pieces[:] = pieces[:, :, paired_order(lanes)]
    return table, width, *shape_of(vectors, lanes)


def _dense_wiring(
    layer: DenseLif, shapes: Sequence[Shape], out_shape: Shape, order: NDArray[np.int32], budget: int
) -> Wiring:
    none = np.zeros(1, np.int32)
    return Wiring(*_table(_side_by_side(layer).T[order]), True, 1, 1, 0, none, none, none, none, budget)


def _side_by_side(layer: DenseLif) -> NDArray[np.int8]:
    """Return the weights of all inputs ``[O, J]``, further ones behind the layer's own."""
    return np.concatenate((layer.weight, *(each.weight for each in layer.further)), axis=1)


def _recurrent_wiring(
    layer: RecurrentLif, shapes: Sequence[Shape], out_shape: Shape, order: NDArray[np.int32], budget: int
) -> Wiring:
    """Return a recurrent layer's wiring: a dense one, with a row more for each of its neurons."""
    rows = np.concatenate((_side_by_side(layer).T[order], layer.recurrent.T))
    none = np.zeros(1, np.int32)
    return Wiring(*_table(rows), False, 1, 1, len(rows), none, none, none, none, budget, (0,), len(order))


def _runs(part: ConvSums, shape: Shape, out_shape: Shape) -> NDArray[np.int64]:
    """Return output position, low, high and offset of every run ``[4, runs]``: one per kernel row, its border clipped off."""
    channels, height, width = shape
    kernel_y, kernel_x = part.weight.shape[2:]
    out_y, out_x, ky = np.indices((*out_shape[1:], kernel_y), dtype=np.int64).reshape(3, -1)
    y = out_y * part.stride[0] - part.padding[0] + ky
    x = out_x * part.stride[1] - part.padding[1]
    left, right = np.clip(x, 0, width), np.clip(x + kernel_x, 0, width)
    seen = (y >= 0) & (y < height) & (left < right)
    # The first weight row of the kernel row, less the first number of the pixel (maybe outside) that it lies on.
    offset = (ky * kernel_x - (y * width + x)) * channels
    runs = (out_y * out_shape[2] + out_x, y * width + left, y * width + right, offset)
    return np.stack([each[seen] for each in runs])


def _conv_wiring(
    layer: ConvLif, shapes: Sequence[Shape], out_shape: Shape, order: NDArray[np.int32], budget: int
) -> Wiring:
    """Return a convolution's wiring, its weight rows ordered (ky, kx, channel); pixels and rows of further inputs follow its own."""
    outputs, pixels, inputs = len(layer.weight), 0, 0
    rows: list[NDArray[np.int8]] = []
    runs: list[NDArray[np.int64]] = []
    parts = cast(tuple[ConvSums, ...], (layer, *layer.further))
    for part, shape in zip(parts, shapes):
        run = _runs(part, shape, out_shape)
        run[1:3] += pixels
        run[3] += sum(map(len, rows)) - inputs
        runs.append(run)
        rows.append(part.weight.transpose(2, 3, 1, 0).reshape(-1, outputs))
        pixels, inputs = pixels + shape[1] * shape[2], inputs + int(np.prod(shape))
    run = np.concatenate(runs, axis=1)
    places, low, high, offset = run[:, np.argsort(run[0], kind="stable")].astype(np.int32)
    table = _table(np.concatenate(rows))
    positions = out_shape[1] * out_shape[2]
    each = 4 * table[0].shape[1] + 4 * padded_width(outputs, neuron_lanes(outputs))
    return Wiring(
        *table,
        False,
        positions,
        min(positions, max(1, _BLOCK_BYTES // each)),
        sum(map(len, rows)),
        np.searchsorted(places, np.arange(positions + 1)).astype(np.int32),
        low,
        high,
        offset,
        budget,
    )


WIRING: dict[str, Callable[..., Wiring]] = {
    "dense": _dense_wiring, "conv": _conv_wiring, "recurrent": _recurrent_wiring,
}  # fmt: skip
"""How inputs reach neurons, by the kind of layer."""
BY_PIXEL = ("conv",)
"""Kinds that take the network's inputs in the order of their pixels."""
