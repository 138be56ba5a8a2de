"""From the time constants of a file to the factors of one step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy.errors import CompileError
from sastdeploy.exchange.dialects import Dialect
from sastdeploy.exchange.parts import Array, Integrators, Neurons, floats

_SINGLE = 2.0**-22
"""Four units in the last place of a float32 near 1: what a division and its reversal in float32 lose."""


def _check_shapes(name: str, **fields: Array) -> None:
    """Refuse numbers of one node that would meet across their axes.

    Raises:
        CompileError: a row of values beside values of three axes or more, where the row can be meant for channels or for columns.
    """
    shapes = {field: values.shape for field, values in fields.items() if values.size > 1}
    axes = [len(shape) for shape in shapes.values()]
    if axes and min(axes) == 1 and max(axes) > 2:
        told = ", ".join(f"{field} {shape}" for field, shape in shapes.items())
        raise CompileError(
            f"{name}: {told}: give all of them the same axes, [C, 1, 1] or [C, H, W], or one value."
        )


def _quiet() -> np.errstate:
    """Let time constants at the end of all numbers give what is then refused by its value."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


@_quiet()
def leaky(
    name: str, rules: Dialect, *, tau: Array, r: Array, v_leak: Array, v_threshold: Array, v_reset: Array
) -> Neurons:
    """Return leaky neurons, measured from where they are reset to.

    ``u = v - v_reset``, so that a reset to ``v_reset`` is one to 0, and ``v_leak`` and ``v_reset`` become an offset of every step, a start and
    a lower threshold. Where a reset subtracts the threshold, or there is none, u is v.

    Raises:
        CompileError: a decay outside (0, 1], with how it was computed, or a threshold that is not above 0.
    """
    _check_shapes(name, tau=tau, r=r, v_leak=v_leak, v_threshold=v_threshold, v_reset=v_reset)
    alpha, formula = _decay(name, rules, tau, "tau")
    if rules.gain == "one":
        gain = np.ones(1)
    elif rules.gain == "leak":
        gain = 1.0 - alpha
    else:
        gain = _share(r * rules.dt / tau)
    computed = f"alpha = {formula} = {_span(alpha)}, gain = {_span(gain)}"
    return _neurons(name, rules, alpha, gain, (1.0 - alpha), v_leak, v_threshold, v_reset, computed)


@_quiet()
def leaky_with_current(
    name: str, rules: Dialect, *, tau_syn: Array, w_in: Array, tau_mem: Array, r: Array, v_leak: Array,
    v_threshold: Array, v_reset: Array,
) -> Neurons:  # fmt: skip
    """Return leaky neurons behind a synaptic current: ``i = decay i + gain x`` and ``v = alpha v + gain_i i``.

    Both gains are one factor of the weights, as the current is measured in what it adds to the membrane. The membrane's offset is part of
    the current: ``i + c`` starts at c and stays where ``(1 - decay) c`` is added in every step.

    Raises:
        CompileError: as `leaky`; or snnTorch's reset to zero.
    """
    _check_shapes(
        name,
        tau_syn=tau_syn,
        w_in=w_in,
        tau_mem=tau_mem,
        r=r,
        v_leak=v_leak,
        v_threshold=v_threshold,
        v_reset=v_reset,
    )
    kept, formula = _decay(name, rules, tau_syn, "tau_syn")
    neurons = leaky(name, rules, tau=tau_mem, r=r, v_leak=v_leak, v_threshold=v_threshold, v_reset=v_reset)
    if rules.current_gain == "one":
        gain = np.ones(1)
    elif rules.current_gain == "decay":
        gain = kept
    else:
        gain = _share(w_in * rules.dt / tau_syn)
    computed = f"{neurons.computed}, current decay = {formula} = {_span(kept)}, current gain = {_span(gain)}"
    neurons = replace(
        neurons, gain=neurons.gain * gain, offset=(1.0 - kept) * neurons.offset, current_alpha=kept, computed=computed,
        current_start=neurons.offset,
    )  # fmt: skip
    return refractory(neurons) if rules.name == "snntorch" else neurons


def refractory(neurons: Neurons) -> Neurons:
    """Return snnTorch's neurons that have a current or are recurrent: their delayed reset to zero drops the whole step's update."""
    drops = (neurons.reset, neurons.reset_delay) == ("zero", 1)
    return replace(neurons, reset="refractory") if drops else neurons


SILENT = {"v_threshold": np.full(1, np.inf), "v_reset": np.zeros(1)}
"""A threshold that nothing reaches, and no reset."""


def unread(rules: Dialect) -> Dialect:
    """Return a dialect for neurons that neither spike nor are reset."""
    return replace(rules, reset="none", spikes_per_step="one", floor=None)


def integrators(neurons: Neurons) -> Integrators:
    """Return neurons, made with `unread` rules, as ones that are only read."""
    return Integrators(
        neurons.name, neurons.alpha, neurons.gain, neurons.offset, neurons.computed, neurons.current_alpha,
        start=neurons.start, current_start=neurons.current_start,
    )  # fmt: skip


def _decay(name: str, rules: Dialect, tau: Array, what: str) -> tuple[Array, str]:
    """Return the factor that a state keeps in a step, and its formula."""
    if not np.isfinite(tau).all() or (tau <= 0).any():
        raise CompileError(f"{name}: {what} {_first(tau, ~(tau > 0))} must be positive and finite.")
    if rules.decay == "exponential":
        alpha = np.exp(-rules.dt / _near(tau))
        formula = f"exp(-dt / {what})"
    else:
        alpha = snapped(1.0 - _share(rules.dt / tau))
        formula = f"1 - dt / {what}"
    # A membrane that keeps nothing is likelier a wrong dt; a current that keeps nothing is none.
    outside = ~((alpha > 0) & (alpha <= 1)) if what != "tau_syn" else ~((alpha >= 0) & (alpha <= 1))
    if outside.any():
        allowed = "(0, 1]" if what != "tau_syn" else "[0, 1]"
        raise CompileError(
            f"{name}: decay {formula} = {_first(alpha, outside):g}, outside {allowed}: dt = {rules.dt:g} s, {what} = "
            f"{_first(tau, outside):g} s ({rules.name}). Give the dt that the network was trained with (--dt), or its dialect."
        )
    return alpha, formula


def memoryless(name: str, rules: Dialect, *, threshold: Array) -> Neurons:
    """Return neurons that compare what they hear in a step with their threshold, and keep nothing of it.

    Their reset is one to 0, which changes nothing where nothing is kept.

    Raises:
        CompileError: a threshold that is not above 0.
    """
    one, zero = np.ones(1), np.zeros(1)
    once = replace(rules, reset="zero", spikes_per_step="one", floor=None, initial="zero")
    return _neurons(name, once, zero, one, zero, zero, threshold, zero, "alpha = 0, gain = 1")


@_quiet()
def integrating(name: str, rules: Dialect, *, r: Array, v_threshold: Array, v_reset: Array) -> Neurons:
    """Return neurons that do not leak: ``v += r dt x``. Where a dialect's leaky ones start at ``v_leak``, these start at ``v_reset``.

    Raises:
        CompileError: as `leaky`.
    """
    _check_shapes(name, r=r, v_threshold=v_threshold, v_reset=v_reset)
    gain = _share(r * rules.dt_if)
    one, zero = np.ones(1), np.zeros(1)
    return _neurons(
        name, rules, one, gain, zero, v_reset, v_threshold, v_reset, f"alpha = 1, gain = {_span(gain)}"
    )


def _neurons(
    name: str, rules: Dialect, alpha: Array, gain: Array, leak: Array, v_leak: Array, v_threshold: Array,
    v_reset: Array, computed: str,
) -> Neurons:  # fmt: skip
    start = {"zero": np.zeros(1), "v_reset": v_reset, "v_leak": v_leak}[rules.initial]
    reasons = []
    rest = v_reset if rules.reset in ("zero", "refractory") else np.zeros(1)
    threshold, above = v_threshold - rest, start - rest
    if not (threshold > 0).all():
        where = " above the reset" if rest.any() else ""
        reasons.append(
            f"{name}: a threshold of {_first(threshold, ~(threshold > 0)):g}{where}; it must be positive."
        )
    floor = None if rules.floor is None else rules.floor - rest
    resets = ", where it is reset to" if rules.reset in ("zero", "refractory") else ""
    if floor is not None and (floor > 0).any():
        reasons.append(
            f"{name}: a floor of {rules.floor:g}, above {_first(rest, floor > 0):g}{resets}; no engine computes that."
        )
    if reasons:
        raise CompileError(*reasons)
    offset = leak * (v_leak - rest)
    if above.any():
        computed += f", start = {_span(above)}{' from the reset' if rest.any() else ''}"
    if floor is not None:
        computed += f", floor = {_span(floor)}{' from the reset' if rest.any() else ''}"
    return Neurons(
        name, alpha, gain, offset, threshold, rules.spike_test, rules.reset, rules.reset_delay, computed,
        max_spikes=rules.max_spikes, start=above, floor=floor,
    )  # fmt: skip


def snapped(values: Array) -> Array:
    """Return each decay, or the decimal of at most four places from which float32 made it, perhaps as ``1 - x``."""
    return _decimals(values, _SINGLE * np.maximum(np.abs(values), 0.25))


def _near(values: Array) -> Array:
    """Return each time constant or gain, or the decimal of at most four places within a millionth of it."""
    size = np.abs(values)
    return _decimals(values, _SINGLE * np.minimum(np.maximum(size, 0.25), 4 * size))


def _decimals(values: Array, tolerance: Array) -> Array:
    result = floats(values).copy()
    # Numbers at float64's end round to infinity, which is near nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        for places in range(4, 0, -1):
            decimal = np.round(values, places)
            result = np.where(np.abs(decimal - values) <= tolerance, decimal, result)
    return result


def _share(values: Array) -> Array:
    """Return shares such as ``dt / tau``: a decimal, or one over a decimal, where float32 made them from such."""
    decimal = _near(values)
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values != 0)
    whole = _near(inverse)
    near = (decimal == values) & (whole != inverse)
    return np.where(near, np.divide(1.0, whole, out=np.zeros_like(whole), where=whole != 0), decimal)


def _first(values: Array, where: NDArray[np.bool_]) -> float:
    return float(np.broadcast_to(values, where.shape).reshape(-1)[int(np.argmax(where))])


def _span(values: Array) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.9g}" if low == high else f"{low:.9g} to {high:.9g}"
