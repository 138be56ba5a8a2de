"""Leaky integrate-and-fire neurons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.nodes.checks import (
    Assembled,
    Floats,
    Shape,
    check_codes,
    require,
    require_factors,
    require_form,
)  # fmt: skip
from sastdeploy.program.layers import RESETS, SPIKE_TESTS
from sastdeploy.program.layers import Lif as ProgramLif
from sastdeploy.program.layers.current import Decay
from sastdeploy.program.layers.each import along_map
from sastdeploy.program.layers.start import STARTS
from sastdeploy.program.limits import MAX_LEAK_SHIFT, MAX_SPIKES

Feedback = Callable[[Floats], Floats | float]
"""What spikes of a step ``[N, C, H, W]`` add to the currents of the next."""


def no_feedback(spikes: Floats) -> float:
    return 0.0


@dataclass(frozen=True, eq=False)
class Lif:
    """``u_t = alpha u_{t-1} + I_t - theta s_{t-1}``, ``s_t = H(u_t - theta)``: leaky integrate and fire.

    Written for reset ``subtract`` and ``reset_delay`` 1; `sastdeploy.program.records.Lif` gives all forms. With a synaptic
    current, ``i_t = current_alpha i_{t-1} + I_t`` stands where ``I_t`` does; a reset leaves it alone.

    Args:
        alpha: leak factor in [0, 1]; 1 never leaks, 0 keeps nothing. Decays are one number, an array ``[C]`` where channels differ, or ``[C, H, W]``
            where neurons of a channel do. threshold: theta > 0, per channel, or per neuron ``[C, H, W]`` where they differ within one.
        spike_test: ``>=`` or ``>``. reset: ``subtract``, ``zero``, ``none`` or ``refractory``. reset_delay: 1, or 0 for at once.
        leak_multiplier, leak_shift: ``A / 2^k ~ alpha``. threshold_q: in units of 2^-n.
        current_alpha: decay of the synaptic current, in [0, 1]; None where there is none. current_multiplier: ``A / 2^k ~`` it.
        max_spikes: the most spikes of a neuron in a step, 1 to 127. Above 1, ``s_t`` is how often the test passes while each spike
            takes a threshold: ``floor(u_t / theta)``, of ``>`` ``ceil(u_t / theta) - 1``, from 0 to ``max_spikes``.
        start, current_start: membranes and currents before the first step, float64 ``[C]`` or ``[C, H, W]``; None where all are 0. start_q,
            current_start_q: in units of 2^-n. Whatever the start, no spike comes before the first step.
        floor: the membrane's lowest value after the step's reset, 0 or below, in the form of thresholds; None where there is none. floor_q: in
            units of 2^-n. A start may lie below it, as it acts after every step only.
        threshold_step: 1 where integers test ``>=`` one step above the threshold, which is ``>`` at it; -1 the other way round.
            The node still means the test at the threshold.
    """

    kind: ClassVar[str] = "lif"
    takes: ClassVar[tuple[str, ...]] = ("currents", "recurrent currents")
    gives: ClassVar[str] = "spikes"
    waits: ClassVar[int] = 0
    source: ClassVar[None] = None
    name: str
    alpha: float | Floats
    threshold: Floats
    spike_test: str = ">="
    reset: str = "subtract"
    reset_delay: int = 1
    leak_multiplier: Decay | None = None
    leak_shift: int | None = None
    threshold_q: NDArray[np.int32] | None = None
    current_alpha: float | Floats | None = None
    current_multiplier: Decay | None = None
    threshold_step: int = 0
    max_spikes: int = 1
    start: Floats | None = None
    current_start: Floats | None = None
    start_q: NDArray[np.int32] | None = None
    current_start_q: NDArray[np.int32] | None = None
    floor: Floats | None = None
    floor_q: NDArray[np.int32] | None = None

    @property
    def meant_test(self) -> str:
        """The spike test at the threshold itself."""
        return self.spike_test if self.threshold_step == 0 else {">=": ">", ">": ">="}[self.spike_test]

    @property
    def own_decays(self) -> bool:
        """Whether channels decay differently."""
        return isinstance(self.alpha, np.ndarray) or isinstance(self.current_alpha, np.ndarray)

    @property
    def per_neuron(self) -> tuple[str, ...]:
        """What differs within a channel, in words."""
        decays = any(
            isinstance(decay, np.ndarray) and decay.ndim == 3 for decay in (self.alpha, self.current_alpha)
        )
        floors = self.floor is not None and self.floor.ndim == 3
        differ = {"thresholds": self.threshold.ndim == 3, "floors": floors, "decays": decays}
        return tuple(name for name, own in differ.items() if own)

    def output_shape(self, before: Shape) -> Shape:
        return before

    def check(self, after: Shape) -> None:
        require(self.alpha is not None, self, "alpha is missing")
        require_factors(self, "alpha", self.alpha, after, "[0, 1]")
        require(
            self.threshold.shape in (after[:1], after),
            self,
            f"threshold {self.threshold.shape} for {after[0]} channels",
        )
        require_form(self, "threshold", self.threshold, after, "float64")
        positive = np.isfinite(self.threshold) & (self.threshold > 0)
        require(bool(positive.all()), self, "thresholds must be positive")
        require(self.spike_test in SPIKE_TESTS, self, f"spike test '{self.spike_test}'")
        require(self.reset in RESETS, self, f"reset '{self.reset}'")
        require(self.reset_delay in (0, 1), self, f"reset delay {self.reset_delay}")
        late = self.reset != "refractory" or self.reset_delay == 1
        require(late, self, "reset 'refractory' with reset delay 0; it acts in the step after a spike")
        require(
            type(self.max_spikes) is int and 1 <= self.max_spikes <= MAX_SPIKES,
            self,
            f"max_spikes {self.max_spikes} is no whole number from 1 to {MAX_SPIKES}",
        )
        # A reset by subtraction takes the threshold itself, and so does every spike of several: there it must stay where it is.
        step = 0 if self.reset == "subtract" or self.max_spikes > 1 else {">=": 1, ">": -1}[self.spike_test]
        require(self.threshold_step in (0, step), self, f"threshold step {self.threshold_step}")
        check_codes(self, "threshold_q", self.threshold_q, after, 1, (1 << 23) - 1)
        a, k = self.leak_multiplier, self.leak_shift
        require((a is None) == (k is None), self, "leak_multiplier and leak_shift go together")
        if a is not None and k is not None:
            fits = 0 <= k <= MAX_LEAK_SHIFT and _are_factors(a, k, after)
            require(fits, self, f"leak {a} / 2^{k} is no factor from 0 to 1")
        decay, kept = self.current_alpha, self.current_multiplier
        require_factors(self, "current_alpha", decay, after, "[0, 1]")
        if kept is not None:
            fits = decay is not None and k is not None and _are_factors(kept, k, after)
            require(fits, self, f"current {kept} / 2^{k} is no factor from 0 to 1 of a synaptic current")
        self._check_starts(after)
        self._check_floor(after)

    def _check_starts(self, shape: Shape) -> None:
        for name in STARTS:
            start, codes = getattr(self, name), getattr(self, f"{name}_q")
            check_codes(self, f"{name}_q", codes, shape, -(1 << 23), (1 << 23) - 1)
            if start is None:
                require(codes is None, self, f"{name}_q without {name}")
                continue
            require_form(self, name, start, shape, "float64")
            require(bool(np.isfinite(start).all()), self, f"a {name} is not finite")
            require(bool(start.any()), self, f"{name} is 0 everywhere")
        alone = self.current_start is not None and self.current_alpha is None
        require(not alone, self, "current_start without a synaptic current")

    def _check_floor(self, shape: Shape) -> None:
        check_codes(self, "floor_q", self.floor_q, shape, -(1 << 23), 0)
        if self.floor is None:
            require(self.floor_q is None, self, "floor_q without floor")
            return
        require_form(self, "floor", self.floor, shape, "float64")
        within = np.isfinite(self.floor) & (self.floor <= 0)
        require(bool(within.all()), self, "floors must be finite, and at most 0")

    def meaning(self, x: NDArray[Any], feedback: Feedback = no_feedback) -> tuple[Floats, Floats]:
        """Return spikes and membranes; ``feedback``: of the weighted node before it (`Synapses.feedback`)."""
        return run_lif(self, x, feedback=feedback)

    def largest_output(self, largest: int) -> int:
        return self.max_spikes

    def folded(self, unit: float, before: Shape) -> tuple[Lif, float]:
        return self, 1.0

    def assembled(self, lif: ProgramLif | None) -> Assembled:
        # The program holds neurons in the layer before them.
        return ()


def _are_factors(codes: Decay, k: int, shape: Shape) -> bool:
    """Return whether codes lie from 0 to 2^k: one for all, or int32 one per channel or neuron."""
    if not isinstance(codes, np.ndarray):
        return 0 <= codes <= 1 << k
    fits = codes.dtype == np.int32 and codes.shape in (shape[:1], shape)
    return fits and bool(((codes >= 0) & (codes <= 1 << k)).all())


@dataclass(frozen=True, eq=False)
class Integrator(Lif):
    """``u_t = alpha u_{t-1} + I_t`` (behind a synaptic current: ``i_t``): neurons without spikes, whose membranes are read.

    No membrane passes the threshold, whatever it is.
    """

    kind: ClassVar[str] = "integrator"
    takes: ClassVar[tuple[str, ...]] = ("currents",)
    gives: ClassVar[str] = "membranes"
    spike_test: str = ">"
    reset: str = "none"

    def check(self, after: Shape) -> None:
        super().check(after)
        spikes = self.reset != "none" or self.spike_test != ">" or self.max_spikes != 1
        require(not spikes, self, "has neither spikes nor a reset")
        require(self.floor is None, self, "has no floor")

    def meaning(  # type: ignore[override]  # no spikes, so no trace of them
        self, x: NDArray[Any], feedback: Feedback = no_feedback
    ) -> tuple[Floats, None]:
        return run_lif(self, x)[1], None


@dataclass
class RecordedSpikes:
    """Spikes ``[N, T, C, H, W]`` that decide wherever a membrane lies within ``margin`` of its threshold, or of where it sends one more.

    ties: how many spikes they decided otherwise than the membrane would have.
    """

    spikes: Floats
    margin: float
    ties: int = 0

    def settle(self, t: int, u: Floats, theta: Floats, most: int, s: Floats) -> Floats:
        """Return step t's spikes, of membranes ``u`` that would send ``s``, up to ``most``, one for each threshold ``theta``."""
        theirs, nearest = self.spikes[:, t], np.clip(np.round(u / theta), 1, most)
        # On either side of one threshold: with its spike or without.
        tied = (np.abs(u - theta * nearest) <= self.margin) & ((theirs == nearest) | (theirs == nearest - 1))
        settled = np.where(tied, theirs, s)
        self.ties += int((settled != s).sum())
        return settled


def run_lif(
    node: Lif, current: Floats, recorded: RecordedSpikes | None = None, feedback: Feedback = no_feedback
) -> tuple[Floats, Floats]:
    """Return spikes and membranes of LIF neurons driven by ``current [N, T, C, H, W]`` and their own spikes, from their start."""
    theta = along_map(node.threshold)
    alpha, kept = (_factor(decay) for decay in (node.alpha, node.current_alpha))
    u = np.zeros_like(current[:, 0])
    s, i = np.zeros_like(u), np.zeros_like(u)
    if node.start is not None:
        u = u + along_map(node.start)
    if node.current_start is not None:
        i = i + along_map(node.current_start)
    spikes, membranes = np.empty_like(current), np.empty_like(current)
    for t in range(current.shape[1]):
        leak = alpha * u
        if node.reset_delay == 1 and node.reset == "zero":
            leak = np.where(s > 0, 0.0, leak)
        driven = current[:, t] + feedback(s)
        i = driven if kept is None else kept * i + driven
        u = leak + i
        if node.reset_delay == 1 and node.reset == "subtract":
            u = u - theta * s
        if node.reset == "refractory":
            u = np.where(s > 0, 0.0, u)
        s = spikes_sent(node, u)
        if recorded is not None:
            s = recorded.settle(t, u, theta, node.max_spikes, s)
        if node.reset_delay == 0 and node.reset == "subtract":
            u = u - theta * s
        if node.reset_delay == 0 and node.reset == "zero":
            u = np.where(s > 0, 0.0, u)
        if node.floor is not None:
            u = np.maximum(u, along_map(node.floor))
        spikes[:, t], membranes[:, t] = s, u
    return spikes, membranes


def spikes_sent(node: Lif, u: Floats) -> Floats:
    """Return how many spikes neurons of membranes ``[N, C, H, W]`` send."""
    theta = along_map(node.threshold)
    if node.max_spikes == 1:
        return (u >= theta if node.meant_test == ">=" else u > theta).astype(np.float64)
    number = np.floor(u / theta) if node.spike_test == ">=" else np.ceil(u / theta) - 1
    sent: Floats = np.clip(number, 0.0, float(node.max_spikes))
    return sent


def _factor(decay: Any) -> Any:
    return along_map(decay) if isinstance(decay, np.ndarray) else decay
