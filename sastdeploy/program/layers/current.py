"""A synaptic current: a second state between the weighted sum and the membrane, with a decay of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import short
from sastdeploy.program.fixedpoint import QFormat, Rounding
from sastdeploy.program.layers.each import check_each
from sastdeploy.program.layers.start import check_start
from sastdeploy.program.limits import MAX_LEAK_SHIFT, Shape, is_int, refuse

Decay = int | NDArray[np.int32]
"""A of ``A / 2^k``: one number for all channels, int32 ``[C]`` where they differ, or ``[C, H, W]`` where neurons of a channel do."""


def check_decay(where: str, name: str, decay: Decay, shape: Shape, shift: int, unit: str) -> None:
    """Accept one number from 0 to ``2^shift``, or one per channel or neuron, not all equal; ``unit``: the shift's name.

    Raises:
        InputError: names layer, field, value and what is allowed.
    """
    end = 1 << shift
    if not isinstance(decay, np.ndarray):
        if not is_int(decay, 0, end):
            refuse(where, f"{name} is {short(decay)}", f"a whole number, 0 to {end} (2^{unit}: no growth)")
        return
    check_each(where, name, decay, shape, 0, end)
    if (decay == decay.flat[0]).all():
        refuse(
            where,
            f"{name} is {decay.flat[0]} in every channel",
            "one number for all, or channels that differ",
        )


@dataclass(frozen=True)
class SynapticCurrent:
    """``i[t] = overflow(rescale(i[t-1] * multiplier, shift) + I + bias)``, in the membrane's format, from i = start.

    The membrane takes ``i[t]`` in place of ``I + bias``; a reset leaves it alone. multiplier: ``round(decay * 2^shift)``, 0 to
    ``2^shift``, one for all, per channel or per neuron (`Decay`). shift: 0 to 15. rounding: of the product. start: int32 [C] or [C, H, W];
    None: 0.
    """

    multiplier: Decay
    shift: int
    rounding: Rounding
    start: NDArray[np.int32] | None = None

    def check(self, where: str, shape: Shape, membrane: QFormat) -> None:
        """Accept numbers in range.

        Raises:
            InputError: names layer, field, value and what is allowed.
        """
        if not is_int(self.shift, 0, MAX_LEAK_SHIFT):
            refuse(where, f"current.shift is {short(self.shift)}", f"a whole number, 0 to {MAX_LEAK_SHIFT}")
        check_decay(where, "current.multiplier", self.multiplier, shape, self.shift, "shift")
        if not isinstance(self.rounding, Rounding):
            refuse(where, f"current.rounding is {short(self.rounding)}", ", ".join(k.value for k in Rounding))
        check_start(where, "current.start", self.start, shape, membrane)

    def record(self) -> dict[str, Any]:
        """Return the fields as plain values, for a file's manifest; what differs is an array of the file."""
        whole = {} if isinstance(self.multiplier, np.ndarray) else {"multiplier": self.multiplier}
        return {**whole, "shift": self.shift, "rounding": self.rounding.value}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> SynapticCurrent:
        """Return the current of a manifest's record, and of its arrays where it has some; not yet checked."""
        multiplier = arrays["current_multiplier"] if "multiplier" not in record else record["multiplier"]
        return cls(multiplier, record["shift"], Rounding(record["rounding"]), arrays.get("current_start"))
