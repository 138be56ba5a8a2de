"""What parts without neurons make of the values that come to them: weights, factors, pools and delays.

Each step takes the chain as it stands and the part; a weighted layer waits there for the neurons behind it.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from sastdeploy.compiler.ir.nodes import AvgPool, Conv2d, Delay, Dense, SumPool, Synapses
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.channels import at_each, is_one_value, per_channel, per_neuron
from sastdeploy.exchange.ending import MAX_CLASSES
from sastdeploy.exchange.growing import Chain
from sastdeploy.exchange.kernels import MAX_WEIGHTS, one_kernel
from sastdeploy.exchange.parts import Array
from sastdeploy.exchange.steps import steps_of


def linear(chain: Chain, part: p.Linear) -> None:
    sources = prod(chain.shape)
    if part.weight.ndim != 2 or part.weight.shape[1] != sources or not len(part.weight):
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


def convolution(chain: Chain, part: p.Convolution) -> None:
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


def scale(chain: Chain, part: p.Scale) -> None:
    factor = at_each(part.factor, chain.shape, part.name, "a factor")
    if chain.waiting is None:
        chain.factor = factor if chain.factor is None else chain.factor * factor
        return
    chain.waiting = scaled(chain, chain.waiting, factor, part, "factor")


def scaled(chain: Chain, node: Synapses, factor: Array, part: Any, what: str) -> Synapses:
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


def pooling(chain: Chain, part: p.Pooling) -> None:
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


def delaying(chain: Chain, part: p.Delaying) -> None:
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
    place_pool(chain)
    chain.nodes.append(Delay(chain.name(part.name), steps, source=chain.heard()))


def flattening(chain: Chain, part: p.Flattening) -> None:
    chain.flat = chain.waiting is None and prod(chain.shape[1:]) > 1
    if chain.waiting is not None and prod(chain.shape[1:]) > 1:
        raise chain.refuse(part, f"flattens the currents of {chain.waiting.name}. Put it behind the neurons.")


def identity(chain: Chain, part: p.Neurons | p.Integrators | p.Ending) -> Synapses:
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
        node = scaled(chain, node, chain.factor, part, "the factor before it")
        chain.factor = None
    return node


def place_pool(chain: Chain) -> None:
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
