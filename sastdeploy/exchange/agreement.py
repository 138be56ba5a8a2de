"""Whether a graph spikes as the module does that it was made from, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from torch import nn

from sastdeploy.compiler.ir.graph import Graph, stages
from sastdeploy.compiler.ir.nodes import Lif, RecordedSpikes, run_lif
from sastdeploy.errors import InputError
from sastdeploy.exchange.parts import Array
from sastdeploy.exchange.running import outputs_of
from sastdeploy.program.limits import MAX_SPIKES

_STEPS, _SAMPLES = 12, 4
DOUBLE, SINGLE, NO_TIES = 2.0**-40, 2.0**-20, -1.0
"""Shares of threshold and largest current within which float64, or float32, may take a membrane to either side."""
SUSPICIOUS = 5
_RESETS = (*product(("subtract", "zero", "none"), (0, 1)), ("refractory", 1))
"""Every reset with its delay."""
_APART = 1e-6
"""Share of the largest membrane by which a decay that float32 holds may take a membrane elsewhere."""


def require_agreement(
    graph: Graph, net: nn.Module, neurons: Sequence[nn.Module], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Return how many spikes of how many layers were compared; all agree, ties aside, and so do membranes that are read.

    Both run in float64 on the same random values from 0 to 3, the module as a copy in evaluation mode.

    Args:
        neurons: the modules that spike, first to last, and the one whose membranes are read, where there is one.

    Raises:
        InputError: the first difference: layer, step, neuron, both values, the membrane, and the likely cause.
        CompileError: the module itself does not take such values.
    """
    x = np.random.default_rng(0).integers(0, 4, (_SAMPLES, _STEPS, *shape)).astype(np.float64)
    theirs = outputs_of(net, neurons, x)
    spiking = len(lifs(graph))
    checked = require_spikes(graph, x, theirs[:spiking], "the module", DOUBLE)
    for wanted in theirs[spiking:]:
        checked["membranes"] = _require_membranes(graph, x, theirs[:spiking], wanted)
    return checked


def _require_membranes(graph: Graph, x: Array, spikes: Sequence[Array], wanted: Array) -> int:
    """Return how many membranes of the last layer were compared, for spikes as the module's layers sent them."""
    _, _, _, read = _run(graph, x, spikes, DOUBLE)
    wanted = wanted.reshape(read.shape)
    apart = np.abs(read - wanted) > _APART * max(1.0, float(np.abs(wanted).max()))
    if apart.any():
        step = int(np.argmax(apart.any((0, 2, 3, 4))))
        sample, *place = np.argwhere(apart[:, step])[0]
        at = (sample, step, *place)
        raise InputError(
            f"{graph.nodes[-2].name}: the first difference is at step {step}, neuron {[int(i) for i in place]}: the graph has a "
            f"membrane of {read[at]:.9g}, the module {wanted[at]:.9g}. Look at decay, gain and start."
        )
    return int(wanted.size)


def require_spikes(
    graph: Graph, x: Array, theirs: Sequence[Array], whose: str, rounding: float = SINGLE
) -> dict[str, Any]:
    """As `require_agreement`, with the spikes ``[N, T, ...]`` that every layer sent for the values ``x [N, T, ...]``.

    Where a membrane lies nearer to its threshold than ``rounding`` of threshold and largest current, either spike is right: a tie,
    which is counted, and decided as they did. From `SUSPICIOUS` ties on, those that the other spike test explains to the last
    are differences: rounding would take some to the other side.
    """
    names = [neurons.name for neurons in lifs(graph)]
    ours, membranes, ties, _ = _run(graph, x, theirs, rounding)
    if ties >= SUSPICIOUS and _agrees(_with_other_test(graph), x, theirs):
        ours, membranes, ties, _ = _run(graph, x, theirs, NO_TIES)
    for name, spikes, membrane, wanted in zip(names, ours, membranes, theirs):
        wanted = wanted.reshape(spikes.shape)
        if np.array_equal(spikes, wanted):
            continue
        step = int(np.argmax((spikes != wanted).any((0, 2, 3, 4))))
        sample, *place = np.argwhere(spikes[:, step] != wanted[:, step])[0]
        at = (sample, step, *place)
        beyond = wanted[at] > MAX_SPIKES >= spikes[at]
        cause = f"Engines send up to {MAX_SPIKES} in a step." if beyond else _cause(graph, x, theirs)
        raise InputError(
            f"{name}: the first difference is at step {step}, neuron {[int(i) for i in place]}: the graph sends {spikes[at]:g} with a "
            f"membrane of {membrane[at]:.9g}, {whose} {wanted[at]:g}. {cause}"
        )
    total = int(sum(spikes.sum() for spikes in ours))
    return {
        "layers": len(names), "recordings": x.shape[0], "steps": x.shape[1], "spikes": total, "differences": 0,
        "ties": ties,
    }  # fmt: skip


def lifs(graph: Graph) -> list[Lif]:
    """Return the nodes of neurons that spike, first to last."""
    return [stage.spiking for stage in stages(graph) if stage.spiking]


def _run(
    graph: Graph, x: Array, theirs: Sequence[Array], rounding: float
) -> tuple[list[Array], list[Array], int, Array]:
    """Return spikes and membranes of every LIF node for values that stand behind the input node, how many ties, and what is read."""
    values: Any = x.reshape(*x.shape[:2], *graph.input.shape)
    spikes: list[Array] = []
    membranes: list[Array] = []
    ties, by_name = 0, {stage.spiking.name: stage for stage in stages(graph) if stage.spiking}
    by_weights = {stage.node.name: stage.node for stage in stages(graph)}
    sent: dict[str, Array] = {graph.input.name: values}
    for node in graph.nodes[1:-1]:
        values = values if node.source is None else sent[node.source]
        stage = by_name.get(node.name)
        if stage is None or stage.spiking is None:
            values, _ = node.meaning(values)
            if node.name in by_weights:
                values = values + by_weights[node.name].further_currents(sent)
            continue
        neurons = stage.spiking
        levels = (neurons.start, neurons.current_start, neurons.floor)
        ends = [np.abs(level).max() for level in levels if level is not None]
        margin = rounding * float(neurons.threshold.max() + np.abs(values).max(initial=0.0) + sum(ends))
        recorded = RecordedSpikes(theirs[len(spikes)].reshape(values.shape), margin)
        values, membrane = run_lif(neurons, values, recorded, stage.node.feedback)
        sent[node.name] = values
        spikes.append(values)
        membranes.append(membrane)
        ties += recorded.ties
    return spikes, membranes, ties, values


def _agrees(graph: Graph, x: Array, theirs: Sequence[Array]) -> bool:
    """Return whether the graph sends their spikes, without a tie."""
    ours, _, _, _ = _run(graph, x, theirs, NO_TIES)
    return all(np.array_equal(a, b.reshape(a.shape)) for a, b in zip(ours, theirs))


def _with_other_test(graph: Graph) -> Graph:
    return graph.map_spiking(lambda node: replace(node, spike_test=">" if node.spike_test == ">=" else ">="))


def _cause(graph: Graph, x: Array, theirs: Sequence[Array]) -> str:
    """Return which other neuron would have sent their spikes, if one would: the one that differs least."""
    own = lifs(graph)[0]
    same = own.spike_test, own.reset, own.reset_delay, own.max_spikes
    most = min(MAX_SPIKES, max(1, int(max(spikes.max(initial=0.0) for spikes in theirs))))
    numbers = dict.fromkeys((own.max_spikes, 1, MAX_SPIKES, most))
    others = sorted(
        product((">=", ">"), _RESETS, numbers),
        key=lambda rules: sum(a != b for a, b in zip((rules[0], *rules[1], rules[2]), same)),
    )
    for test, (reset, delay), spikes in others:
        changes: dict[str, Any] = {
            "spike_test": test,
            "reset": reset,
            "reset_delay": delay,
            "max_spikes": spikes,
        }
        if _agrees(graph.map_spiking(partial(replace, **changes)), x, theirs):
            number = "one spike" if spikes == 1 else f"up to {spikes} spikes"
            several = "" if spikes == own.max_spikes else f", with {number} in a step,"
            return f"Spike test '{test}', reset '{reset}' and reset delay {delay}{several} would agree."
    return "No other spike test, reset, delay or number of spikes agrees: look at decay, gain and threshold."
