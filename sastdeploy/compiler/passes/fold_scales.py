"""Fold the divisors of frames and averages into the gain of the next weighted sum, so that integers flow."""

from __future__ import annotations

from sastdeploy.compiler.ir.graph import Graph, shapes
from sastdeploy.compiler.ir.nodes import Node, Synapses
from sastdeploy.compiler.profiles import HardwareProfile


def fold_scales(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return a graph of the same meaning in which the input is the count itself and every pool is a sum.

    ``1 / d`` of the frames, ``1 / k^2`` of a mean over a window and ``1 / (H W)`` of a global mean become gains.
    """
    unit, before, units = 1.0, (1, 1, 1), dict[str, float]()
    nodes: list[Node] = []
    for node, shape in zip(graph.nodes, shapes(graph)):
        folded, unit = node.folded(unit, before)
        nodes.append(folded)
        units[node.name] = unit
        before = shape
    return graph.replace(tuple(nodes)).map({Synapses: lambda node: node.with_folded_further(units)})
