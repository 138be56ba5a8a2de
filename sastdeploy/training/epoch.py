"""One epoch: minibatches, their gradients by the chosen method, and the optimiser's steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy.errors import InputError
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.training.distributed import Group
from sastdeploy.training.inference import network_inputs
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.quantized import quantized_weights
from sastdeploy.training.resumption import Optimiser
from sastdeploy.training.settings import TrainingSettings
from sastdeploy.training.sharpness import plain_gradient, random_direction_gradient, sharpness_aware_gradient

FIRST, SECOND, DIRECTION = 11, 12, 13
"""Names of independent random streams: minibatches B and B', and random steps."""


def batches(count: int, size: int, seed: int, stream: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Yield an epoch's minibatches: a fresh permutation for each (seed, stream, epoch), cut into pieces of ``size``."""
    order = np.random.default_rng((seed, stream, epoch)).permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def weights_in_use(
    network: SpikingNetwork, settings: TrainingSettings, epoch: int
) -> AbstractContextManager[None]:
    """Return the context in which an epoch computes: with quantized weights, or with the weights as they are."""
    return quantized_weights(network, settings.quantize_bits) if settings.quantized(epoch) else nullcontext()


def run_epoch(
    epoch: int,
    network: SpikingNetwork,
    optimiser: Optimiser,
    training: LabelledFrames,
    preprocessing: Preprocessing,
    settings: TrainingSettings,
    group: Group,
) -> dict[str, Any]:
    """Take one step per minibatch and return the epoch's record: loss, gradient norm, evaluations, rate, slope, seconds.

    Raises:
        InputError: the loss or a parameter is no longer finite.
    """
    began, busy = time.perf_counter(), time.process_time()
    rate = settings.rate(epoch)
    draw = network_inputs(network, training.frames, preprocessing)

    def loss_on(chosen: NDArray[np.int64]) -> Callable[[], Tensor]:
        own = chosen[group.share(len(chosen))]

        def loss() -> Tensor:
            if len(own) == 0:
                return 0.0 * network.value("readout.bias").sum()
            scores = network(draw(own), settings.forward == "hard")
            mean = F.cross_entropy(scores, torch.from_numpy(training.labels[own]).to(scores.device))
            return mean * (len(own) / len(chosen))

        return loss

    streams = [batches(len(training), settings.batch_size, settings.seed, s, epoch) for s in (FIRST, SECOND)]
    directions = torch.Generator().manual_seed(
        int(np.random.SeedSequence((settings.seed, DIRECTION, epoch)).generate_state(1, np.uint64)[0]) >> 1
    )
    total, norms, evaluations = 0.0, [], 0
    for first, second in zip(*streams):
        with weights_in_use(network, settings, epoch):
            if settings.method in ("sast", "asam"):
                loss = sharpness_aware_gradient(
                    network,
                    loss_on(first),
                    loss_on(second),
                    settings.rho,
                    settings.delta,
                    settings.method == "asam",
                    group,
                )
                evaluations += 2
            elif settings.method == "random":
                loss = random_direction_gradient(network, loss_on(first), settings.rho, directions, group)
                evaluations += 1
            else:
                loss = plain_gradient(network, loss_on(first), group)
                evaluations += 1
        norms.append(optimiser.step(rate))
        total += loss * len(first)
    average = total / len(training)
    if not np.isfinite(average):
        raise InputError(
            f"epoch {epoch}: the loss is {average}. Lower the learning rate (now {rate:g}) or rho."
        )
    for name, parameter in network.learnable_by_name().items():
        if not bool(torch.isfinite(parameter.detach()).all()):
            raise InputError(
                f"epoch {epoch}: {name} is no longer finite. Lower the learning rate (now {rate:g}) or rho."
            )
    return {
        "epoch": epoch,
        "loss": average,
        "gradient_norm": float(np.mean(norms)),
        "gradient_evaluations": evaluations,
        "learning_rate": rate,
        "slope": network.slope,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - busy,
    }
