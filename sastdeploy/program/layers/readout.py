"""The classifier on the last layer's spike counts, or its membranes themselves as scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import short
from sastdeploy.program.layers.further import (
    Further,
    further_arrays,
    further_from,
    further_record,
    further_shapes,
    name_of,
)
from sastdeploy.program.layers.lif import PER_CHANNEL, Array, rounded_shift
from sastdeploy.program.layers.weights import Stored, array_shapes, stored_arrays, weight_record
from sastdeploy.program.limits import (
    INT32_END,
    MAX_MULTIPLIER,
    MAX_SHIFT,
    Shape,
    by,
    check_channels,
    check_weight,
    is_int,
    prove_int32,
    refuse,
    worst_gained,
    worst_sums,
)
from sastdeploy.program.onnx_nodes import DOMAIN, Nodes

READS = ("counts", "last", "max")
_PER_CLASS = PER_CHANNEL[:3]
MAX_MEMBRANE = 1 << 23


@dataclass(frozen=True)
class Readout:
    """Class scores ``y = ((weight @ c) * multiplier + 2^(shift-1)) >> shift) + T * bias``, int32.

    ``c`` counts the last layer's spikes over time, flattened in C order; with ``global_sum_pool`` they are summed
    per channel first (the mean's divisor lies in the gain). The predicted class is the largest score, ties to the
    lowest index. weight: int8 [K, J]; multiplier, shift, bias: int32 [K]; scores have ``fraction_bits`` + log2(T).

    further: what else is added to ``weight @ c``: weights int8 [K, J] of the counts of other sources, over time too.

    reads: ``counts``; or ``last`` or ``max``, and then the scores are the last layer's membranes u[T], or the largest of each
    over time: the weight is the identity, the gain 1, the bias 0, and those neurons never spike (`Lif.silent`).
    """

    name: str
    weight: NDArray[np.int8]
    weight_bits: int
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    bias: NDArray[np.int32]
    fraction_bits: int
    global_sum_pool: bool
    reads: str = "counts"
    kind: str = field(default="readout", init=False)
    further: tuple[Further, ...] = field(default=(), kw_only=True)

    def summed(self, shape: Shape, steps: int, largest: int) -> int:
        """Return the largest count, or size of a membrane, that one input of the weighted sum can reach; ``largest``: of a step."""
        if self.reads != "counts":
            return MAX_MEMBRANE
        return steps * largest * (shape[1] * shape[2] if self.global_sum_pool else 1)

    def worst_sums(self, shape: Shape, steps: int, largest: int, sources: Sequence[int] = ()) -> Array:
        """Return the largest possible ``|acc|`` of every class, for a last layer of ``shape`` and 0 to ``largest`` in a step.

        sources: the largest value of every source in a step, the network's input first, where further inputs take them.
        """
        worst = worst_sums(self.weight, self.summed(shape, steps, largest))
        for each in self.further:
            worst = worst + worst_sums(each.weight, steps * sources[each.source])
        return worst

    def check(self, where: str, shape: Shape, steps: int, largest: int) -> None:
        """Accept a readout, its further inputs aside, that fits the last layer's output ``shape``, 0 to ``largest`` in a step."""
        check_weight(where, self.weight, self.weight_bits, 2)
        rows, columns = self.weight.shape
        if type(self.global_sum_pool) is not bool:
            refuse(where, f"global_sum_pool is {short(self.global_sum_pool)}", "true or false")
        expected = shape[0] if self.global_sum_pool else math.prod(shape)
        if columns != expected:
            inputs = "channel" if self.global_sum_pool else "value"
            allowed = f"{expected}, one per {inputs} of the last layer's {by(shape)} output"
            refuse(where, f"weight has {columns} columns", allowed)
        check_channels(where, "multiplier", self.multiplier, rows, 1, MAX_MULTIPLIER)
        check_channels(where, "shift", self.shift, rows, 0, MAX_SHIFT)
        check_channels(where, "bias", self.bias, rows, -INT32_END, INT32_END - 1)
        if not is_int(self.fraction_bits, 0, 31):
            refuse(where, f"fraction_bits is {short(self.fraction_bits)}", "a whole number, 0 to 31")
        if self.reads not in READS:
            refuse(where, f"reads is {short(self.reads)}", ", ".join(READS))
        if self.reads != "counts":
            self._check_identity(where)

    def prove(self, where: str, sums: Array, steps: int) -> None:
        """Accept weighted sums up to ``sums`` of either sign, and their scores, that fit 32 bits."""
        prove_int32(where, "the weighted sum", sums)
        scores = worst_gained(sums, self.multiplier, self.shift)
        prove_int32(where, "the score", scores + steps * np.abs(self.bias.astype(np.int64)))

    def _check_identity(self, where: str) -> None:
        """Accept a readout whose scores are what it reads, one for each class."""
        same = (
            np.array_equal(self.weight, np.eye(*self.weight.shape))
            and len(self.weight) == self.weight.shape[1]
        )
        plain = (self.multiplier == 1).all() and not self.shift.any() and not self.bias.any()
        if not (same and plain and not self.global_sum_pool and self.further == ()):
            allowed = "the identity, multiplier 1, shift 0, bias 0, no pool and no further input, as membranes are scores themselves"
            refuse(
                where, f"reads '{self.reads}' through a weight, gain, bias, pool or further input", allowed
            )

    @property
    def since_format(self) -> int:
        if self.further:
            return 7
        return 1 if self.reads == "counts" else 3

    @property
    def weight_arrays(self) -> tuple[NDArray[np.int8], ...]:
        """All weights of the readout."""
        return (self.weight, *(each.weight for each in self.further))

    def read(self, before: Array, spikes: Array, membranes: Array, step: int) -> Array:
        """Return what is read after a step ``[C, H, W]``: ``before``, which is 0 at the start, and the step's own."""
        if self.reads == "counts":
            return before + spikes
        return np.maximum(before, membranes) if self.reads == "max" and step > 0 else membranes

    def scores(self, counts: Array, steps: int, further: Sequence[Array] = ()) -> Array:
        """Return the scores int64 ``[K]`` for what was read of the last layer ``[C, H, W]`` over ``steps`` steps.

        further: of each further input the values of its source ``[C, H, W]``, summed over the steps.
        """
        inputs = counts.sum(axis=(1, 2)) if self.global_sum_pool else counts.reshape(-1)
        acc = self.weight.astype(np.int64) @ inputs
        for each, values in zip(self.further, further, strict=True):
            acc = acc + each.sums(values).reshape(-1)
        gained = rounded_shift(acc * self.multiplier.astype(np.int64), self.shift.astype(np.int64))
        return gained + steps * self.bias.astype(np.int64)

    def fan_out(self, shape: Shape) -> tuple[Array, Array]:
        """Return per input (C order) how many operations it triggers, and how many on weights other than 0."""
        nonzero = np.count_nonzero(self.weight, axis=0).astype(np.int64)
        if self.global_sum_pool:
            nonzero = np.repeat(nonzero, shape[1] * shape[2])
        return np.full(math.prod(shape), len(self.weight), np.int64), nonzero

    def synops(self, x: Array) -> tuple[int, int, int]:
        """Return the operations that one step's input triggers: all, weighted by its values, on weights other than 0."""
        active = (x != 0).astype(np.int64)
        if self.global_sum_pool:
            x, active = x.sum(axis=(1, 2)), active.sum(axis=(1, 2))
        classes, nonzero = len(self.weight), (self.weight != 0).sum(axis=0)
        return int(classes * active.sum()), int(classes * x.sum()), int(nonzero @ active.reshape(-1))

    def add_scores(self, add: Nodes, layer: str, time: str, steps: int, sent: Mapping[int, str]) -> None:
        """Add ``scores`` int32 [N, K] and ``predicted`` int64 [N] (ties to the lowest index); ``layer`` is the last one's name.

        sent: the values of every source over all steps, uint8 [T, N, C, H, W].
        """
        name = self.name
        if self.reads == "counts":
            spikes = add.cast(f"{layer}/spikes_steps", "INT32")
            counts = add("ReduceSum", spikes, time, out=f"{name}/counts", keepdims=0)
        elif self.reads == "max":
            membranes = f"{layer}/membrane_steps"
            counts = add("ReduceMax", membranes, time, out=f"{name}/membranes", keepdims=0)
        else:
            end = add.constant(steps - 1)
            counts = add("Gather", f"{layer}/membrane_steps", end, out=f"{name}/membranes", axis=0)
        if self.global_sum_pool:
            counts = add("ReduceSum", counts, add.constant([2, 3]), keepdims=0)
        else:
            counts = add("Flatten", counts, axis=1)
        weight = add("Transpose", add.cast(f"{name}/weight", "INT32"), perm=[1, 0])
        acc = add("MatMul", counts, weight, out=f"{name}/acc")
        for number, each in enumerate(self.further):
            field = name_of(number)
            values = add.cast(sent[each.source], "INT32")
            total = add("Flatten", add("ReduceSum", values, time, keepdims=0), axis=1)
            weight = add("Transpose", add.cast(f"{name}/{field}", "INT32"), perm=[1, 0])
            acc = add("Add", acc, add("MatMul", total, weight), out=f"{name}/acc_{field}")
        gained = add("RoundedShift", acc, f"{name}/multiplier", f"{name}/shift", domain=DOMAIN)
        bins = add.constant(steps, out="time_bins")
        bias = add("Mul", add.cast(f"{name}/bias", "INT64"), bins)
        add.cast(add("Add", gained, bias), "INT32", out="scores")
        add("ArgMax", "scores", axis=1, keepdims=0, out="predicted")

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        fields = weight_record(self.kind, self.name, self.weight, self.weight_bits)
        reads = {} if self.reads == "counts" else {"reads": self.reads}
        return {
            **fields, "fraction_bits": self.fraction_bits, "global_sum_pool": self.global_sum_pool, **reads,
            **further_record(self.further),
        }  # fmt: skip

    def arrays(self) -> Stored:
        stored = stored_arrays(self.weight, self.weight_bits, _PER_CLASS, self)
        return {**stored, **further_arrays(self.further, self.weight_bits)}

    @classmethod
    def array_shapes(cls, record: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], int]]:
        return {**array_shapes(record, _PER_CLASS), **further_shapes(record)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Readout:
        return cls(
            name=record["name"],
            weight=arrays["weight"],
            weight_bits=record["weight_bits"],
            **{part: arrays[part] for part in _PER_CLASS},
            fraction_bits=record["fraction_bits"],
            global_sum_pool=record["global_sum_pool"],
            reads=record.get("reads", "counts"),
            further=further_from(record, arrays),
        )
