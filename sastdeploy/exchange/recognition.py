"""Which framework wrote a file, from what only it writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sastdeploy.exchange.dialects import DIALECTS


def recognised(nodes: dict[str, dict[str, Any]]) -> str | None:
    """Return the dialect of a NIR file's nodes where they leave no doubt, else None.

    SpikingJelly writes ``_`` before every name and calls the input ``input_1``. snnTorch writes ``r = tau / dt`` (and
    ``w_in = tau_syn / dt``) with its own dt, which no other framework does under such names.
    """
    names = [name for name, node in nodes.items() if node["type"] not in ("Input", "Output")]
    if "input_1" in nodes and names and all(name.startswith("_") for name in names):
        return "spikingjelly"
    neurons = [node for node in nodes.values() if node["type"] in ("LIF", "CubaLIF")]
    dt = DIALECTS["snntorch"].dt
    numbered = all(name.split(".")[0].isdigit() for name in names)
    if neurons and numbered and all(_is_gain_one(node, dt) for node in neurons):
        return "snntorch"
    return None


def _is_gain_one(node: dict[str, Any], dt: float) -> bool:
    try:
        pairs = (("tau", "r"),) if node["type"] == "LIF" else (("tau_mem", "r"), ("tau_syn", "w_in"))
        values = [[np.asarray(node[key], np.float64) for key in pair] for pair in pairs]
        with np.errstate(all="ignore"):  # a tau of 0 is refused by its name later
            return all(
                bool(tau.size and np.allclose(gain * dt / tau, 1.0, rtol=1e-6, atol=0.0))
                for tau, gain in values
            )
    except (KeyError, TypeError, ValueError):
        return False
