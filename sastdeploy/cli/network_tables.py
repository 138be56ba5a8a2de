"""An imported network as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import numpy as np

from sastdeploy import ImportedNetwork
from sastdeploy.cli.terminal import print_table
from sastdeploy.compiler.imported import network_hash
from sastdeploy.compiler.ir.graph import shapes
from sastdeploy.program.records import NOT_STATED

_NAMES = 20
"""Class names that a line shows at most."""
_READS = {"last": "at the last step", "max": "their largest over time"}


def network_record(network: ImportedNetwork) -> dict[str, Any]:
    """Return what is known of a network as plain values."""
    nodes = [
        {
            "name": node.name,
            "kind": node.kind,
            "output_shape": list(shape),
            **{key: _plain(value) for key, value in _neuron(node).items()},
            **_started(node),
            **_waits(node),
            **_heard(node),
        }
        for node, shape in zip(network.graph.nodes, shapes(network.graph))
    ]
    return {
        "schema": "sastdeploy.import/1", "name": network.graph.name, "nodes": nodes, "semantics": network.semantics,
        "preprocessing": network.preprocessing.to_dict(), "divisor": network.graph.input.divisor,
        "classes": list(network.classes), "dataset": network.dataset, "provenance": network.provenance,
        "hash": network_hash(network),
    }  # fmt: skip


def print_network(network: ImportedNetwork, title: str) -> None:
    """Print the layers, the dialect, and what recordings are taken to be."""
    rows = []
    for node, shape in zip(network.graph.nodes, shapes(network.graph)):
        neuron = _neuron(node)
        weights = getattr(node, "weights", None)
        spiking = (
            (
                _span(neuron["alpha"]),
                neuron["spike_test"],
                f"{neuron['reset']}, delay {neuron['reset_delay']}{_several(neuron['max_spikes'])}",
            )
            if neuron
            else ("-",) * 3
        )
        rows.append(
            (
                node.name,
                _kind(node),
                "x".join(map(str, shape)),
                "-" if weights is None else f"{sum(weight.size for weight in weights):,}",
                *spiking,
            )
        )
    print_table(("layer", "kind", "output", "weights", "alpha", "test", "reset"), rows, title=title)
    rules = network.semantics.get("dialect")
    if isinstance(rules, dict):
        click.echo(
            "Dialect: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in rules.items()) + "."
        )
    for neuron in network.semantics.get("neurons", ()):
        click.echo(f"{neuron['name']}: {neuron['computed']}.")
    if read := network.semantics.get("readout"):
        click.echo(
            f"{read['name']}: {read['computed']}; its membranes are the scores: {_READS[read['reads']]}."
        )
    frames, divisor = network.preprocessing, network.graph.input.divisor
    click.echo(
        f"Recordings: {network.dataset}, frames {'x'.join(map(str, frames.frame_shape))} (P, H, W) in {frames.time_bins} time bins"
        f"{''.join(f', {words}' for words in bins_words(frames.to_dict()))}; the network "
        f"sees min(count, {frames.c_clip}) / {divisor:g}. {len(network.classes)} classes."
    )
    names = ", ".join(network.classes[:_NAMES]) + (", ..." if len(network.classes) > _NAMES else "")
    numbered = network.dataset == NOT_STATED and network.classes == tuple(
        map(str, range(len(network.classes)))
    )
    click.echo(
        f"Classes in the order of outputs: {names}{' (numbered; import --classes names them)' if numbered else ''}."
    )


def bins_words(preprocessing: Mapping[str, Any]) -> list[str]:
    """Return how recordings are divided into bins, where not by their own durations, of `Preprocessing.to_dict`'s record."""
    words = []
    if "window_us" in preprocessing:
        words.append(f"events within {preprocessing['window_us'] / 1000:g} ms")
    if "events_per_bin" in preprocessing:
        words.append(f"bins of {preprocessing['events_per_bin']:,} events")
    if preprocessing.get("binning") == "window":
        words.append("bins of the window")
    return words


def _kind(node: Any) -> str:
    waits = f", up to {node.waits}" if node.waits else ""
    return f"{node.kind}{waits}" if node.source is None else f"{node.kind}{waits}, hears {node.source}"


def _heard(node: Any) -> dict[str, str]:
    return {} if node.source is None else {"source": node.source}


def _started(node: Any) -> dict[str, list[float]]:
    starts = {key: getattr(node, key, None) for key in ("start", "current_start", "floor")}
    return {key: start.tolist() for key, start in starts.items() if start is not None}


def _waits(node: Any) -> dict[str, int]:
    return {"largest_delay": node.waits} if node.waits else {}


def _several(spikes: int) -> str:
    return "" if spikes == 1 else f", up to {spikes} spikes"


def _neuron(node: Any) -> dict[str, Any]:
    keys = ("alpha", "spike_test", "reset", "reset_delay", "max_spikes")
    return {key: getattr(node, key) for key in keys if hasattr(node, key)}


def _span(values: Any) -> str:
    """Return a number, or the ends of those that differ."""
    low, high = f"{np.min(values):.6g}", f"{np.max(values):.6g}"
    return low if low == high else f"{low} to {high}"


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
