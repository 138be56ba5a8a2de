"""Round thresholds, biases, starts and floors to the membrane's format; refuse what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import Integrator, Lif, Readout, Synapses
from sastdeploy.compiler.ir.nodes.checks import known
from sastdeploy.compiler.ir.nodes.lif import spikes_sent
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.program.fixedpoint import FARTHEST, QFormat, to_integer, to_real
from sastdeploy.program.layers.each import along_map, shortest


def fit_thresholds_and_biases(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with ``threshold_q``, ``bias_q`` and, where states start elsewhere than at 0, ``start_q`` in membrane LSBs,
    rounded half to even.

    The readout's bias has the membrane's fraction but 32 bits. A start that would pass its threshold by rounding alone, where a reset comes
    a step after its spike, ends below it. A floor (``floor_q``) below the format, where no membrane lies, is the format's lower end, or none where all are.

    Raises:
        CompileError: a threshold that rounds to 0 or does not fit, a bias or start that does not fit: layer, neuron, value, format,
            and what would make it fit.
    """
    q = profile.membrane
    return graph.map(
        {
            Integrator: lambda node: _beyond(node, q),
            Lif: lambda node: _fit_threshold(node, q),
            Synapses: lambda node: _fit_bias(node, q),
            Readout: lambda node: _fit_scores_bias(node, q),
        }
    )


def _fit_threshold(node: Lif, q: QFormat) -> Lif:
    codes = to_integer(node.threshold, q.fraction_bits) + node.threshold_step
    _check_not_zero(node, codes, q)
    _check_range(node.name, "threshold", node.threshold, codes, q)
    start = _fit_start(node, "start", q)
    if start is not None and node.reset_delay == 1 and node.reset != "none":
        _check_not_spiked(node)
        highest = along_map(codes - (node.spike_test == ">="))
        start = np.minimum(along_map(start), highest).astype(np.int32)
    return replace(
        node, threshold_q=shortest(codes.astype(np.int32)), start_q=_unless_zero(start),
        current_start_q=_unless_zero(_fit_start(node, "current_start", q)), floor_q=_fit_floor(node, q),
    )  # fmt: skip


def _fit_floor(node: Lif, q: QFormat) -> NDArray[np.int32] | None:
    if node.floor is None:
        return None
    codes = np.maximum(to_integer(node.floor, q.fraction_bits), q.q_min).astype(np.int32)
    return shortest(codes) if (codes > q.q_min).any() else None


def _fit_start(node: Lif, name: str, q: QFormat) -> NDArray[np.int32] | None:
    values: NDArray[np.float64] | None = getattr(node, name)
    if values is None:
        return None
    codes = to_integer(values, q.fraction_bits)
    _check_range(node.name, name.replace("_", " "), values, codes, q)
    return codes.astype(np.int32)


def _unless_zero(codes: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
    return shortest(codes) if codes is not None and codes.any() else None


def _beyond(node: Integrator, q: QFormat) -> Integrator:
    """Return integrators with thresholds at the format's upper end, which no membrane is above."""
    return replace(
        node, threshold_q=np.full(len(node.threshold), q.q_max, np.int32), start_q=_unless_zero(_fit_start(node, "start", q)),
        current_start_q=_unless_zero(_fit_start(node, "current_start", q)),
    )  # fmt: skip


def _fit_bias(node: Synapses, q: QFormat) -> Synapses:
    codes = to_integer(node.bias, q.fraction_bits)
    _check_range(node.name, "bias", node.bias, codes, q)
    return replace(node, bias_q=shortest(codes.astype(np.int32)))


def _fit_scores_bias(node: Readout, q: QFormat) -> Readout:
    codes = to_integer(node.bias, q.fraction_bits)
    if (np.abs(codes) >= 1 << 31).any():
        worst = int(np.argmax(np.abs(codes)))
        raise CompileError(
            f"{node.name}, class {worst}: bias {node.bias[worst]:.6g} does not fit 32 bits with {q.fraction_bits} fractional "
            f"ones. Train with smaller biases, or choose a membrane format with fewer fractional bits."
        )
    return replace(node, bias_q=codes.astype(np.int32))


def _check_not_zero(node: Lif, codes: NDArray[np.int64], q: QFormat) -> None:
    zero = codes < 1
    if zero.any():
        neuron = int(np.argmax(zero))
        value = node.threshold.flat[neuron]
        raise CompileError(
            f"{node.name}, neuron {neuron}: threshold {value:.6g} rounds to 0 in {q} (step {q.lsb:g}), so it would fire "
            f"always. Use at least {_fraction_for(value)} fractional bits, or raise the threshold to {q.lsb:g} or more."
        )


def _check_not_spiked(node: Lif) -> None:
    """Refuse starts that the hardware's neuron would take for a spike before the first step."""
    start = known(node, node.start)
    passed = spikes_sent(node, along_map(start)[None])[0] > 0
    if passed.any():
        neuron = int(np.argmax(passed))
        begins, threshold = (
            float(np.broadcast_to(along_map(each), passed.shape).flat[neuron])
            for each in (start, node.threshold)
        )
        raise CompileError(
            f"{node.name}, neuron {neuron}: starts at {begins:.6g}, which passes its threshold {threshold:.6g}; "
            "where a reset comes a step after its spike, that is a spike before the first step. Use a profile that resets at once."
        )


def _check_range(
    name: str, what: str, values: NDArray[np.float64], codes: NDArray[np.int64], q: QFormat
) -> None:
    outside = (codes < q.q_min) | (codes > q.q_max)
    if outside.any():
        neuron = int(np.argmax(outside))
        value = values.flat[neuron]
        raise CompileError(
            f"{name}, neuron {neuron}: {what} {value:.6g} does not fit {q} "
            f"({to_real(q.q_min, q.fraction_bits):g} to {to_real(q.q_max, q.fraction_bits):g}). Use at least {_integer_bits_for(value, q.fraction_bits)} "
            f"integer bits, or train with smaller values."
        )


def _fraction_for(value: float) -> int:
    """Return the fewest fractional bits with which a positive value rounds to at least one step."""
    mantissa, exponent = np.frexp(
        value
    )  # value = mantissa * 2^exponent, 0.5 <= mantissa < 1; half a step rounds to 0
    return max(0, int(mantissa == 0.5) - int(exponent))


def _integer_bits_for(value: float, fraction_bits: int) -> int:
    """Return the fewest integer bits, sign included, that hold a value at this many fractional bits."""
    code, bits = int(to_integer(value, fraction_bits)), 1
    if abs(code) == FARTHEST:
        return int(np.frexp(abs(value))[1]) + 1
    while not -(1 << (bits - 1 + fraction_bits)) <= code < 1 << (bits - 1 + fraction_bits):
        bits += 1
    return bits
