"""What SAST costs beside a baseline, from the committed measurements: rows for the table of the paper's claims."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from verdicts import Claim

from sastdeploy.errors import InputError
from sastdeploy.experiments.tables import NONE

NETWORKS = ("fc_0p40m", "conv_0p42m")
PAPER_SECONDS = (1.8, 2.1)
"""The paper's wall-clock ratios on DVS Gesture and N-MNIST."""
NOTICED = 1.01
"""Ratio of peaks from which on memory is called increased."""


@dataclass(frozen=True)
class Step:
    """A training step's median seconds, SAST's over the baseline's by medians and by minima, and how often each was timed."""

    baseline: float
    sast: float
    ratio: float
    least: float
    turns: int


@dataclass(frozen=True)
class Peak:
    """A training process's largest resident memory in MiB, and the ratio."""

    baseline: float
    sast: float
    ratio: float


def overhead(benchmarks: Path) -> list[Claim]:
    """Return the claims on a training step's seconds and on peak memory.

    Raises:
        InputError: a file is missing or damaged, or lacks a network.
    """
    path, times = benchmarks, {}
    try:
        for name in NETWORKS:
            path = benchmarks / "speed" / "results" / f"training-{name}.json"
            found = json.loads(path.read_text("utf-8"))
            seconds = (found["seconds"][f"fused {method}"]["median"] for method in ("baseline", "SAST"))
            times[name] = Step(
                *seconds, found["sast_over_baseline"]["median"], found["sast_over_baseline"]["min"], found["seconds"]["fused SAST"]["turns"]
            )  # fmt: skip
        path = benchmarks / "speed" / "TRAINING_MEMORY.json"
        found = {each["settings"]["arch"]: each for each in json.loads(path.read_text("utf-8"))}
        peaks = {
            name: Peak(
                *(found[name][part]["peak_mib"] for part in ("baseline", "sast", "sast_over_baseline"))
            )
            for name in NETWORKS
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable measurement of {' and '.join(NETWORKS)} ({error!r}). Write it anew with "
            "benchmarks/speed/training.py or benchmarks/speed/training_memory.py."
        ) from error
    return [_seconds(times), _memory(peaks)]


def _seconds(times: dict[str, Step]) -> Claim:
    ours = "; ".join(
        f"`{name}` {1000 * step.baseline:.1f} to {1000 * step.sast:.1f} ms, ratio of medians {step.ratio:.2f} (of minima {step.least:.2f}, {step.turns} turns)"
        for name, step in times.items()
    )  # fmt: skip
    medians = [step.ratio for step in times.values()]
    low, high = PAPER_SECONDS
    if max(medians) < low:
        verdict = "below the paper's two figures"
    elif min(medians) > high:
        verdict = "above the paper's two figures"
    elif low <= min(medians) and max(medians) <= high:
        verdict = "within the paper's two figures"
    else:
        verdict = "partly outside the paper's two figures"
    return Claim(
        "Overhead", "wall-clock of a training step", "`benchmarks/speed/results/`", "", f"{high:g} and {low:g} (gestures) times a baseline step",
        ours, NONE, f"{verdict}; one machine, no interval",
    )  # fmt: skip


def _memory(peaks: dict[str, Peak]) -> Claim:
    above = [name for name, peak in peaks.items() if peak.ratio >= NOTICED]
    verdict = (
        f"increased for {', '.join(above)}" if above else f"no increase above {100 * (NOTICED - 1):.0f} %"
    )
    ours = "; ".join(
        f"`{name}` {peak.baseline:,.1f} to {peak.sast:,.1f} MiB, ratio {peak.ratio:.4f}" for name, peak in peaks.items()
    )  # fmt: skip
    return Claim(
        "Overhead", "peak memory (of the whole process, Python and its libraries included)", "`benchmarks/speed/TRAINING_MEMORY.json`", "", "no increase",
        ours, NONE, f"{verdict}; medians of a few runs",
    )  # fmt: skip
