"""NeuroBench's metrics of a run are those of the `neurobench` package on the same network in floats (with it installed)."""

import json
import re

import numpy as np
import pytest
from small_networks import POOL, checkpoint_of
from tiny_programs import tiny_lif, tiny_program, tiny_readout

from sastdeploy import compile, simulate, summarise
from sastdeploy.cli.simulation_tables import print_summary
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.records import ConvLif, DenseLif
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine
from sastdeploy.simulator.neurobench import neurobench, synops_by_definition


def integrating(channels, threshold):
    """Return neurons without leak, gain and bias, whose every value is an integer in floats too; snnTorch's spike test."""
    ones = np.ones(channels, np.int32)
    return tiny_lif(
        channels, multiplier=ones, shift=0 * ones, bias=0 * ones, threshold=threshold * ones, leak_multiplier=1,
        leak_shift=0, membrane=QFormat(20, 0), spike_test=">",
    )  # fmt: skip


def program(c_clip):
    """Return a convolution, a dense layer and a readout with many zero weights, on 2 x 6 x 5 inputs in 7 bins."""
    rng = np.random.default_rng(4)

    def weights(*shape):
        return (rng.integers(-3, 5, shape) * (rng.random(shape) < 0.6)).astype(np.int8)

    layers = [
        ConvLif("conv", weights(3, 2, 3, 3), 4, (2, 1), (1, 0), integrating(3, 4)),
        DenseLif("fc", weights(5, 27), 4, integrating(5, 3)),
    ]
    readout = tiny_readout(inputs=5, classes=4, weight=weights(4, 5))
    return tiny_program(layers, readout, (2, 6, 5), time_bins=7, c_clip=c_clip, classes=4)


def recordings(largest, count=6):
    return np.random.default_rng(2).integers(0, largest + 1, (count, 7, 2, 6, 5)).astype(np.uint8)


def as_torch(own):
    """Return the program as snnTorch's modules, to be called step by step."""
    snntorch = pytest.importorskip("snntorch")
    import torch

    conv, dense, readout = own.layers[0], own.layers[1], own.readout

    def leaky(layer):
        return snntorch.Leaky(beta=1.0, threshold=float(layer.lif.threshold[0]), init_hidden=True)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 3, 3, conv.stride, conv.padding, bias=False)
            self.lif0 = leaky(conv)
            self.fc = torch.nn.Linear(27, 5, bias=False)
            self.lif1 = leaky(dense)
            self.readout = torch.nn.Linear(5, 4, bias=False)
            for module, layer in ((self.conv, conv), (self.fc, dense), (self.readout, readout)):
                module.weight.data = torch.tensor(layer.weight.astype(np.float32))

        def forward(self, x):
            spikes = self.lif1(self.fc(self.lif0(self.conv(x)).flatten(1)))
            return self.readout(spikes), spikes

    return Network()


def of_package(own, counts):
    """Return the package's metrics, one recording a batch, and the spikes of the last layer."""
    pytest.importorskip(
        "neurobench", reason="needs the package neurobench (pip install 'sastdeploy[neurobench]')"
    )
    import torch
    from neurobench.hooks.layer import LayerHook
    from neurobench.hooks.neuron import NeuronHook
    from neurobench.metrics.static import ConnectionSparsity, Footprint
    from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
    from neurobench.models import SNNTorchModel

    model = SNNTorchModel(as_torch(own))
    network = model.__net__()
    model.activation_hooks = [NeuronHook(network.lif0), NeuronHook(network.lif1)]
    model.connection_hooks = [LayerHook(layer) for layer in (network.conv, network.fc, network.readout)]
    operations, updates, sparsities = SynapticOperations(), MembraneUpdates(), []
    with torch.no_grad():
        for recording in np.minimum(counts, own.preprocessing.c_clip):
            data = torch.tensor(recording[None].astype(np.float32))
            model.reset_hooks()
            model(data)
            batch = (data, None)
            figures, changed = operations(model, None, batch), updates(model, None, batch)
            sparsities.append(ActivationSparsity()(model, None, batch))
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in network.buffers())
    own_parameters = [p for name, p in network.named_parameters() if "lif" in name]
    neuron_bytes = sum(parameter.numel() * parameter.element_size() for parameter in own_parameters)
    return {
        "operations": figures, "updates": changed, "activation_sparsity": float(np.mean(sparsities)),
        "connection_sparsity": ConnectionSparsity()(model), "footprint": Footprint()(model) - buffers - neuron_bytes,
    }  # fmt: skip


@pytest.mark.parametrize("c_clip", [1, 4])
def test_the_metrics_are_the_packages(c_clip):
    own, counts = program(c_clip), recordings(c_clip)
    expected = of_package(own, counts)
    result = engine.run(own, Frames.from_dense(counts), engine="reference", trace=("conv", "fc"))
    found = neurobench(own, result)
    operations = found["synaptic_operations"]
    assert operations["dense"] == expected["operations"]["Dense"]
    effective = expected["operations"]["Effective_ACs"] + expected["operations"]["Effective_MACs"]
    assert operations["effective_acs"] + operations["effective_macs"] == pytest.approx(effective, rel=1e-12)
    if c_clip == 1:
        assert operations["effective_macs"] == 0 == expected["operations"]["Effective_MACs"]
    else:
        assert operations["effective_macs"] == pytest.approx(
            expected["operations"]["Effective_MACs"], rel=1e-12
        )
    assert found["membrane_updates"] == expected["updates"] < found["membranes_times_steps"]
    assert found["activation_sparsity"] == pytest.approx(expected["activation_sparsity"], rel=1e-12)
    assert round(found["connection_sparsity"], 4) == expected["connection_sparsity"]
    # The program's layers have a bias per channel, which the modules here leave out.
    assert found["footprint_float32_bytes"] - 4 * (3 + 5 + 4) == expected["footprint"]


def test_the_metrics_by_hand():
    layer = DenseLif("fc", np.array([[3, 0], [0, 2]], np.int8), 4, integrating(2, 100))
    readout = tiny_readout(inputs=2, classes=2, weight=np.array([[1, 0], [2, 3]], np.int8))
    own = tiny_program([layer], readout, (1, 1, 2), time_bins=3, c_clip=4)
    # Step 0: both inputs, once with a count of 2. Step 1: nothing. Step 2: one input.
    counts = np.array([[2, 1], [0, 0], [0, 1]], np.uint8).reshape(1, 3, 1, 1, 2)
    result = engine.run(own, Frames.from_dense(counts), engine="reference", trace=("fc",))
    assert neurobench(own, result) == {
        "footprint_bytes": summarise(own, result)["footprint_bytes"]["total"],
        "footprint_float32_bytes": 4 * (8 + 4),
        "connection_sparsity": 3 / 8,
        "activation_sparsity": 1.0,
        "synaptic_operations": {"effective_acs": 0.0, "effective_macs": 3.0, "dense": 3 * (4 + 4)},
        "membrane_updates": 3.0,
        "membranes_times_steps": 6,
    }
    assert synops_by_definition(own, result) == {"sastdeploy": 6.0, "neurobench": 3.0, "sinabs": 8.0}
    untraced = engine.run(own, Frames.from_dense(counts), engine="numba")
    assert neurobench(own, untraced)["membrane_updates"] is None


def test_operations_into_a_pool_are_nobodys_but_ours():
    own = compile(checkpoint_of(POOL), "aggressive_int4").program
    counts = np.random.default_rng(0).integers(0, 3, (4, 6, 1, 8, 8)).astype(np.uint8)
    result = simulate(own, counts)
    into_pool = result.synops[:, 1].sum() / 4
    zero_weights = (result.synops - result.synops_nonzero).sum() / 4
    others = synops_by_definition(own, result)
    assert into_pool > 0 and others["neurobench"] == others["sastdeploy"] - into_pool - zero_weights
    assert others["sinabs"] == (result.synops_events.sum() - result.synops_events[:, 1].sum()) / 4


def test_no_recordings_give_no_figures():
    own = program(1)
    found = neurobench(own, engine.run(own, Frames.from_dense(recordings(1)[:0]), engine="reference"))
    assert found["activation_sparsity"] is None and found["membrane_updates"] is None
    assert found["synaptic_operations"] == {"effective_acs": None, "effective_macs": None, "dense": None}


def test_the_tables_show_them(capsys):
    own, counts = program(1), recordings(1)
    labels = np.arange(len(counts)) % 4
    for trace, shown in (
        ((), r"membrane updates +at most 224"),
        (("conv", "fc"), r"membrane updates +\d+\.\d"),
    ):
        result = engine.run(own, Frames.from_dense(counts), engine="reference", trace=trace)
        summary = summarise(own, result, labels)
        print_summary(
            {**summary, "speed": {**summary["speed"], "sequences_per_second": 1.0, "gsynops_per_second": 1.0}}
        )
        out = capsys.readouterr().out
        assert re.search(shown, out), out
        assert re.search(r"dense operations +[\d,]+\.0", out) and "effective MACs" in out
        others = summary["synops_by_definition"]
        assert (
            f"as sinabs counts them: {others['sinabs']:,.1f} per recording; as NeuroBench does: {others['neurobench']:,.1f}"
            in out
        )
        json.dumps(summary)
