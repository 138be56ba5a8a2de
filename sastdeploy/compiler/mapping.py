"""Which core holds which layer, how full each is, and why a network does not fit."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import prod

from sastdeploy.compiler.ir.graph import Graph, Stage, stages
from sastdeploy.compiler.ir.nodes import Synapses
from sastdeploy.compiler.profiles import Cores, HardwareProfile


@dataclass(frozen=True)
class CoreUse:
    """What one core holds. ``neurons``, ``memory_bytes``: used; the limits None where the chip states none."""

    core: int
    layers: tuple[str, ...]
    neurons: int
    neuron_limit: int | None
    memory_bytes: int
    memory_limit: int | None


@dataclass(frozen=True)
class Mapping:
    """The cores in use, in order, and the reasons why layers do not fit: none where all do."""

    cores: tuple[CoreUse, ...]
    reasons: tuple[str, ...]


@dataclass
class _Core:
    number: int
    neuron_limit: int | None
    memory_limit: int | None
    layers: list[str]
    neurons: int = 0
    memory: int = 0

    def use(self) -> CoreUse:
        return CoreUse(
            self.number, tuple(self.layers), self.neurons, self.neuron_limit, self.memory, self.memory_limit
        )


def map_layers(graph: Graph, profile: HardwareProfile) -> Mapping:
    """Return the layers on the profile's cores; nothing for a chip that states none. The readout takes a neuron per class.

    Split layers: core after core, each filled with as many neurons of the layer as its neurons and memory allow, the
    next layer where the last one ended. A core holds the weights of its dense neurons, or the kernels of its
    channels. Layers that may not be split: one on each core, each where it fits, found by augmenting paths, so that
    none is refused that could be placed.
    """
    if profile.cores is None:
        return Mapping((), ())
    cores = [
        _Core(n, _of(profile.cores.neurons, n), _of(profile.cores.memory_bytes, n), [])
        for n in range(profile.cores.count)
    ]
    reasons = [
        f"{stage.node.name}: {stage.node.fan_in:,} sources per neuron; a core of {profile.name} takes {profile.cores.fan_in:,} "
        "(cores.fan_in). Use a smaller layer before it, or a convolution."
        for stage in stages(graph)
        if profile.cores.fan_in is not None and stage.node.fan_in > profile.cores.fan_in
    ]
    place = _spread if profile.cores.split else _assign
    reasons += place(stages(graph), cores, profile, profile.cores)
    return Mapping(tuple(core.use() for core in cores if core.layers), tuple(reasons))


def weight_bytes(node: Synapses, bits: int) -> int:
    """Return the bytes of a layer's weights, packed, rounded up to whole bytes."""
    return _bytes(len(node.weight) * node.fan_in, bits)


def _spread(
    steps: tuple[Stage, ...], cores: list[_Core], profile: HardwareProfile, given: Cores
) -> list[str]:
    """Fill the cores in order; return why a layer does not fit."""
    number = 0
    for position, stage in enumerate(steps):
        left, bits = prod(stage.after), profile.weight_bits
        while left:
            first = prod(stage.after) - left
            if number == len(cores):
                rest = left + sum(prod(later.after) for later in steps[position + 1 :])
                placed = sum(core.neurons for core in cores)
                return [
                    f"{stage.node.name}: the {given.count:,} cores of {profile.name} are full with {placed:,} neurons placed and {rest:,} left "
                    "(cores). Use a smaller network, or fewer bits."
                ]
            core = cores[number]
            count = _that_fit(stage, first, left, core, bits)
            if count == 0 and not core.layers:
                needed = _memory(stage, first, 1, bits)
                return [
                    f"{stage.node.name}: one neuron needs {needed:,} bytes of weights; a core of {profile.name} has {core.memory_limit:,} "
                    "(cores.memory_bytes). Use a smaller kernel or fan-in, or fewer bits."
                ]
            if count:
                core.layers.append(stage.node.name)
                core.neurons += count
                core.memory += _memory(stage, first, count, bits)
                left -= count
            number += left > 0
    return []


def _that_fit(stage: Stage, first: int, most: int, core: _Core, bits: int) -> int:
    """Return how many of ``most`` neurons of a layer, from number ``first`` on, fit beside what a core holds."""
    if core.neuron_limit is not None:
        most = min(most, core.neuron_limit - core.neurons)
    if core.memory_limit is None:
        return most
    free = core.memory_limit - core.memory
    return bisect_right(range(most), free, key=lambda n: _memory(stage, first, n + 1, bits))


def _memory(stage: Stage, first: int, count: int, bits: int) -> int:
    return _bytes(stage.node.weights_of(first, count, prod(stage.after[1:])), bits)


def _assign(
    steps: tuple[Stage, ...], cores: list[_Core], profile: HardwareProfile, given: Cores
) -> list[str]:
    """Give every layer a core of its own; return why layers have none."""
    needs = [_needs(stage, profile.weight_bits, given.rounding) for stage in steps]
    fitting = [
        [
            core.number
            for core in cores
            if (core.neuron_limit or neurons) >= neurons and (core.memory_limit or memory) >= memory
        ]
        for neurons, memory in needs
    ]
    reasons = [
        f"{stage.node.name}: takes {neurons:,} neurons and {memory:,} bytes of one core"
        f"{' (rounded up to powers of two)' if given.rounding != 'none' else ''}; the largest cores of {profile.name} have "
        f"{_most(given.neurons)} neurons and {_most(given.memory_bytes)} bytes (cores). Use fewer channels, a smaller map, or stride."
        for stage, (neurons, memory), fits in zip(steps, needs, fitting)
        if not fits
    ]
    holds: dict[int, int] = {}
    homeless = [n for n, fits in enumerate(fitting) if fits and not _placed(n, fitting, holds, set())]
    reasons += [
        f"{steps[n].node.name}: every core of {profile.name} that could hold it holds another layer; {len(cores)} cores, one layer "
        "each (cores.split). Use fewer layers."
        for n in homeless
    ]
    for number, layer in holds.items():
        cores[number].layers.append(steps[layer].node.name)
        cores[number].neurons, cores[number].memory = needs[layer]
    return reasons


def _placed(layer: int, fitting: list[list[int]], holds: dict[int, int], tried: set[int]) -> bool:
    """Place a layer, moving others where they fit too; return whether it could be."""
    for core in fitting[layer]:
        if core in tried:
            continue
        tried.add(core)
        if core not in holds or _placed(holds[core], fitting, holds, tried):
            holds[core] = layer
            return True
    return False


def _needs(stage: Stage, bits: int, rounding: str) -> tuple[int, int]:
    """Return the neurons and weight bytes that a layer takes on a core of its own."""
    channels, rows, columns = stage.after
    if rounding == "none":
        return channels * rows * columns, weight_bytes(stage.node, bits)
    weights = 0
    for node, before in stage.inputs:
        kernel = prod(node.kernel(before))
        own = node.fan_in - sum(each.fan_in for each in node.further)
        sources, kernel = (own // kernel, kernel) if own % kernel == 0 else (own, 1)
        weights += sources * _power(kernel) * _power(channels)
    return channels * _power(rows) * _power(columns), _bytes(weights, bits)


def _power(value: int) -> int:
    return 1 << (value - 1).bit_length()


def _bytes(weights: int, bits: int) -> int:
    return -(-weights * bits // 8)


def _of(values: tuple[int, ...] | None, number: int) -> int | None:
    return None if values is None else values[number]


def _most(values: tuple[int, ...] | None) -> str:
    return "any number of" if values is None else f"{max(values):,}"
