"""The grid of robustness against precision as tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sastdeploy.events.corruption import KINDS
from sastdeploy.report.figures import Line, accuracy_lines
from sastdeploy.report.terminal import print_table


def answers_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a record's answers by the names that people read."""
    return {"surrogate": record["surrogate"], "hard": record["hard"], **record["programs"]}


def print_records(records: list[dict[str, Any]], title: str) -> None:
    """Print accuracies with their intervals, then what each corruption costs, as tables on stdout."""
    names, profiles = list(answers_of(records[0])), list(records[0]["programs"])
    print_table(
        ("corruption", "events", *(f"{name}, %" for name in names), *(f"{p}, kSynOps" for p in profiles)),
        [
            (
                record["corruption"],
                f"{record['events']:,.0f}",
                *(_percent(answer) for answer in answers_of(record).values()),
                *(f"{record['programs'][profile]['ksynops']:,.1f}" for profile in profiles),
            )
            for record in records
        ],
        title=f"{title}: accuracy and its 95 % interval",
    )
    print_table(
        ("corruption", *names),
        [
            (record["corruption"], *(_percent(answer["loss"]) for answer in answers_of(record).values()))
            for record in records[1:]
        ],
        title="points lost against clean, with the 95 % interval of the paired differences",
    )


def _percent(figure: dict[str, float]) -> str:
    return f"{100 * figure['value']:.2f} ({100 * figure['low']:.2f} to {100 * figure['high']:.2f})"


def draw(records: list[dict[str, Any]], folder: Path, title: str) -> list[Path]:
    """Write a figure per kind of corruption, ``robustness_KIND.png``, level 0 being clean; return their paths."""
    paths = []
    for kind in dict.fromkeys(record["kind"] for record in records[1:]):
        points = sorted((r["level"], answers_of(r)) for r in records if r["kind"] == kind and r["level"] > 0)
        points = [(0.0, answers_of(records[0])), *points]
        lines = [
            Line(
                name,
                tuple(level for level, _ in points),
                *(tuple(answers[name][part] for _, answers in points) for part in ("value", "low", "high")),
            )
            for name in points[0][1]
        ]
        unit = f" ({KINDS[kind].unit})" if KINDS[kind].unit else ""
        path = folder / f"robustness_{kind}.png"
        accuracy_lines(lines, path, f"{title}, corrupted", f"{KINDS[kind].meaning}{unit}")
        paths.append(path)
    return paths
