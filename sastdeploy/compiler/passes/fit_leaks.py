"""Turn the leak factor, and the decay of a synaptic current, into an integer over a power of two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import Integrator, Lif
from sastdeploy.compiler.ir.nodes.checks import Floats
from sastdeploy.compiler.passes.check_neurons import lacking
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.program.fixedpoint import to_integer
from sastdeploy.program.layers.current import Decay
from sastdeploy.program.layers.each import shortest


def fit_leaks(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with an integer ``A``, k from the profile, and the profile's neuron.

    ``u`` decays by ``A / 2^k`` per step. ``A = round_half_even(alpha * 2^k)`` where the leak is a multiplier; where it is a
    shift, ``A = 2^k - 2^(k - d)`` with the d from 1 to k whose ``1 - 2^-d`` is nearest to alpha; where there is none, ``A = 2^k``. Spike test, reset, its delay and the most spikes of a step become what the hardware does; where that
    is not what was trained, the compiler's report warns. A synaptic current decays in the same form, by its own A. Where channels
    or neurons decay differently, each has its A, unless all become the same.

    Raises:
        CompileError: the hardware has no synaptic current, no recurrent layers, or one decay a layer, and the network has more.
    """
    if reasons := lacking(graph, profile):
        raise CompileError(*reasons)
    k = profile.leak_shift

    def decays(node: Lif) -> Lif:
        decay = node.current_alpha
        return replace(
            node,
            leak_multiplier=_multipliers(node.alpha, k, profile.leak_form),
            leak_shift=k,
            current_multiplier=None if decay is None else _multipliers(decay, k, profile.leak_form),
        )

    def fit(node: Lif) -> Lif:
        spike_test, reset, reset_delay = profile.neuron_for(node.spike_test, node.reset, node.reset_delay)
        return replace(
            decays(node),
            spike_test=spike_test,
            reset=reset,
            reset_delay=reset_delay,
            max_spikes=min(node.max_spikes, profile.spikes_per_step),
        )

    return graph.map({Integrator: decays, Lif: fit})


def _multipliers(alphas: float | Floats, k: int, form: str) -> Decay:
    each = [_multiplier(float(alpha), k, form) for alpha in np.ravel(alphas)]
    return each[0] if len(set(each)) == 1 else shortest(np.array(each, np.int32).reshape(np.shape(alphas)))


def _multiplier(alpha: float, k: int, form: str) -> int:
    if form == "none":
        return 1 << k
    if form == "shift":
        shifts = range(1, k + 1)
        nearest = min(shifts, key=lambda d: abs(1 - 2.0**-d - alpha), default=0)
        return (1 << k) - (1 << (k - nearest))
    return int(to_integer(alpha, k))


def exact_shifts(alpha: float, k: int) -> list[float]:
    """Return the decays nearest to alpha, below and above, that a leak by shifts of up to k has: ``1 - 2^-d``."""
    decays = [1 - 2.0**-d for d in range(1, k + 1)]
    below, above = [each for each in decays if each <= alpha], [each for each in decays if each > alpha]
    return below[-1:] + above[:1]
