"""Weights behind a pool as weights before it: where an input goes past layers, no pool stands between it and the sums."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import cast

import numpy as np

from sastdeploy.compiler.ir.nodes import Conv2d, Shape, Synapses
from sastdeploy.errors import CompileError
from sastdeploy.exchange.kernels import MAX_WEIGHTS
from sastdeploy.exchange.parts import Array, Pooling
from sastdeploy.program.limits import by
from sastdeploy.windows import Window


def before_pool(node: Synapses, pool: Pooling, shape: Shape) -> Synapses:
    """Return weights that take values ``shape`` and give what ``node`` gives behind their pool.

    A window of k positions makes k synapses of one, each with its own operations.

    Raises:
        CompileError: a convolution's padding meets what the pool leaves out, so that no convolution gives the same; or there are
            too many weights.
    """
    window = Window(pool.kernel, pool.stride, pool.padding)
    if node.weight.ndim == 4:
        return _convolution(cast(Conv2d, node), window, pool.worth, shape, pool.name)
    rows, columns = window.output(shape)
    _require_size(pool.name, len(node.weight) * prod(shape))
    weight = node.weight.reshape(-1, shape[0], rows, columns)
    return replace(node, weight=_spread(weight, window, shape[1:]).reshape(len(weight), -1) * pool.worth)


def _spread(weight: Array, window: Window, size: tuple[int, int]) -> Array:
    """Return ``[O, C, H, W]``, in which every position has the weights ``[O, C, OH, OW]`` of all windows that it lies in."""
    pads = window.padding
    spread = np.zeros((*weight.shape[:2], *(length + 2 * pad for length, pad in zip(size, pads))))
    views = np.lib.stride_tricks.sliding_window_view(spread, window.kernel, (-2, -1), writeable=True)
    every = views[..., :: window.stride[0], :: window.stride[1], :, :]
    for y in range(window.kernel[0]):
        for x in range(window.kernel[1]):
            every[..., y, x] += weight
    return spread[..., pads[0] : pads[0] + size[0], pads[1] : pads[1] + size[1]]


def _convolution(node: Conv2d, window: Window, worth: float, shape: Shape, name: str) -> Conv2d:
    outputs, pooled = window.output(shape), node.window
    kernel = tuple((k - 1) * s + own for k, s, own in zip(pooled.kernel, window.stride, window.kernel))
    _require_size(name, prod(node.weight.shape[:2]) * prod(kernel))
    stride, padding = (
        (own[0] * window.stride[0], own[1] * window.stride[1]) for own in (pooled.stride, pooled.padding)
    )
    padding = padding[0] + window.padding[0], padding[1] + window.padding[1]
    # Padding stands for windows of zeros; the convolution would see what lies there instead.
    alike = all(
        not pad or (own <= step + left and length <= number * step - left)
        for pad, own, step, left, length, number in zip(
            pooled.padding, window.kernel, window.stride, window.padding, shape[1:], outputs
        )
    )
    whole = Window((kernel[0], kernel[1]), stride, padding)
    if not alike or whole.output(shape) != pooled.output((shape[0], *outputs)):
        raise CompileError(
            f"{name}: pools {by(shape)} to {by((shape[0], *outputs))} on a way past a layer, before {node.name} with padding "
            f"{by(pooled.padding)}; engines pool only what goes from one layer to the next, and no convolution gives the same. Pool windows "
            "side by side that cover the whole map, or let the sum go to neurons before the pool."
        )
    spread = _spread(node.weight, Window(window.kernel, window.stride, (0, 0)), (kernel[0], kernel[1]))
    return replace(node, weight=spread * worth, stride=stride, padding=padding)


def _require_size(name: str, weights: int) -> None:
    if weights > MAX_WEIGHTS:
        raise CompileError(
            f"{name}: a pool on a way past a layer goes into the weights behind it, which makes {weights:,}; at most {MAX_WEIGHTS:,} are allowed."
        )
