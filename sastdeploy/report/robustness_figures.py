"""The grid of robustness against precision as figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sastdeploy.recordings.corruption import KINDS
from sastdeploy.report.figures import Line, accuracy_lines


def answers_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a record's answers by the names that people read."""
    return {"surrogate": record["surrogate"], "hard": record["hard"], **record["programs"]}


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
