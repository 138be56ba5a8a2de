"""Fold the divisors of frames and averages into the gain of the next weighted sum, so that integers flow."""

from __future__ import annotations

from dataclasses import replace

from sastdeploy.compiler.ir.graph import Graph, shapes
from sastdeploy.compiler.ir.nodes import AvgPool, Input, Node, Readout, SumPool, Synapses
from sastdeploy.compiler.profiles import HardwareProfile


def fold_scales(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return a graph of the same meaning in which the input is the count itself and every pool is a sum.

    ``1 / d`` of the frames, ``1 / k^2`` of a mean over a window and ``1 / (H W)`` of a global mean become gains.
    """
    pending = 1.0
    before = (1, 1, 1)
    nodes: list[Node] = []
    for node, shape in zip(graph.nodes, shapes(graph)):
        if isinstance(node, Input):
            pending, node = 1.0 / node.divisor, replace(node, divisor=1.0)
        elif isinstance(node, AvgPool):
            pending, node = pending / node.size, SumPool(node.name, node.kernel, node.stride, node.padding)
        elif isinstance(node, Synapses):
            if isinstance(node, Readout) and node.pool == "average":
                pending, node = pending / (before[1] * before[2]), replace(node, pool="sum")
            pending, node = 1.0, replace(node, gain=node.gain * pending)
        nodes.append(node)
        before = shape
    return graph.replace(tuple(nodes))
