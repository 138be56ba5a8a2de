"""compile: checkpoint -> graph -> passes -> Program, and the report that a porting engineer reads."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy import atomic
from sastdeploy.checkpoint import Checkpoint, checkpoint_hash
from sastdeploy.errors import CompileError, InputError
from sastdeploy.hardware import HardwareProfile
from sastdeploy.ir.graph import Graph, shapes, verify
from sastdeploy.ir.importer import graph_from_checkpoint
from sastdeploy.ir.nodes import Conv2d, Lif, Readout, Synapses
from sastdeploy.ir.text import print_graph
from sastdeploy.passes.assemble import assemble
from sastdeploy.passes.check_limits import check_limits
from sastdeploy.passes.fit_gains import fit_gains
from sastdeploy.passes.fit_leaks import fit_leaks
from sastdeploy.passes.fit_thresholds_and_biases import fit_thresholds_and_biases
from sastdeploy.passes.fold_scales import fold_scales
from sastdeploy.passes.prove_ranges import prove_ranges
from sastdeploy.passes.quantize_weights import quantize_weights
from sastdeploy.program import Program
from sastdeploy.provenance import versions

Pass = Callable[[Graph, HardwareProfile], Graph]

PASSES: tuple[Pass, ...] = (
    fold_scales,
    quantize_weights,
    fit_gains,
    fit_leaks,
    fit_thresholds_and_biases,
    prove_ranges,
    check_limits,
)


def compile_checkpoint(
    checkpoint: Checkpoint, profile: HardwareProfile, *, dump: Path | None = None
) -> Program:
    """Return the integer program of a checkpoint on a profile; the same inputs give the same program.

    Args:
        dump: folder to which the graph is written as text after every pass, with ``tensors.npz``.

    Raises:
        CompileError: the network does not fit the hardware, or its preprocessing cannot run on any.
    """
    if checkpoint.preprocessing.normalisation != "fixed":
        raise CompileError(
            f"normalisation '{checkpoint.preprocessing.normalisation}' divides by a recording's own largest count, which "
            f"is known only after its last event: no causal hardware can do that. Train with --normalisation fixed."
        )
    start = graph_from_checkpoint(checkpoint)
    graph = run_passes(start, profile, PASSES, dump)
    facts = {
        "preprocessing": checkpoint.preprocessing,
        "classes": checkpoint.classes,
        "dataset": checkpoint.dataset,
        "provenance": {
            "checkpoint_hash": checkpoint_hash(checkpoint),
            "training": checkpoint.training,
            "training_provenance": checkpoint.provenance,
            "versions": versions("numpy", "onnx"),
        },
        "costs": _report(start, graph, profile),
    }
    return assemble(graph, profile, facts)


def run_passes(
    graph: Graph, profile: HardwareProfile, passes: tuple[Pass, ...], dump: Path | None = None
) -> Graph:
    """Return the graph after all passes; it is valid before and after each.

    Raises:
        CompileError: from a pass; its message names the pass and those before it.
    """
    done: list[str] = []
    tensors: dict[str, Any] = {}
    verify(graph)
    if dump is not None:
        _dump(dump, "00-imported", graph, tensors)
    for number, step in enumerate(passes, 1):
        name = step.__name__
        try:
            graph = step(graph, profile)
        except CompileError as error:
            raise CompileError(f"{error} [pass {name}, after {', '.join(done) or 'none'}]") from error
        try:
            verify(graph)
        except InputError as error:
            raise CompileError(
                f"pass {name} (after {', '.join(done) or 'none'}) left an invalid graph: {error}"
            ) from error
        done.append(name)
        if dump is not None:
            _dump(dump, f"{number:02d}-{name}", graph, tensors)
    return graph


def _dump(folder: Path, name: str, graph: Graph, tensors: dict[str, Any]) -> None:
    text, found = print_graph(graph)
    tensors |= found
    atomic.write_text(folder / f"{name}.txt", text)
    content = io.BytesIO()
    np.savez(content, **tensors)
    atomic.write_bytes(folder / "tensors.npz", content.getvalue())


def compile_report(program: Program) -> dict[str, Any]:
    """Return the figures that compiling found, as plain JSON values: ``layers``, totals and ``warnings``."""
    return program.costs


def _report(start: Graph, graph: Graph, profile: HardwareProfile) -> dict[str, Any]:
    sizes = dict(zip((node.name for node in graph.nodes), shapes(graph)))
    layers = [
        _layer_report(node, sizes[node.name], profile) for node in graph.nodes if isinstance(node, Synapses)
    ]
    leaks = [node for node in graph.nodes if isinstance(node, Lif)]
    return {
        "schema": "sastdeploy.compilation/1",
        "layers": layers,
        "leak_relative_error": max(
            abs((n.leak_multiplier or 0) / 2 ** (n.leak_shift or 0) / n.alpha - 1) for n in leaks
        ),
        "weight_bytes": sum(layer["weight_bytes"] for layer in layers),
        "neurons": sum(layer["neurons"] for layer in layers if layer["kind"] != "readout"),
        "warnings": _warnings(start, graph, profile),
    }


def _layer_report(node: Synapses, shape: tuple[int, int, int], profile: HardwareProfile) -> dict[str, Any]:
    assert_known = (node.weight_q, node.weight_scale, node.multiplier, node.shift)
    if any(value is None for value in assert_known):
        raise CompileError(f"{node.name}: an integer is missing; a pass was left out.")
    weight_q, scale, multiplier, shift = (np.asarray(value) for value in assert_known)
    noise = float(((node.weight - node.effective_weight) ** 2).sum())
    signal = float((node.weight**2).sum())
    gain = node.gain * scale * 2.0**profile.membrane.fraction_bits
    achieved = multiplier / np.exp2(shift.astype(np.float64))
    return {
        "name": node.name,
        "kind": "readout" if isinstance(node, Readout) else "conv" if isinstance(node, Conv2d) else "dense",
        "weights": int(node.weight.size),
        "weight_format": f"INT{profile.weight_bits}",
        "scale": [float(scale.min()), float(scale.max())],
        "signal_to_noise_db": 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None,
        "zero_weights": float((weight_q == 0).mean()),
        "gain": [float(gain.min()), float(gain.max())],
        "gain_relative_error": float(np.abs(achieved / gain - 1).max()),
        "accumulator_bits": node.accumulator_bits,
        "weight_bytes": -(-int(node.weight.size) * profile.weight_bits // 8),
        "neurons": int(np.prod(shape)),
        "fan_in": int(np.prod(node.weight.shape[1:])),
    }


def _warnings(start: Graph, graph: Graph, profile: HardwareProfile) -> list[str]:
    warnings = []
    trained = next(node for node in start.nodes if isinstance(node, Lif))
    for what in ("spike_test", "reset", "reset_delay"):
        before, now = getattr(trained, what), getattr(profile, what)
        if before != now:
            warnings.append(
                f"{what.replace('_', ' ')}: trained with '{before}', {profile.name} does '{now}'. The program follows the "
                f"hardware; expect other spikes than in training."
            )
    for node in graph.nodes:
        if isinstance(node, Lif) and node.leak_multiplier == 0:
            warnings.append(
                f"{node.name}: alpha {node.alpha:g} rounds to 0, so the membrane forgets everything each step."
            )
        if isinstance(node, Synapses) and node.weight_q is not None and not node.weight_q.any():
            warnings.append(f"{node.name}: every weight is 0 after quantization, so the layer sees nothing.")
    return warnings
