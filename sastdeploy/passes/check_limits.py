"""Hold the network against the profile's stated limits."""

from __future__ import annotations

import numpy as np

from sastdeploy.errors import CompileError
from sastdeploy.hardware import HardwareProfile
from sastdeploy.ir.graph import Graph, shapes
from sastdeploy.ir.nodes import Conv2d, Lif, Synapses


def check_limits(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph unchanged where neurons, fan-in, fan-out and weight memory stay within the profile's limits.

    Fan-out of a convolution's source is at most ``channels * ceil(kernel / stride)^2``.

    Raises:
        CompileError: naming the layer, its figure and the limit.
    """
    neurons = memory = 0
    previous = "input"
    for node, shape in zip(graph.nodes, shapes(graph)):
        if isinstance(node, Lif):
            neurons += int(np.prod(shape))
        if not isinstance(node, Synapses):
            continue
        memory += -(-node.weight.size * profile.weight_bits // 8)
        _hold(node.name, "fan-in of a neuron", int(np.prod(node.weight.shape[1:])), profile, "fan_in")
        fan_out = len(node.weight)
        if isinstance(node, Conv2d):
            fan_out *= int(np.prod([-(-k // s) for k, s in zip(node.weight.shape[2:], node.stride)]))
        _hold(previous, f"fan-out of a neuron into {node.name}", fan_out, profile, "fan_out")
        previous = node.name
    _hold(graph.name, "neurons in all", neurons, profile, "neurons")
    _hold(graph.name, "bytes of weight memory", memory, profile, "memory_bytes")
    return graph


def _hold(where: str, what: str, found: int, profile: HardwareProfile, key: str) -> None:
    limit = profile.limits[key]
    if limit is not None and found > limit:
        raise CompileError(
            f"{where}: {found:,} {what}; {profile.name} allows {limit:,} (limits.{key}). Use a smaller network, or a "
            f"profile of a larger chip."
        )
