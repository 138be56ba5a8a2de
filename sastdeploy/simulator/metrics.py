"""Figures computed from a run: accuracy with its interval, operations, sparsity, footprint, energy."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy import __version__
from sastdeploy.errors import InputError
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.records import Program
from sastdeploy.simulator.neurobench import activation_sparsity, neurobench, synops_by_definition
from sastdeploy.simulator.result import RunResult, spike_counts
from sastdeploy.statistics import wilson_interval

SCHEMA = "sastdeploy.simulation/1"


def accuracy(labels: NDArray[np.integer], predicted: NDArray[np.integer]) -> dict[str, Any]:
    """Return ``correct``, ``total``, ``value`` (None without recordings) and the 95 % Wilson interval ``low, high``.

    Raises:
        InputError: the two differ in length.
    """
    if len(labels) != len(predicted):
        raise InputError(
            f"accuracy: {len(labels)} labels for {len(predicted)} predictions. Give one label per recording."
        )
    correct, total = int(np.sum(np.asarray(labels) == np.asarray(predicted))), len(labels)
    low, high = wilson_interval(correct, total)
    return {
        "correct": correct,
        "total": total,
        "value": correct / total if total else None,
        "low": low,
        "high": high,
    }


def confusion_matrix(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Return int64 ``[classes, classes]``: row = true class, column = predicted class.

    Raises:
        InputError: a label or a prediction is outside ``0 .. classes - 1``.
    """
    labels, predicted = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    for name, values in (("label", labels), ("prediction", predicted)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise InputError(f"confusion matrix: a {name} is outside 0 to {classes - 1}.")
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def energy(program: Program, result: RunResult) -> dict[str, Any] | None:
    """Return picojoules per recording, each term apart, from the profile's figures; None where it has none.

    ``synop_pj`` times the operations, ``neuron_update_pj`` times the neuron updates (every LIF output at every
    step), ``spike_pj`` times the spikes sent; several of a neuron in a step are one, as a count at the input is. A null figure leaves its term null and out of the total.
    """
    figures = program.profile.get("energy")
    if not isinstance(figures, dict) or len(result) == 0:
        return None
    # A pool has no neurons: it passes spikes on.
    spiking = [layer.lif is not None for layer in program.layers]
    neurons = sum(int(np.prod(shape)) for own, shape in zip(spiking, program.shapes()[1:]) if own)
    amounts = {
        "synop_pj": float(result.synops.sum()) / len(result),
        "neuron_update_pj": float(neurons * program.preprocessing.time_bins),
        "spike_pj": float(result.spikes[:, spiking].sum()) / len(result),
    }
    terms = {name: _times(_figure(figures.get(name)), amount) for name, amount in amounts.items()}
    known = [value for value in terms.values() if value is not None]
    return {"terms_pj": terms, "total_pj": sum(known)} if known else None


def summarise(
    program: Program,
    result: RunResult,
    labels: NDArray[np.integer] | None = None,
    *,
    dataset: str | None = None,
    split: str | None = None,
    data_hash: str | None = None,
    program_hash: str | None = None,
    recorded_seconds: float | None = None,
) -> dict[str, Any]:
    """Return every figure of a run as plain JSON values, under ``"schema": "sastdeploy.simulation/1"``.

    ``ksynops`` are means per recording / 1000, each beside the architecture's ``maximum``; rates and shares are None
    without recordings. ``neurobench`` and ``synops_by_definition`` are explained in `sastdeploy.simulator.neurobench`.

    Args:
        program: the program that ran.
        result: its run of N recordings.
        labels: integers ``[N]``, their true classes; without them ``accuracy`` and ``confusion`` are None.
        dataset, split, data_hash, program_hash: what ran, copied as given.
        recorded_seconds: how long all recordings together lasted at the sensor; over the seconds of simulation it gives the
            real-time factor, which is None without it.

    Raises:
        InputError: labels do not fit the result.

    Example::

        figures = summarise(program, simulate(program, test), test.labels)
        print(figures["accuracy"]["value"], figures["ksynops"]["all"]["mean"], figures["layers"][0]["spike_rate"])
    """
    classes = len(program.classes)
    return {
        "schema": SCHEMA,
        "program": program.name,
        "dataset": dataset,
        "split": split,
        "recordings": len(result),
        "classes": list(program.classes),
        "accuracy": None if labels is None else accuracy(labels, result.predicted),
        "confusion": None if labels is None else confusion_matrix(labels, result.predicted, classes).tolist(),
        "ksynops": _ksynops(program, result),
        "synops_by_definition": synops_by_definition(program, result),
        "layers": _layers(program, result),
        "activation_sparsity": activation_sparsity(program, result),
        "footprint_bytes": footprint_bytes(program),
        "neurobench": neurobench(program, result),
        "energy": energy(program, result),
        "speed": speed(result, recorded_seconds),
        "provenance": {
            **program.provenance,
            "program_hash": program_hash,
            "profile": program.profile.get("name"),
            "trained_on": program.dataset,
            "data_hash": data_hash,
            "engine": result.engine,
            "threads": result.threads,
            "simulated_with": {
                "sastdeploy": __version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
    }


def _ksynops(program: Program, result: RunResult) -> dict[str, Any]:
    kinds = ("all", "event_weighted", "nonzero_weights")
    arrays = (result.synops, result.synops_events, result.synops_nonzero)
    maxima = largest_synops(program)
    sources = ("input", *result.layers)
    targets = _targets(program)
    record: dict[str, Any] = {
        kind: {"mean": _mean(array.sum(axis=1)), "maximum": float(maximum.sum()) / 1000}
        for kind, array, maximum in zip(kinds, arrays, maxima)
    }
    record["sources"] = [
        {
            "source": source,
            "target": target,
            **{
                kind: {"mean": _mean(array[:, position]), "maximum": float(maximum[position]) / 1000}
                for kind, array, maximum in zip(kinds, arrays, maxima)
            },
        }
        for position, (source, target) in enumerate(zip(sources, targets))
    ]
    return record


def _targets(program: Program) -> list[str]:
    """Return for every source the names of what hears it; of one that is a further input alone, of what takes it."""
    names = (*(layer.name for layer in program.layers), program.readout.name)
    own: list[list[str]] = [[] for _ in names]
    further: list[list[str]] = [[] for _ in names]
    for name, source in zip(names, program.sources()):
        own[source].append(name)
    for part in (*program.layers, program.readout):
        for each in part.further:
            further[each.source].append(part.name)
    return [" and ".join(hearing or more) for hearing, more in zip(own, further)]


def _layers(program: Program, result: RunResult) -> list[dict[str, Any]]:
    steps = program.preprocessing.time_bins * len(result)
    rows, sent = [], spike_counts(program, result).sum(axis=0)
    for position, (layer, counts) in enumerate(zip(program.layers, result.neuron_spikes)):
        updates = 0 if layer.lif is None else len(counts) * steps
        low, high = (int(a[:, position].sum()) for a in (result.overflow_low, result.overflow_high))
        rows.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "outputs": len(counts),
                "spikes_per_recording": float(sent[position]) / len(result) if len(result) else None,
                "spike_rate": float(sent[position]) / (len(counts) * steps) if steps else None,
                "silent": int((counts == 0).sum()) if steps else None,
                "always_firing": int((counts == steps).sum()) if steps else None,
                "overflow_low": low,
                "overflow_high": high,
                "overflow_share": (low + high) / updates if updates else None,
            }
        )
    return rows


def speed(result: RunResult, recorded: float | None) -> dict[str, Any]:
    """Return a run's rates as plain data; ``recorded``: seconds that its recordings lasted at the sensor, where known."""
    known = result.seconds > 0 and len(result) > 0
    return {
        "seconds": result.seconds,
        "sequences_per_second": len(result) / result.seconds if known else None,
        "gsynops_per_second": float(result.synops.sum()) / result.seconds / 1e9 if known else None,
        "real_time_factor": recorded / result.seconds if known and recorded is not None else None,
        "stages": dict(result.stages),
    }


def _mean(operations: NDArray[np.int64]) -> float | None:
    return float(operations.sum()) / len(operations) / 1000 if len(operations) else None


def _figure(entry: Any) -> float | None:
    """Return the number of a profile entry, written plainly or as ``{"value": ..., "source": ...}``."""
    value = entry.get("value") if isinstance(entry, dict) else entry
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _times(figure: float | None, amount: float) -> float | None:
    return None if figure is None else figure * amount
