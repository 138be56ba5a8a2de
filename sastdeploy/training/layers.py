"""Each kind of layer in torch: what it makes of its inputs before any neurons step.

A new kind of `sastdeploy.networks.layers` is a function here and a line in `SUMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sastdeploy.networks.layers import AvgPool, Conv, Dense
from sastdeploy.training.fused import fits
from sastdeploy.training.sparse import SparseLinear, SparseValues

Values = dict[str, Tensor]
"""A layer's ``weight``, and ``bias`` where one is wanted; of a layer without weights nothing."""


def _dense(layer: Dense, values: Values, s: Tensor | SparseValues, fused: bool) -> Tensor:
    weight, bias = values["weight"], values.get("bias")
    if isinstance(s, SparseValues):
        # torch does not annotate `apply`.
        flat: Tensor = SparseLinear.apply(weight, bias, s)  # type: ignore[no-untyped-call]
        return flat.view(s.time_bins, s.recordings, -1)
    return F.linear(s.flatten(2), weight, bias)


def _conv(layer: Conv, values: Values, s: Tensor, fused: bool) -> Tensor:
    # With channels last, convolutions on the CPU take a fifth less time, one of few channels an eighth.
    form = torch.channels_last if fused and fits(s) else torch.contiguous_format
    flat = s.flatten(0, 1).contiguous(memory_format=form)
    result = F.conv2d(flat, values["weight"], values.get("bias"), layer.stride, layer.padding)
    return result.view(*s.shape[:2], *result.shape[1:])


def _avg_pool(layer: AvgPool, values: Values, s: Tensor, fused: bool) -> Tensor:
    window = layer.window
    result = F.avg_pool2d(s.flatten(0, 1), window.kernel, window.stride, window.padding)
    return result.view(*s.shape[:2], *result.shape[1:])


SUMS: dict[str, Callable[[Any, Values, Any, bool], Tensor]] = {
    "dense": _dense,
    "conv": _conv,
    "avg_pool": _avg_pool,
}
"""By the layer's kind: from ``(layer, values, s, fused)``, s ``[T, B, ...]``, to its weighted sums and biases, ``[T, B, ...]``.

``fused``: whether the fast kernels are wanted. Without weights: what is sent on.
"""
TAKES_SPARSE = ("dense",)
"""Kinds whose inputs may come as `SparseValues`, where they are the network's first layer."""
