"""What other people's networks are made of, in the order of data flow: plain records that every reader fills."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Linear:
    """``weight @ x + bias``: weight ``[N, J]``; bias None, or of N values; bits: of weights that are integers times a scale."""

    name: str
    weight: Array
    bias: Array | None = None
    bits: int | None = None


@dataclass(frozen=True)
class Convolution:
    """Cross-correlation with zero padding: weight ``[O, I / groups, KH, KW]``; padding in positions, or ``same`` or ``valid``.

    bits: as of `Linear`.
    """

    name: str
    weight: Array
    bias: Array | None
    stride: Pair
    padding: Pair | str
    dilation: Pair
    groups: int
    bits: int | None = None


@dataclass(frozen=True)
class Scale:
    """``factor * x``, one factor for all, per channel, or per value."""

    name: str
    factor: Array


@dataclass(frozen=True)
class Pooling:
    """Sums, or means, of windows of each channel."""

    name: str
    kernel: Pair
    stride: Pair
    padding: Pair
    mean: bool

    @property
    def worth(self) -> float:
        """What one value of a window adds to the pooled one."""
        return 1.0 / prod(self.kernel) if self.mean else 1.0


@dataclass(frozen=True)
class Delaying:
    """Values that arrive later: steps, whole numbers, one for all, per channel, or per value.

    computed: how they came about, for the message where they are refused.
    """

    name: str
    steps: Array
    computed: str = ""


@dataclass(frozen=True)
class Flattening:
    """All values in one row, in C order."""

    name: str


@dataclass(frozen=True)
class Hearing:
    """Where the parts that follow, up to the next neurons, take their values: not from the neurons before them.

    name: of the neurons that they lead to. source: the name of earlier neurons, None of the input.
    """

    name: str
    source: str | None


@dataclass(frozen=True)
class Branch:
    """What else reaches neurons, summed with what comes from the part before them.

    source: the name of earlier neurons that send it, None of the input. parts: what is between, in order; its biases act in every step.
    """

    source: str | None
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Neurons:
    """``u[t] = alpha u[t-1] + gain x + offset``, from u = start, and a spike where u passes the threshold.

    With a synaptic current ``i[t] = current_alpha i[t-1] + gain x + offset``, from i = current_start, in place of ``gain x + offset``.

    Args:
        alpha, gain, offset, threshold: one for all, per channel, or per neuron.
        spike_test, reset, reset_delay, max_spikes: as in `sastdeploy.compiler.ir.nodes.Lif`; reset ``zero`` is to u = 0.
        current_alpha: its decay, as alpha; None where there is none.
        recurrent: what their own spikes of the step before add to x, weight ``[N, N]``, or one value per neuron, or one for
            all, where each hears itself alone; its bias is added in every step. None where nothing comes back.
        branches: what else is added to x.
        start, current_start: as alpha; None for 0.
        floor: the membrane's lowest value after the reset, at most 0, as threshold; None where there is none.
        computed: how its numbers came about, for the message where one is refused.
    """

    name: str
    alpha: Array
    gain: Array
    offset: Array
    threshold: Array
    spike_test: str
    reset: str
    reset_delay: int
    computed: str = ""
    current_alpha: Array | None = None
    recurrent: Linear | None = None
    branches: tuple[Branch, ...] = ()
    max_spikes: int = 1
    start: Array | None = None
    current_start: Array | None = None
    floor: Array | None = None


@dataclass(frozen=True)
class Integrators:
    """``u[t] = alpha u[t-1] + gain x + offset``, from u = start, without spikes: read at the end. Fields as of `Neurons`."""

    name: str
    alpha: Array
    gain: Array
    offset: Array
    computed: str = ""
    current_alpha: Array | None = None
    branches: tuple[Branch, ...] = ()
    start: Array | None = None
    current_start: Array | None = None


@dataclass(frozen=True)
class Ending:
    """Where the network ends, and what else it gives, summed with what comes from the part before.

    branches: as of `Neurons`.
    """

    name: str
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Refused:
    """A part that no engine computes."""

    name: str
    reason: str


Part = (
    Linear | Convolution | Scale | Pooling | Delaying | Flattening | Hearing | Neurons | Integrators | Ending | Refused
)  # fmt: skip


MAX_NUMBER = 2**31
"""Of sizes, strides, decays and whatever else a file gives as whole numbers."""


def whole_numbers(value: Any) -> list[int]:
    """Return the numbers of an array of any shape, in C order.

    Raises:
        ValueError: they are no numbers, not whole, or beyond `MAX_NUMBER`.
    """
    values = floats(value).reshape(-1)
    if not (np.abs(values) <= MAX_NUMBER).all() or (values != np.round(values)).any():
        raise ValueError(f"holds what is no whole number of at most {MAX_NUMBER:,}")
    return [int(value) for value in values]


def floats(value: Any) -> Array:
    """Return float64, of float32 exactly."""
    return np.asarray(value, np.float64)
