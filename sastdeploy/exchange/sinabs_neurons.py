"""sinabs' layers as parts of a network: exponential decay, a spike for every threshold, reset at once, from 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from sastdeploy.exchange.parts import Array, Integrators, Linear, Neurons, Part, Refused
from sastdeploy.exchange.torch_arrays import array_of, home_of
from sastdeploy.program.limits import MAX_SPIKES


def _lif(where: str, module: Any) -> Part:
    reset, reasons = _reset(module)
    spikes = _max_spikes(module.spike_fn)
    if not 1 <= spikes <= MAX_SPIKES:
        kind = getattr(module.spike_fn, "__name__", type(module.spike_fn).__name__)
        reasons.insert(
            0,
            f"spike_fn {kind}, which no engine computes. Build its neurons with SingleSpike, MultiSpike or MaxSpike of at least 1.",
        )
    threshold = array_of(module.spike_threshold)
    if not (threshold > 0).all():
        reasons.append(f"a threshold of {threshold.min():g}; it must be positive.")
    floor = None if module.min_v_mem is None else array_of(module.min_v_mem)
    if floor is not None and not (np.isfinite(floor) & (floor <= 0)).all():
        reasons.append(f"min_v_mem {floor.max():g}; engines compute floors of at most 0.")
    alpha, gain, kept, computed = _state(module, reasons)
    if reasons:
        return Refused(where, "\n".join(reasons))
    if floor is not None:
        computed += f", floor = {_span(floor)}"
    return Neurons(
        where,
        alpha,
        gain,
        np.zeros(1),
        threshold,
        ">=",
        reset,
        0,
        computed,
        kept,
        max_spikes=spikes,
        floor=floor,
    )


def _recurrent(where: str, module: Any) -> Part:
    """Return neurons whose spikes of the step before come back through ``rec_connect``, added to their input.

    Its bias acts from the second step on: in every step here, from a start that takes it out of the first one.
    """
    neurons, connect = _lif(where, module), module.rec_connect
    parts = connect if type(connect) is nn.Sequential else [connect]
    kept: list[Any] = [part for part in parts if type(part) not in (nn.Flatten, nn.Unflatten)]
    if [type(part) for part in kept] != [nn.Linear]:
        names = ", ".join(type(part).__name__ for part in kept) or "nothing"
        reasons = [neurons.reason] if isinstance(neurons, Refused) else []
        return Refused(
            where, "\n".join([*reasons, f"a rec_connect of {names}; engines compute one Linear there."])
        )
    if not isinstance(neurons, Neurons):
        return neurons
    weight, bias = array_of(kept[0].weight), kept[0].bias
    if bias is None or not bias.any():
        return replace(neurons, recurrent=Linear(where, weight))
    own, alpha, kept_alpha = Linear(where, weight, array_of(bias)), neurons.alpha, neurons.current_alpha
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        before = -neurons.gain * array_of(bias) / (alpha if kept_alpha is None else kept_alpha)
    if kept_alpha is None:
        return replace(neurons, recurrent=own, start=before)
    return replace(neurons, recurrent=own, current_start=before)


def _exp_leak(where: str, module: Any) -> Part:
    reasons: list[str] = []
    if module.min_v_mem is not None:
        lowest = float(array_of(module.min_v_mem).max())
        reasons.append(f"min_v_mem {lowest:g} of membranes that are read, which no engine computes.")
    alpha, gain, kept, computed = _state(module, reasons)
    if reasons:
        return Refused(where, "\n".join(reasons))
    return Integrators(where, alpha, gain, np.zeros(1), computed, kept)


def _max_spikes(spike_fn: Any) -> int:
    """Return the most spikes of a step, as far as engines compute them; 0 where no engine computes the function."""
    if home_of(spike_fn) != "sinabs":
        return 0
    if type(spike_fn).__name__ == "MaxSpike":
        most = spike_fn.max_num_spikes_per_bin
        return MAX_SPIKES if most is None else min(int(most), MAX_SPIKES)
    return {"SingleSpike": 1, "MultiSpike": MAX_SPIKES}.get(getattr(spike_fn, "__name__", ""), 0)


def _reset(module: Any) -> tuple[str, list[str]]:
    """Return the kind of reset, and why it is none that engines compute."""
    rule, threshold = module.reset_fn, array_of(module.spike_threshold)
    kind = type(rule).__name__
    if home_of(rule) == "sinabs" and kind == "MembraneSubtract":
        taken = rule.subtract_value
        if taken is None or np.all(np.equal(array_of(taken), threshold)):
            return "subtract", []
        return "subtract", [
            f"a reset that subtracts {float(taken):g}, not the threshold, which no engine computes."
        ]
    if home_of(rule) == "sinabs" and kind == "MembraneReset":
        if rule.reset_value == 0:
            return "zero", []
        return "zero", [
            f"MembraneReset({float(rule.reset_value):g}), which sinabs adds in every step, spike or not; engines reset to 0."
        ]
    return "none", [f"a reset {kind}; engines compute MembraneSubtract and MembraneReset."]


def _state(module: Any, reasons: list[str]) -> tuple[Array, Array, Array | None, str]:
    """Return decay, gain, the current's decay and how they came about; add to ``reasons`` what no engine computes."""
    alpha = _decay(module, "mem", reasons)
    kept = _decay(module, "syn", reasons)
    alpha = np.ones(1) if alpha is None else alpha
    gain = 1.0 - alpha if module.norm_input else np.ones(1)
    computed = f"alpha = {_span(alpha)}, gain = {_span(gain)}"
    if kept is not None:
        # The current takes its input before it decays.
        gain, computed = gain * kept, f"{computed}, current decay = current gain = {_span(kept)}"
    return alpha, gain, kept, computed


def _decay(module: Any, state: str, reasons: list[str]) -> Array | None:
    """Return ``exp(-1 / tau)`` of a state; None where it has none, or does not decay."""
    value = getattr(module, f"alpha_{state}" if module.train_alphas else f"tau_{state}", None)
    if value is None:
        return None
    value = array_of(value)
    fits = (value > 0) & (value <= 1) if module.train_alphas else value > 0
    if not fits.all():
        what = "alpha" if module.train_alphas else "tau"
        allowed = "in (0, 1]" if module.train_alphas else "positive"
        reasons.append(f"{what}_{state} {value.min():g} to {value.max():g}, must be {allowed}.")
        return np.ones(1)
    return value if module.train_alphas else np.exp(-1.0 / value)


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.9g}" if low == high else f"{low:.9g} to {high:.9g}"


_KINDS: dict[str, Callable[[str, Any], Part]] = {"LIF": _lif, "IAF": _lif, "ExpLeak": _exp_leak}
NEURONS: dict[tuple[str, str], Callable[[str, Any], Part]] = {
    ("sinabs", f"{kind}{form}"): read for kind, read in _KINDS.items() for form in ("", "Squeeze")
} | {("sinabs", f"{kind}Recurrent"): _recurrent for kind in ("LIF", "IAF")}
