"""Dialects: what each framework computes and no exchange file says. One table, measured with one-neuron probes of each framework."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

from sastdeploy.errors import InputError, did_you_mean, short
from sastdeploy.program.limits import MAX_SPIKES, is_int, is_one_of
from sastdeploy.program.records import RESETS, SPIKE_TESTS


@dataclass(frozen=True)
class Dialect:
    """How a framework steps a neuron.

    Args:
        spike_test: ``>=`` or ``>``. reset: ``subtract``, ``zero`` (to ``v_reset``), ``none`` or ``refractory`` (to ``v_reset``, for the whole
            step after the spike; snnTorch's ``zero`` behind a current and in recurrent layers). reset_delay: 1, or 0 for at once.
        dt, dt_if: seconds of a step in the files that it writes, of leaky neurons and of neurons that do not leak.
        decay: ``euler``, ``1 - dt/tau``; or ``exponential``, ``exp(-dt/tau)``.
        gain: of a leaky neuron's input: ``file``, ``r dt/tau``; ``one``; or ``leak``, ``1 - alpha``.
        current_gain: of a synaptic current's input: ``file``, ``w_in dt/tau_syn``; ``one``; or ``decay``, the current's own.
        initial: the membrane's start: ``zero``, ``v_reset`` or ``v_leak``.
        spikes_per_step: ``one``; ``many``, as many as thresholds fit, which engines compute up to 127; or the most of them.
        floor: the lowest value, after the reset, of membranes that spike; None where there is none.
    """

    name: str
    spike_test: str
    reset: str
    reset_delay: int
    dt: float
    dt_if: float
    decay: str = "euler"
    gain: str = "file"
    initial: str = "zero"
    spikes_per_step: str | int = "one"
    floor: float | None = None
    current_gain: str = "file"

    @property
    def max_spikes(self) -> int:
        """The most spikes of a neuron in a step."""
        words: dict[str | int, int] = {"one": 1, "many": MAX_SPIKES}
        return words.get(self.spikes_per_step) or int(self.spikes_per_step)

    def to_dict(self) -> dict[str, Any]:
        """Return the dialect as plain values, as an imported network and its programs hold it."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """Return every field and its value as text, for a table."""
        return [
            (key.replace("_", " "), "none" if value is None else f"{value}")
            for key, value in asdict(self).items()
        ]


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("snntorch", ">", "subtract", 1, 1e-4, 1e-4),
        Dialect("spikingjelly", ">=", "zero", 0, 1e-4, 1e-4, initial="v_reset"),
        Dialect("norse", ">", "zero", 0, 1e-6, 1.0, initial="v_leak", current_gain="one"),
        Dialect(
            "sinabs", ">=", "subtract", 0, 1.0, 1.0, "exponential", "leak", spikes_per_step="many", current_gain="decay",
        ),
        Dialect(
            "rockpool", ">=", "subtract", 0, 1e-3, 1e-3, "exponential", "one", spikes_per_step="many", current_gain="decay",
        ),
        Dialect("lava", ">", "zero", 0, 1e-4, 1e-4),
        Dialect("nir", ">", "zero", 0, 1e-4, 1e-4),
        Dialect("sastdeploy", ">=", "subtract", 1, 1e-4, 1e-4),
    )
}  # fmt: skip
"""Every dialect by its name. ``nir`` is the text of NIR itself, in Euler steps; of files that `sastdeploy.export_nir` wrote, spike test and reset stand in the file."""


NEURON: dict[str, tuple[Any, ...]] = {"spike_test": SPIKE_TESTS, "reset": RESETS, "reset_delay": (0, 1)}
"""What a neuron's spike test, reset and its delay can be."""


def dialect(name: str, **changes: Any) -> Dialect:
    """Return a dialect by its name, with fields in other forms where a network was built so.

    Raises:
        InputError: an unknown name, with the likely spelling, or a field that no engine computes.
    """
    if name not in DIALECTS:
        raise InputError(
            f"dialect '{name}': unknown.{did_you_mean(name, DIALECTS)} Known: {', '.join(DIALECTS)}."
        )
    rules = replace(DIALECTS[name], **{key: value for key, value in changes.items() if value is not None})
    for key, allowed in {**NEURON, "gain": ("file", "one", "leak")}.items():
        value: Any = getattr(rules, key)
        if not is_one_of(value, allowed):
            raise InputError(
                f"{key.replace('_', ' ')} {short(value)}: unknown. Allowed: {', '.join(map(str, allowed))}."
            )
    spikes = rules.spikes_per_step
    if spikes not in ("one", "many") and not is_int(spikes, 1, MAX_SPIKES):
        raise InputError(f"spikes per step {short(spikes)}: unknown. Allowed: one, many, 1 to {MAX_SPIKES}.")
    if rules.floor is not None and not isfinite(rules.floor):
        raise InputError(f"floor {rules.floor}: no finite number. Leave it out where membranes have none.")
    if rules.reset == "refractory" and rules.reset_delay != 1:
        raise InputError(
            "reset 'refractory' with reset delay 0: it acts in the step after a spike. Give it the delay 1 (--reset-delay 1)."
        )
    return rules
