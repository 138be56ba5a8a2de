"""Check that the hardware's neuron is the network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sastdeploy.compiler.ir.graph import Graph, Stage, stages
from sastdeploy.compiler.ir.nodes import Lif, Node
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.program.layers.start import STARTS


def check_neurons(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph unchanged where the profile's neuron does what every neuron of the network does.

    Raises:
        CompileError: it does not; what differs, each with its key in a profile.
    """
    reasons = lacking(graph, profile)
    for key in ("spike_test", "reset", "reset_delay"):
        offered = profile.offered(key)
        wanted = {getattr(stage.spiking, key) for stage in stages(graph) if stage.spiking} - set(offered)
        does = ", ".join(f"'{each}'" for each in offered)
        reasons += [
            f"{graph.name}: {key.replace('_', ' ')} '{value}'; {profile.name} does {does} (neuron.{key})."
            for value in sorted(wanted, key=str)
        ]
    reasons += [
        f"{stage.spiking.name}: up to {stage.most_spikes} spikes in a step; {profile.name} does {profile.spikes_per_step} "
        "(neuron.spikes_per_step)."
        for stage in stages(graph)
        if stage.spiking and stage.most_spikes > profile.spikes_per_step
    ]
    if reasons:
        advice = (
            "Use a profile with the network's neuron (spinnaker2 and cortex_m are software and have each), or follow the hardware and its other "
            "spikes (--neuron profile)."
        )
        raise CompileError(*reasons, advice)
    return graph


def with_its_spike_test(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with the hardware's spike test, wherever integers can hold the network's own exactly.

    ``u > theta`` is ``u >= theta + 1``, unless a reset subtracts theta, or theta is the step between several spikes.
    """

    def match(node: Lif) -> Lif:
        same = node.spike_test in profile.offered("spike_test")
        if (
            same
            or node.max_spikes > 1
            or node.reset == "subtract"
            or node.reset not in profile.offered("reset")
        ):
            return node
        step = 1 if profile.spike_test == ">=" else -1
        return replace(node, spike_test=profile.spike_test, threshold_step=step)

    return graph.map_spiking(match)


def _waits_too_long(node: Node, profile: HardwareProfile) -> str:
    steps = f"{node.waits} step{'s' if node.waits > 1 else ''}"
    if profile.delays:
        longest = f"{profile.name} delays by at most {profile.delays} (neuron.delays). Use a profile that delays longer."
        return f"{node.name}: a delay of {steps}; {longest}"
    return (
        f"{node.name}: a delay of {steps}; {profile.name} states none (neuron.delays). loihi1 and cortex_m do; or state it in a "
        "profile of your own."
    )


def _per_neuron(stage: Stage) -> tuple[str, ...]:
    """Return what differs within a channel of a layer, in words."""
    own = () if stage.lif is None else stage.lif.per_neuron
    return own if stage.node.bias.ndim == 1 else (*own, "biases")


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def lacking(graph: Graph, profile: HardwareProfile) -> list[str]:
    """Return why the hardware cannot hold the network's neurons, whatever spikes are accepted; empty where it can."""
    recurrent = [
        f"{stage.node.name}: recurrent; {profile.name} states no recurrent layers (neuron.recurrent). loihi1, loihi2, xylo_a2, xylo_a3, "
        "xylo_imu, spinnaker2 and cortex_m do; or state it in a profile of your own."
        for stage in stages(graph)
        if stage.node.own_fan_out and not profile.recurrent
    ]
    reasons = recurrent + [
        f"{stage.lif.name}: a synaptic current; {profile.name} states none (neuron.synaptic_current). loihi1, loihi2, xylo_a2, xylo_a3, "
        "xylo_imu, spinnaker2 and cortex_m do; or state it in a profile of your own."
        for stage in stages(graph)
        if stage.lif is not None and stage.lif.current_alpha is not None and not profile.synaptic_current
    ]
    reasons += [
        f"{stage.lif.name}: keeps nothing of its membrane (alpha 0); {profile.name} leaks by {profile.leak_form} (leak.form). Use a "
        "profile whose leak is a multiplier."
        for stage in stages(graph)
        if stage.lif is not None and np.min(stage.lif.alpha) == 0 and profile.leak_form != "multiplier"
    ]
    reasons += [
        f"{stage.lif.name}: {_listed(differing)} that differ within a channel; {profile.name} states one of each per channel "
        "(neuron.per_neuron). spinnaker2 and cortex_m have one for each neuron; or state it in a profile of your own."
        for stage in stages(graph)
        if stage.lif is not None and (differing := _per_neuron(stage)) and not profile.per_neuron
    ]
    reasons += [
        f"{stage.lif.name}: starts elsewhere than at 0; {profile.name} states no such starts (neuron.starts). loihi1, loihi2, speck, xylo_a2, "
        "spinnaker2 and cortex_m do; or state it in a profile of your own."
        for stage in stages(graph)
        if stage.lif is not None
        and any(getattr(stage.lif, name) is not None for name in STARTS)
        and not profile.starts
    ]
    reasons += [
        f"{stage.lif.name}: a lower end of its membranes; {profile.name} states none (neuron.floor). speck, spinnaker2 and cortex_m do; or "
        "state it in a profile of your own."
        for stage in stages(graph)
        if stage.lif is not None and stage.lif.floor is not None and not profile.floor
    ]
    reasons += [_waits_too_long(node, profile) for node in graph.nodes if node.waits > profile.delays]
    return reasons + [
        f"{stage.lif.name}: decays that differ between its channels; {profile.name} states one a layer (leak.per_channel). xylo_a2, xylo_a3, "
        "xylo_imu, spinnaker2 and cortex_m have one for each; or state it in a profile of your own."
        for stage in stages(graph)
        if stage.lif is not None and stage.lif.own_decays and not profile.leak_per_channel
    ]
