"""The order of a NIR graph: layers of neurons from the input to the output, each behind those that it hears, and the skips that lead past some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sastdeploy.errors import CompileError
from sastdeploy.exchange.nir.loops import SPIKING, Edge, cycle_refused, taken_out
from sastdeploy.exchange.nir.read import NirFile

_ENDS = ("Input", "Output")
_NEURONS = (*SPIKING, "Threshold", "I", "LI", "CubaLI")
MAX_PATHS = 64
"""That lead to one node."""
_Path = tuple[str, Any]
"""A node and the path that leads to it, None before its source: a list whose beginnings are shared."""


@dataclass(frozen=True)
class Skip:
    """What leads to neurons beside the layer before them: source: other neurons, None is the input. nodes: those between, in order."""

    source: str | None
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """The nodes of a graph.

    Args:
        names: from the input to the output, both left out: each layer of neurons behind what leads to it from the layer before, or
            from its source. A node that leads to several layers stands there for each.
        shape: of the input, as the file says it.
        sources: of layers that do not hear the one before: the latest layer that they hear, None the input.
        skips: by the name of the neurons, or of the output, that they lead to. output: its name. loops: nodes that lead from neurons back to themselves, by their name.
    """

    names: list[str]
    shape: Any
    output: str
    sources: dict[str, str | None] = field(default_factory=dict)
    skips: dict[str, list[Skip]] = field(default_factory=dict)
    loops: dict[str, list[str]] = field(default_factory=dict)


def order_of(content: NirFile) -> Order:
    """Return the order of a file's nodes.

    Raises:
        CompileError: they have none that engines compute; every place where they have not.
    """
    nodes = content.nodes
    ends = [
        [name for name, node in nodes.items() if node["type"] == kind and not node["inner"]] for kind in _ENDS
    ]
    reasons = [
        f"the graph has {len(names)} nodes of kind {kind}, not one."
        for kind, names in zip(_ENDS, ends)
        if len(names) != 1
    ]
    edges, loops = taken_out(nodes, list(dict.fromkeys(content.edges)))
    reasons += cycle_refused(nodes, edges)
    reasons += [
        f"an edge names '{end}', which is no node." for edge in edges for end in edge if end not in nodes
    ]
    if reasons:
        raise CompileError(*reasons)
    (start,), (end,) = ends
    apart = [each for back in loops.values() for each in back]
    edges = _between(nodes, edges, start, end, apart)
    paths = _paths(content, edges, start, end)
    paths, order = _layers(paths, start, end)
    names: list[str] = []
    sources: dict[str, str | None] = {}
    skips: dict[str, list[Skip]] = {}
    places = {name: place for place, name in enumerate((start, *order))}
    for before, name in zip((start, *order), (*order, end)):
        whole = [(path[0], path[1:]) for path in paths[name]]
        # The first with a delay, which no skip has; else from the layer before or, where it hears none from there, from the latest;
        # of several the longest, which has weights.
        main = min(whole, key=lambda path: (name == end or not _delays(content, path[1]), -places[path[0]]))
        if main[0] != before:
            sources[name] = None if main[0] == start else main[0]
        whole.remove(main)
        names += [*main[1], name]
        if whole:
            skips[name] = [
                Skip(None if source == start else source, _inner(content, between))
                for source, between in whole
            ]
    loops = {name: back for name, back in loops.items() if name in names}
    declared = nodes[start].get("shape", nodes[start].get("input_type"))
    return Order([*_inner(content, names)], declared, end, sources, skips, loops)


def _delays(content: NirFile, names: Sequence[str]) -> bool:
    return any(content.nodes[name]["type"] == "Delay" for name in names)


def _inner(content: NirFile, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without those where nested graphs begin and end."""
    return tuple(name for name in names if content.nodes[name]["type"] not in _ENDS)


def _between(
    names: Iterable[str], edges: Sequence[Edge], start: str, end: str, apart: Iterable[str]
) -> list[Edge]:
    """Return the edges behind the input, all of which lead to the output.

    apart: nodes of loops, whose edges are taken out.

    Raises:
        CompileError: some do not, the output hears from nodes that the input does not reach, or a node has no edges.
    """
    forward, backward = _reached(edges, start), _reached([(b, a) for a, b in edges], end)
    leading = {source for source, _ in edges}
    reasons = [
        f"{name}: leads nowhere; the output '{end}' is not reached."
        for name in forward
        if name not in leading and name != end
    ]
    hearing = {target for _, target in edges}
    reasons += [
        f"{name}: nothing leads to it from the input '{start}'."
        for name in backward
        if name not in forward and name not in hearing and end in forward
    ]
    known = {*forward, *backward, *apart}
    reasons += [f"{name}: no edge connects it to the network." for name in names if name not in known]
    if reasons:
        raise CompileError(*reasons)
    return [(a, b) for a, b in edges if a in forward]


def _reached(edges: Sequence[Edge], start: str) -> dict[str, None]:
    """Return the nodes that edges lead to from a node, itself the first."""
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
    reached, waiting = {start: None}, [start]
    while waiting:
        for target in targets.get(waiting.pop(), ()):
            if target not in reached:
                reached[target] = None
                waiting.append(target)
    return reached


def _paths(content: NirFile, edges: Sequence[Edge], start: str, end: str) -> dict[str, list[tuple[str, ...]]]:
    """Return the paths that lead to every layer of neurons, and to the output: its source, a layer or the input, and the nodes after it.

    Layers come in an order in which each stands behind its sources.

    Raises:
        CompileError: more than `MAX_PATHS` lead to a node.
    """
    arriving: dict[str, list[_Path]] = {start: []}
    paths: dict[str, list[tuple[str, ...]]] = {}
    targets: dict[str, list[str]] = {}
    left: dict[str, int] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
        left[target] = left.get(target, 0) + 1
    free = [start]
    while free:
        name = free.pop()
        own = arriving.pop(name)
        if name == end or content.nodes[name]["type"] in _NEURONS:
            paths[name] = [tuple(_unrolled(path))[::-1] for path in own]
        if name == start or name in paths:
            own = [(name, None)]
        else:
            own = [(name, path) for path in own]
        for target in targets.get(name, ()):
            arriving.setdefault(target, []).extend(own)
            if len(arriving[target]) > MAX_PATHS:
                raise CompileError(
                    f"{target}: more than {MAX_PATHS} paths lead to it from layers of neurons; each is a sum of its own. Add up the "
                    "weights of paths from the same layer."
                )
            left[target] -= 1
            if left[target] == 0:
                free.append(target)
    return paths


def _unrolled(path: _Path | None) -> Iterator[str]:
    """Yield a path's nodes, from its end to its source."""
    while path is not None:
        name, path = path
        yield name


def _layers(
    paths: dict[str, list[tuple[str, ...]]], start: str, end: str
) -> tuple[dict[str, list[tuple[str, ...]]], list[str]]:
    """Return the paths, from the first source to the last, longer ones first, and the layers one after another: each behind those that it hears."""
    depth = {start: 0}
    for name, own in paths.items():
        depth[name] = 1 + max(depth[path[0]] for path in own)
    paths = {
        name: sorted(own, key=lambda path: (depth[path[0]], -len(path), path)) for name, own in paths.items()
    }
    layers = sorted((name for name in paths if name != end), key=lambda name: (depth[name], name))
    return paths, layers
