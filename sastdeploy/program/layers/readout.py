"""The classifier on the last layer's spike counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    short,
    worst_gained,
    worst_sums,
)
from sastdeploy.program.onnx_nodes import DOMAIN, Nodes

_PER_CLASS = PER_CHANNEL[:3]


@dataclass(frozen=True)
class Readout:
    """Class scores ``y = ((weight @ c) * multiplier + 2^(shift-1)) >> shift) + T * bias``, int32.

    ``c`` counts the last layer's spikes over time, flattened in C order; with ``global_sum_pool`` they are summed
    per channel first (the mean's divisor lies in the gain). The predicted class is the largest score, ties to the
    lowest index. weight: int8 [K, J]; multiplier, shift, bias: int32 [K]; scores have ``fraction_bits`` + log2(T).
    """

    name: str
    weight: NDArray[np.int8]
    weight_bits: int
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    bias: NDArray[np.int32]
    fraction_bits: int
    global_sum_pool: bool
    kind: str = field(default="readout", init=False)

    def summed(self, shape: Shape, steps: int) -> int:
        """Return the largest count that one input of the weighted sum can reach."""
        return steps * (shape[1] * shape[2] if self.global_sum_pool else 1)

    def check(self, where: str, shape: Shape, steps: int) -> None:
        """Accept a readout that fits the last layer's output ``shape``; its sums and scores fit 32 bits."""
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
        sums = worst_sums(self.weight, self.summed(shape, steps))
        prove_int32(where, "the weighted sum", sums)
        scores = worst_gained(sums, self.multiplier, self.shift)
        prove_int32(where, "the score", scores + steps * np.abs(self.bias.astype(np.int64)))

    def scores(self, counts: Array, steps: int) -> Array:
        """Return the scores int64 ``[K]`` for the last layer's spike counts ``[C, H, W]`` over ``steps`` steps."""
        inputs = counts.sum(axis=(1, 2)) if self.global_sum_pool else counts.reshape(-1)
        acc = self.weight.astype(np.int64) @ inputs
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

    def add_scores(self, add: Nodes, spikes: str, time: str, steps: int) -> None:
        """Add ``scores`` int32 [N, K] and ``predicted`` int64 [N] (ties to the lowest index)."""
        name = self.name
        counts = add("ReduceSum", add.cast(spikes, "INT32"), time, out=f"{name}/counts", keepdims=0)
        if self.global_sum_pool:
            counts = add("ReduceSum", counts, add.constant([2, 3]), keepdims=0)
        else:
            counts = add("Flatten", counts, axis=1)
        weight = add("Transpose", add.cast(f"{name}/weight", "INT32"), perm=[1, 0])
        acc = add("MatMul", counts, weight, out=f"{name}/acc")
        gained = add("RoundedShift", acc, f"{name}/multiplier", f"{name}/shift", domain=DOMAIN)
        bins = add.constant(steps, out="time_bins")
        bias = add("Mul", add.cast(f"{name}/bias", "INT64"), bins)
        add.cast(add("Add", gained, bias), "INT32", out="scores")
        add("ArgMax", "scores", axis=1, keepdims=0, out="predicted")

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        fields = weight_record(self.kind, self.name, self.weight, self.weight_bits)
        return {**fields, "fraction_bits": self.fraction_bits, "global_sum_pool": self.global_sum_pool}

    def arrays(self) -> Stored:
        return stored_arrays(self.weight, self.weight_bits, _PER_CLASS, self)

    @classmethod
    def array_shapes(cls, record: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], int]]:
        return array_shapes(record, _PER_CLASS)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Readout:
        return cls(
            name=record["name"],
            weight=arrays["weight"],
            weight_bits=record["weight_bits"],
            **{part: arrays[part] for part in _PER_CLASS},
            fraction_bits=record["fraction_bits"],
            global_sum_pool=record["global_sum_pool"],
        )
