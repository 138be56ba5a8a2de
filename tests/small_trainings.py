"""A training of a tiny network on random frames, for tests."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from sastdeploy.training.inference import frame_values
from sastdeploy.training.loop import train
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.run import TrainingRun
from sastdeploy.training.settings import TrainingSettings
from tests.small_networks import DENSE, checkpoint_of, labelled

PRE = checkpoint_of().preprocessing


def fit(out, settings=None, *, dataset="arrays", report=lambda record: None, **options):
    settings = settings or TrainingSettings(epochs=3, batch_size=8)
    training, validation = (replace(labelled(seed=seed), dataset=dataset) for seed in (0, 1))
    run = TrainingRun(training, validation, DENSE, PRE, settings, out)
    return train(run, report=report, **options)


def losses():
    network = SpikingNetwork(DENSE)
    network.initialise(torch.Generator().manual_seed(0))
    data = labelled()

    def on(chosen):
        x, y = frame_values(data.frames, chosen, PRE), torch.from_numpy(data.labels[chosen])
        return lambda: F.cross_entropy(network(x), y)

    return network, on(np.arange(8)), on(np.arange(8, 16))


def gradients(network):
    return [p.grad.clone() for p in network.parameters()]
