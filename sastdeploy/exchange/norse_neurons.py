"""Norse's cells of one step as parts of a network: Euler steps, a spike above the threshold, from ``v_leak``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from sastdeploy.exchange.dialects import Dialect, dialect
from sastdeploy.exchange.leaks import SILENT, integrating, integrators, leaky, leaky_with_current, unread
from sastdeploy.exchange.parts import Array, Linear, Neurons, Part, Refused
from sastdeploy.exchange.torch_arrays import array_of, home_of

_RESETS = {"reset_value": "zero", "reset_subtract": "subtract"}


def without_state(net: nn.Module) -> list[Refused]:
    """Return every Sequential that would start Norse's neurons anew in each step."""
    return [
        Refused(name or "module", "a Sequential, which keeps no state of Norse's neurons; make it a SequentialState.")
        for name, module in net.named_modules()
        if type(module) is nn.Sequential and any(map(is_cell, module.modules()))
    ]  # fmt: skip


def is_cell(module: nn.Module) -> bool:
    """Return whether a module is a neuron of Norse, which takes and returns its state."""
    return home_of(module) == "norse" and hasattr(module, "state_fallback")


def _rules(module: Any, **changes: Any) -> Dialect:
    return dialect("norse", dt=float(module.dt), dt_if=1.0, **changes)


def _leak(module: Any) -> dict[str, Array]:
    return {
        "tau": 1.0 / array_of(module.p.tau_mem_inv),
        "r": np.ones(1),
        "v_leak": array_of(module.p.v_leak),
    }


def _leak_and_current(module: Any) -> dict[str, Array]:
    fields = _leak(module)
    tau_syn = 1.0 / array_of(module.p.tau_syn_inv)
    return {"tau_syn": tau_syn, "w_in": np.ones(1), "tau_mem": fields.pop("tau"), **fields}


def _ends(module: Any) -> dict[str, Array]:
    return {"v_threshold": array_of(module.p.v_th), "v_reset": array_of(module.p.v_reset)}


def _lif_box(where: str, module: Any) -> Part:
    method = module.p.reset_method
    name = getattr(method, "__name__", "")
    if home_of(method) != "norse" or name not in _RESETS:
        return Refused(
            where, f"a reset method '{name or method}'; engines compute reset_value and reset_subtract."
        )
    return leaky(where, _rules(module, reset=_RESETS[name]), **_leak(module), **_ends(module))


def _lif(where: str, module: Any) -> Part:
    return leaky_with_current(where, _rules(module), **_leak_and_current(module), **_ends(module))


def _lif_recurrent(where: str, module: Any) -> Part | list[Part]:
    """Return the cell's own input weights, and its neurons with what their spikes of the step before add to the current."""
    neurons = _lif(where, module)
    if not isinstance(neurons, Neurons):
        return neurons
    own = Linear(where, array_of(module.recurrent_weights))
    return [Linear(f"{where}.input", array_of(module.input_weights)), replace(neurons, recurrent=own)]


def _iaf(where: str, module: Any) -> Part:
    return integrating(where, _rules(module), r=np.ones(1), **_ends(module))


def _li(where: str, module: Any) -> Part:
    rules = unread(_rules(module))
    return integrators(leaky_with_current(where, rules, **_leak_and_current(module), **SILENT))


def _li_box(where: str, module: Any) -> Part:
    return integrators(leaky(where, unread(_rules(module)), **_leak(module), **SILENT))


NEURONS: dict[tuple[str, str], Callable[[str, Any], Part | list[Part]]] = {
    ("norse", "IAFCell"): _iaf,
    ("norse", "LIBoxCell"): _li_box,
    ("norse", "LICell"): _li,
    ("norse", "LIFBoxCell"): _lif_box,
    ("norse", "LIFCell"): _lif,
    ("norse", "LIFRecurrentCell"): _lif_recurrent,
}
