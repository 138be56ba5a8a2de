"""Weighted layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes.checks import (
    Assembled,
    Floats,
    Shape,
    check_codes,
    known,
    require,
    require_form,
)
from sastdeploy.errors import CompileError
from sastdeploy.program.fixedpoint import weight_limit
from sastdeploy.program.layers import ConvLif, DenseLif, Further, FurtherConv, FurtherDense
from sastdeploy.program.layers import Lif as ProgramLif
from sastdeploy.program.layers.each import along_map
from sastdeploy.program.limits import INT32_END, MAX_MULTIPLIER, MAX_SHIFT, sum_range
from sastdeploy.windows import Window

Own = TypeVar("Own", bound="Synapses")


@dataclass(frozen=True, eq=False)
class Synapses(ABC):
    """What a weighted layer holds: ``I = gain * (weight . x) + bias``, and what its further inputs add in the same step.

    Args:
        weight: real weights. bias: real, per channel ``[C]``, or per neuron ``[C, H, W]`` where it differs within a channel.
        gain: real factor of the sum, 1 until scales are folded.
        weight_q, weight_scale: integer codes and the real value of one code, per channel: ``weight ~ weight_q * scale``.
        multiplier, shift: ``M / 2^r ~ gain * weight_scale * 2^n``, per channel. bias_q: in units of 2^-n, in either form.
        further: nodes of the same kind, each by the name of the earlier node whose values it takes: the input, or neurons. Their biases are
            0, their gains their own; in integers all share this node's scale and gain, so that one sum is left.
        source: the name of the input or of the earlier neurons whose values ``weight`` takes; None the node before it.
        weight_bits, fraction_bits: b and n. accumulator_bits: the proven width of ``weight_q . x``.
        trained_bits: of weights that were trained as integers of so many bits times a scale; None of real ones.
    """

    kind: ClassVar[str] = "synapses"
    takes: ClassVar[tuple[str, ...]] = ("values", "spikes", "sums", "delayed")
    gives: ClassVar[str] = "currents"
    waits: ClassVar[int] = 0
    further_kind: ClassVar[str] = ""
    """The kind of its further inputs; empty where it can have none."""
    name: str
    weight: Floats
    bias: Floats
    gain: float = 1.0
    weight_bits: int | None = None
    weight_q: NDArray[np.int8] | None = None
    weight_scale: Floats | None = None
    fraction_bits: int | None = None
    multiplier: NDArray[np.int32] | None = None
    shift: NDArray[np.int32] | None = None
    bias_q: NDArray[np.int32] | None = None
    accumulator_bits: int | None = None
    trained_bits: int | None = None
    further: tuple[Synapses, ...] = ()
    source: str | None = field(default=None, kw_only=True)

    @property
    def effective_weight(self) -> Floats:
        """The weights that act: the dequantized ones once a pass has quantized them."""
        if self.weight_q is None or self.weight_scale is None:
            return self.weight
        return self.weight_q * self.weight_scale.reshape(-1, *[1] * (self.weight.ndim - 1))

    @property
    def weights(self) -> tuple[Floats, ...]:
        """All real weights, in the unit of ``weight``; first axis: outputs."""
        return (self.weight, *(each.weight * (each.gain / self.gain) for each in self.further))

    @property
    def acting_further(self) -> tuple[Synapses, ...]:
        """The further inputs, with the value that one of their codes has in their own unit."""
        if self.weight_scale is None:
            return self.further
        return tuple(
            replace(each, weight_scale=self.weight_scale * (self.gain / each.gain)) for each in self.further
        )

    def with_folded_further(self: Own, units: Mapping[str, float]) -> Own:
        """Return the node with further inputs on integers, one of which is worth its source's unit."""
        further = tuple(replace(each, gain=each.gain * units[each.name]) for each in self.further)
        return replace(self, further=further)

    def as_further(self, source: int) -> Further:
        """Return the program's record of a further input, from the source of that number."""
        raise CompileError(f"{self.name}: a {self.kind} cannot be a further input.")

    def further_currents(self, sent: Mapping[str, Floats]) -> Floats | float:
        """Return what further inputs add to the currents ``[N, T, C, H, W]``; ``sent``: the values of their sources, by name."""
        return sum((each.meaning(sent[each.name])[0] for each in self.acting_further), 0.0)

    def largest_further(self, largest: int, time_bins: int) -> int:
        """Return the largest value of one term's input in a further input's sum, for sources from 0 to ``largest``."""
        return largest

    @property
    def codes(self) -> tuple[NDArray[np.int8], ...]:
        """The integer codes of ``weights``; none before a pass has quantized them."""
        if self.weight_q is None:
            return ()
        return (self.weight_q, *(known(self, each.weight_q) for each in self.further))

    def with_codes(self: Own, *codes: NDArray[np.int8]) -> Own:
        """Return the node with these codes of its ``weights``."""
        weight_q, *others = codes
        further = tuple(replace(each, weight_q=own) for each, own in zip(self.further, others, strict=True))
        return replace(self, weight_q=weight_q, further=further)

    def sum_range(
        self, largest: int, further: Sequence[int] = (), own: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each channel's lowest and highest possible sum of codes, int64 ``[C]``, for inputs from 0 to ``largest``.

        further: the largest value of each further input. own: the most spikes of its neurons in a step, which a recurrent node hears.
        """
        low, high = sum_range(known(self, self.weight_q), largest)
        for each, most in zip(self.further, further, strict=True):
            its_low, its_high = sum_range(known(self, each.weight_q), most)
            low, high = low + its_low, high + its_high
        return low, high

    def feedback(self, spikes: Floats) -> Floats | float:
        """Return what the neurons' spikes of a step ``[N, C, H, W]`` add to their currents in the next: nothing, unless recurrent."""
        return 0.0

    @abstractmethod
    def output_shape(self, before: Shape) -> Shape: ...

    @abstractmethod
    def sums(self, x: NDArray[Any]) -> Floats:
        """Return ``weight . x`` as ``[N, T, C, H, W]``."""

    @abstractmethod
    def assembled(self, lif: ProgramLif | None) -> Assembled: ...

    def _check_weight(self, axes: int) -> None:
        require(self.weight.ndim == axes, self, f"weight has {self.weight.ndim} axes, not {axes}")
        require(self.weight.size > 0, self, f"weight {self.weight.shape} is empty")

    def _check_sources(self, sources: int) -> None:
        require(self.weight.shape[1] == sources, self, f"weight {self.weight.shape} for {sources} sources")

    def check(self, after: Shape) -> None:
        require(bool(np.isfinite(self.weight).all()), self, "a weight is not finite")
        require(
            self.bias.shape in (after[:1], after) and bool(np.isfinite(self.bias).all()),
            self,
            "bias must be finite [C]" + ("" if after[1:] == (1, 1) else " or [C, H, W]"),
        )
        require_form(self, "bias", self.bias, after, "float64")
        require(np.isfinite(self.gain) and self.gain > 0, self, f"gain {self.gain} must be positive")
        bits = self.trained_bits
        require(bits is None or bits in range(2, 9), self, f"trained_bits is {bits}, not 2 to 8")
        self._check_integers(after)
        for each in self.acting_further:
            require(not each.bias.any(), self, f"further input {each.name} has a bias")
            require(
                (each.weight_q is None) == (self.weight_q is None),
                self,
                f"weight_q and that of further input {each.name} go together",
            )
            replace(each, weight_bits=self.weight_bits).check(after)

    def _check_integers(self, after: Shape) -> None:
        """Compare what passes have filled in with the ranges that a program allows; None is not yet filled."""
        channels = len(self.weight)
        if self.weight_q is not None:
            require(self.weight_bits in range(2, 9), self, f"weight_bits is {self.weight_bits}, not 2 to 8")
            self._check_codes("weight_q", self.weight_q, self.weight)
            scale = self.weight_scale
            require(
                scale is not None
                and scale.shape == (channels,)
                and bool((np.isfinite(scale) & (scale > 0)).all()),
                self,
                "weight_scale must be positive [C] beside weight_q",
            )
        check_codes(self, "multiplier", self.multiplier, (channels,), 1, MAX_MULTIPLIER)
        check_codes(self, "shift", self.shift, (channels,), 0, MAX_SHIFT)
        check_codes(self, "bias_q", self.bias_q, after, -INT32_END, INT32_END - 1)

    def _check_codes(self, name: str, codes: NDArray[np.int8], weight: Floats) -> None:
        require(
            codes.dtype == np.int8 and codes.shape == weight.shape,
            self,
            f"{name} is {codes.dtype} {list(codes.shape)}, not int8 {list(weight.shape)}",
        )
        limit = weight_limit(self.weight_bits or 8)
        largest = max(-int(codes.min()), int(codes.max()))
        require(largest <= limit, self, f"a weight code of {largest} exceeds {limit}")

    def meaning(self, x: NDArray[Any]) -> tuple[Floats, None]:
        """Return ``I`` as ``[N, T, C, H, W]``."""
        return self.gain * self.sums(x) + along_map(self.bias), None

    def largest_output(self, largest: int) -> int:
        # Currents go to neurons, which do not ask.
        return largest

    def largest_input(self, largest: int, before: Shape, time_bins: int) -> int:
        """Return the largest value of one term's input in the weighted sum, for sources from 0 to ``largest``."""
        return largest

    def folded(self, unit: float, before: Shape) -> tuple[Synapses, float]:
        return replace(self, gain=self.gain * unit), 1.0

    @property
    def fan_in(self) -> int:
        """The most sources that one neuron sums."""
        return prod(self.weight.shape[1:]) + sum(each.fan_in for each in self.further)

    def kernel(self, before: Shape) -> tuple[int, int]:
        """Return rows and columns of the inputs that one neuron sees."""
        return before[1:]

    def weights_of(self, first: int, count: int, positions: int) -> int:
        """Return how many weights ``count`` neurons from number ``first`` on need, channel by channel, ``positions`` each."""
        return count * self.fan_in

    def fan_out(self, before: Shape) -> int:
        """Return the most accumulations that one source triggers, for inputs ``before``, borders considered."""
        return len(self.weight)

    @property
    def own_fan_out(self) -> int:
        """How many accumulations a spike of its neurons triggers in the layer itself."""
        return 0


@dataclass(frozen=True, eq=False)
class Dense(Synapses):
    """``I = gain * (weight @ flatten(x)) + bias``; weight ``[N, J]``."""

    kind: ClassVar[str] = "dense"
    further_kind: ClassVar[str] = "dense"

    def output_shape(self, before: Shape) -> Shape:
        self._check_weight(2)
        self._check_sources(prod(before))
        return (self.weight.shape[0], 1, 1)

    def sums(self, x: NDArray[Any]) -> Floats:
        return (x.reshape(*x.shape[:2], -1) @ self.effective_weight.T)[..., None, None]

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        weight, bits = known(self, self.weight_q), known(self, self.weight_bits)
        return (DenseLif(self.name, weight, bits, known(self, lif)),)

    def as_further(self, source: int) -> Further:
        return FurtherDense(source, known(self, self.weight_q))


@dataclass(frozen=True, eq=False)
class Conv2d(Synapses):
    """``I[o] = gain * sum_i weight[o, i] (star) x[i] + bias[o]``: cross-correlation, zero padding; ``[O, I, KH, KW]``."""

    kind: ClassVar[str] = "conv2d"
    further_kind: ClassVar[str] = "conv2d"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    @property
    def window(self) -> Window:
        _, _, height, width = self.weight.shape
        return Window((height, width), self.stride, self.padding)

    def output_shape(self, before: Shape) -> Shape:
        self._check_weight(4)
        require(
            self.weight.shape[1] == before[0],
            self,
            f"weight {self.weight.shape} for {before[0]} input channels",
        )
        require(
            min(self.stride) >= 1 and min(self.padding) >= 0,
            self,
            f"stride {self.stride} must be at least 1, padding {self.padding} at least 0",
        )
        rows, columns = self.window.output(before)
        require(
            rows >= 1 and columns >= 1,
            self,
            f"kernel {self.weight.shape[2:]} is larger than its padded input",
        )
        return (self.weight.shape[0], rows, columns)

    def sums(self, x: NDArray[Any]) -> Floats:
        weight = self.effective_weight
        sums: Floats = np.einsum("ntihwab,oiab->ntohw", self.window.views(x), weight, optimize=True)
        return sums

    def kernel(self, before: Shape) -> tuple[int, int]:
        return self.weight.shape[2], self.weight.shape[3]

    def weights_of(self, first: int, count: int, positions: int) -> int:
        # The positions of a channel share its kernel.
        channels = (first + count - 1) // positions - first // positions + 1 if count else 0
        return channels * self.fan_in

    def fan_out(self, before: Shape) -> int:
        rows, columns = self.window.along(before)
        return len(self.weight) * int(rows.max()) * int(columns.max())

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        weight, bits = known(self, self.weight_q), known(self, self.weight_bits)
        return (ConvLif(self.name, weight, bits, self.stride, self.padding, known(self, lif)),)

    def as_further(self, source: int) -> Further:
        return FurtherConv(source, known(self, self.weight_q), self.stride, self.padding)
