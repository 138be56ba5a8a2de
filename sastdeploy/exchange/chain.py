"""From the parts of somebody's network to the graph that `compile` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.nodes import (
    AvgPool,
    Conv2d,
    Delay,
    Dense,
    Input,
    Integrator,
    Lif,
    Recurrent,
    Shape,
    SumPool,
    Synapses,
)
from sastdeploy.errors import CompileError
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.channels import (
    decay_of,
    is_one_value,
    neuron_values,
    per_channel,
    per_neuron,
    squeezed,
)
from sastdeploy.exchange.ending import MAX_CLASSES, UNHEARD, finish
from sastdeploy.exchange.growing import Chain
from sastdeploy.exchange.kernels import MAX_WEIGHTS, one_kernel
from sastdeploy.exchange.names import clean
from sastdeploy.exchange.parts import Array, Part
from sastdeploy.exchange.pooled_weights import before_pool
from sastdeploy.exchange.recurrence import own_weights
from sastdeploy.exchange.steps import steps_of
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


def _linear(chain: Chain, part: p.Linear) -> None:
    sources = prod(chain.shape)
    if part.weight.ndim != 2 or part.weight.shape[1] != sources:
        raise chain.refuse(part, f"weight {part.weight.shape} for {sources} values.")
    targets = len(part.weight)
    bias = np.zeros(targets) if part.bias is None else per_channel(part.bias, (targets, 1, 1), part, "bias")
    if chain.waiting is not None:
        # Two linear maps are one.
        before, weight = chain.waiting, part.weight
        if before.weight.ndim != 2:
            raise chain.refuse(
                part,
                f"follows {before.name} without neurons between; engines compute one weighted layer there.",
            )
        chain.waiting = replace(
            before, weight=weight @ before.weight, bias=weight @ before.bias + bias, trained_bits=None
        )
    else:
        weight = part.weight if chain.factor is None else part.weight * chain.factor.reshape(1, -1)
        bits = part.bits if chain.factor is None or is_one_value(chain.factor) else None
        chain.factor = None
        chain.waiting = Dense(chain.name(part.name), weight, bias, trained_bits=bits)
    chain.shape, chain.flat = (targets, 1, 1), False


def _convolution(chain: Chain, part: p.Convolution) -> None:
    if chain.flat:
        raise chain.refuse(part, "a convolution after a flattening, which no engine computes.")
    if chain.waiting is not None:
        raise chain.refuse(
            part,
            f"follows {chain.waiting.name} without neurons between; engines compute one weighted layer there.",
        )
    weight, padding = one_kernel(part, chain.shape[0])
    bias = (
        np.zeros(len(weight))
        if part.bias is None
        else per_channel(part.bias, (len(weight), 1, 1), part, "bias")
    )
    bits = part.bits
    if chain.factor is not None:
        factor = per_channel(chain.factor, chain.shape, part, "the factor before it")
        weight, chain.factor = weight * factor.reshape(1, -1, 1, 1), None
        bits = bits if is_one_value(factor) else None
    node = Conv2d(chain.name(part.name), weight, bias, stride=part.stride, padding=padding, trained_bits=bits)
    chain.shape = node.output_shape(chain.shape)
    chain.waiting = node


def _scale(chain: Chain, part: p.Scale) -> None:
    try:
        factor = np.broadcast_to(squeezed(part.factor, chain.shape), chain.shape)
    except ValueError:
        raise chain.refuse(part, f"a factor of shape {part.factor.shape} for values {chain.shape}.") from None
    if chain.waiting is None:
        chain.factor = factor if chain.factor is None else chain.factor * factor
        return
    chain.waiting = _scaled(chain, chain.waiting, factor, part, "factor")


def _scaled(chain: Chain, node: Synapses, factor: Array, part: Any, what: str) -> Synapses:
    """Return weights whose sums are scaled; a factor that differs within a channel is left to the gain of the neurons behind them."""
    each = per_neuron(factor, chain.shape, part, what)
    if each.ndim == 1:
        weight = node.weight * each.reshape(-1, *[1] * (node.weight.ndim - 1))
        return replace(node, weight=weight, bias=node.bias * each)
    if (each <= 0).any():
        raise chain.refuse(
            part,
            f"{what} differs within a channel and is {each.min():g} somewhere; engines measure membranes in units of it, so it must be "
            "positive.",
        )
    with np.errstate(over="ignore"):
        chain.units = each if chain.units is None else chain.units * each
    return node


def _pooling(chain: Chain, part: p.Pooling) -> None:
    if chain.waiting is not None:
        raise chain.refuse(
            part,
            f"pools the currents of {chain.waiting.name}; engines pool spikes. Put the pool behind the neurons.",
        )
    if chain.pool is not None or chain.flat:
        raise chain.refuse(part, "a pool behind another pool or a flattening, which no engine computes.")
    if chain.factor is not None:
        raise chain.refuse(part, "a pool behind a factor, which no engine computes.")
    chain.pool = part
    window = (AvgPool if part.mean else SumPool)(part.name, part.kernel, part.stride, part.padding)
    chain.before_pool, chain.shape = chain.shape, window.output_shape(chain.shape)


def _delaying(chain: Chain, part: p.Delaying) -> None:
    """A delay of values; factors before it are the weights' behind it, as each value keeps its own.

    One delay of all currents is one of the values that they are made of, as weights without a bias make nothing of nothing.
    """
    steps, node = steps_of(part, chain.shape), chain.waiting
    if node is not None and not isinstance(steps, int):
        raise chain.refuse(
            part,
            f"delays the currents of {node.name} by numbers that differ; engines delay values, before the weights. Give one number for all, or "
            "put the delay before the weights.",
        )
    if node is not None and node.bias.any() and steps:
        raise chain.refuse(
            part,
            f"delays the currents of {node.name}, and with them its bias, which would begin late; engines add a bias in every step. "
            "Put the delay before the weights, or leave the bias out.",
        )
    _place_pool(chain)
    chain.nodes.append(Delay(chain.name(part.name), steps, source=chain.heard()))


def _hearing(chain: Chain, part: p.Hearing) -> None:
    if part.source not in chain.senders:
        # Its layer was refused.
        chain.lost = True
        return
    name, chain.shape = chain.senders[part.source]
    chain.source = None if name == chain.nodes[-1].name else name
    chain.from_input = part.source is None


def _flattening(chain: Chain, part: p.Flattening) -> None:
    chain.flat = chain.waiting is None and prod(chain.shape[1:]) > 1
    if chain.waiting is not None and prod(chain.shape[1:]) > 1:
        raise chain.refuse(part, f"flattens the currents of {chain.waiting.name}. Put it behind the neurons.")


def _neurons(chain: Chain, part: p.Neurons | p.Integrators) -> None:
    recurrent = part.recurrent if isinstance(part, p.Neurons) else None
    # What comes back is added to the sums of a fully connected layer; so is what skips from one to another.
    chain.flat = chain.flat or (
        (recurrent is not None or bool(part.branches))
        and chain.waiting is None
        and prod(chain.shape[1:]) == 1
    )
    node = chain.waiting or _identity(chain, part)
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
        _place_pool(chain)
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
            each_node = side.waiting or _identity(side, part)
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


def _identity(chain: Chain, part: p.Neurons | p.Integrators | p.Ending) -> Synapses:
    """Return weights that hand values on as they are, or that pool them where a pool could not stand for itself."""
    channels, kernel, stride, padding, worth = chain.shape[0], (1, 1), (1, 1), (0, 0), 1.0
    if chain.flat:
        sources = prod(chain.shape)
        if sources > MAX_CLASSES:
            raise chain.refuse(
                part, f"{sources:,} neurons without weights behind a flattening; at most {MAX_CLASSES:,}."
            )
        chain.shape, chain.flat = (sources, 1, 1), False
        node: Synapses = Dense(chain.name(part.name), np.eye(sources), np.zeros(sources))
    else:
        if chain.pool is not None:
            kernel, stride, padding = chain.pool.kernel, chain.pool.stride, chain.pool.padding
            worth, chain.pool = chain.pool.worth, None
        if channels * channels * prod(kernel) > MAX_WEIGHTS:
            raise chain.refuse(
                part, f"{channels:,} channels without weights before them; engines hold one for each pair."
            )
        weight = np.zeros((channels, channels, *kernel))
        weight[np.arange(channels), np.arange(channels)] = worth
        node = Conv2d(chain.name(part.name), weight, np.zeros(channels), stride=stride, padding=padding)
    if chain.factor is not None:
        node = _scaled(chain, node, chain.factor, part, "the factor before it")
        chain.factor = None
    return node


def _place_pool(chain: Chain) -> None:
    pool = chain.pool
    if pool is None:
        return
    if chain.from_input:
        raise chain.refuse(
            pool, "pools the input; engines pool spikes. Reduce the recordings instead (frame size)."
        )
    kind = AvgPool if pool.mean else SumPool
    chain.nodes.append(
        kind(chain.name(pool.name), pool.kernel, pool.stride, pool.padding, source=chain.heard())
    )
    chain.pool = None


def _ending(chain: Chain, part: p.Ending) -> None:
    """What the network gives beside what comes last; `finish` reads both."""
    chain.flat = chain.flat or chain.waiting is None
    node, reasons = chain.waiting or _identity(chain, part), list[str]()
    further = _further(chain, part, node, reasons)
    if reasons:
        raise CompileError(*reasons)
    bias = node.bias + sum(each.bias for each in further)
    none = np.zeros(len(bias))
    chain.waiting = replace(node, bias=bias, further=tuple(replace(each, bias=none) for each in further))


_STEPS: dict[type, Callable[[Chain, Any], None]] = {
    p.Linear: _linear,
    p.Convolution: _convolution,
    p.Scale: _scale,
    p.Pooling: _pooling,
    p.Delaying: _delaying,
    p.Flattening: _flattening,
    p.Hearing: _hearing,
    p.Neurons: _neurons,
    p.Integrators: _neurons,
    p.Ending: _ending,
}
