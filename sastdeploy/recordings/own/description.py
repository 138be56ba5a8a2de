"""What a folder of recordings holds, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from sastdeploy.recordings.own.folder import Opened
from sastdeploy.recordings.own.records import SPLITS

SCHEMA = "sastdeploy.own_dataset/1"


def describe_folder(opened: Opened) -> dict[str, Any]:
    """Return a data set's facts, JSON-ready: counts, events, duration (s), rate (events per ms) and share of ON per class."""
    facts, declaration = opened.dataset, opened.declaration
    assert facts.own
    pairs = list(zip(facts.own.entries, opened.scanned))
    classes = {}
    for name in facts.classes:
        own = [(entry, file) for entry, file in pairs if entry.label == name]
        good = [file for _, file in own if not file.bad]
        rates = [file.events / (file.seconds * 1000) for file in good if file.seconds]
        classes[name] = {
            **{part: sum(entry.split == part for entry, _ in own) for part in SPLITS},
            "events": sum(file.events for file in good),
            "seconds": _spread([file.seconds for file in good]),
            "events_per_ms": _spread(rates),
            "share_on": sum(f.on for f in good) / sum(f.events for f in good) if good else None,
        }
    return {
        "schema": SCHEMA, "dataset": facts.name, "name": facts.title, "simulated": facts.simulated,
        "recordings": len(pairs), "layout": opened.layout.kind, "format": opened.layout.suffix,
        "sensor_size": list(facts.sensor_size), "frame_size": list(facts.frame_size),
        "largest_pixel": [max(file.width for _, file in pairs) - 1, max(file.height for _, file in pairs) - 1],
        "unit": declaration.unit or "us", "columns": declaration.columns,
        "split": declaration.split.model_dump() if declaration.split else None, "classes": classes,
        "guessed": list(facts.own.guessed), "left_out": list(facts.own.left_out),
        "bad": [file.bad for _, file in pairs if file.bad],
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"least": min(values), "median": float(np.median(values)), "most": max(values)}
