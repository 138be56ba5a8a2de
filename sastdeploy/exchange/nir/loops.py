"""Loops of a NIR graph: the spikes of one layer of neurons that come back to it, one step later; all others are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sastdeploy.exchange import parts as p
from sastdeploy.exchange.dialects import Dialect
from sastdeploy.exchange.leaks import refractory
from sastdeploy.exchange.parts import Part

Edge = tuple[str, str]
SPIKING = ("IF", "LIF", "CubaLIF")
BACK = ("Linear", "Affine", "Scale")
"""Kinds of nodes through which spikes can come back."""
_ENDS = ("Input", "Output")
_SHOWN = 12
"""Names of a loop in a message."""


def taken_out(
    nodes: Mapping[str, Mapping[str, Any]], edges: Sequence[Edge]
) -> tuple[list[Edge], dict[str, list[str]]]:
    """Return the edges without the loops of single layers, and for each such layer the nodes on its way back.

    A loop leads from neurons that spike through weights, or nothing, to the same neurons.
    """
    targets, sources = _neighbours(edges)
    removed: set[Edge] = set()
    loops: dict[str, list[str]] = {}
    for name, node in nodes.items():
        if node["type"] not in SPIKING:
            continue
        for first in targets.get(name, ()):
            loop, node_name = [name], first
            while node_name != name and nodes.get(node_name, {}).get("type") in (*BACK, *_ENDS):
                if (
                    len(targets.get(node_name, ())) != 1
                    or len(sources[node_name]) != 1
                    or len(loop) > len(nodes)
                ):
                    break
                loop.append(node_name)
                (node_name,) = targets[node_name]
            if node_name == name and name not in loops:
                removed |= set(zip(loop, (*loop[1:], name)))
                loops[name] = [node for node in loop[1:] if nodes[node]["type"] not in _ENDS]
    return [edge for edge in edges if edge not in removed], loops


def cycle_refused(nodes: Mapping[str, Mapping[str, Any]], edges: Sequence[Edge]) -> list[str]:
    """Return why a loop that is left is computed by no engine; nothing where none is left."""
    targets, _ = _neighbours(_on_cycles(edges))
    if not targets:
        return []
    loop: list[str] = []
    name = min(targets)
    while name not in loop:
        loop.append(name)
        name = targets[name][0]
    loop = loop[loop.index(name) :]
    neurons = [each for each in loop if nodes.get(each, {}).get("type") in SPIKING]
    path = " -> ".join((*(loop if len(loop) <= _SHOWN else (*loop[:_SHOWN], "...")), name))
    if not neurons:
        return [f"{name}: a loop without neurons that spike ({path}), which no engine computes."]
    if len(neurons) > 1:
        return [
            f"{name}: a loop through {len(neurons)} layers of neurons ({path}); engines compute spikes that come back to their own layer."
        ]
    return [
        f"{neurons[0]}: its spikes come back by {path}; engines compute one way back, through {', '.join(BACK)}, or none."
    ]


def recurrent(neurons: Part, back: Sequence[Part], rules: Dialect) -> Part:
    """Return neurons that hear their own spikes of the step before through ``back``, in order; or a `Refused`."""
    refused = [part for part in (neurons, *back) if isinstance(part, p.Refused)]
    if refused or not isinstance(neurons, p.Neurons):
        return refused[0] if refused else p.Refused(neurons.name, "recurrent, and no neurons that spike.")
    if rules.name == "snntorch":
        neurons = refractory(neurons)
    weight, bias = np.ones(1), np.zeros(1)
    try:
        for part in back:
            if isinstance(part, p.Linear):
                weight = part.weight @ weight if weight.ndim == 2 else part.weight * weight
                bias = part.weight @ np.broadcast_to(bias, part.weight.shape[1]) + (
                    0 if part.bias is None else part.bias
                )
            elif isinstance(part, p.Scale):
                factor = part.factor.reshape(-1)
                weight = weight * (factor.reshape(-1, 1) if weight.ndim == 2 else factor)
                bias = bias * factor
    except (ValueError, IndexError):
        return p.Refused(
            neurons.name,
            f"hears its spikes through shapes that do not fit: {', '.join(n.name for n in back)}.",
        )
    return replace(neurons, recurrent=p.Linear(neurons.name, weight, bias if bias.any() else None))


def _neighbours(edges: Sequence[Edge]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return targets of every source, and sources of every target."""
    targets: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
        sources.setdefault(target, []).append(source)
    return targets, sources


def _on_cycles(edges: Sequence[Edge]) -> list[Edge]:
    """Return the edges of cycles, and of ways from one cycle to another."""
    there = _behind_cycles(edges)
    back = _behind_cycles([(target, source) for source, target in edges])
    kept = there & back
    return [edge for edge in edges if edge[0] in kept and edge[1] in kept]


def _behind_cycles(edges: Sequence[Edge]) -> set[str]:
    """Return the nodes that lie on a cycle or behind one: those that remain where nodes without sources are taken away."""
    targets, sources = _neighbours(edges)
    waiting = {name: len(own) for name, own in sources.items()}
    free = [name for name in targets if name not in sources]
    while free:
        for target in targets.get(free.pop(), ()):
            waiting[target] -= 1
            if waiting[target] == 0:
                free.append(target)
    return {name for name, count in waiting.items() if count > 0}
