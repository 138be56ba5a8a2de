"""Kernels as engines hold them: without groups and dilation, padded alike on both sides."""

from __future__ import annotations

import numpy as np

from sastdeploy.errors import CompileError
from sastdeploy.exchange.parts import Array, Convolution, Pair

MAX_WEIGHTS = 1 << 26
"""Of a layer, written out."""


def one_kernel(part: Convolution, channels: int) -> tuple[Array, Pair]:
    """Return the weight ``[O, I, KH, KW]`` over all input channels, and the padding, that compute the same sums.

    Groups become weights of 0 between groups, dilation weights of 0 between elements, and ``same`` around an even kernel one
    row or column of 0.

    Raises:
        CompileError: the weight does not fit the input's channels or its groups.
    """
    weight, groups = part.weight, part.groups
    if (
        weight.ndim != 4
        or groups < 1
        or weight.shape[1] * groups != channels
        or len(weight) % groups
        or 0 in weight.shape
    ):
        raise CompileError(
            f"{part.name}: weight {weight.shape} in {groups} groups for {channels} input channels."
        )
    if min(*part.dilation, *part.stride) < 1:
        raise CompileError(
            f"{part.name}: stride {part.stride} and dilation {part.dilation} must be at least 1."
        )
    spans = tuple((size - 1) * step + 1 for size, step in zip(weight.shape[2:], part.dilation))
    if len(weight) * channels * spans[0] * spans[1] > MAX_WEIGHTS:
        raise CompileError(
            f"{part.name}: kernels of {spans[0]} x {spans[1]} with their dilation, over {channels} channels to {len(weight)}, take more "
            f"than {MAX_WEIGHTS:,} weights without groups and dilation, which is how engines hold them."
        )
    if groups > 1:
        outputs, inputs = len(weight) // groups, weight.shape[1]
        full = np.zeros((len(weight), channels, *weight.shape[2:]))
        for group in range(groups):
            rows = slice(group * outputs, (group + 1) * outputs)
            full[rows, group * inputs : (group + 1) * inputs] = weight[rows]
        weight = full
    if part.dilation != (1, 1):
        spread = np.zeros((*weight.shape[:2], *spans))
        spread[:, :, :: part.dilation[0], :: part.dilation[1]] = weight
        weight = spread
    if not isinstance(part.padding, str):
        return weight, part.padding
    if part.padding == "valid":
        return weight, (0, 0)
    if part.padding != "same" or part.stride != (1, 1):
        raise CompileError(
            f"{part.name}: padding '{part.padding}' with stride {part.stride}; allowed: numbers, valid, or same with stride 1."
        )
    # With an even kernel one more position is added behind than before.
    even = [(1 - size % 2, 0) for size in weight.shape[2:]]
    return np.pad(weight, [(0, 0), (0, 0), *even]), (weight.shape[2] // 2, weight.shape[3] // 2)
