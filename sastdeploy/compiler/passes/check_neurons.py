"""Check that the hardware's neuron is the network's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np

from sastdeploy.compiler.ir.graph import Graph, Stage, stages
from sastdeploy.compiler.ir.nodes import Lif, Node
from sastdeploy.compiler.profiles import HardwareProfile, builtin_profiles, load_profile
from sastdeploy.errors import CompileError
from sastdeploy.program.layers.start import STARTS


def check_neurons(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph unchanged where the profile's neuron does what every neuron of the network does.

    Raises:
        CompileError: it does not; what differs, each with its key in a profile.
    """
    reasons = lacking(graph, profile)
    other = _other_neuron(graph, profile)
    if reasons or other:
        fitting = [name for name, each in _builtin() if not lacking(graph, each) + _other_neuron(graph, each)]
        named = f" ({_listed(fitting)})" if fitting else ""
        advice = f"Use a profile with the network's neuron{named}, or follow the hardware and its other spikes (--neuron profile)."
        raise CompileError(*reasons, *other, advice)
    return graph


def _other_neuron(graph: Graph, profile: HardwareProfile) -> list[str]:
    """Return what the hardware's neuron does otherwise than the network's; ``--neuron profile`` accepts it."""
    neurons = [stage.spiking for stage in stages(graph) if stage.spiking]
    reasons = []
    for key in ("spike_test", "reset", "reset_delay"):
        offered = profile.offered(key)
        does = ", ".join(f"'{each}'" for each in offered)
        reasons += [
            f"{graph.name}: {key.replace('_', ' ')} '{value}'; {profile.name} does {does} (neuron.{key})."
            for value in sorted({getattr(lif, key) for lif in neurons} - set(offered), key=str)
        ]
    return reasons + [
        f"{lif.name}: up to {lif.max_spikes} spikes in a step; {profile.name} does {profile.spikes_per_step} "
        "(neuron.spikes_per_step)."
        for lif in neurons
        if lif.max_spikes > profile.spikes_per_step
    ]


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


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


@cache
def _builtin() -> tuple[tuple[str, HardwareProfile], ...]:
    return tuple((name, load_profile(name)) for name in builtin_profiles())


def _offered_by(does: Callable[[HardwareProfile], object]) -> str:
    """Return what to do: the built-in profiles that do it, or one's own."""
    names = [name for name, each in _builtin() if does(each)]
    if not names:
        return "State it in a profile of your own."
    return f"{_listed(names)} do{'es' * (len(names) == 1)}; or state it in a profile of your own."


def _waits_too_long(node: Node, profile: HardwareProfile) -> str:
    steps = f"{node.waits} step{'s' * (node.waits > 1)}"
    does = f"delays by at most {profile.delays}" if profile.delays else "states none"
    longer = _offered_by(lambda other: other.delays >= node.waits)
    return f"{node.name}: a delay of {steps}; {profile.name} {does} (neuron.delays). {longer}"


def _per_neuron(stage: Stage) -> tuple[str, ...]:
    """Return what differs within a channel of a layer, in words."""
    own = () if stage.lif is None else stage.lif.per_neuron
    return own if stage.node.bias.ndim == 1 else (*own, "biases")


def _needs(stage: Stage) -> Iterator[tuple[str, ...]]:
    """Return what a layer's neurons need that not every hardware states: whose name, the key in a profile, what it is, what a profile without it states."""
    lif = stage.lif
    if stage.node.own_fan_out:
        yield stage.node.name, "neuron.recurrent", "recurrent", "no recurrent layers"
    if lif is None:
        return
    if lif.current_alpha is not None:
        yield lif.name, "neuron.synaptic_current", "a synaptic current", "none"
    if differing := _per_neuron(stage):
        yield (
            lif.name,
            "neuron.per_neuron",
            f"{_listed(differing)} that differ within a channel",
            "one of each per channel",
        )
    if any(getattr(lif, name) is not None for name in STARTS):
        yield lif.name, "neuron.starts", "starts elsewhere than at 0", "no such starts"
    if lif.floor is not None:
        yield lif.name, "neuron.floor", "a floor of its membranes", "none"
    if lif.own_decays:
        yield lif.name, "leak.per_channel", "decays that differ between its channels", "one a layer"


def _states(key: str, profile: HardwareProfile) -> bool:
    """Return whether a profile says true under ``key`` of its file."""
    return bool(getattr(profile, key.replace("leak.", "leak_").removeprefix("neuron.")))


def lacking(graph: Graph, profile: HardwareProfile) -> list[str]:
    """Return why the hardware cannot hold the network's neurons, whatever spikes are accepted; empty where it can."""
    reasons = [
        f"{name}: {what}; {profile.name} states {instead} ({key}). {_offered_by(partial(_states, key))}"
        for stage in stages(graph)
        for name, key, what, instead in _needs(stage)
        if not _states(key, profile)
    ]
    reasons += [
        f"{stage.lif.name}: keeps nothing of its membrane (alpha 0); {profile.name} leaks by {profile.leak_form} (leak.form). Use a "
        "profile whose leak is a multiplier."
        for stage in stages(graph)
        if stage.lif is not None and np.min(stage.lif.alpha) == 0 and profile.leak_form != "multiplier"
    ]
    return reasons + [_waits_too_long(node, profile) for node in graph.nodes if node.waits > profile.delays]


def accepting(graph: Graph) -> list[str]:
    """Return the options with which ``compile`` takes the network's neurons: none where its default does, else a built-in profile's.

    Where none does, ``--all-profiles`` tells the reasons.
    """
    default, *others = (
        "loihi_int8",
        "cortex_m",
        "spinnaker2",
    )  # software first: it has most kinds of neurons
    known = dict(_builtin())
    for name in dict.fromkeys((default, *others, *known)):
        own = with_its_spike_test(graph, known[name])
        if not lacking(own, known[name]) + _other_neuron(own, known[name]):
            return [] if name == default else ["--profile", name]
    return ["--all-profiles"]
