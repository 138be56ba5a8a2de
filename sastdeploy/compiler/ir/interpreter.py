"""The graph's meaning, computed in float64: slow, plain, and the judge of every pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import AvgPool, Conv2d, Input, Lif, Pool, Readout, Synapses


@dataclass(frozen=True)
class GraphOutputs:
    """Scores ``[N, K]``; per LIF node, in order, spikes and membranes ``[N, T, C, H, W]``."""

    scores: NDArray[np.float64]
    spikes: tuple[NDArray[np.float64], ...]
    membranes: tuple[NDArray[np.float64], ...]


def interpret(graph: Graph, counts: NDArray[np.integer]) -> GraphOutputs:
    """Return what the graph answers to event counts ``[N, T, P, H, W]``, with hard spikes."""
    x = np.zeros(0)
    spikes, membranes = [], []
    for node in graph.nodes:
        if isinstance(node, Input):
            x = np.minimum(counts, node.c_clip).astype(np.float64) / node.divisor
        elif isinstance(node, Lif):
            x, u = run_lif(node, x)
            spikes.append(x)
            membranes.append(u)
        elif isinstance(node, Pool):
            x = _sums(node, x) / (node.size if isinstance(node, AvgPool) else 1)
        elif isinstance(node, Readout):
            return GraphOutputs(_read_out(node, x), tuple(spikes), tuple(membranes))
        else:
            x = _currents(node, x)
    raise AssertionError("a verified graph ends with a readout")


def _currents(node: Synapses, x: NDArray) -> NDArray:
    """Return ``I`` as ``[N, T, C, H, W]``."""
    bias = node.bias.reshape(-1, 1, 1)
    if isinstance(node, Conv2d):
        return node.gain * _correlate(node, x) + bias
    flat = x.reshape(*x.shape[:2], -1)
    return (node.gain * (flat @ node.effective_weight.T))[..., None, None] + bias


def _correlate(node: Conv2d, x: NDArray) -> NDArray:
    (ph, pw), (sh, sw) = node.padding, node.stride
    weight = node.effective_weight
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (3, 4))[:, :, :, ::sh, ::sw]
    return np.einsum("ntihwab,oiab->ntohw", windows, weight, optimize=True)


def _sums(node: Pool, x: NDArray) -> NDArray:
    kernel, (sh, sw), (ph, pw) = node.window
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (ph, ph), (pw, pw)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (3, 4))[:, :, :, ::sh, ::sw]
    return windows.sum((-2, -1))


def run_lif(node: Lif, current: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return spikes and membranes of LIF neurons driven by ``current [N, T, C, H, W]``, from rest."""
    theta = node.threshold.reshape(-1, 1, 1)
    u = np.zeros_like(current[:, 0])
    s = np.zeros_like(u)
    spikes, membranes = np.empty_like(current), np.empty_like(current)
    for t in range(current.shape[1]):
        leak = node.alpha * u
        if node.reset_delay == 1 and node.reset == "zero":
            leak = np.where(s > 0, 0.0, leak)
        u = leak + current[:, t]
        if node.reset_delay == 1 and node.reset == "subtract":
            u = u - theta * s
        s = (u >= theta if node.spike_test == ">=" else u > theta).astype(np.float64)
        if node.reset_delay == 0 and node.reset == "subtract":
            u = u - theta * s
        if node.reset_delay == 0 and node.reset == "zero":
            u = np.where(s > 0, 0.0, u)
        spikes[:, t], membranes[:, t] = s, u
    return spikes, membranes


def _read_out(node: Readout, s: NDArray) -> NDArray:
    mean = s.mean(1)
    if node.pool == "none":
        pooled = mean.reshape(len(mean), -1)
    else:
        pooled = mean.mean((2, 3)) if node.pool == "average" else mean.sum((2, 3))
    return node.gain * (pooled @ node.effective_weight.T) + node.bias
