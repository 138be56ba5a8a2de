"""How much neurons send, and how much of it only a surrogate spike would send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.training.states import lif_layers, visited_states

FAR = 0.5
"""How far below its threshold a membrane counts as far: sigma(-0.5) is 0.0254 for the paper's slope."""


def activity(checkpoint: Checkpoint, data: LabelledFrames) -> dict[str, Any]:
    """Return what every layer sends with surrogate and with hard spikes, and the surrogate output's tail below threshold.

    Per layer and over all, as plain JSON values, each in [0, 1]:

    - ``surrogate_rate``, ``hard_rate``: mean output over neurons, steps and recordings;
    - ``silent``: share of neurons without one hard spike in all recordings; ``silent_in_recording``: share of (neuron,
      recording) pairs without one; ``never_reaching``: share of neurons whose membrane, with surrogate spikes, never
      reaches theta;
    - ``tail``: the sum of sigma(u - theta) over states with u < theta, over the sum of all: what the hard step removes;
      ``far_tail``: the part of it from u < theta - 0.5; ``far_below``: share of states there, with surrogate spikes.
      A tail is None where a layer sends nothing at all.

    Raises:
        InputError: no recordings, or frames that do not fit the network.
    """
    layers = {name: _Sums() for name in lif_layers(checkpoint)}
    reaching: dict[str, np.ndarray] = {}
    fired: dict[str, np.ndarray] = {}
    for batch in visited_states(checkpoint, data.frames, hard=False):
        for layer in batch:
            sums, below = layers[layer.name], layer.offset < 0.0
            far = layer.offset < -FAR
            sums.states += layer.offset.size
            sums.surrogate += float(layer.spikes.sum())
            sums.tail += float(layer.spikes[below].sum())
            sums.far_tail += float(layer.spikes[far].sum())
            sums.far_below += int(far.sum())
            reached = ~below.all((0, 1))
            reaching[layer.name] = reached | reaching.get(layer.name, np.zeros_like(reached))
    for batch in visited_states(checkpoint, data.frames, hard=True):
        for layer in batch:
            once = layer.spikes.any(1)
            ever = once.any(0)
            layers[layer.name].hard += float(layer.spikes.sum())
            layers[layer.name].silent_pairs += int((~once).sum())
            fired[layer.name] = ever | fired.get(layer.name, np.zeros_like(ever))
    for name, sums in layers.items():
        sums.neurons = fired[name].size
        sums.silent = int((~fired[name]).sum())
        sums.never_reaching = int((~reaching[name]).sum())
    overall = _Sums()
    for sums in layers.values():
        overall.take(sums)
    return {
        "schema": "sastdeploy.activity/1",
        "recordings": len(data),
        "far": FAR,
        "overall": overall.to_dict(len(data)),
        "layers": [{"name": name, **sums.to_dict(len(data))} for name, sums in layers.items()],
    }


@dataclass
class _Sums:
    """Sums of one layer, or of several."""

    neurons: int = 0
    states: int = 0
    surrogate: float = 0.0
    hard: float = 0.0
    tail: float = 0.0
    far_tail: float = 0.0
    far_below: int = 0
    silent: int = 0
    silent_pairs: int = 0
    never_reaching: int = 0

    def take(self, other: _Sums) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def to_dict(self, recordings: int) -> dict[str, Any]:
        return {
            "neurons": self.neurons,
            "surrogate_rate": self.surrogate / self.states,
            "hard_rate": self.hard / self.states,
            "silent": self.silent / self.neurons,
            "silent_in_recording": self.silent_pairs / (self.neurons * recordings),
            "never_reaching": self.never_reaching / self.neurons,
            "tail": self.tail / self.surrogate if self.surrogate else None,
            "far_tail": self.far_tail / self.surrogate if self.surrogate else None,
            "far_below": self.far_below / self.states,
        }
