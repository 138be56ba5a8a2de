"""The graph's meaning, computed in float64: slow, plain, and the judge of every pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import Lif


@dataclass(frozen=True)
class GraphOutputs:
    """Scores ``[N, K]``; per LIF node, in order, spikes and membranes ``[N, T, C, H, W]``."""

    scores: NDArray[np.float64]
    spikes: tuple[NDArray[np.float64], ...]
    membranes: tuple[NDArray[np.float64], ...]


def interpret(graph: Graph, counts: NDArray[np.integer]) -> GraphOutputs:
    """Return what the graph answers to event counts ``[N, T, P, H, W]``, with hard spikes."""
    x: NDArray[Any] = counts
    spikes, membranes = [], []
    for node in graph.nodes:
        if isinstance(node, Lif):
            x, u = run_lif(node, x)
            spikes.append(x)
            membranes.append(u)
        else:
            x = node.meaning(x)
    return GraphOutputs(x, tuple(spikes), tuple(membranes))


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
