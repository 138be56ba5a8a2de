"""Channels of one layer that decay differently: by hand, in files, in every engine, and from a framework to the program."""

import numpy as np
import pytest
import torch
from nir_files import f32, lif, write
from tiny_programs import tiny_lif, tiny_program, tiny_readout
from torch import nn

from sastdeploy import (
    CompileError,
    Framing,
    ImportedNetwork,
    InputError,
    Preprocessing,
    compile,
    export_c,
    export_nir,
    export_vectors,
    export_verilog,
    from_module,
    from_nir,
)
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Counts, Dense, Input, Lif
from sastdeploy.program.counting import footprint_bytes
from sastdeploy.program.file import format_version
from sastdeploy.program.fixedpoint import Rounding
from sastdeploy.program.records import DenseLif, SynapticCurrent
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from tests.neuron_checks import (
    assert_every_engine_agrees,
    assert_graph_and_program_agree,
    assert_neurons_refused,
    assert_program_refused,
    profile,
    two_layers,
)


def codes(*values):
    return np.array(values, np.int32)


def two_neurons(**changes):
    """Return the program of two neurons of weight 2 that keep 1/2 and 3/4: gain 1, threshold 9, no bias."""
    values = {
        "multiplier": codes(1, 1), "shift": codes(0, 0), "bias": codes(0, 0), "threshold": codes(9, 9), "leak_multiplier": codes(2, 3),
        "leak_shift": 2,
    }  # fmt: skip
    neurons = tiny_lif(2, **{**values, **changes})
    return tiny_program([DenseLif("fc", np.array([[2], [2]], np.int8), 4, neurons)], tiny_readout(2))


COUNTS = np.array([3, 2, 1, 4, 0]).reshape(1, 5, 1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "first", "second"),
    [
        # 2 x: 6, 4, 2, 8, 0. u/2: 6 | 3+4 = 7 | 3+2 = 5 | 2+8 = 10 * | 5+0-9 = -4
        # 3u/4: 6 | 18>>2 = 4, 8 | 24>>2 = 6, 8 | 6+8 = 14 * | 42>>2 = 10, 1
        ({}, (6, 7, 5, 10, -4), (6, 8, 8, 14, 1)),
        # The current keeps 1 and 0; the membranes as before. i: 6, 10, 12, 15 (20 saturates), 15 | 6, 4, 2, 8, 0
        # u/2: 6 | 3+10 = 13 * | 6+12-9 = 9 * | 4+15-9 = 10 * | 5+15-9 = 11 *
        ({"current": SynapticCurrent(codes(4, 0), 2, Rounding.FLOOR)}, (6, 13, 9, 10, 11), (6, 8, 8, 14, 1)),
    ],
)
def test_two_neurons_by_hand(changes, first, second):
    result = reference.run(two_neurons(**changes), Frames.from_dense(COUNTS), trace=("fc",))
    assert result.traces["fc"].membranes[0].T.tolist() == [list(first), list(second)]


def test_every_engine_gives_the_same_integers(tmp_path):
    """A convolution and a dense layer whose channels decay differently, with and without a current."""
    current = SynapticCurrent(codes(3000, 1000, 4096, 0, 77), 12, Rounding.NEAREST)
    conv = {"leak_multiplier": codes(0, 5, 8, 2, 7), "current": current}
    dense = {"leak_rounding": Rounding.TOWARD_ZERO, "leak_multiplier": np.arange(33, dtype=np.int32) % 9}
    program = two_layers(conv, dense, outputs=33)
    _, read = assert_every_engine_agrees(program, tmp_path, version=4, spikes=100, overflows=10)
    for layer, own in zip(read.layers, program.layers):
        assert np.array_equal(layer.lif.leak_multiplier, own.lif.leak_multiplier)
    assert np.array_equal(read.layers[0].lif.current.multiplier, current.multiplier)


def test_the_parameters_take_a_decay_for_each_channel():
    # Two neurons of Q5.0: 2 (5 + 5 + 21) bits, and two decays of 2 bits; a readout of two classes of 53 bits.
    assert footprint_bytes(two_neurons(leak_multiplier=3))["parameters"] == 8 + 14
    assert footprint_bytes(two_neurons())["parameters"] == 8 + 1 + 14


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"leak_multiplier": codes(1, 5)}, "leak_multiplier[1] is 5. Allowed: 0 to 4."),
        ({"leak_multiplier": codes(2, 2)}, "leak_multiplier is 2 in every channel. Allowed: one number for all, or channels that differ."),
        ({"leak_multiplier": codes(1, 2, 3)}, "leak_multiplier is int32 of shape [3]. Allowed: int32 of shape [2], one per output channel."),
        ({"current": SynapticCurrent(codes(-1, 2), 2, Rounding.FLOOR)}, "current.multiplier[0] is -1. Allowed: 0 to 4."),
    ],
)  # fmt: skip
def test_decays_out_of_range_are_refused(changes, fault):
    assert_program_refused(two_neurons(**changes), f"layer 'fc': {fault}")


def network(alpha=(0.5, 0.75, 0.25), current_alpha=None, steps=4):
    rng = np.random.default_rng(4)
    nodes = [
        Input("input", (1, 2, 4), steps, 3, 1.0),
        Dense("a", rng.integers(-60, 120, (3, 8)) / 64, np.zeros(3)),
        Lif("a.lif", np.array(alpha), np.ones(3), current_alpha=None if current_alpha is None else np.array(current_alpha)),
    ]  # fmt: skip
    graph = Graph("own", (*nodes, Counts("readout", np.eye(3), np.zeros(3))))
    return ImportedNetwork(graph, Preprocessing((4, 2, 1), (4, 2), steps, 3, 3.0), ("a", "b", "c"))


@pytest.mark.parametrize("current_alpha", [None, (0.5, 0.0, 1.0)])
def test_a_graph_means_what_its_program_computes(current_alpha):
    """Quarters of 64ths: every product is exact, so float and integers are equal."""
    own = network(current_alpha=current_alpha)
    program = compile(own, profile(leak_per_channel=True)).program
    assert program.layers[0].lif.leak_multiplier.tolist() == [2048, 3072, 1024]
    assert_graph_and_program_agree(own, program, names=("a",), steps=4, spikes=20)


def test_decays_that_round_to_one_number_are_one(tmp_path):
    program = compile(
        network((0.5, 0.51, 0.52)), profile(leak_per_channel=True, leak_shift=2), neuron="profile"
    ).program
    assert program.layers[0].lif.leak_multiplier == 2 and format_version(program) == 1
    warnings = compile(network((0.5, 0.3, 0.2)), profile(leak_per_channel=True, leak_shift=2)).report.warnings
    assert (
        "a.lif, channel 1: alpha 0.3 becomes 1/2^2 = 0.25; use a profile with a larger leak shift."
        in warnings
    )


def test_hardware_with_one_decay_a_layer_is_refused():
    more = "cortex_m, spinnaker2, xylo_a2, xylo_a3 and xylo_imu do; or state it in a profile of your own."
    for neuron in ("network", "profile"):
        with pytest.raises(CompileError) as error:
            compile(network(), "loihi_int8", neuron=neuron)
        assert error.value.reasons[0].startswith(
            f"a.lif: decays that differ between its channels; loihi_int8 states one a layer (leak.per_channel). {more}"
        )
    assert compile(network(), "cortex_m").program.layers[0].lif.leak_multiplier.tolist() == [
        16384,
        24576,
        8192,
    ]


@pytest.mark.parametrize(("field", "value", "words"), [
    ("alpha", np.array([0.5, 1.5, 0.2]), "alpha 1.5 outside [0, 1]"),
    ("alpha", np.array([0.5, -0.5, 0.2]), "alpha -0.5 outside [0, 1]"),
    ("alpha", np.full(3, 0.5), "alpha is 0.5 in every channel"),
    ("alpha", np.array([0.5, 0.2]), "alpha is float64 [2], not float64 [3]"),
    ("current_alpha", np.array([0.5, -0.25, 0.2]), "current_alpha -0.25 outside [0, 1]"),
])  # fmt: skip
def test_graphs_with_decays_that_mean_nothing_are_refused(field, value, words):
    assert_neurons_refused(network(), field, value, f"graph: lif a.lif: {words}.")


def test_exports_say_them_or_refuse_by_name(tmp_path):
    program = two_neurons()
    export_vectors(program, tmp_path / "v")
    assert "leak is u * A[channel] (A: 2, 3) / 2^2, rounded floor" in (
        tmp_path / "v" / "README.md"
    ).read_text("utf-8")
    export_c(program, tmp_path / "c")
    source = "".join(path.read_text("utf-8") for path in (tmp_path / "c").glob("*.c"))
    assert "static const int8_t leak0[2] = {\n    2, 3\n};" in source
    with pytest.raises(InputError) as error:
        export_verilog(program, tmp_path / "hdl")
    assert str(error.value) == (
        "layer fc: its channels decay differently; the core's neurons have one decay a layer. Export it with --to c."
    )
    with pytest.raises(InputError) as error:
        export_nir(two_neurons(leak_multiplier=codes(4, 3)), tmp_path / "p.nir")
    assert str(error.value) == (
        "layer fc: some of its channels leak and others do not, which are two kinds of NIR node. Export it with --to c."
    )
    exported = export_nir(program, tmp_path / "p.nir")
    read = from_nir(exported.path, framing=Framing(time_bins=5, clip=4, classes=program.classes))
    assert read.graph.nodes[2].alpha.tolist() == [0.5, 0.75]


def test_a_file_with_a_tau_for_each_neuron(tmp_path):
    """NIR's dt is 1e-4: decays 1/2 and 3/4, gains 1/2 and 1/4."""
    nodes = {
        "i": {"type": "Input", "shape": np.array([1])}, "w": {"type": "Linear", "weight": f32([8.0], [8.0])},
        "n": lif(tau=f32(2e-4, 4e-4), r=f32(1, 1), v_threshold=f32(9, 9)), "o": {"type": "Output", "shape": np.array([2])},
    }  # fmt: skip
    network = from_nir(
        write(tmp_path / "n.nir", nodes), dialect="nir", framing=Framing(time_bins=3, clip=1, divisor=1.0)
    )
    assert network.graph.nodes[2].alpha.tolist() == [0.5, 0.75]
    outputs = interpret(network.graph, np.ones((1, 3, 1, 1, 1), int))
    assert outputs.membranes[0].reshape(3, 2).T.tolist() == [[4, 6, 7], [2, 3.5, 4.625]]


def test_snntorchs_beta_for_each_neuron_spikes_as_its_own():
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 8), snn.Leaky(beta=torch.linspace(0.2, 0.9, 8), threshold=0.4, init_hidden=True), nn.Linear(8, 4),
        snn.Synaptic(alpha=torch.linspace(0.1, 0.7, 4), beta=torch.linspace(0.3, 0.6, 4), threshold=0.3, init_hidden=True),
    )  # fmt: skip
    network = from_module(net, torch.zeros(1, 6))
    np.testing.assert_allclose(network.graph.nodes[2].alpha, np.linspace(0.2, 0.9, 8), atol=1e-7)
    np.testing.assert_allclose(network.graph.nodes[4].current_alpha, np.linspace(0.1, 0.7, 4), atol=1e-7)
    assert network.provenance["checked"]["spikes"] > 50


def test_sinabs_tau_for_each_neuron_spikes_as_its_own():
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    layers = pytest.importorskip("sinabs.layers")
    from sinabs.activation import SingleSpike

    torch.manual_seed(0)
    neurons = layers.LIF(
        tau_mem=torch.linspace(2, 20, 8), spike_fn=SingleSpike, spike_threshold=torch.tensor(0.2)
    )
    network = from_module(nn.Sequential(nn.Linear(6, 8), neurons), torch.zeros(1, 6))
    assert (
        isinstance(network.graph.nodes[2].alpha, np.ndarray) and network.provenance["checked"]["spikes"] > 20
    )
