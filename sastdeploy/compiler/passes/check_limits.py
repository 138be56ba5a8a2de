"""Check the hardware's stated limits."""

from __future__ import annotations

import numpy as np

from sastdeploy.compiler.ir.graph import Graph, shapes
from sastdeploy.compiler.ir.nodes import Conv2d, Lif, Shape, Synapses
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.windows import windows_over


def check_limits(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph unchanged where neurons, fan-in, fan-out and weight memory stay within the profile's limits.

    Fan-out is checked for the input's sources too. A pool adds spikes on their way and changes no neuron's fan-out.

    Raises:
        CompileError: all reasons, each naming the layer, its figure and the limit.
    """
    neurons = memory = 0
    reasons: list[str] = []
    source, before = "input", (0, 0, 0)
    for node, shape in zip(graph.nodes, shapes(graph)):
        if isinstance(node, Lif):
            neurons += int(np.prod(shape))
        if isinstance(node, Synapses):
            memory += weight_bytes(node, profile.weight_bits)
            targets = fan_out(node, before)
            reasons += _exceeded(node.name, "sources per neuron", fan_in(node), profile, "fan_in")
            reasons += _exceeded(
                f"{source}, into {node.name}", "targets per source", targets, profile, "fan_out"
            )
            source = node.name
        before = shape
    reasons += _exceeded(graph.name, "neurons in all", neurons, profile, "neurons")
    reasons += _exceeded(graph.name, "bytes of packed weights in all", memory, profile, "memory_bytes")
    if reasons:
        raise CompileError(*reasons)
    return graph


def fan_in(node: Synapses) -> int:
    """Return the most sources that one neuron of a layer sums."""
    return int(np.prod(node.weight.shape[1:]))


def fan_out(node: Synapses, before: Shape) -> int:
    """Return the most accumulations that one source triggers in a layer whose input is ``before``, borders considered."""
    channels = len(node.weight)
    if not isinstance(node, Conv2d):
        return channels
    window = zip(before[1:], node.weight.shape[2:], node.stride, node.padding)
    rows, columns = (int(windows_over(*axis).max()) for axis in window)
    return channels * rows * columns


def weight_bytes(node: Synapses, bits: int) -> int:
    """Return the bytes of a layer's weights, packed, rounded up to whole bytes."""
    return -(-int(node.weight.size) * bits // 8)


def _exceeded(where: str, what: str, figure: int, profile: HardwareProfile, key: str) -> list[str]:
    """Return the reason why a figure is refused, or nothing where it stays within the profile's limit."""
    limit = profile.limits[key]
    if limit is None or figure <= limit:
        return []
    return [
        f"{where}: {figure:,} {what}; {profile.name} allows {limit:,} (limits.{key}). Use a smaller network, or a "
        f"profile of a larger chip."
    ]
