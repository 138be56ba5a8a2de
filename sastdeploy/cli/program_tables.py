"""A program's report, as `compile` found it and the program keeps it, as tables and as JSON."""

from __future__ import annotations

from typing import Any

import click

from sastdeploy import InputError, Program
from sastdeploy._files.reading import shown
from sastdeploy.cli.terminal import print_table
from sastdeploy.program.file import meaning_hash, program_hash

_COLUMNS = (
    "layer", "kind", "weights", "scale", "SNR dB", "zero %", "gain err.", "leak err.", "acc. bits", "bytes", "neurons", "fan-in",
    "fan-out", "max kSynOps",
)  # fmt: skip


def print_report(program: Program, costs: dict[str, Any]) -> None:
    """Print layers, cores and memory.

    Args:
        costs: of `PortingReport.to_dict`.
    """
    rows = [
        (layer["name"], layer["kind"], layer["weight_format"], _span(*layer["scale"]),
         "exact" if layer["signal_to_noise_db"] is None else f"{layer['signal_to_noise_db']:.1f}",
         f"{100 * layer['zero_weights']:.1f}", f"{layer['gain_relative_error']:.1e}",
         "-" if layer["leak_relative_error"] is None else f"{layer['leak_relative_error']:.1e}",
         layer["accumulator_bits"], *(f"{layer[key]:,}" for key in ("weight_bytes", "neurons", "fan_in", "fan_out")),
         f"{layer['largest_ksynops']:,.1f}")
        for layer in costs["layers"]
    ]  # fmt: skip
    neurons = next(lif for layer in program.layers if (lif := getattr(layer, "lif", None)) is not None)
    print_table(
        _COLUMNS, rows, title=f"{program.name}: membrane {neurons.membrane}, {neurons.overflow.value}"
    )
    _print_cores(costs.get("cores", []))
    memory = costs["footprint_bytes"]
    click.echo(
        f"Memory: {memory['total']:,} bytes = {memory['weights']:,} weights + {memory['parameters']:,} gains, biases, "
        f"thresholds + {memory['state']:,} state. {costs['neurons']:,} neurons.\n"
        f"At most {costs['largest_ksynops']:,.1f} kSynOps per recording."
    )


def print_program(program: Program, path: str) -> None:
    """Print the report that a program's file holds, and where the program comes from.

    Raises:
        InputError: it holds none that is whole.
    """
    try:
        print_report(program, program.costs)
        for warning in program.costs["warnings"]:
            click.echo(f"WARNING: {warning}", err=True)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise InputError(
            f"{shown(path)}: holds no whole report of its compilation ({error!r}). Compile the network again."
        ) from error
    frames = program.preprocessing
    click.echo(
        f"Frames: {frames.time_bins} bins, counts up to {frames.c_clip}, for {program.dataset}; {len(program.classes)} classes.\n"
        f"Hash: {program_hash(program)}"
    )


def program_record(program: Program) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "schema": "sastdeploy.program/1", "name": program.name, "costs": program.costs, "profile": program.profile,
        "preprocessing": program.preprocessing.to_dict(), "classes": list(program.classes), "dataset": program.dataset,
        "provenance": program.provenance, "program_hash": program_hash(program), "meaning_hash": meaning_hash(program),
    }  # fmt: skip


def _print_cores(cores: list[dict[str, Any]]) -> None:
    """Print how full each core in use is; of neighbours that hold the same, the first and how many."""
    rows: list[list[str]] = []
    last = None
    for core in cores:
        kind = (core["layers"], core["neurons"], core["memory_bytes"])
        if kind == last:
            rows[-1][0] = f"{rows[-1][0].split(' ')[0]} to {core['core']}"
            continue
        last = kind
        rows.append([
            str(core["core"]), ", ".join(core["layers"]), _share(core["neurons"], core["neuron_limit"]),
            _share(core["memory_bytes"], core["memory_limit"]),
        ])  # fmt: skip
    if rows:
        print_table(("core", "layers", "neurons", "weight bytes"), rows)


def _share(used: int, limit: int | None) -> str:
    return f"{used:,}" if limit is None else f"{used:,} ({100 * used / limit:.0f} % of {limit:,})"


def _span(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.3g} to {high:.3g}"
