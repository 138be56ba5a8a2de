"""A synaptic current: a second state between the weighted sum and the membrane, with a decay of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sastdeploy.errors import short
from sastdeploy.program.fixedpoint import Rounding
from sastdeploy.program.limits import MAX_LEAK_SHIFT, is_int, refuse


@dataclass(frozen=True)
class SynapticCurrent:
    """``i[t] = overflow(rescale(i[t-1] * multiplier, shift) + I + bias)``, in the membrane's format, from i = 0.

    The membrane takes ``i[t]`` in place of ``I + bias``; a reset leaves it alone. multiplier: ``round(decay * 2^shift)``, 0 to
    ``2^shift``. shift: 0 to 15. rounding: of the product.
    """

    multiplier: int
    shift: int
    rounding: Rounding

    def check(self, where: str) -> None:
        """Accept numbers in range.

        Raises:
            InputError: names layer, field, value and what is allowed.
        """
        if not is_int(self.shift, 0, MAX_LEAK_SHIFT):
            refuse(where, f"current.shift is {short(self.shift)}", f"a whole number, 0 to {MAX_LEAK_SHIFT}")
        if not is_int(self.multiplier, 0, 1 << self.shift):
            wrong, end = f"current.multiplier is {short(self.multiplier)}", 1 << self.shift
            refuse(where, wrong, f"a whole number, 0 to {end} (2^shift: no growth)")
        if not isinstance(self.rounding, Rounding):
            refuse(where, f"current.rounding is {short(self.rounding)}", ", ".join(k.value for k in Rounding))

    def record(self) -> dict[str, Any]:
        """Return the fields as plain values, for a file's manifest."""
        return {"multiplier": self.multiplier, "shift": self.shift, "rounding": self.rounding.value}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SynapticCurrent:
        """Return the current of a manifest's record; not yet checked."""
        return cls(record["multiplier"], record["shift"], Rounding(record["rounding"]))
