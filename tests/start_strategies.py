"""States that start elsewhere than at 0, for layers that were drawn without: chosen by their numbers, so that a seed draws the rest as before."""

import zlib
from dataclasses import replace

import numpy as np

from sastdeploy.program.layers.each import along_map, shortest


def with_starts(layer, shape):
    """Return one of three layers of neurons ``shape`` with starts of membranes, currents or both, per channel or per neuron."""
    if layer.lif is None:
        return layer
    lif = layer.lif
    rng = np.random.default_rng(
        zlib.crc32(lif.bias.tobytes() + lif.threshold.tobytes() + layer.weight.tobytes())
    )
    if rng.integers(3) > 0:
        return layer
    form = shape if rng.integers(3) == 0 else (shape[0], 1, 1)
    low, high = lif.membrane.q_min, lif.membrane.q_max
    highest = np.full(form, high)
    if lif.reset_delay == 1 and lif.reset != "none":
        passing = along_map(lif.threshold) - (lif.spike_test == ">=")
        highest = np.broadcast_to(passing, shape) if form == shape else passing.min((1, 2), keepdims=True)
    ends, between = rng.choice([np.full(form, low), highest]), rng.integers(low, highest + 1)
    start = _unless_zero(np.where(rng.random(form) < 0.3, ends, between))
    if lif.current is not None and rng.integers(2):
        lif = replace(
            lif, current=replace(lif.current, start=_unless_zero(rng.integers(low, high + 1, form)))
        )
    return replace(layer, lif=replace(lif, start=start if rng.integers(3) else None))


def _unless_zero(start):
    return shortest(start.astype(np.int32)) if start.any() else None
