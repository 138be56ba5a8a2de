"""Weights that were trained as integers times a scale keep their integers where a profile holds them."""

from dataclasses import replace

import numpy as np
import pytest

from sastdeploy import (
    CompileError,
    Framing,
    InputError,
    TrainingSettings,
    compile,
    from_module,
    load_network,
    load_profile,
    save_network,
)
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.nodes import Counts, Dense, Input, Lif
from sastdeploy.compiler.ir.nodes.synapses import Synapses
from sastdeploy.compiler.passes.quantize_weights import quantize_weights
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.framing import network_of
from tests.small_networks import checkpoint_of
from tests.small_trainings import fit

LOIHI, INT4 = load_profile("loihi_int8"), load_profile("aggressive_int4")
PER_CHANNEL = replace(LOIHI, granularity="per_channel")
CODES = np.array([[3, -6, 5, 0], [1, 0, -2, 6], [0, 0, 0, 0]])


def graph_of(weight, bits):
    weight = np.asarray(weight, np.float64)
    sources, classes = weight.shape[1], len(weight)
    return Graph("net", (
        Input("input", (sources, 1, 1), 5, 3, 1.0),
        Dense("fc", weight, np.zeros(classes), trained_bits=bits),
        Lif("lif", 0.5, np.ones(classes), ">=", "subtract", 1),
        Counts("readout", np.eye(classes), np.zeros(classes)),
    ))  # fmt: skip


def first(graph, profile):
    node = quantize_weights(graph, profile).nodes[1]
    assert isinstance(node, Synapses)
    return node


def test_integers_stay_by_hand():
    # max |W| = 6 * 0.03125; without a word of the training s would be 0.1875 / 127, and 3 would become 63.5: 64.
    node = first(graph_of(CODES * 0.03125, 4), LOIHI)
    assert node.weight_q.tolist() == CODES.tolist() and (node.weight_scale == 0.03125).all()
    assert first(graph_of(CODES * 0.03125, None), LOIHI).weight_q[0].tolist() == [64, -127, 106, 0]
    assert first(graph_of(CODES * 0.03125, 4), INT4).weight_q.tolist() == CODES.tolist()


def test_float32_products_are_recognised():
    scale = np.float32(0.1) / np.float32(7)
    weight = (CODES.astype(np.float32) * scale).astype(np.float64)
    assert first(graph_of(weight, 4), LOIHI).weight_q.tolist() == CODES.tolist()


def test_the_smallest_scale_that_needs_no_rounding_is_taken():
    node = first(graph_of([[2.0, -4.0], [6.0, 0.0]], 8), LOIHI)
    assert node.weight_q.tolist() == [[1, -2], [3, 0]] and (node.weight_scale == 2.0).all()


def test_a_scale_per_channel_needs_a_profile_that_has_one():
    weight = CODES * np.array([[0.5], [0.3], [1.0]])
    node = first(graph_of(weight, 4), PER_CHANNEL)
    # 6 * 0.3, two steps of 0.3 and 0: the smallest integers, in steps of 0.3.
    assert node.weight_q.tolist() == CODES.tolist()
    assert node.weight_scale == pytest.approx([0.5, 0.3, 1.0])
    assert first(graph_of(weight, 4), LOIHI).weight_q.tolist() != CODES.tolist()


def test_integers_that_a_profile_cannot_hold_are_rounded_again_with_a_warning():
    eight = np.array([[100, -50, 127, 1]]) * 0.01
    network = imported(eight, 8)
    assert not any("trained" in text for text in compile(network, LOIHI, neuron="profile").report.warnings)
    assert (
        "fc: was trained with weights of 8 bits, which aggressive_int4 cannot hold as they are (4 bits, "
        f"{INT4.granularity}, scale {INT4.scale}), so they are rounded again."
    ) in compile(network, INT4, neuron="profile").report.warnings
    assert first(network.graph, INT4).weight_q.tolist() == [[6, -3, 7, 0]]


def test_minus_eight_of_four_bits_fits_eight():
    codes = np.array([[-8, 7, 3]])
    assert first(graph_of(codes * 0.25, 4), LOIHI).weight_q.tolist() == codes.tolist()
    assert np.abs(first(graph_of(codes * 0.25, 4), INT4).weight_q).max() == 7


def test_a_power_of_two_that_a_trained_scale_is_not_rounds_as_finely_as_for_any_weights():
    # 0.03 is no power of two. The next, 2^-5, would leave 4 bits; 6 * 0.03 / 127 rounds up to 2^-9.
    shifts = replace(LOIHI, scale="power_of_two")
    node = first(graph_of(CODES * 0.03, 4), shifts)
    assert (node.weight_scale == 2.0**-9).all()
    assert node.weight_q.tolist() == first(graph_of(CODES * 0.03, None), shifts).weight_q.tolist()
    assert first(graph_of(CODES * 0.03125, 4), shifts).weight_q.tolist() == CODES.tolist()
    # All are multiples of 3 * 2^-5, which is no power of two; 2^-10 holds them exactly.
    node = first(graph_of([[6 * 2.0**-5, 3 * 2.0**-5]], 4), shifts)
    assert (node.weight_q * node.weight_scale[0]).tolist() == [[6 * 2.0**-5, 3 * 2.0**-5]]


QUANTIZED = {"quantize_bits": 4, "quantize_epochs": 1}


def trained_here(codes, scale=0.0123, **facts):
    """A checkpoint whose first weights are 4-bit codes times a float32 scale, as training stores them."""
    checkpoint = checkpoint_of()
    weight = checkpoint.parameters["layers.0.weight"]
    held = (np.resize(codes, weight.shape) * scale).astype(np.float32)
    return replace(
        checkpoint,
        parameters=checkpoint.parameters | {"layers.0.weight": held},
        training=checkpoint.training | {"epochs": 3, "selected": {"epoch": 2}} | facts,
    )


@pytest.mark.parametrize("profile", [LOIHI, PER_CHANNEL, INT4, replace(INT4, granularity="per_channel")])
def test_a_trained_checkpoint_keeps_its_integers_in_every_profile_that_holds_them(profile, tmp_path):
    checkpoint = fit(tmp_path / "a.pt", TrainingSettings(epochs=3, batch_size=8, **QUANTIZED))
    compilation = compile(checkpoint, profile)
    assert all((layer.signal_to_noise_db or 200) > 120 for layer in compilation.report.layers)
    assert not any("was trained with" in text for text in compilation.report.warnings)
    for part in (*compilation.program.layers, compilation.program.readout):
        weight = checkpoint.parameters[f"{part.name}.weight"].astype(float)
        codes = np.rint(weight / (np.abs(weight).max() / 7)).reshape(len(weight), -1)
        ours = part.weight.reshape(codes.shape).astype(int)
        # A channel whose integers have a common factor holds smaller ones.
        for own, trained in zip(ours, codes, strict=True):
            assert (own * np.abs(trained).max() == trained * np.abs(own).max()).all()
            assert np.abs(own).max() <= np.abs(trained).max() <= 7


def test_a_trained_checkpoint_that_loses_its_integers_is_warned_of():
    checkpoint = trained_here(np.array([127, -50, 3]), quantize_bits=8, quantize_epochs=3)
    assert compile(checkpoint, PER_CHANNEL).report.layers[0].signal_to_noise_db > 120
    assert (
        "layers.0: was trained with weights of 8 bits, which aggressive_int4 cannot hold as they are (4 bits, "
        "per_tensor, scale any), so they are rounded again."
    ) in compile(checkpoint, INT4).report.warnings


@pytest.mark.parametrize("facts", [
    {}, {"quantize_bits": 0, "quantize_epochs": 0}, {**QUANTIZED, "selected": {"epoch": 1}}, {**QUANTIZED, "quantize_bits": "4"},
    {**QUANTIZED, "quantize_bits": 9}, {"quantize_bits": 4},
])  # fmt: skip
def test_other_checkpoints_are_compiled_as_ever(facts):
    checkpoint = trained_here(CODES, **facts)
    nodes = graph_from_checkpoint(checkpoint).nodes
    assert {node.trained_bits for node in nodes if isinstance(node, Synapses)} == {None}
    assert np.abs(compile(checkpoint, LOIHI).program.layers[0].weight).max() == 127


def test_lavas_lowest_weight_is_one_too_many():
    lava = np.array([[-256.0, 254.0, 2.0]])
    warnings = compile(imported(lava, 8), "loihi1", neuron="profile").report.warnings
    assert any(text.startswith("fc: was trained with weights of 8 bits, which loihi1") for text in warnings)
    lava[0, 0] = -254
    warnings = compile(imported(lava, 8), "loihi1", neuron="profile").report.warnings
    assert not any("was trained" in text for text in warnings)


def imported(weight, bits):
    one = np.ones(1)
    parts = [
        p.Linear("fc", weight, None, bits),
        p.Neurons("lif", 0.5 * one, one, 0 * one, one, ">=", "subtract", 1),
    ]
    return network_of("net", parts, weight.shape[1:], Framing(time_bins=5, clip=3))


def test_a_file_keeps_the_word_and_refuses_a_wrong_one(tmp_path):
    save_network(tmp_path / "net.pt", imported(CODES * 0.25, 4))
    assert load_network(tmp_path / "net.pt").graph.nodes[1].trained_bits == 4
    for bits in (1, 9, 4.5):
        with pytest.raises(InputError, match=f"trained_bits is {bits}, not 2 to 8"):
            imported(CODES * 0.25, bits)


@pytest.fixture
def brevitas():
    return pytest.importorskip("brevitas.nn", reason="brevitas is not installed")


def module_of(qnn, bits=4, **changes):
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    torch.manual_seed(0)
    return torch.nn.Sequential(
        qnn.QuantConv2d(2, 3, 3, padding=1, bias=True, weight_bit_width=bits, **changes), snn.Leaky(0.75, init_hidden=True),
        torch.nn.Flatten(), qnn.QuantLinear(3 * 36, 5, bias=False, weight_bit_width=bits), snn.Leaky(0.5, init_hidden=True),
    ), torch.zeros(1, 2, 6, 6)  # fmt: skip


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_brevitas_integers_are_the_programs(brevitas, bits):
    net, example = module_of(brevitas, bits)
    network = from_module(net, example, framing=Framing(time_bins=6))
    program = compile(network, LOIHI, neuron="profile").program
    for layer, module in zip(program.layers, (net[0], net[3]), strict=True):
        codes = module.quant_weight().int(float_datatype=False).numpy()
        ours = layer.weight.astype(int)
        # Integers with a common factor are taken in smaller ones.
        factor = np.abs(codes).max() // np.abs(ours).max()
        assert (ours * factor == codes).all() and factor == 1


def test_brevitas_at_more_bits_than_engines_have_is_rounded(brevitas):
    net, example = module_of(brevitas, 10)
    network = from_module(net, example, framing=Framing(time_bins=6))
    assert network.graph.nodes[1].trained_bits is None


def test_what_brevitas_quantizes_besides_is_refused(brevitas):
    from brevitas.quant import Int8ActPerTensorFloat, Int32Bias

    net, example = module_of(
        brevitas, input_quant=Int8ActPerTensorFloat, output_quant=Int8ActPerTensorFloat, bias_quant=Int32Bias
    )
    with pytest.raises(CompileError) as caught:
        from_module(net, example, framing=Framing(time_bins=6))
    assert [what for what in ("inputs", "outputs", "bias") if f"quantizes its {what}" in str(caught.value)] == [
        "inputs", "outputs", "bias",
    ]  # fmt: skip
