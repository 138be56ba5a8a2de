"""Turn the leak factor into an integer over a power of two."""

from __future__ import annotations

from dataclasses import replace

from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.nodes import Lif
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.program.fixedpoint import to_integer


def fit_leaks(graph: Graph, profile: HardwareProfile) -> Graph:
    """Return the graph with ``A = round_half_even(alpha * 2^k)``, k from the profile, and the profile's neuron.

    ``u`` decays by ``A / 2^k`` per step. Spike test, reset and its delay become what the hardware does; where that
    is not what was trained, the compiler's report warns.
    """
    k = profile.leak_shift

    def fit(node: Lif) -> Lif:
        return replace(
            node,
            leak_multiplier=int(to_integer(node.alpha, k)),
            leak_shift=k,
            spike_test=profile.spike_test,
            reset=profile.reset,
            reset_delay=profile.reset_delay,
        )

    return graph.map({Lif: fit})
