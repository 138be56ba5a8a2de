"""The neurons behind a weighted sum: the fixed-point LIF step, its checks, and how it is written to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import short
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.layers.current import Decay, SynapticCurrent, check_decay
from sastdeploy.program.layers.each import along_map, check_each, largest_of_channels
from sastdeploy.program.layers.further import Further, further_arrays, further_record, further_shapes
from sastdeploy.program.layers.start import STARTS, check_start, started
from sastdeploy.program.layers.weights import Stored, array_shapes, source_record, stored_arrays
from sastdeploy.program.limits import (
    MAX_LEAK_SHIFT,
    MAX_MULTIPLIER,
    MAX_SHIFT,
    MAX_SPIKES,
    Shape,
    check_channels,
    is_int,
    prove_int32,
    refuse,
    worst_gained,
    worst_sums,
)

Array = NDArray[np.int64]

SPIKE_TESTS = (">=", ">")
RESETS = ("subtract", "zero", "none", "refractory")
PER_CHANNEL = ("multiplier", "shift", "bias", "threshold")
"""Fields of a LIF layer with one int32 per output channel, the last two per neuron where they differ there; a readout has the first three."""
DECAYS = ("leak_multiplier", "current_multiplier")
"""Fields that a LIF layer has in the same form where its channels, or its neurons, decay differently."""


@dataclass(frozen=True)
class Lif:
    """The fixed-point LIF step, per output channel (C values; a dense layer has one channel per neuron).

    ``I = (acc * multiplier + 2^(shift-1)) >> shift`` (``shift = 0``: ``acc * multiplier``),
    ``leak = rescale(u[t-1] * leak_multiplier, leak_shift)``, and then, with ``reset_delay = 1``::

        subtract  v = leak + I + bias - threshold * s[t-1]
        zero      v = (0 if s[t-1] else leak) + I + bias
        none      v = leak + I + bias
        refractory  v = 0 where s[t-1], else leak + I + bias
        u[t] = overflow(v);  s[t] = u[t] >= threshold   (or >)

    With ``reset_delay = 0``: ``w = overflow(leak + I + bias)``, ``s[t] = test(w)``, and ``u[t]`` is ``w``,
    ``overflow(w - threshold * s[t])`` (subtract) or ``0`` where s[t] (zero). Every sequence starts at u = start, s = 0.
    With ``max_spikes`` above 1, s[t] is how often the test passes while each spike takes a threshold, up to that many: of the
    membrane u that is tested, ``floor(u / threshold)`` (for ``>``: ``ceil(u / threshold) - 1``), at least 0.
    With a synaptic current, ``i[t]`` stands where ``I + bias`` does (`SynapticCurrent`). Reset ``refractory`` exists with
    ``reset_delay = 1`` only: a refractory period of one step, which drops what arrives in it, and leaves the current alone.
    With a floor, the membrane after the reset, and after a delayed reset's test, is ``max(u[t], floor)``: no overflow, and counted as none.

    Args:
        multiplier, shift: int32 [C]; ``0 < multiplier < 2^15``, ``0 <= shift <= 46``.
        bias, threshold: int32 [C], or [C, H, W] where they differ within a channel, in membrane LSBs, inside the membrane's range;
            threshold at least 1.
        leak_multiplier: A = round(alpha * 2^k), ``0 <= A <= 2^k``, one for all, per channel or per neuron (`Decay`). leak_shift: k, 0 to 15.
        current: the synaptic current; None where sums reach the membrane at once.
        max_spikes: the most spikes of a neuron in a step, 1 to 127.
        start: int32 [C] or [C, H, W], in membrane LSBs, inside its range; None where all are 0. With ``reset_delay = 1`` and a reset, none
            passes its threshold: a membrane that does has spiked in the step before, and none has before the first one.
        floor: int32 [C] or [C, H, W], in membrane LSBs, from the lower end of its range to 0; None where there is none. A start may lie below.
    """

    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    bias: NDArray[np.int32]
    threshold: NDArray[np.int32]
    leak_multiplier: Decay
    leak_shift: int
    leak_rounding: Rounding
    membrane: QFormat
    overflow: Overflow
    spike_test: str = ">="
    reset: str = "subtract"
    reset_delay: int = 1
    current: SynapticCurrent | None = None
    max_spikes: int = 1
    start: NDArray[np.int32] | None = None
    floor: NDArray[np.int32] | None = None

    def check(self, where: str, shape: Shape, sums: Array) -> None:
        """Accept neurons ``shape`` whose every number is in range, for weighted sums up to ``sums`` ``[C]`` of either sign.

        Raises:
            InputError: names layer, field, value and what is allowed.
        """
        if not isinstance(self.membrane, QFormat):
            refuse(where, f"membrane is a {type(self.membrane).__name__}", "a QFormat of 2 to 24 bits")
        low, high = self.membrane.q_min, self.membrane.q_max
        check_channels(where, "multiplier", self.multiplier, shape[0], 1, MAX_MULTIPLIER)
        check_channels(where, "shift", self.shift, shape[0], 0, MAX_SHIFT)
        check_each(where, "bias", self.bias, shape, low, high)
        check_each(where, "threshold", self.threshold, shape, 1, high)
        if not is_int(self.leak_shift, 0, MAX_LEAK_SHIFT):
            refuse(where, f"leak_shift is {short(self.leak_shift)}", f"a whole number, 0 to {MAX_LEAK_SHIFT}")
        check_decay(where, "leak_multiplier", self.leak_multiplier, shape, self.leak_shift, "leak_shift")
        for name, kind in (("leak_rounding", Rounding), ("overflow", Overflow)):
            if not isinstance(getattr(self, name), kind):
                refuse(where, f"{name} is {short(getattr(self, name))}", ", ".join(k.value for k in kind))
        for name, allowed in (("spike_test", SPIKE_TESTS), ("reset", RESETS)):
            if getattr(self, name) not in allowed:
                refuse(where, f"{name} is {short(getattr(self, name))}", ", ".join(allowed))
        if not is_int(self.reset_delay, 0, 1):
            refuse(where, f"reset_delay is {short(self.reset_delay)}", "0 or 1")
        if self.reset == "refractory" and self.reset_delay != 1:
            refuse(where, "reset_delay is 0", "1 where reset is refractory")
        if not is_int(self.max_spikes, 1, MAX_SPIKES):
            refuse(where, f"max_spikes is {short(self.max_spikes)}", f"a whole number, 1 to {MAX_SPIKES}")
        if self.current is not None:
            if not isinstance(self.current, SynapticCurrent):
                refuse(
                    where, f"current is a {type(self.current).__name__}", "None or a SynapticCurrent record"
                )
            self.current.check(where, shape, self.membrane)
        check_start(where, "start", self.start, shape, self.membrane)
        self._check_not_spiked(where, shape)
        if self.floor is not None:
            check_each(where, "floor", self.floor, shape, low, 0)
        prove_int32(where, "the weighted sum", sums)
        prove_int32(where, "the membrane update", self.worst_updates(sums))

    def _check_not_spiked(self, where: str, shape: Shape) -> None:
        """Accept starts that pass no threshold where the next step's reset would ask for it."""
        if self.start is None or self.reset_delay == 0 or self.reset == "none":
            return
        states, threshold = started(self.start, shape), np.broadcast_to(along_map(self.threshold), shape)
        passed = spikes(self, states) > 0
        if passed.any():
            place = tuple(int(i) for i in np.argwhere(passed)[0])
            neuron = list(place[:1] if shape[1:] == (1, 1) else place)
            wrong = (
                f"start of neuron {neuron} is {states[place]}, which passes the threshold {threshold[place]}"
            )
            refuse(where, wrong, "starts that do not, where a reset comes a step after its spike")

    def worst_updates(self, sums: Array) -> Array:
        """Return the largest possible ``|leak| + |I| + |bias| + threshold * s`` of every channel.

        Spikes take no more than the membrane, which is at most the format's upper end. The sum bounds a synaptic current's update too; a membrane behind one adds three numbers of 24 bits at most.
        """
        # |leak| <= |u| because leak_multiplier <= 2^leak_shift.
        current = worst_gained(sums, self.multiplier, self.shift)
        bias = np.abs(along_map(self.bias.astype(np.int64)))
        return current - self.membrane.q_min + largest_of_channels(bias + along_map(self.taken))

    @property
    def taken(self) -> Array:
        """The most that a step's spikes take from a membrane by subtraction, int64, in the threshold's form."""
        return np.minimum(self.threshold.astype(np.int64) * self.max_spikes, self.membrane.q_max)

    @property
    def silent(self) -> bool:
        """Whether no membrane can pass its threshold, nor is reset: neurons that are only read."""
        at_end = bool((self.threshold == self.membrane.q_max).all())
        return at_end and self.spike_test == ">" and self.reset == "none"

    def decays(self) -> dict[str, NDArray[np.int32]]:
        """Return the decays that differ between channels or neurons, by their name in files (`DECAYS`)."""
        decays = (self.leak_multiplier, None if self.current is None else self.current.multiplier)
        return {name: decay for name, decay in zip(DECAYS, decays) if isinstance(decay, np.ndarray)}

    def per_neuron(self) -> dict[str, NDArray[np.int32]]:
        """Return what differs within a channel, int32 ``[C, H, W]``, by its name in files; starts aside."""
        each = {"bias": self.bias, "threshold": self.threshold, **self.decays(), **self.floors()}
        return {name: values for name, values in each.items() if values.ndim == 3}

    def starts(self) -> dict[str, NDArray[np.int32]]:
        """Return where states start other than at 0, int32 ``[C]`` or ``[C, H, W]``, by their name in files (`STARTS`)."""
        starts = (self.start, None if self.current is None else self.current.start)
        return {name: start for name, start in zip(STARTS, starts) if start is not None}

    def floors(self) -> dict[str, NDArray[np.int32]]:
        """Return the membranes' floor by its name in files; empty where there is none."""
        return {} if self.floor is None else {"floor": self.floor}

    def record(self) -> dict[str, Any]:
        """Return every field that is no array as plain values, for a file's manifest."""
        shapes = {name: list(values.shape) for name, values in (self.per_neuron() | self.floors()).items()}
        starts = {name: list(values.shape) for name, values in self.starts().items()}
        leak = self.leak_multiplier
        current = {} if self.current is None else {"current": self.current.record()}
        return {
            **({} if isinstance(leak, np.ndarray) else {"leak_multiplier": leak}),
            "leak_shift": self.leak_shift,
            "leak_rounding": self.leak_rounding.value,
            "membrane": str(self.membrane),
            "overflow": self.overflow.value,
            "spike_test": self.spike_test,
            "reset": self.reset,
            "reset_delay": self.reset_delay,
            **current,
            **({} if self.max_spikes == 1 else {"max_spikes": self.max_spikes}),
            **({"shapes": shapes} if shapes else {}),
            **({"starts": starts} if starts else {}),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Lif:
        """Return the neurons of a manifest's record and of the arrays by field; not yet checked."""
        return cls(
            **{field: arrays[field] for field in PER_CHANNEL},
            leak_multiplier={**arrays, **record}["leak_multiplier"],
            leak_shift=record["leak_shift"],
            leak_rounding=Rounding(record["leak_rounding"]),
            membrane=QFormat.parse(record["membrane"]),
            overflow=Overflow(record["overflow"]),
            spike_test=record["spike_test"],
            reset=record["reset"],
            reset_delay=record["reset_delay"],
            current=SynapticCurrent.from_record(record["current"], arrays) if "current" in record else None,
            max_spikes=record.get("max_spikes", 1),
            start=arrays.get("start"),
            floor=arrays.get("floor"),
        )


class LifLayer:
    """What every kind of weighted layer with LIF neurons shares: spikes go out, weights and neurons into the file."""

    weight: NDArray[np.int8]
    weight_bits: int
    lif: Lif
    further: tuple[Further, ...] = ()
    """What else is added to its sums in the same step."""
    source: int | None = None
    """Where its own input comes from: 0 the network's input, l + 1 layer l; None the layer before it."""

    @property
    def since_format(self) -> int:
        lif = self.lif
        if lif.per_neuron() or lif.starts() or lif.floors() or lif.reset == "refractory":
            return 7
        if self.lif.max_spikes > 1 or self.source is not None:
            return 6
        if self.further:
            return 5
        if self.lif.decays():
            return 4
        return 1 if self.lif.current is None else 3

    @property
    def weight_arrays(self) -> tuple[NDArray[np.int8], ...]:
        """All weights of the layer: of its own input, of further ones, and what its spikes come back through."""
        return (self.weight, *(each.weight for each in self.further), *self.own_weights)

    @property
    def own_weights(self) -> tuple[NDArray[np.int8], ...]:
        """Weights ``[N, N]`` through which its spikes come back to it: none, unless it is recurrent."""
        return ()

    def largest_output(self, largest: int) -> int:
        return self.lif.max_spikes

    def worst_sums(self, largest: int, sources: Sequence[int] = ()) -> Array:
        """Return the largest possible ``|acc|`` of every channel, for inputs from 0 to ``largest``.

        sources: the largest value of every source, the network's input first, where further inputs take them.
        """
        worst = worst_sums(self.weight, largest)
        for each in self.further:
            worst = worst + worst_sums(each.weight, sources[each.source])
        return worst

    def own_sums(self, spikes: Array) -> Array:
        """Return what the layer's spikes of the step before ``[C, H, W]`` add to its sums: nothing, unless it is recurrent."""
        return np.zeros_like(spikes)

    def own_fan_out(self) -> tuple[Array, Array]:
        """Return per neuron how many operations its spike triggers in its own layer, and how many on weights other than 0.

        One 0 for all neurons, unless it is recurrent.
        """
        return np.zeros(1, np.int64), np.zeros(1, np.int64)

    def own_synops(self, spikes: Array) -> tuple[int, int, int]:
        """Return the operations that one step's spikes trigger in their own layer: all, weighted by their number, on weights other than 0."""
        return 0, 0, 0

    def check_lif(self, where: str, output: Shape, largest: int) -> None:
        """Accept neurons ``output`` that fit the weights; for inputs from 0 to ``largest`` their sums and updates fit 32 bits."""
        if not isinstance(self.lif, Lif):
            refuse(where, f"lif is a {type(self.lif).__name__}", "a Lif record")
        self.lif.check(where, output, self.worst_sums(largest))

    def arrays(self) -> Stored:
        stored = stored_arrays(self.weight, self.weight_bits, PER_CHANNEL, self.lif)
        lif = self.lif
        own: Stored = {k: (v, 32) for k, v in (lif.decays() | lif.starts() | lif.floors()).items()}
        return {**stored, **own, **further_arrays(self.further, self.weight_bits)}

    def inputs_record(self) -> dict[str, Any]:
        """Return what a manifest's record says of further inputs and of the source: nothing where there are none."""
        return {**further_record(self.further), **source_record(self.source)}

    @classmethod
    def array_shapes(cls, record: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], int]]:
        lif = record["lif"]
        absent = ("leak_multiplier" not in lif, "current" in lif and "multiplier" not in lif["current"])
        decays = (name for name, own in zip(DECAYS, absent) if own)
        own = {**lif.get("shapes", {}), **lif.get("starts", {})}
        differing = {name: (tuple(shape), 32) for name, shape in own.items()}
        return {**array_shapes(record, (*PER_CHANNEL, *decays)), **differing, **further_shapes(record)}


def drive(lif: Lif, acc: Array, i: Array) -> tuple[Array, int, int]:
    """Return what drives the membranes in a step, and how many updates of currents overflowed below and above.

    That is ``I + bias``, or the synaptic current ``i[t]`` where there is one (equations: `Lif`, `SynapticCurrent`).

    Args:
        acc: weighted sums ``[C, H, W]``. i: the currents of the step before, same shape.
    """
    multiplier, shift, bias = (along_map(v.astype(np.int64)) for v in (lif.multiplier, lif.shift, lif.bias))
    driven = rounded_shift(acc * multiplier, shift) + bias
    if lif.current is None:
        return driven, 0, 0
    kept = rescale(i * _factor(lif.current.multiplier), lif.current.shift, lif.current.rounding)
    return overflowed(kept + driven, lif.membrane, lif.overflow)


def lif_step(lif: Lif, driven: Array, u: Array, s: Array) -> tuple[Array, Array, int, int]:
    """Return ``u[t]``, ``s[t]`` and how many updates of membranes overflowed below and above (equations: `Lif`).

    Args:
        driven: what `drive` returns, ``[C, H, W]``. u, s: membrane and spikes of the step before, same shape.
    """
    threshold = along_map(lif.threshold.astype(np.int64))
    leak = rescale(u * _factor(lif.leak_multiplier), lif.leak_shift, lif.leak_rounding)
    if lif.reset_delay == 1:
        if lif.reset == "subtract":
            v = leak + driven - threshold * s
        elif lif.reset == "zero":
            v = np.where(s > 0, 0, leak) + driven
        elif lif.reset == "refractory":
            v = np.where(s > 0, 0, leak + driven)
        else:
            v = leak + driven
        u, low, high = overflowed(v, lif.membrane, lif.overflow)
        return _floored(lif, u), spikes(lif, u), low, high
    w, low, high = overflowed(leak + driven, lif.membrane, lif.overflow)
    s = spikes(lif, w)
    if lif.reset == "subtract":
        # Spikes mean w >= threshold * s, so the difference lies in the format and cannot overflow again.
        w = w - threshold * s
    elif lif.reset == "zero":
        w = np.where(s > 0, 0, w)
    return _floored(lif, w), s, low, high


def _floored(lif: Lif, u: Array) -> Array:
    return u if lif.floor is None else np.maximum(u, along_map(lif.floor))


def _factor(decay: Decay) -> Array | int:
    return along_map(decay.astype(np.int64)) if isinstance(decay, np.ndarray) else int(decay)


def spikes(lif: Lif, u: Array) -> Array:
    """Return how many spikes membranes ``[C, H, W]`` send, 0 to ``max_spikes``: as often as the test passes, each taking a threshold."""
    beyond = int(lif.spike_test == ">")
    sent: Array = np.clip((u - beyond) // along_map(lif.threshold.astype(np.int64)), 0, lif.max_spikes)
    return sent


def rounded_shift(product: Array, shift: Array) -> Array:
    """Return ``(product + 2^(shift-1)) >> shift``, and ``product`` where ``shift`` is 0: rounds half up."""
    half = np.where(shift > 0, np.left_shift(1, np.maximum(shift - 1, 0)), 0)
    return (product + half) >> shift


def rescale(product: Array, shift: int, rounding: Rounding) -> Array:
    """Return ``product / 2^shift`` rounded as named (`Rounding`); ``shift = 0`` changes nothing."""
    if shift == 0:
        return product
    if rounding == Rounding.FLOOR:
        return product >> shift
    if rounding == Rounding.TOWARD_ZERO:
        rounded: Array = np.sign(product) * (np.abs(product) >> shift)
        return rounded
    return (product + (1 << (shift - 1))) >> shift


def overflowed(v: Array, membrane: QFormat, rule: Overflow) -> tuple[Array, int, int]:
    """Return ``v`` brought into the membrane's format, and how many values lay below and above it."""
    low, high = int((v < membrane.q_min).sum()), int((v > membrane.q_max).sum())
    if rule == Overflow.SATURATE:
        return np.clip(v, membrane.q_min, membrane.q_max), low, high
    return (v - membrane.q_min) % (1 << membrane.bits) + membrane.q_min, low, high
