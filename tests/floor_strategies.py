"""Floors of membranes, for layers that were drawn without: chosen by their numbers, so that a seed draws the rest as before."""

import zlib
from dataclasses import replace

import numpy as np

from sastdeploy.program.layers.each import shortest


def with_floors(layer, shape):
    """Return one of three layers of neurons ``shape`` with a floor of its membranes, per channel or per neuron."""
    if layer.lif is None:
        return layer
    lif = layer.lif
    drawn = b"floor" + lif.bias.tobytes() + lif.threshold.tobytes() + layer.weight.tobytes()
    rng = np.random.default_rng(zlib.crc32(drawn))
    if rng.integers(3) > 0:
        return layer
    form = shape if rng.integers(3) == 0 else (shape[0], 1, 1)
    low = lif.membrane.q_min
    ends, between = rng.choice([low, -1, 0], form), rng.integers(low // 4, 1, form)
    floor = np.where(rng.random(form) < 0.3, ends, between).astype(np.int32)
    return replace(layer, lif=replace(lif, floor=shortest(floor)))
