"""The graph's meaning, computed in float64: slow, plain, and the judge of every pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph, stages


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
    by_neurons = {stage.lif.name: stage for stage in stages(graph) if stage.lif is not None}
    by_weights = {stage.node.name: stage.node for stage in stages(graph)}
    sources = {each.name for node in by_weights.values() for each in node.further}
    sources |= {node.source for node in graph.nodes if node.source is not None}
    sent: dict[str, NDArray[Any]] = {}
    for node in graph.nodes:
        x = x if node.source is None else sent[node.source]
        stage = by_neurons.get(node.name)
        if stage is None or stage.lif is None:
            x, u = node.meaning(x)
            if node.name in by_weights:
                x = x + by_weights[node.name].further_currents(sent)
        else:
            x, u = stage.lif.meaning(x, stage.node.feedback)
        if node.name in sources:
            sent[node.name] = x
        if u is not None:
            spikes.append(x)
            membranes.append(u)
    return GraphOutputs(x, tuple(spikes), tuple(membranes))
