"""What neurons hold before the first step of every recording, where that is not 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.layers.each import along_map, check_each
from sastdeploy.program.limits import Shape, refuse

STARTS = ("start", "current_start")
"""Fields of a LIF layer with one int32 per output channel or neuron, where its membranes, or its currents, start elsewhere than at 0."""


def check_start(
    where: str, name: str, start: NDArray[np.int32] | None, shape: Shape, membrane: QFormat
) -> None:
    """Accept one state per channel or neuron inside the membrane's format, not 0 in all of them; None: each is 0.

    Raises:
        InputError: names layer, field, value and what is allowed.
    """
    if start is None:
        return
    check_each(where, name, start, shape, membrane.q_min, membrane.q_max)
    if not start.any():
        refuse(where, f"{name} is 0 everywhere", "None, where all start at 0")


def started(start: NDArray[np.int32] | None, shape: Shape) -> NDArray[np.int64]:
    """Return the states ``[C, H, W]`` before the first step."""
    states = np.zeros(shape, np.int64)
    return states if start is None else states + along_map(start)
