"""compile: checkpoint -> graph -> passes -> Program, and the report that a porting engineer reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy._files import atomic
from sastdeploy.compiler.imported import ImportedNetwork, network_hash
from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.text import print_graph
from sastdeploy.compiler.passes.assemble import assemble
from sastdeploy.compiler.passes.check_limits import check_limits
from sastdeploy.compiler.passes.check_neurons import check_neurons, with_its_spike_test
from sastdeploy.compiler.passes.fit_gains import fit_gains
from sastdeploy.compiler.passes.fit_leaks import fit_leaks
from sastdeploy.compiler.passes.fit_thresholds_and_biases import fit_thresholds_and_biases
from sastdeploy.compiler.passes.fold_scales import fold_scales
from sastdeploy.compiler.passes.prove_ranges import prove_ranges
from sastdeploy.compiler.passes.quantize_weights import quantize_weights
from sastdeploy.compiler.profiles import HardwareProfile, load_profile
from sastdeploy.compiler.report import PortingReport, porting_report
from sastdeploy.errors import CompileError, InputError
from sastdeploy.networks.checkpoint import Checkpoint, checkpoint_hash, silence
from sastdeploy.program.records import Program
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


@dataclass(frozen=True)
class Compilation:
    """An integer program and what compiling it found.

    Args:
        program: for `sastdeploy.simulate` and `sastdeploy.save_program`.
        report: figures per layer, totals, and warnings.
    """

    program: Program
    report: PortingReport


def compile(
    checkpoint: Checkpoint | ImportedNetwork,
    profile: HardwareProfile | Path | str = "loihi_int8",
    *,
    neuron: str = "network",
    dump: Path | str | None = None,
    force: bool = False,
) -> Compilation:
    """Return the integer program of a checkpoint, or of an imported network, on a hardware profile, with the report that a port needs.

    The same checkpoint and profile give the same program, byte for byte.

    Args:
        checkpoint: what is compiled: a trained network, or an imported one.
        neuron: of an imported network on hardware whose neuron differs: ``network`` refuses it, ``profile`` follows the
            hardware, with a warning. A checkpoint of ours always follows the hardware.
        profile: a built-in profile's name, the path of a YAML file, or a profile from `load_profile`.
        dump: folder to which the graph is written as text after every pass, with ``tensors.npz``.
        force: replace other files that are there.

    Raises:
        InputError: an unknown profile, a file that is none, or without ``force`` another file in ``dump``.
        CompileError: the network does not fit the hardware (the message names layer, neuron, value and what would fit),
            or its preprocessing cannot run on any.

    Example::

        compilation = compile(load_checkpoint("ckpt.pt"), "loihi_int8")
        print(compilation.report.warnings, compilation.report.layers[0].signal_to_noise_db)
    """
    if not isinstance(profile, HardwareProfile):
        profile = load_profile(profile)
    dump = None if dump is None else Path(dump)
    if neuron not in ("network", "profile"):
        raise InputError(f"neuron '{neuron}': unknown. Allowed: network, profile.")
    if isinstance(checkpoint, ImportedNetwork):
        return _compile_imported(checkpoint, profile, neuron, dump, force)
    if checkpoint.preprocessing.normalisation != "fixed":
        raise CompileError(
            f"normalisation '{checkpoint.preprocessing.normalisation}' divides by a recording's own largest count, which "
            f"is known only after its last event: no causal hardware can do that. Train with --normalisation fixed."
        )
    start = graph_from_checkpoint(checkpoint)
    graph = run_passes(start, profile, PASSES, dump, force)
    facts = _facts(
        checkpoint,
        {
            "checkpoint_hash": checkpoint_hash(checkpoint),
            "training": checkpoint.training,
            "training_provenance": checkpoint.provenance,
            "versions": versions("numpy", "onnx"),
        },
    )
    program = assemble(graph, profile, facts)
    report = porting_report(start, graph, profile, program)
    if silent := checkpoint.training["selected"].get("silent_layers"):
        report = replace(report, warnings=(*report.warnings, silence(silent)))
    return Compilation(replace(program, costs=report.to_dict()), report)


def _facts(network: Checkpoint | ImportedNetwork, provenance: dict[str, Any]) -> dict[str, Any]:
    return {
        "preprocessing": network.preprocessing,
        "classes": network.classes,
        "dataset": network.dataset,
        "provenance": provenance,
        "costs": {},
    }


def _compile_imported(
    network: ImportedNetwork, profile: HardwareProfile, neuron: str, dump: Path | None, force: bool
) -> Compilation:
    start = network.graph
    if neuron == "network":
        start = with_its_spike_test(start, profile)
        check_neurons(start, profile)
    graph = run_passes(start, profile, PASSES, dump, force)
    provenance = {
        "network_hash": network_hash(network),
        "semantics": network.semantics,
        "import_provenance": network.provenance,
        "versions": versions("numpy", "onnx"),
    }
    program = assemble(graph, profile, _facts(network, provenance))
    report = porting_report(start, graph, profile, program)
    return Compilation(replace(program, costs=report.to_dict()), report)


def run_passes(
    graph: Graph,
    profile: HardwareProfile,
    passes: tuple[Pass, ...],
    dump: Path | None = None,
    force: bool = False,
) -> Graph:
    """Return the graph after all passes; it is valid before and after each.

    Raises:
        CompileError: from a pass; its message names the pass and those before it. Limits need nothing that a pass fills
            in, so they are checked then too, and all reasons are told at once.
    """
    done: list[str] = []
    texts: dict[str, str] = {}
    tensors: dict[str, Any] = {}

    def note(name: str) -> None:
        if dump is not None:
            texts[f"{len(texts):02d}-{name}.txt"], more = print_graph(graph)
            tensors.update(more)

    check_graph(graph)
    note("imported")
    try:
        for number, step in enumerate(passes, 1):
            name = step.__name__
            try:
                graph = step(graph, profile)
            except CompileError as error:
                reasons = _named(error, name, done)
                if check_limits in passes[number:]:
                    reasons += _limits_exceeded(graph, profile)
                raise CompileError(*reasons) from error
            try:
                check_graph(graph)
            except InputError as error:
                raise CompileError(
                    f"pass {name} (after {', '.join(done) or 'none'}) left an invalid graph: {error}"
                ) from error
            done.append(name)
            note(name)
    finally:
        # After a pass that refused the network, too: its graph is what one looks at then.
        if dump is not None:
            _dump(dump, texts, tensors, force)
    return graph


def _named(error: CompileError, name: str, done: list[str]) -> list[str]:
    return [f"{reason} [pass {name}, after {', '.join(done) or 'none'}]" for reason in error.reasons]


def _limits_exceeded(graph: Graph, profile: HardwareProfile) -> list[str]:
    try:
        check_limits(graph, profile)
    except CompileError as error:
        return [f"{reason} [pass check_limits]" for reason in error.reasons]
    return []


def _dump(folder: Path, texts: dict[str, str], tensors: dict[str, Any], force: bool) -> None:
    with atomic.adding_files(folder, force=force) as fresh:
        for name, text in texts.items():
            (fresh / name).write_text(text, "utf-8")
        np.savez(fresh / "tensors.npz", **tensors)
