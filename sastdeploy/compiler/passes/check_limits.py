"""Check the hardware's stated limits."""

from __future__ import annotations

from math import prod

from sastdeploy.compiler.ir.graph import Graph, stages
from sastdeploy.compiler.ir.nodes import Synapses
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError


def check_limits(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph unchanged where neurons, fan-in, fan-out and weight memory stay within the profile's limits.

    Fan-out is checked for the input's sources too. A pool adds spikes on their way and changes no neuron's fan-out.

    Raises:
        CompileError: all reasons, each naming the layer, its figure and the limit.
    """
    neurons = memory = 0
    reasons: list[str] = []
    source = graph.input.name
    for stage in stages(graph):
        node = stage.node
        neurons += 0 if stage.lif is None else prod(stage.after)
        memory += weight_bytes(node, profile.weight_bits)
        reasons += _exceeded(node.name, "sources per neuron", node.fan_in, profile, "fan_in")
        targets = node.fan_out(stage.before)
        reasons += _exceeded(f"{source}, into {node.name}", "targets per source", targets, profile, "fan_out")
        source = node.name
    reasons += _exceeded(graph.name, "neurons in all", neurons, profile, "neurons")
    reasons += _exceeded(graph.name, "bytes of packed weights in all", memory, profile, "memory_bytes")
    if reasons:
        raise CompileError(*reasons)
    return graph


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
