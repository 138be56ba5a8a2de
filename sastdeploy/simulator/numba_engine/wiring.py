"""How a layer's inputs reach its neurons: weight rows in the order of the kernels' registers, and lists of which rows are met."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sastdeploy._kernels.vectors import aligned_zeros, paired_order
from sastdeploy._kernels.vectors import shape as shape_of
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
    layer: DenseLif, shape: Shape, out_shape: Shape, order: NDArray[np.int32], budget: int
) -> Wiring:
    none = np.zeros(1, np.int32)
    return Wiring(*_table(layer.weight.T[order]), True, 1, 1, 0, none, none, none, none, budget)


def _recurrent_wiring(
    layer: RecurrentLif, shape: Shape, out_shape: Shape, order: NDArray[np.int32], budget: int
) -> Wiring:
    """Return a recurrent layer's wiring: a dense one, with a row more for each of its neurons."""
    rows, none = np.concatenate((layer.weight.T[order], layer.recurrent.T)), np.zeros(1, np.int32)
    return Wiring(*_table(rows), False, 1, 1, len(rows), none, none, none, none, budget, (0,), len(order))


def _runs(
    layer: ConvLif, shape: Shape, out_shape: Shape
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return run_start, run_low, run_high, run_offset of `Wiring`: one run per kernel row, its border clipped off."""
    channels, height, width = shape
    kernel_y, kernel_x = layer.weight.shape[2:]
    out_y, out_x, ky = np.indices((*out_shape[1:], kernel_y), dtype=np.int64).reshape(3, -1)
    y = out_y * layer.stride[0] - layer.padding[0] + ky
    x = out_x * layer.stride[1] - layer.padding[1]
    left, right = np.clip(x, 0, width), np.clip(x + kernel_x, 0, width)
    seen = (y >= 0) & (y < height) & (left < right)
    # The first weight row of the kernel row, less the first number of the pixel (maybe outside) that it lies on.
    offset = (ky * kernel_x - (y * width + x)) * channels
    run_start = np.searchsorted(
        (out_y * out_shape[2] + out_x)[seen], np.arange(out_shape[1] * out_shape[2] + 1)
    )
    return (
        run_start.astype(np.int32),
        (y * width + left)[seen].astype(np.int32),
        (y * width + right)[seen].astype(np.int32),
        offset[seen].astype(np.int32),
    )


def _conv_wiring(
    layer: ConvLif, shape: Shape, out_shape: Shape, order: NDArray[np.int32], budget: int
) -> Wiring:
    """Return a convolution's wiring, its weight rows ordered (ky, kx, channel)."""
    outputs, channels, kernel_y, kernel_x = layer.weight.shape
    table = _table(layer.weight.transpose(2, 3, 1, 0).reshape(-1, outputs))
    positions = out_shape[1] * out_shape[2]
    each = 4 * table[0].shape[1] + 4 * padded_width(outputs, neuron_lanes(outputs))
    return Wiring(
        *table,
        False,
        positions,
        min(positions, max(1, _BLOCK_BYTES // each)),
        kernel_y * kernel_x * channels,
        *_runs(layer, shape, out_shape),
        budget,
    )


WIRING: dict[str, Callable[..., Wiring]] = {
    "dense": _dense_wiring, "conv": _conv_wiring, "recurrent": _recurrent_wiring,
}  # fmt: skip
"""How inputs reach neurons, by the kind of layer."""
BY_PIXEL = ("conv",)
"""Kinds that take the network's inputs in the order of their pixels."""
