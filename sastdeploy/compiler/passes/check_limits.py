"""Check the hardware's stated limits."""

from __future__ import annotations

from math import prod

from sastdeploy.compiler.ir.graph import Graph, stages
from sastdeploy.compiler.mapping import map_layers, weight_bytes
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError


def check_limits(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph unchanged where it stays within the profile's limits, and its layers fit onto the chip's cores.

    Fan-out is checked for the input's sources too, and counts the layer itself where it is recurrent. A pool adds spikes on their way and changes no neuron's fan-out.

    Raises:
        CompileError: all reasons, each naming the layer, its figure and the limit.
    """
    neurons = memory = 0
    reasons: list[str] = []
    name, targets = graph.input.name, _targets(graph)
    reasons += _exceeded(name, "inputs", prod(graph.input.shape), profile, "inputs")
    reasons += _exceeded(name, "events per input and step (c_clip)", graph.input.c_clip, profile, "count")
    for stage in stages(graph):
        node = stage.node
        neurons += 0 if stage.lif is None else prod(stage.after)
        memory += weight_bytes(node, profile.weight_bits)
        reasons += _exceeded(node.name, "sources per neuron", node.fan_in, profile, "fan_in")
        for source in dict.fromkeys(stage.heard):
            # Once each, where something first hears it.
            sent = targets.pop(source, [])
            where = f"{source}, into {' and '.join(name for name, _ in sent)}"
            figure = sum(each for _, each in sent)
            reasons += _exceeded(where, "targets per source", figure, profile, "fan_out")
        kernel = max(max(each.kernel(before)) for each, before in stage.inputs)
        reasons += _exceeded(node.name, "rows or columns of its kernel", kernel, profile, "kernel")
        reasons += _exceeded(node.name, "channels", stage.after[0], profile, "channels")
        name = node.name
    reasons += _exceeded(name, "outputs", len(stages(graph)[-1].node.weight), profile, "outputs")
    reasons += _exceeded(graph.name, "neurons in all", neurons, profile, "neurons")
    reasons += _exceeded(graph.name, "bytes of packed weights in all", memory, profile, "memory_bytes")
    reasons += map_layers(graph, profile).reasons
    if reasons:
        raise CompileError(*reasons)
    return graph


def _targets(graph: Graph) -> dict[str, list[tuple[str, int]]]:
    """Return for the input and every weighted layer which layers it sends to, and the most accumulations of one value there."""
    steps = stages(graph)
    targets: dict[str, list[tuple[str, int]]] = {
        graph.input.name: [],
        **{stage.node.name: [] for stage in steps},
    }
    for stage in steps:
        name = stage.node.name
        for source, (each, before) in zip(stage.heard, stage.inputs):
            targets[source].append((name, each.fan_out(before)))
    for stage in steps:
        if own := stage.node.own_fan_out:
            targets[stage.node.name].insert(1, (stage.node.name, own))
    return targets


def _exceeded(where: str, what: str, figure: int, profile: HardwareProfile, key: str) -> list[str]:
    """Return the reason why a figure is refused, or nothing where it stays within the profile's limit."""
    limit = profile.limits.get(key)
    if limit is None or figure <= limit:
        return []
    return [
        f"{where}: {figure:,} {what}; {profile.name} allows {limit:,} (limits.{key}). Use a smaller network, or a "
        f"profile of a larger chip."
    ]
