"""What SAST costs beside a baseline, from the committed measurements: rows for the table of the paper's claims."""

from __future__ import annotations

import json
from pathlib import Path

from sastdeploy.errors import InputError

NETWORKS = ("fc_0p40m", "conv_0p42m")
PAPER_SECONDS = (1.8, 2.1)
"""The paper's wall-clock ratios on DVS Gesture and N-MNIST."""
NOTICED = 1.01
"""Ratio of peaks from which on memory is called increased."""


def overhead(benchmarks: Path) -> list[list[str]]:
    """Return the rows (claim, file, paper's figure, ours, verdict) for a training step's seconds and for peak memory.

    Raises:
        InputError: a file is missing or damaged, or lacks a network.
    """
    path, times = benchmarks, {}
    try:
        for name in NETWORKS:
            path = benchmarks / "speed" / "results" / f"training-{name}.json"
            found = json.loads(path.read_text("utf-8"))
            times[name] = found["sast_over_baseline"] | {"turns": found["seconds"]["fused SAST"]["turns"]}
        path = benchmarks / "TRAINING_MEMORY.json"
        found = {each["settings"]["arch"]: each for each in json.loads(path.read_text("utf-8"))}
        peaks = {name: found[name]["sast_over_baseline"]["peak_mib"] for name in NETWORKS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable measurement of {' and '.join(NETWORKS)} ({error!r}). Write it anew with "
            "benchmarks/speed/training.py or benchmarks/training_memory.py."
        ) from error
    return [_seconds(times), _memory(peaks)]


def _seconds(times: dict[str, dict[str, float]]) -> list[str]:
    ours = "; ".join(
        f"`{name}` {ratio['median']:.2f} (of minima {ratio['min']:.2f}, {ratio['turns']} turns)"
        for name, ratio in times.items()
    )
    medians = [ratio["median"] for ratio in times.values()]
    low, high = PAPER_SECONDS
    if max(medians) < low:
        verdict = "below the paper's two figures"
    elif min(medians) > high:
        verdict = "above the paper's two figures"
    elif low <= min(medians) and max(medians) <= high:
        verdict = "within the paper's two figures"
    else:
        verdict = "partly outside the paper's two figures"
    return [
        "Overhead: wall-clock of a SAST training step over a baseline step", "`benchmarks/speed/results/`",
        f"{high:g} and {low:g} (gestures)", f"ratio of medians: {ours}", f"{verdict}; one machine, no interval",
    ]  # fmt: skip


def _memory(ratios: dict[str, float]) -> list[str]:
    above = [name for name, ratio in ratios.items() if ratio >= NOTICED]
    verdict = (
        f"increased for {', '.join(above)}" if above else f"no increase above {100 * (NOTICED - 1):.0f} %"
    )
    return [
        "Overhead: no increase of peak memory, SAST over baseline", "`benchmarks/TRAINING_MEMORY.json`",
        "no increase", "; ".join(f"`{name}` {ratio:.4f}" for name, ratio in ratios.items()), f"{verdict}; medians of a few runs",
    ]  # fmt: skip
