"""From the delays of somebody's file to whole steps."""

from __future__ import annotations

import numpy as np

from sastdeploy.errors import CompileError
from sastdeploy.exchange.channels import at_each
from sastdeploy.exchange.parts import Array, Delaying
from sastdeploy.program.layers.delay import MAX_DELAY, Steps, smallest_steps
from sastdeploy.windows import Shape

_NEAR = 2.0**-20
"""Share of a number of steps, or of one step, by which a division in float32 may miss it."""


def delaying(name: str, delay: Array, dt: float) -> Delaying:
    """Return a delay in seconds as one in steps of ``dt`` seconds.

    Raises:
        CompileError: a number that is none, negative, or no whole number of steps; where, and how it was computed.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        steps = delay / dt
        whole = np.round(steps)
        fits = np.abs(steps - whole) <= _NEAR * np.maximum(1.0, whole)
    for wrong, what in (
        (~np.isfinite(steps), "no number"),
        (whole < 0, "negative"),
        (~fits, "no whole number of steps"),
    ):
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise CompileError(
                f"{name}: delay{list(place) if place else ''} is {delay[place]:g} s / dt {dt:g} s = {steps[place]:.9g} steps, {what}. "
                "Give the dt that the network was trained with (--dt), or write the delays as whole steps of it."
            )
    return Delaying(name, whole, f"delay / dt {dt:g} s")


def steps_of(part: Delaying, shape: Shape) -> Steps:
    """Return the steps of every value of ``shape``, in the smallest form.

    Raises:
        CompileError: another shape, or a number outside 0 to `MAX_DELAY`.
    """
    each = at_each(part.steps, shape, part.name, "delays")
    most = float(each.max())
    if most > MAX_DELAY:
        raise CompileError(
            f"{part.name}: a delay of {most:.9g} steps{f' ({part.computed})' if part.computed else ''}; at most {MAX_DELAY:,} are allowed."
        )
    return smallest_steps(each.astype(np.int64))
