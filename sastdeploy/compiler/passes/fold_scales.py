"""Fold the divisors of frames and averages into the gain of the next weighted sum, so that integers flow."""

from __future__ import annotations

from sastdeploy.compiler.ir.graph import Graph, heard, shapes
from sastdeploy.compiler.ir.nodes import Node, Synapses
from sastdeploy.compiler.profiles import HardwareProfile


def fold_scales(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return a graph of the same meaning in which the input is the count itself and every pool is a sum.

    ``1 / d`` of the frames, ``1 / k^2`` of a mean over a window and ``1 / (H W)`` of a global mean become gains.
    """
    units, sent = {"": 1.0}, {"": (1, 1, 1)}
    nodes: list[Node] = []
    for node, own, shape in zip(graph.nodes, heard(graph), shapes(graph)):
        folded, units[node.name] = node.folded(units[own], sent[own])
        nodes.append(folded)
        sent[node.name] = shape
    return graph.replace(tuple(nodes)).map({Synapses: lambda node: node.with_folded_further(units)})
