"""The compilation report: the figures that a porting engineer needs, and plain warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph, Stage, stages
from sastdeploy.compiler.ir.nodes import Lif, Synapses
from sastdeploy.compiler.ir.nodes.checks import known
from sastdeploy.compiler.mapping import CoreUse, map_layers, weight_bytes
from sastdeploy.compiler.passes.fit_leaks import exact_shifts
from sastdeploy.compiler.passes.prove_ranges import stage_sums
from sastdeploy.compiler.passes.quantize_weights import GRID_TOLERANCE
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.fixedpoint import row_blocks
from sastdeploy.program.layers.each import along_map
from sastdeploy.program.limits import worst_gained
from sastdeploy.program.records import Program

SCHEMA = "sastdeploy.compilation/1"
LARGE_GAIN_ERROR = 2.0**-10
LARGE_LEAK_ERROR = 0.01
_COARSE_THRESHOLD = 8


@dataclass(frozen=True)
class LayerReport:
    """What a port of one weighted layer must provide, and what rounding did to it.

    Args:
        name: as in the program. kind: ``dense``, ``conv`` or ``readout``.
        weights: how many. weight_format: as in ``INT8 per_channel``. scale: smallest and largest real value of one step.
        signal_to_noise_db: of the rounded weights; None where they are exact. zero_weights: their share.
        gain: smallest and largest factor from the weighted sum to membrane LSBs. gain_relative_error: the largest.
        leak_relative_error: of the leak factor; None for the readout.
        accumulator_bits: the width proven to hold the weighted sum. weight_bytes: packed.
        neurons: outputs. fan_in, fan_out: the largest of a neuron and of a source.
        largest_ksynops: synaptic operations / 1000 per recording when every source sends at every step.
    """

    name: str
    kind: str
    weights: int
    weight_format: str
    scale: tuple[float, float]
    signal_to_noise_db: float | None
    zero_weights: float
    gain: tuple[float, float]
    gain_relative_error: float
    leak_relative_error: float | None
    accumulator_bits: int
    weight_bytes: int
    neurons: int
    fan_in: int
    fan_out: int
    largest_ksynops: float


@dataclass(frozen=True)
class PortingReport:
    """What compiling found: one record per weighted layer, totals, and warnings.

    Args:
        layers: in order, the readout last.
        leak_relative_error: the largest. weight_bytes: packed, of all layers.
        footprint_bytes: ``weights``, ``parameters``, ``state`` and ``total``, as NeuroBench defines the footprint.
        neurons: of the hidden layers. largest_ksynops: of the whole network.
        warnings: what the hardware does otherwise than the training, or what rounding lost, in plain sentences.
        cores: those in use, where the profile states cores.
    """

    layers: tuple[LayerReport, ...]
    leak_relative_error: float
    weight_bytes: int
    footprint_bytes: dict[str, int]
    neurons: int
    largest_ksynops: float
    warnings: tuple[str, ...]
    cores: tuple[CoreUse, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values, as a program's ``costs`` hold it."""
        layers = [
            asdict(layer) | {"scale": list(layer.scale), "gain": list(layer.gain)} for layer in self.layers
        ]
        record = {"schema": SCHEMA, **asdict(self), "layers": layers, "warnings": list(self.warnings)}
        del record["cores"]
        if self.cores:
            record["cores"] = [asdict(core) | {"layers": list(core.layers)} for core in self.cores]
        return record


def porting_report(start: Graph, graph: Graph, profile: HardwareProfile, program: Program) -> PortingReport:
    """Return what a port must provide, layer by layer.

    Args:
        start: the graph before the passes. graph: after them. program: the same, assembled.
    """
    steps = stages(graph)
    largest = _largest_ksynops(program)
    kinds = {part.name: part.kind for part in (*program.layers, program.readout)}
    layers = tuple(_layer(step, kinds[step.node.name], profile, largest[step.node.name]) for step in steps)
    return PortingReport(
        layers=layers,
        leak_relative_error=max(layer.leak_relative_error or 0.0 for layer in layers),
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        footprint_bytes=footprint_bytes(program),
        neurons=sum(layer.neurons for layer in layers[:-1]),
        largest_ksynops=sum(largest.values()),
        warnings=tuple(_warnings(start, steps, profile)),
        cores=map_layers(graph, profile).cores,
    )


def _largest_ksynops(program: Program) -> dict[str, float]:
    """Return per weighted layer the most operations / 1000 that its source causes, in its own layer too where that is recurrent.

    A pool's additions are its own. Of several layers that hear one source, each has those in itself, the first all others.
    """
    targets, shapes, most = (*program.layers, program.readout), program.shapes(), program.largest_values()
    left = [int(n) for n in largest_synops(program)[0]]
    result = dict.fromkeys((part.name for part in targets), 0)
    first: dict[int, str] = {}
    for part, source in zip(targets, program.sources()):
        if first.setdefault(source, part.name) != part.name:
            own = part.synops(np.full(shapes[source], most[source], np.int64))[0]
            result[part.name] = own * program.preprocessing.time_bins
            left[source] -= result[part.name]
    for part in targets:
        for each in part.further:
            first.setdefault(each.source, part.name)
    for source, name in first.items():
        result[name] += left[source]
    return {name: float(n) / 1000 for name, n in result.items()}


def _layer(step: Stage, kind: str, profile: HardwareProfile, largest_ksynops: float) -> LayerReport:
    node = step.node
    if node.weight_q is None or node.weight_scale is None or node.accumulator_bits is None:
        raise CompileError(f"{node.name}: an integer is missing; a pass was left out.")
    gain = node.gain * node.weight_scale * 2.0 ** (node.fraction_bits or 0)
    return LayerReport(
        name=node.name,
        kind=kind,
        weights=len(node.weight) * node.fan_in,
        weight_format=f"INT{profile.weight_bits} {profile.granularity}",
        scale=(float(node.weight_scale.min()), float(node.weight_scale.max())),
        signal_to_noise_db=_signal_to_noise(node),
        zero_weights=_zero_share(node),
        gain=(float(gain.min()), float(gain.max())),
        gain_relative_error=_gain_error(node),
        leak_relative_error=None if step.lif is None else _leak_error(step.lif),
        accumulator_bits=node.accumulator_bits,
        weight_bytes=weight_bytes(node, profile.weight_bits),
        neurons=int(np.prod(step.after)),
        fan_in=node.fan_in,
        fan_out=max(each.fan_out(before) for each, before in step.inputs),
        largest_ksynops=largest_ksynops,
    )


def _zero_share(node: Synapses) -> float:
    return sum(int((codes == 0).sum()) for codes in node.codes) / sum(codes.size for codes in node.codes)


def _signal_to_noise(node: Synapses) -> float | None:
    noise = signal = 0.0
    for weight, difference in _rounded(node):
        noise += float(np.square(difference).sum())
        signal += float(np.square(weight).sum())
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _gain_error(node: Synapses) -> float:
    if node.weight_scale is None or node.multiplier is None or node.shift is None:
        raise CompileError(f"{node.name}: an integer is missing; a pass was left out.")
    gain = node.gain * node.weight_scale * 2.0 ** (node.fraction_bits or 0)
    achieved = node.multiplier / np.exp2(node.shift.astype(np.float64))
    weighted = np.any([codes.reshape(len(gain), -1).any(1) for codes in node.codes], axis=0)
    return float(np.abs(achieved[weighted] / gain[weighted] - 1).max(initial=0.0))


def _leak_error(lif: Lif) -> float:
    if lif.leak_multiplier is None or lif.leak_shift is None:
        raise CompileError(f"{lif.name}: an integer is missing; a pass was left out.")
    codes, alphas = (along_map(np.atleast_1d(decay)) for decay in (lif.leak_multiplier, lif.alpha))
    fitted, alpha = np.broadcast_arrays(codes / 2**lif.leak_shift, alphas)
    # Neurons that keep nothing are fitted exactly.
    return float(np.abs(np.divide(fitted, alpha, out=np.ones(alpha.shape), where=alpha > 0) - 1).max())


def _warnings(start: Graph, steps: tuple[Stage, ...], profile: HardwareProfile) -> list[str]:
    trained = [step.spiking for step in stages(start) if step.spiking]
    followed = {
        (place, value, does)
        for neuron in {(each.spike_test, each.reset, each.reset_delay) for each in trained}
        for place, (value, does) in enumerate(zip(neuron, profile.neuron_for(*neuron)))
        if value != does
    }
    warnings = [
        f"{('spike test', 'reset', 'reset delay')[place]}: trained with '{value}', {profile.name} does '{does}'. The program follows the "
        "hardware; expect other spikes than in training."
        for place, value, does in sorted(followed, key=str)
    ]
    most = max((step.most_spikes for step in stages(start)), default=1)
    if most > profile.spikes_per_step:
        warnings.append(
            f"spikes in a step: trained with up to {most}, {profile.name} does {profile.spikes_per_step}. The program follows the "
            "hardware; expect other spikes than in training."
        )
    for step in steps:
        warnings += _synapse_warnings(step.node, profile)
        warnings += _lost_channels(step, profile)
        if step.lif is not None:
            warnings += _lif_warnings(step.lif, profile)
    return warnings


def _synapse_warnings(node: Synapses, profile: HardwareProfile) -> list[str]:
    warnings = []
    if node.codes and not any(codes.any() for codes in node.codes):
        warnings.append(f"{node.name}: every weight is 0, so the layer sees nothing.")
    if node.trained_bits is not None and _rounds(node):
        warnings.append(
            f"{node.name}: was trained with weights of {node.trained_bits} bits, which {profile.name} cannot hold as they are "
            f"({profile.weight_bits} bits, {profile.granularity}, scale {profile.scale}), so they are rounded again."
        )
    error = _gain_error(node)
    if error > LARGE_GAIN_ERROR:
        warnings.append(
            f"{node.name}: the integer gain is {100 * error:.2g} % off; weights act that much wrong."
        )
    return warnings


def _rounds(node: Synapses) -> bool:
    """Whether the integers stand for other weights than the real ones."""
    step = 0.0 if node.weight_scale is None else float(node.weight_scale.max())
    return any(float(np.abs(difference).max()) > GRID_TOLERANCE * step for _, difference in _rounded(node))


def _rounded(node: Synapses) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the real weights, and what they lose by rounding, in blocks of rows."""
    for weight, codes in zip(node.weights, node.codes, strict=True):
        scale = known(node, node.weight_scale).reshape(-1, *[1] * (weight.ndim - 1))
        for rows in row_blocks(weight):
            # Sums depend on the order in memory, which a program must not.
            real = np.ascontiguousarray(weight[rows])
            yield real, real - codes[rows] * scale[rows]


def _lost_channels(stage: Stage, profile: HardwareProfile) -> list[str]:
    """Return a warning of channels that have weights, none of whose sums reaches half a membrane LSB."""
    node = stage.node
    if node.multiplier is None or node.shift is None:
        raise CompileError(f"{node.name}: an integer is missing; a pass was left out.")
    low, high = stage_sums(stage)
    reached = worst_gained(np.maximum(-low, high), node.multiplier, node.shift)
    weighted = np.any([weight.reshape(len(weight), -1).any(1) for weight in node.weights], axis=0)
    lost = np.flatnonzero((reached == 0) & weighted)
    if len(lost) == 0:
        return []
    names = ", ".join(map(str, lost[:5])) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    channels = "channel" if len(lost) == 1 else "channels"
    return [
        f"{node.name}, {channels} {names}: weights so small that the largest sum stays below half a step of "
        f"{profile.membrane}; compiled to 0."
    ]


def _lif_warnings(lif: Lif, profile: HardwareProfile) -> list[str]:
    warnings = _decay_warnings(lif, "alpha", "membrane", lif.alpha, lif.leak_multiplier, profile)
    if lif.current_alpha is not None:
        decay, multiplier = lif.current_alpha, lif.current_multiplier
        warnings += _decay_warnings(lif, "current_alpha", "synaptic current", decay, multiplier, profile)
    smallest = int(lif.threshold_q.min()) if lif.threshold_q is not None else _COARSE_THRESHOLD
    if smallest < _COARSE_THRESHOLD:
        warnings.append(
            f"{lif.name}: the smallest threshold is only {smallest} steps of {profile.membrane}; membranes are coarse."
        )
    return warnings


def _decay_warnings(
    lif: Lif, what: str, state: str, factors: Any, codes: Any, profile: HardwareProfile
) -> list[str]:
    """Return a warning where decays above 0 are lost in ``codes / 2^k``, or far from it: of a layer's channels or neurons the first such."""
    k = lif.leak_shift or 0
    given = [along_map(np.atleast_1d(values)) for values in (factors, 0 if codes is None else codes)]
    each, unit = np.broadcast_arrays(*given), "neuron" if np.ndim(factors) == 3 else "channel"
    for place, (factor, a) in enumerate(zip(each[0].flat, each[1].flat)):
        where = f"{lif.name}, {unit} {place}" if each[0].size > 1 else lif.name
        if factor > 0 and (warnings := _decay_warning(where, what, state, float(factor), int(a), k, profile)):
            return warnings
    return []


def _decay_warning(
    name: str, what: str, state: str, factor: float, a: int, k: int, profile: HardwareProfile
) -> list[str]:
    if a == 0:
        return [
            f"{name}: {what} {factor:g} rounds to 0 / 2^{k}, so the {state} forgets everything at each step."
        ]
    if a == 1 << k and factor < 1:
        return [f"{name}: {what} {factor:g} rounds to 1, so the {state} never leaks."]
    if abs(a / 2**k / factor - 1) > LARGE_LEAK_ERROR:
        advice = "use a profile with a larger leak shift."
        if profile.leak_form == "shift":
            near = exact_shifts(factor, k)
            exact = " or ".join(f"{decay:.10g}" for decay in near)
            # A larger shift adds decays above the largest only.
            advice = f"{profile.name} leaks by shifts. Train with {what} {exact}" + (
                f", or {advice}" if factor > near[-1] else "."
            )
        return [f"{name}: {what} {factor:g} becomes {a}/2^{k} = {a / 2**k:g}; {advice}"]
    return []
