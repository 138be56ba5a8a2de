"""from_nir: a NIR file as a network that `compile` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files.reading import brief, shown
from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.errors import CompileError, InputError, short
from sastdeploy.exchange.dialects import DIALECTS, NEURON, Dialect, dialect
from sastdeploy.exchange.framing import Framing, network_of
from sastdeploy.exchange.nir.loops import recurrent
from sastdeploy.exchange.nir.order import Order, Skip, order_of
from sastdeploy.exchange.nir.parts import part_of
from sastdeploy.exchange.nir.read import OWN_KEY, NirFile, read_nir
from sastdeploy.exchange.onnx_weights import read_trained_weights, with_trained_weights
from sastdeploy.exchange.parts import (
    Branch,
    Convolution,
    Ending,
    Hearing,
    Integrators,
    Linear,
    Neurons,
    Part,
    whole_numbers,
)
from sastdeploy.exchange.recognition import recognised
from sastdeploy.program.limits import MAX_SPIKES, is_int, is_one_of
from sastdeploy.provenance import versions


def from_nir(
    path: Path | str,
    *,
    dialect: str | None = None,
    dt: float | None = None,
    reset: str | None = None,
    reset_delay: int | None = None,
    spikes_per_step: str | int | None = None,
    gain: str | None = None,
    floor: float | None = None,
    readout: str | None = None,
    weights: Path | str | None = None,
    framing: Framing | None = None,
) -> ImportedNetwork:
    """Return the network of a NIR file, with the meaning that its framework gives it.

    Args:
        path: of the NIR file.
        dialect: ``snntorch``, ``spikingjelly``, ``norse``, ``sinabs``, ``rockpool``, ``lava`` or ``nir``; by default the
            one that the file shows, where it leaves no doubt.
        dt: seconds of a step, of all neurons. reset, reset_delay, spikes_per_step, gain: where a network was not built
            with its framework's defaults (`sastdeploy.exchange.dialects.Dialect`).
        floor: the lowest value, after the reset, of all membranes that spike, in the file's unit: sinabs' ``min_v_mem``, which no file holds.
        readout: of a network that ends in neurons without spikes (I, LI, CubaLI): ``last``, by default, their membranes at
            the last step are the scores; or ``max``, the largest of each over time.
        weights: an ONNX file of the same network, QONNX or QCDQ as brevitas exports them: its integers and scales take the
            place of the weights that feed each layer, in order.
        framing: data set, time bins, clip, classes; by default counts as they are, in 10 bins.

    Raises:
        InputError: a file cannot be read, or does not say which dialect it is; or ``floor`` where no neurons can have one.
        CompileError: it holds what no engine computes: every reason, each with the node's name. Or ``weights`` are of
            another network.

    Example::

        network = from_nir("trained.nir", dialect="snntorch")
        program = compile(network, "loihi_int8", neuron="profile").program
    """
    if readout not in (None, "last", "max"):
        raise InputError(f"readout '{readout}': unknown. Allowed: last, max.")
    content = read_nir(path)
    rules = _rules(content, str(shown(path)), dialect, dt, {
        "reset": reset, "reset_delay": reset_delay, "spikes_per_step": spikes_per_step, "gain": gain, "floor": floor,
    })  # fmt: skip
    try:
        order = order_of(content)
        parts = _parts(content, order, rules)
        if weights is not None:
            parts = with_trained_weights(parts, read_trained_weights(weights), str(shown(weights)))
        shape = _input_shape(order.shape, parts, content)
        network = network_of(Path(path).stem, parts, shape, framing or Framing(), readout)
        if floor is not None and all(getattr(part, "floor", None) is None for part in parts):
            raise InputError(f"{shown(path)}: floor {floor:g}: no neurons here can have one. Leave it out.")
        _check_output(order.output, content.nodes[order.output].get("shape"), len(network.classes))
    except CompileError as error:
        raise CompileError(*(f"{shown(path)}: {reason}" for reason in error.reasons)) from error
    except InputError as error:
        if not str(error).startswith("graph: "):
            raise
        raise InputError(f"{shown(path)}: {str(error).removeprefix('graph: ')}") from error
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
    elif name == OWN_KEY:
        raise InputError(
            f"{where}: its metadata do not say that 'sastdeploy export --to nir' wrote it. Name the dialect of the framework that did "
            f"(--dialect): {', '.join(each for each in DIALECTS if each != OWN_KEY)}."
        )
    name = name or recognised(content.nodes)
    if name is None:
        raise InputError(
            f"{where}: does not say which framework wrote it, and a NIR file holds neither spike test nor reset nor dt. Name its "
            f"dialect (--dialect): {', '.join(DIALECTS)}."
        )
    if dt is not None and not 1e-12 <= dt <= 1e6:
        raise InputError(
            f"dt {short(dt)}: outside 1e-12 to 1e+06 seconds. Give the dt that the network was trained with."
        )
    return dialect(name, dt=dt, dt_if=dt, **changes)


def _stated(own: dict[str, Any], where: str) -> dict[str, Any]:
    """Return spike test, reset, its delay and the spikes of a step as a file of our own says them."""
    for key, values in NEURON.items():
        value = own.get(key)
        if not is_one_of(value, values):
            raise InputError(
                f"{where}: its metadata say {key} = {brief(value)}. Allowed: {', '.join(map(str, values))}. Write it again with "
                "'sastdeploy export --to nir', or name its dialect (--dialect)."
            )
    spikes = own.get("spikes_per_step", 1)
    if not is_int(spikes, 1, MAX_SPIKES):
        raise InputError(
            f"{where}: its metadata say spikes_per_step = {brief(spikes)}. Allowed: 1 to {MAX_SPIKES}. Write it again with "
            "'sastdeploy export --to nir', or name its dialect (--dialect)."
        )
    return {**{key: own[key] for key in NEURON}, **({"spikes_per_step": spikes} if spikes > 1 else {})}


def _parts(content: NirFile, order: Order, rules: Dialect) -> list[Part]:
    """Return the parts in their order, neurons with what comes back to them and what skips lead to them."""
    made = {name: part_of(name, content.nodes[name], rules) for name in order.names}
    for name, back in order.loops.items():
        made[name] = recurrent(
            made[name], [part_of(each, content.nodes[each], rules) for each in back], rules
        )
    parts: list[Part] = []
    way: list[Part] = []
    for name in order.names:
        part = made[name]
        if isinstance(part, (Neurons, Integrators)):
            heard = [Hearing(name, order.sources[name])] if name in order.sources else []
            skips = _branches(content, order.skips.get(name, ()), way, rules)
            parts += [*heard, *way, replace(part, branches=skips)]
            way = []
        else:
            way.append(part)
    skips = _branches(content, order.skips.get(order.output, ()), way, rules)
    return [*parts, *way, *([Ending(order.output, skips)] if skips else [])]


def _branches(
    content: NirFile, skips: Sequence[Skip], way: Sequence[Part], rules: Dialect
) -> tuple[Branch, ...]:
    """Return what leads to neurons, or to the output, beside ``way``.

    A bias behind a sum acts once on each way there, however many sources are summed.
    """
    ways: dict[str, Any] = {}
    _known([each.name for each in way], ways)
    branches: list[Branch] = []
    for skip in skips:
        between = [part_of(each, content.nodes[each], rules) for each in skip.nodes]
        known = _known(skip.nodes, ways)
        branches.append(Branch(skip.source, tuple(map(_without_bias, between, known))))
    return tuple(branches)


def _known(nodes: Sequence[str], ways: dict[str, Any]) -> list[bool]:
    """Return for every node of a path whether the rest of the path from it on was there before; and keep the path.

    ways: the nodes that end paths, each with those before it, and so on.
    """
    known = []
    for name in reversed(nodes):
        known.append(name in ways)
        ways = ways.setdefault(name, {})
    return known[::-1]


def _without_bias(part: Part, known: bool) -> Part:
    return replace(part, bias=None) if known and isinstance(part, (Linear, Convolution)) else part


def _check_output(name: str, declared: Any, outputs: int) -> None:
    """Refuse an output whose stated shape, batch and time left out, has another number of values.

    Raises:
        CompileError: it has.
    """
    try:
        shape = whole_numbers(declared) if declared is not None else []
    except (ValueError, TypeError) as error:
        raise CompileError(f"{name}: the output's shape {short(declared)} {error}.") from error
    if shape and all(prod(shape[axis:]) != outputs for axis in range(len(shape))):
        raise CompileError(f"{name}: the output's shape {shape}: the network has {outputs:,} outputs.")


def _input_shape(declared: Any, parts: list[Part], content: NirFile) -> tuple[int, ...]:
    """Return the shape of one step's input without the batch: ``(N,)``, ``(C, L)`` or ``(C, H, W)``."""
    try:
        shape = whole_numbers(declared) if declared is not None else []
    except (ValueError, TypeError) as error:
        raise CompileError(f"the input's shape {short(declared)} {error}.") from error
    first = next((part for part in parts if isinstance(part, (Linear, Convolution))), None)
    if isinstance(first, Convolution) and first.weight.ndim == 4:
        axes = (
            2
            if content.nodes[first.name]["type"] == "Conv1d"
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
        if not shape and parts[0] is first:
            shape = [sources]
        if int(np.prod(shape or [0])) != sources and parts[0] is first:
            raise CompileError(
                f"the input's shape {whole_numbers(declared)}: {first.name} takes {sources:,} values a step. Write the shape of one step."
            )
    if not shape or min(shape) < 1 or len(shape) > 3:
        raise CompileError(
            f"the input's shape {shape or 'is missing'}: needs one to three axes beside the batch."
        )
    return tuple(shape)
