"""From the parts of somebody's network to the graph that `compile` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.nodes import (
    Input,
    Integrator,
    Lif,
    Recurrent,
    Shape,
    Synapses,
)
from sastdeploy.errors import CompileError
from sastdeploy.exchange import parts as p
from sastdeploy.exchange import sums
from sastdeploy.exchange.channels import (
    decay_of,
    neuron_values,
)
from sastdeploy.exchange.ending import UNHEARD, finish
from sastdeploy.exchange.growing import Chain
from sastdeploy.exchange.names import clean
from sastdeploy.exchange.parts import Part
from sastdeploy.exchange.pooled_weights import before_pool
from sastdeploy.exchange.recurrence import own_weights
from sastdeploy.program.layers.each import along_map, shortest
from sastdeploy.program.layers.start import STARTS
from sastdeploy.program.limits import by
from sastdeploy.windows import MAX_VALUES


def graph_of(name: str, start: Input, parts: Sequence[Part], reads: str | None = None) -> Graph:
    """Return the graph of parts in order of data flow.

    A factor folds into the weights beside it, two weighted layers without neurons between become one, neurons without
    weights get an identity. Where it ends in neurons, their spike counts are the scores; where it ends in integrators,
    their membranes as ``reads`` says, ``last`` (by default) or ``max``; where it ends in a weighted layer, that layer's mean
    over time.

    Raises:
        CompileError: what no engine computes, all reasons, each with the part's name.
    """
    between = [each for part in parts for branch in getattr(part, "branches", ()) for each in branch.parts]
    refused = [f"{part.name}: {part.reason}" for part in (*parts, *between) if isinstance(part, p.Refused)]
    if refused:
        raise CompileError(*dict.fromkeys(refused))
    chain = Chain(start, start.shape, [start], {})
    chain.senders[None] = start.name, start.shape
    reasons: list[str] = []
    for part in parts:
        try:
            if prod(chain.shape) > MAX_VALUES:
                raise chain.refuse(
                    part, f"takes {prod(chain.shape):,} values; at most {MAX_VALUES:,} are allowed."
                )
            _require_spikes(chain, part)
            _STEPS[type(part)](chain, part)
        except CompileError as error:
            reasons += error.reasons
        if chain.lost:
            break
    if not reasons:
        try:
            finish(chain, reads)
        except CompileError as error:
            reasons += error.reasons
    if reasons:
        raise CompileError(*reasons)
    graph = Graph(clean(name), tuple(chain.nodes))
    check_graph(graph)
    return graph


def _require_spikes(chain: Chain, part: Part) -> None:
    last = chain.nodes[-1]
    if last.gives == "membranes":
        raise chain.refuse(
            part, f"follows {last.name}, which sends no spikes; membranes are read at the end."
        )


def _hearing(chain: Chain, part: p.Hearing) -> None:
    if part.source not in chain.senders:
        # Its layer was refused.
        chain.lost = True
        return
    name, chain.shape = chain.senders[part.source]
    chain.source = None if name == chain.nodes[-1].name else name
    chain.from_input = part.source is None


def _neurons(chain: Chain, part: p.Neurons | p.Integrators) -> None:
    recurrent = part.recurrent if isinstance(part, p.Neurons) else None
    # What comes back is added to the sums of a fully connected layer; so is what skips from one to another.
    chain.flat = chain.flat or (
        (recurrent is not None or bool(part.branches))
        and chain.waiting is None
        and prod(chain.shape[1:]) == 1
    )
    node = chain.waiting or sums.identity(chain, part)
    shape = chain.shape
    reasons: list[str] = []
    values = neuron_values(part, shape, chain.units, reasons)
    alpha, current_alpha = (decay_of(part, each, shape, reasons) for each in (part.alpha, part.current_alpha))
    alpha = 1.0 if alpha is None else alpha
    own, own_bias = (
        (None, np.zeros(shape[0])) if recurrent is None else own_weights(part.name, recurrent, node, reasons)
    )
    further = _further(chain, part, node, reasons)
    chain.waiting = chain.units = None
    if not reasons:
        gain = values["gain"]
        weight, *others = (
            each.weight * gain.reshape(-1, *[1] * (each.weight.ndim - 1)) for each in (node, *further)
        )
        bias = (node.bias + own_bias + sum(each.bias for each in further)) * gain
        bias = shortest(along_map(bias) + along_map(values["offset"]))
        none = np.zeros(len(bias))
        skips = tuple(replace(each, weight=own, bias=none) for each, own in zip(further, others))
        sums.place_pool(chain)
        if own is None:
            chain.nodes.append(replace(node, weight=weight, bias=bias, further=skips, source=chain.heard()))
        else:
            back = own * gain.reshape(-1, 1)
            source = chain.heard()
            chain.nodes.append(
                Recurrent(node.name, weight, bias, recurrent=back, further=skips, source=source)
            )
    starts: dict[str, Any] = {name: values[name] for name in STARTS if name in values and values[name].any()}
    threshold = values.get("threshold", np.ones(shape[0]))
    if isinstance(part, p.Neurons):
        rules = (part.spike_test, part.reset, part.reset_delay)
        chain.nodes.append(Lif(
            f"{node.name}.lif", alpha, threshold, *rules, current_alpha=current_alpha, max_spikes=part.max_spikes,
            floor=values.get("floor"), **starts,
        ))  # fmt: skip
        chain.senders[part.name] = chain.nodes[-1].name, shape
    else:
        chain.nodes.append(
            Integrator(f"{node.name}.li", alpha, threshold, current_alpha=current_alpha, **starts)
        )
    chain.pool, chain.flat, chain.from_input, chain.source = None, False, False, None
    if reasons:
        raise CompileError(*reasons)


def _further(
    chain: Chain, part: p.Neurons | p.Integrators | p.Ending, node: Synapses, reasons: list[str]
) -> list[Synapses]:
    """Return what branches add to the sums of ``node``, each by its source's name; add to ``reasons`` where no engine does it."""
    further: list[Synapses] = []
    for branch in part.branches:
        name, shape = chain.senders.get(branch.source, ("", (0, 0, 0)))
        if not name:
            # Its layer was refused.
            continue
        side = Chain(chain.start, shape, list(chain.nodes), {})
        try:
            for each in branch.parts:
                if isinstance(each, p.Delaying) and isinstance(part, p.Ending):
                    raise side.refuse(each, UNHEARD)
                if isinstance(each, p.Delaying):
                    raise side.refuse(
                        each,
                        f"delays what goes from {branch.source or 'the input'} to {part.name}, as another way there does; engines delay one "
                        "of a layer's inputs, its own. Leave it out, or let the sum go to neurons before the delay.",
                    )
                _STEPS[type(each)](side, each)
            if side.pool is not None and side.waiting is not None:
                side.waiting, side.pool = before_pool(side.waiting, side.pool, side.before_pool), None
            side.flat = side.flat or (side.waiting is None and node.weight.ndim == 2)
            each_node = side.waiting or sums.identity(side, part)
            if chain.units is not None or side.units is not None:
                raise CompileError(
                    f"{part.name}: sums currents of which some have a factor that differs within a channel; engines have one gain for all "
                    "that a neuron hears."
                )
            if each_node.weight.ndim != node.weight.ndim or side.shape != chain.shape:
                raise CompileError(
                    f"{part.name}: sums {_described(node, chain.shape)} and, from {branch.source or 'the input'}, "
                    f"{_described(each_node, side.shape)}; engines add inputs of one kind and shape."
                )
            further.append(replace(each_node, name=name))
        except CompileError as error:
            reasons += error.reasons
    return further


def _described(node: Synapses, shape: Shape) -> str:
    return f"a {'convolution' if node.weight.ndim == 4 else 'fully connected layer'} of {by(shape)}"


def _ending(chain: Chain, part: p.Ending) -> None:
    """What the network gives beside what comes last; `finish` reads both."""
    chain.flat = chain.flat or chain.waiting is None
    node, reasons = chain.waiting or sums.identity(chain, part), list[str]()
    further = _further(chain, part, node, reasons)
    if reasons:
        raise CompileError(*reasons)
    bias = node.bias + sum(each.bias for each in further)
    none = np.zeros(len(bias))
    chain.waiting = replace(node, bias=bias, further=tuple(replace(each, bias=none) for each in further))


_STEPS: dict[type, Callable[[Chain, Any], None]] = {
    p.Linear: sums.linear,
    p.Convolution: sums.convolution,
    p.Scale: sums.scale,
    p.Pooling: sums.pooling,
    p.Delaying: sums.delaying,
    p.Flattening: sums.flattening,
    p.Hearing: _hearing,
    p.Neurons: _neurons,
    p.Integrators: _neurons,
    p.Ending: _ending,
}
