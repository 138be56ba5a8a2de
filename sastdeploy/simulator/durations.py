"""How long recordings last, beside those that a program was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.records import Program
from sastdeploy.recordings.catalog import CATALOG

FAR = 2.0
"""A recording is far from those trained on above so many times the longest, or below that part of the shortest."""


RECORDING_ADVICE = "Check the unit (--unit), or leave late events out (--window)."
DATA_SET_ADVICE = "Check the unit of its times (dataset.yaml), or take recordings of that length."


def duration_remarks(program: Program, seconds: NDArray[np.float64], advice: str) -> list[str]:
    """Return a warning where recordings last much longer or shorter than those that the program was trained on.

    Programs of older checkpoints do not know how long those were; then the data set's usual length counts.

    Args:
        advice: what to do, `RECORDING_ADVICE` or `DATA_SET_ADVICE`.
    """
    provenance = program.provenance.get("training_provenance")
    return far_durations(
        program.name, provenance, program.dataset, program.preprocessing.binning, seconds, advice
    )


def far_durations(
    name: str, provenance: object, dataset: str, binning: str, seconds: NDArray[np.float64], advice: str
) -> list[str]:
    """As `duration_remarks`, of a network.

    Args:
        name: what is named. provenance: of its training. dataset: that it was trained on. binning: only with ``duration`` do a
            recording's bins depend on how long it lasts.
    """
    shortest, longest = _trained_seconds(provenance, dataset)
    far = seconds[(seconds > FAR * longest) | (seconds < shortest / FAR)]
    if len(far) == 0 or binning != "duration":
        return []
    lengths = f"{shortest:.2g} s" if shortest == longest else f"{shortest:.2g} to {longest:.2g} s"
    which = (
        f"lasts {far[0]:.3g} s"
        if len(seconds) == 1
        else f"{len(far):,} of {len(seconds):,} last up to {far.max():.3g} s"
    )
    return [
        f"WARNING: {which}; {name} was trained on recordings of {lengths}, so a bin holds something else than it "
        f"did in training. {advice}"
    ]


def _trained_seconds(provenance: object, dataset: str) -> tuple[float, float]:
    stated = provenance.get("recording_seconds") if isinstance(provenance, dict) else None
    if isinstance(stated, list) and len(stated) == 2 and all(type(value) is float for value in stated):
        return stated[0], stated[1]
    known = CATALOG.get(dataset)
    return (known.seconds, known.seconds) if known else (0.0, float("inf"))
