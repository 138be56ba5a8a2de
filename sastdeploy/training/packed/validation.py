"""What the networks of a pack do on their validation recordings, a minibatch of all of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sastdeploy.training.inference import lif_layer_sizes
from sastdeploy.training.packed.data import Staging, packed_data, padded_batches
from sastdeploy.training.packed.step import Captured, Stack, scores_of, spikes_and_scores
from sastdeploy.training.run import TrainingRun

_BATCH = 256
_MAX_FLOATS = 2**28
"""Floats that a layer's membranes of one minibatch may take, of all networks and steps: beyond it the minibatch has fewer recordings."""


class Validation:
    """The validation recordings of a pack, and the captured step that evaluates a minibatch of each network."""

    def __init__(
        self, runs: Sequence[TrainingRun], stack: Stack, device: torch.device, say: Callable[[str], None], pool: Any
    ) -> None:  # fmt: skip
        networks, self.count = len(runs), len(runs[0].validation)
        self.stack = stack
        self.data = packed_data(
            [run.validation for run in runs], [run.preprocessing for run in runs], device, say
        )
        self.sizes = lif_layer_sizes(runs[0].architecture)
        self.states = self.count * runs[0].preprocessing.time_bins
        floats = networks * runs[0].preprocessing.time_bins * max(self.sizes.values(), default=1)
        batch = max(1, min(_BATCH, self.count, _MAX_FLOATS // floats))
        chosen, weights = padded_batches(np.arange(self.count), batch)
        self._host = torch.from_numpy(chosen)[:, None] + self.data.first.cpu()[:, None]
        self._chosen, self._counted = self._host.to(device), torch.from_numpy(weights > 0).to(device)

        def zeros(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self._step_number = zeros(torch.int64, 1)
        self._correct, self._sent = (
            zeros(torch.int64, 2, networks),
            zeros(torch.int64, networks, len(self.sizes)),
        )
        width = self.data.counts.shape[1]
        self._staging = None if self.data.resident else Staging((networks, batch, width), device)
        self._summed = [self._step_number, self._correct, self._sent]
        self._captured = Captured(self._step, self._summed, device, pool=pool)

    @property
    def steps(self) -> int:
        """Minibatches of an evaluation."""
        return len(self._host)

    def _step(self) -> None:
        data, stack = self.data, self.stack
        with torch.no_grad():
            chosen = self._chosen.index_select(0, self._step_number)[0]
            counted = self._counted.index_select(0, self._step_number).expand(len(stack), -1)
            counts = data.take(chosen) if self._staging is None else self._staging.target
            x, labels = data.values(counts, chosen), data.labels_of(chosen)
            surrogate = scores_of(stack, stack.parameters, x, False)
            hard, fired = spikes_and_scores(stack, x, counted)
            self._sent.add_(fired)
            for row, scores in enumerate((surrogate, hard)):
                self._correct[row].add_(((scores.argmax(-1) == labels) & counted).sum(1))
            self._step_number.add_(1)

    def records(self) -> list[dict[str, Any]]:
        """Return every network's accuracies, gap and spike rates with the parameters as they are now."""
        for tensor in self._summed:
            tensor.zero_()
        for chosen in self._host:
            if self._staging is not None:
                self._staging.bring(self.data, chosen)
            self._captured.run()
        accuracies, sent = (self._correct.cpu().numpy() / self.count).tolist(), self._sent.tolist()
        return [
            {
                "surrogate_accuracy": surrogate,
                "hard_accuracy": hard,
                "gap": surrogate - hard,
                "spike_rates": {
                    name: fired / (self.states * neurons)
                    for (name, neurons), fired in zip(self.sizes.items(), sent[m])
                },
            }
            for m, (surrogate, hard) in enumerate(zip(*accuracies))
        ]
