"""Delays, without neurons: values that arrive some steps after they were sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import short
from sastdeploy.program.layers.lif import Array
from sastdeploy.program.layers.weights import Stored, source_record
from sastdeploy.program.limits import Shape, described, is_int, refuse
from sastdeploy.program.onnx_nodes import Nodes
from sastdeploy.windows import Number

MAX_DELAY = 1000
"""Steps: as many as a recording has at most, so that what waits longer never arrives."""

Steps = int | NDArray[np.int32]
"""One number for all values; or int32 ``[C]``, one per channel; or int32 ``[C * H * W]``, one per value in C order."""


def smallest_steps(each: NDArray[np.integer]) -> Steps:
    """Return the smallest form of steps per value ``[C, H, W]``."""
    first = each[:, 0, 0]
    if (each == first[0]).all():
        return int(first[0])
    if (each == first[:, None, None]).all():
        return first.astype(np.int32)
    return each.reshape(-1).astype(np.int32)


def each_steps(steps: Steps, shape: Shape) -> Array:
    """Return the steps of every value, int64 ``[C, H, W]``."""
    if not isinstance(steps, np.ndarray):
        return np.full(shape, steps, np.int64)
    grown = steps.reshape(shape) if len(steps) == math.prod(shape) else steps.reshape(-1, 1, 1)
    return np.broadcast_to(grown, shape).astype(np.int64)


def faulty_steps(steps: Any, shape: Shape) -> tuple[str, str] | None:
    """Return what is wrong with steps for values of ``shape``, and what is allowed; None of `Steps` in their smallest form."""
    if not isinstance(steps, np.ndarray):
        allowed = f"a whole number, 0 to {MAX_DELAY}, or int32 of one per channel or value"
        return None if is_int(steps, 0, MAX_DELAY) else (f"steps is {short(steps)}", allowed)
    channels, values = shape[0], math.prod(shape)
    if steps.dtype != np.int32 or steps.shape not in ((channels,), (values,)):
        allowed = f"int32 of shape [{channels}] or [{values}], one per channel or value"
        return f"steps is {described(steps)}", allowed
    outside = (steps < 0) | (steps > MAX_DELAY)
    if outside.any():
        place = int(np.argmax(outside))
        return f"steps[{place}] is {steps[place]}", f"0 to {MAX_DELAY}"
    form = smallest_steps(each_steps(steps, shape))
    if not isinstance(form, np.ndarray):
        return f"steps is {form} for every value", "one number for all, or numbers that differ"
    if len(form) < len(steps):
        return "steps are one number in each channel", f"int32 of shape [{channels}], one per channel"
    return None


@dataclass(frozen=True)
class Delay:
    """``out[t] = x[t - steps]``, 0 before: every value arrives so many steps later; after a recording's last step nothing does.

    steps: 0 to `MAX_DELAY`, in the smallest of the forms that say it (`Steps`). source: where its input comes from, 0 the network's
    input, l + 1 layer l; None the layer before it.
    """

    name: str
    steps: Steps
    kind: str = field(default="delay", init=False)
    source: int | None = field(default=None, kw_only=True)
    lif: ClassVar[None] = None
    further: ClassVar[tuple[()]] = ()
    may_begin: ClassVar[bool] = True
    sends: ClassVar[str] = "delayed"
    adds: ClassVar[bool] = False
    since_format: ClassVar[int] = 6

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def largest_output(self, largest: int) -> int:
        return largest

    def check(self, where: str, shape: Shape, largest: int) -> None:
        """Accept steps for values of ``shape``."""
        if fault := faulty_steps(self.steps, shape):
            refuse(where, *fault)

    def reach(self, steps: int) -> int:
        """Return how many steps back its outputs look in recordings of so many ``steps``."""
        return min(int(np.max(self.steps)), steps)

    def step(self, x: Array, line: Array) -> tuple[Array, Array]:
        """Return what arrives in a step, ``[C, H, W]``, and the line after it.

        line: the inputs of the steps before, the newest first, ``[reach, C, H, W]``.
        """
        whole = np.concatenate((x[None], line))
        back = np.minimum(each_steps(self.steps, (x.shape[0], x.shape[1], x.shape[2])), len(line))
        arrived: Array = np.take_along_axis(whole, back[None], 0)[0]
        return arrived, whole[: len(line)]

    def sent(self, x: NDArray[Number]) -> NDArray[Number]:
        """Return what arrives in every step of ``x`` ``[..., T, C, H, W]``, in x's type."""
        bins, shape = x.shape[-4], (x.shape[-3], x.shape[-2], x.shape[-1])
        back = np.arange(bins)[:, None, None, None] - each_steps(self.steps, shape)
        shown = np.broadcast_to(np.maximum(back, 0), x.shape)
        return np.take_along_axis(x, shown, -4) * (back >= 0).astype(x.dtype)

    def fan_out(self, shape: Shape) -> tuple[Array, Array]:
        """Return how many operations each input triggers, twice: none, as events are moved and nothing is added."""
        none = np.zeros(math.prod(shape), np.int64)
        return none, none

    def synops(self, x: Array) -> tuple[int, int, int]:
        return 0, 0, 0

    def held_bits(self, shape: Shape, largest: int, steps: int) -> tuple[int, int]:
        """Return the bits of its steps, and of the values from 0 to ``largest`` that wait in recordings of so many ``steps``."""
        own = (
            self.steps.size * int(self.steps.max()).bit_length() if isinstance(self.steps, np.ndarray) else 0
        )
        return own, int(np.minimum(each_steps(self.steps, shape), steps).sum()) * largest.bit_length()

    def add_sent(self, add: Nodes, x: str, shape: Shape, steps: int) -> str:
        """Add what arrives of ``x``, uint8 ``[N, *shape]``; the line stands in ``NAME/line_before`` and ``NAME/line_now``."""
        name, reach = self.name, self.reach(steps)
        if reach == 0:
            return add("Identity", x, out=f"{name}/arrived")
        axis = add.constant([1])
        whole = add("Concat", add("Unsqueeze", x, axis), f"{name}/line_before", axis=1)
        add("Slice", whole, add.constant([0]), add.constant([reach]), axis, out=f"{name}/line_now")
        if not isinstance(self.steps, np.ndarray):
            return add("Gather", whole, add.constant(reach), out=f"{name}/arrived", axis=1)
        back = add("Min", add.cast(f"{name}/steps", "INT64"), add.constant(reach))
        rows = [1, shape[0], 1, 1] if len(self.steps) < math.prod(shape) else [1, *shape]
        size = add("Concat", add("Shape", x, start=0, end=1), add.constant([1, *shape]), axis=0)
        places = add("Expand", add("Reshape", back, add.constant([1, *rows])), size)
        return add("Squeeze", add("GatherElements", whole, places, axis=1), axis, out=f"{name}/arrived")

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        if not isinstance(self.steps, np.ndarray):
            return {"kind": self.kind, "name": self.name, "steps": self.steps, **source_record(self.source)}
        return {
            "kind": self.kind,
            "name": self.name,
            **source_record(self.source),
            "steps_shape": [len(self.steps)],
            "steps_bits": self._bits,
        }

    @property
    def _bits(self) -> int:
        """The bits in which steps that differ are stored."""
        return 8 if int(np.max(self.steps)) <= np.iinfo(np.int8).max else 32

    def arrays(self) -> Stored:
        if not isinstance(self.steps, np.ndarray):
            return {}
        return {"steps": (self.steps.astype(np.int8 if self._bits == 8 else np.int32), self._bits)}

    @classmethod
    def array_shapes(cls, record: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], int]]:
        if "steps" in record:
            return {}
        shape, bits = tuple(record["steps_shape"]), record["steps_bits"]
        if len(shape) != 1 or not is_int(shape[0], 1, (1 << 31) - 1) or bits not in (8, 32):
            raise ValueError(f"steps_shape of {record['name']}")
        return {"steps": (shape, bits)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Delay:
        steps = record["steps"] if "steps" in record else arrays["steps"].astype(np.int32)
        return cls(record["name"], steps, source=record.get("source"))
