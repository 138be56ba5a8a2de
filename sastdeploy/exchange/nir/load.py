"""from_nir: a NIR file as a network that `compile` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files.reading import brief, shown
from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.errors import CompileError, InputError
from sastdeploy.exchange.dialects import DIALECTS, Dialect, dialect
from sastdeploy.exchange.framing import Framing, network_of
from sastdeploy.exchange.nir.loops import cycle_refused, recurrent, taken_out
from sastdeploy.exchange.nir.parts import part_of
from sastdeploy.exchange.nir.read import OWN_KEY, NirFile, read_nir
from sastdeploy.exchange.parts import Convolution, Linear, Part
from sastdeploy.exchange.recognition import recognised
from sastdeploy.program.records import RESETS, SPIKE_TESTS
from sastdeploy.provenance import versions


def from_nir(
    path: Path | str,
    *,
    dialect: str | None = None,
    dt: float | None = None,
    reset: str | None = None,
    reset_delay: int | None = None,
    spikes_per_step: str | None = None,
    gain: str | None = None,
    readout: str | None = None,
    framing: Framing | None = None,
) -> ImportedNetwork:
    """Return the network of a NIR file, with the meaning that its framework gives it.

    Args:
        path: of the NIR file.
        dialect: ``snntorch``, ``spikingjelly``, ``norse``, ``sinabs``, ``rockpool``, ``lava`` or ``nir``; by default the
            one that the file shows, where it leaves no doubt.
        dt: seconds of a step, of all neurons. reset, reset_delay, spikes_per_step, gain: where a network was not built
            with its framework's defaults (`sastdeploy.exchange.dialects.Dialect`).
        readout: of a network that ends in neurons without spikes (I, LI, CubaLI): ``last``, by default, their membranes at
            the last step are the scores; or ``max``, the largest of each over time.
        framing: data set, time bins, clip, classes; by default counts as they are, in 10 bins.

    Raises:
        InputError: the file cannot be read, or does not say which dialect it is.
        CompileError: it holds what no engine computes: every reason, each with the node's name.

    Example::

        network = from_nir("trained.nir", dialect="snntorch")
        program = compile(network, "loihi_int8", neuron="profile").program
    """
    if readout not in (None, "last", "max"):
        raise InputError(f"readout '{readout}': unknown. Allowed: last, max.")
    content = read_nir(path)
    rules = _rules(content, str(shown(path)), dialect, dt, {
        "reset": reset, "reset_delay": reset_delay, "spikes_per_step": spikes_per_step, "gain": gain,
    })  # fmt: skip
    try:
        names, inputs, loops = _order(content)
        parts = [part_of(name, content.nodes[name], rules) for name in names]
        for name, back in loops.items():
            own = [part_of(each, content.nodes[each], rules) for each in back]
            place = names.index(name)
            parts[place] = recurrent(parts[place], own, rules)
        shape = _input_shape(inputs, parts)
        network = network_of(Path(path).stem, parts, shape, framing or Framing(), readout)
    except CompileError as error:
        raise CompileError(*(f"{shown(path)}: {reason}" for reason in error.reasons)) from error
    semantics = {"dialect": rules.to_dict(), **network.semantics}
    provenance = {"format": "NIR", "nir_version": content.version, "versions": versions("numpy", "h5py")}
    return ImportedNetwork(
        network.graph, network.preprocessing, network.classes, network.dataset, semantics, provenance
    )


def _rules(
    content: NirFile, where: str, name: str | None, dt: float | None, changes: dict[str, Any]
) -> Dialect:
    if content.own and name in (None, OWN_KEY):
        name, changes = (
            OWN_KEY,
            {**_stated(content.own, where), **{k: v for k, v in changes.items() if v is not None}},
        )
    name = name or recognised(content.nodes)
    if name is None:
        raise InputError(
            f"{where}: does not say which framework wrote it, and a NIR file holds neither spike test nor reset nor dt. Name its "
            f"dialect (--dialect): {', '.join(DIALECTS)}."
        )
    if dt is not None and not 1e-12 <= dt <= 1e6:
        raise InputError(
            f"dt {dt}: outside 1e-12 to 1e+06 seconds. Give the dt that the network was trained with."
        )
    return dialect(name, dt=dt, dt_if=dt, **changes)


def _stated(own: dict[str, Any], where: str) -> dict[str, Any]:
    """Return spike test, reset and its delay as a file of our own says them."""
    allowed: dict[str, tuple[Any, ...]] = {
        "spike_test": SPIKE_TESTS,
        "reset": RESETS,
        "reset_delay": (0, 1),
    }
    for key, values in allowed.items():
        value = own.get(key)
        if type(value) is not type(values[0]) or value not in values:
            raise InputError(
                f"{where}: its metadata say {key} = {brief(value)}. Allowed: {', '.join(map(str, values))}. Write it again with "
                "'sastdeploy export --to nir', or name its dialect (--dialect)."
            )
    return {key: own[key] for key in allowed}


def _order(content: NirFile) -> tuple[list[str], Any, dict[str, list[str]]]:
    """Return the names of the nodes from the input to the output, both left out, the input's shape, and the loops beside them.

    A loop is what leads from a layer of neurons back to itself, by the name of that layer.

    Raises:
        CompileError: the nodes are no chain, but for such loops; every place where they are not.
    """
    nodes = content.nodes
    ends = [
        [name for name, node in nodes.items() if node["type"] == kind and not node["inner"]]
        for kind in ("Input", "Output")
    ]
    reasons = [
        f"the graph has {len(names)} nodes of kind {kind}, not one."
        for kind, names in zip(("Input", "Output"), ends)
        if len(names) != 1
    ]
    targets: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    edges, loops = taken_out(nodes, list(dict.fromkeys(content.edges)))
    reasons += cycle_refused(nodes, edges)
    for source, target in edges:
        for end in (source, target):
            if end not in nodes:
                reasons.append(f"an edge names '{end}', which is no node.")
        targets.setdefault(source, []).append(target)
        sources.setdefault(target, []).append(source)
    for what, neighbours in (("branches to", targets), ("sums", sources)):
        reasons += [
            f"{name}: {what} {', '.join(others)}; engines compute chains, one source and one target a node, so far."
            for name, others in neighbours.items()
            if len(others) > 1
        ]
    if reasons:
        raise CompileError(*reasons)
    order: list[str] = []
    name = ends[0][0]
    while name != ends[1][0]:
        if name not in targets:
            raise CompileError(f"{name}: leads nowhere; the output '{ends[1][0]}' is not reached.")
        order.append(name)
        (name,) = targets[name]
    inner = [name for name in order if nodes[name]["type"] not in ("Input", "Output")]
    declared = nodes[ends[0][0]].get("shape", nodes[ends[0][0]].get("input_type"))
    return inner, declared, {name: back for name, back in loops.items() if name in inner}


def _input_shape(declared: Any, parts: list[Part]) -> tuple[int, ...]:
    """Return the shape of one step's input without the batch: ``(N,)``, ``(C, L)`` or ``(C, H, W)``."""
    shape = [int(size) for size in np.asarray(declared).reshape(-1)] if declared is not None else []
    first = next((part for part in parts if isinstance(part, (Linear, Convolution))), None)
    if isinstance(first, Convolution):
        axes = (
            2
            if first.weight.shape[2] == 1
            and len(shape) in (2, 3)
            and shape[-2:-1] == [first.weight.shape[1] * first.groups]
            else 3
        )
        shape = shape[-axes:]
    elif isinstance(first, Linear) and first.weight.ndim == 2:
        sources = first.weight.shape[1]
        while len(shape) > 1 and int(np.prod(shape)) != sources and int(np.prod(shape[1:])) >= sources:
            shape = shape[1:]
        if len(shape) > 3 and shape[0] == 1:
            shape = shape[1:]
        if int(np.prod(shape or [0])) != sources and parts[0] is first:
            shape = [sources]
    if not shape or min(shape) < 1 or len(shape) > 3:
        raise CompileError(
            f"the input's shape {shape or 'is missing'}: needs one to three axes beside the batch."
        )
    return tuple(shape)
