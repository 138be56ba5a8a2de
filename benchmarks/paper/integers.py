"""What integer programs lose against hard spikes in floating point, by kind of network."""

from __future__ import annotations

from collections.abc import Mapping

from claims import EQUAL_COMPUTE
from names import MAP, at, lines
from ways import kinds

from sastdeploy.experiments.results import Point, Results, ends
from sastdeploy.experiments.sentences import learnt
from sastdeploy.experiments.tables import NONE, difference, markdown


def integers(found: Mapping[str, Results | None]) -> str:
    """Return the table of integer programs less hard spikes, of baselines that have learnt; empty without any."""
    rows = []
    for name, points in _baselines(found).items():
        for profile in points[0].trial.profiles if points else ():
            having = [p for p in points if f"{profile} less hard" in p.samples]
            if having:
                samples = [p.samples[f"{profile} less hard"] for p in having]
                means = [sample.mean for sample in samples]
                one = difference(samples[0])
                told = (
                    f"{min(means):+.2f} to {max(means):+.2f} (means)"
                    if len(means) > 1
                    else f"{means[0]:+.2f}"
                    if one == NONE
                    else one
                )
                net = "convolution" if "conv" in kinds(points[0].trial) else "dense"
                rows.append([net, f"`{name}`", f"`{profile}`", told, ", ".join(at(p) for p in having)])
    header = [
        "network",
        "experiment",
        "profile",
        "integer program less hard spikes, points (95 %)",
        "at largest frame values",
    ]
    return markdown(header, rows) if rows else ""


def _baselines(found: Mapping[str, Results | None]) -> dict[str, list[Point]]:
    """Return by experiment the learnt baselines: of the map's first part, over the input scales, and of every pair of a convolution.

    Networks that two experiments have in common stand under the first.
    """
    in_scale = found.get("map-scale")
    kept = {} if in_scale is None else {"map-scale": [p for p in lines(in_scale)[0] if learnt(p)]}
    told = set()
    for name, results in found.items():
        pair = None if results is None or name in (*MAP, *EQUAL_COMPUTE) else ends(results)
        if pair is not None and "conv" in kinds(pair[0].trial) and learnt(pair[0]):
            networks = frozenset(record["address"] for record in pair[0].raw)
            if networks not in told:
                kept[name] = [pair[0]]
            told.add(networks)
    return kept
