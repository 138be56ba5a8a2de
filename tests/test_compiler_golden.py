"""From a checkpoint to integers, worked out by hand; and what a profile refuses or changes."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import CONV, DENSE, POOL, checkpoint_of, labelled

from sastdeploy.compiler.compile import PASSES, compile, run_passes
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.text import parse_graph
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.errors import CompileError, InputError
from sastdeploy.networks.architecture import Architecture, Dense, Neuron, Readout
from sastdeploy.networks.checkpoint import Checkpoint, checkpoint_hash
from sastdeploy.program.check import check_program
from sastdeploy.program.file import load_program, program_hash, save_program
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.recordings.frames import Frames
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.simulator import reference

LOIHI, SMALL = load_profile("loihi_int8"), load_profile("aggressive_int4")


def two_inputs(**changes) -> Checkpoint:
    """Return two inputs, one neuron, two classes; every value below is exact in float32."""
    parameters = {
        "layers.0.weight": [[0.875, -0.375]],
        "layers.0.bias": [-0.0625],
        "layers.0.threshold": [0.75],
        "readout.weight": [[1.75], [-0.5]],
        "readout.bias": [0.0, 0.5],
    }
    parts = {
        "architecture": Architecture("two", (2, 1, 1), (Dense(1),), Readout(), 2, Neuron(0.5, 0.75)),
        "parameters": {name: np.array(value, np.float32) for name, value in parameters.items()},
        "preprocessing": Preprocessing((1, 1, 2), (1, 1), 3, 2, 4.0),
        "classes": ("left", "right"),
        "dataset": "nmnist-sim",
        "training": {"method": "baseline", "rho": 0.0, "seed": 0, "epochs": 1, "selected": {"epoch": 0}},
        "provenance": {"command": "by hand"},
    }
    return Checkpoint(**{**parts, **changes})


def test_two_inputs_on_the_aggressive_profile_by_hand():
    # INT4: s = 0.875 / 7 = 0.125, so codes 7 and -3. One unit of the sum is g = s * 1/4 * 2^4 = 0.5 LSB: M = 1, r = 1.
    # Q4.4: bias -0.0625 = -1, theta 0.75 = 12, alpha 0.5 = 8 / 2^4.
    # Readout: s = 1.75 / 7 = 0.25, codes 7 and -2, g = 0.25 * 16 = 4: M = 4, r = 0; bias 0 and 8.
    program = compile(two_inputs(), SMALL).program
    layer, readout = program.layers[0], program.readout
    assert (layer.weight.tolist(), layer.weight_bits) == ([[7, -3]], 4)
    lif = layer.lif
    assert (lif.multiplier.tolist(), lif.shift.tolist(), lif.bias.tolist(), lif.threshold.tolist()) == (
        [1], [1], [-1], [12],
    )  # fmt: skip
    assert (lif.leak_multiplier, lif.leak_shift, lif.leak_rounding) == (8, 4, Rounding.FLOOR)
    assert (lif.membrane, lif.overflow) == (QFormat(4, 4), Overflow.SATURATE)
    assert (lif.spike_test, lif.reset, lif.reset_delay) == (">=", "subtract", 1)
    assert (readout.weight.tolist(), readout.multiplier.tolist(), readout.shift.tolist()) == (
        [[7], [-2]],
        [4, 4],
        [0, 0],
    )
    assert (readout.bias.tolist(), readout.fraction_bits, readout.global_sum_pool) == ([0, 8], 4, False)
    assert program.name == "two.aggressive_int4"

    # Counts (2, 0), (5, 1), (0, 1); 5 is clipped to 2.
    # t0: acc 14, I = (14 + 1) >> 1 = 7; u = 0 + 7 - 1 = 6 < 12: no spike.
    # t1: acc 14 - 3 = 11, I = 6; leak (6 * 8) >> 4 = 3; u = 3 + 6 - 1 = 8.
    # t2: acc -3, I = (-3 + 1) >> 1 = -1; leak 4; u = 4 - 1 - 1 = 2. No spike: scores 3 * (0, 8).
    silent = Frames.from_dense(np.array([[2, 0], [5, 1], [0, 1]]).reshape(1, 3, 2, 1, 1))
    assert reference.run(program, silent).scores.tolist() == [[0, 24]]
    # Three times (2, 0): u = 6; 3 + 7 - 1 = 9; 4 + 7 - 1 = 10. Still none: theta 12 needs bias 0 or a smaller theta.
    # With theta 0.5 = 8: t1 u = 9 spikes; t2: 4 + 7 - 1 - 8 = 2. One spike: scores 7 * 4 = 28 and -2 * 4 + 24 = 16.
    parameters = two_inputs().parameters | {"layers.0.threshold": np.array([0.5], np.float32)}
    busy = compile(two_inputs(parameters=parameters), SMALL).program
    frames = Frames.from_dense(np.array([[2, 0]] * 3).reshape(1, 3, 2, 1, 1))
    assert reference.run(busy, frames).scores.tolist() == [[28, 16]]


def test_two_inputs_on_loihi_by_hand():
    # INT8: s = 0.875 / 127; -0.375 / s = -54.43: -54. g = s / 4 * 256 = 0.440944...: M = round(g * 2^16) = 28898.
    # Q8.8: bias -16, theta 192, alpha 2048 / 2^12. Readout: -0.5 / 1.75 * 127 = -36.29: -36.
    # g = 1.75 / 127 * 256 = 3.527559...: M = round(g * 2^13) = 28898, r = 13. Bias 128.
    program = compile(two_inputs(), LOIHI).program
    layer, readout = program.layers[0], program.readout
    assert layer.weight.tolist() == [[127, -54]]
    assert (layer.lif.multiplier.tolist(), layer.lif.shift.tolist()) == ([28898], [16])
    assert (layer.lif.bias.tolist(), layer.lif.threshold.tolist()) == ([-16], [192])
    assert (layer.lif.leak_multiplier, layer.lif.leak_shift) == (2048, 12)
    assert readout.weight.tolist() == [[127], [-36]]
    assert (readout.multiplier.tolist(), readout.shift.tolist(), readout.bias.tolist()) == (
        [28898] * 2,
        [13] * 2,
        [0, 128],
    )


@pytest.mark.parametrize("profile", [LOIHI, SMALL], ids=lambda p: p.name)
@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda a: a.name)
def test_every_kind_of_network_compiles_to_a_verified_program(architecture, profile, tmp_path):
    program = compile(checkpoint_of(architecture, divisor=5.0), profile).program
    check_program(program)
    save_program(tmp_path / "p.onnx", program)
    assert program_hash(load_program(tmp_path / "p.onnx")) == program_hash(program)


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("scale", ["any", "power_of_two"])
@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda a: a.name)
def test_the_program_means_what_the_compiled_graph_means(architecture, granularity, scale):
    # Wide formats leave little rounding, so nearly every spike of the integers is the float graph's.
    profile = replace(LOIHI, granularity=granularity, scale=scale, membrane=QFormat(8, 12), leak_shift=15)
    checkpoint = checkpoint_of(architecture, spread=2.0 if architecture is POOL else 0.6, divisor=4.0)
    graph = run_passes(graph_from_checkpoint(checkpoint), profile, PASSES)
    frames = labelled(architecture, 30).frames
    expected = interpret(graph, frames.dense()).scores
    scores = reference.run(compile(checkpoint, profile).program, frames).scores / 2.0**12 / 6
    close = np.abs(scores - expected).max(1) < 0.01
    assert close.mean() > 0.8


def test_the_order_of_weights_in_memory_changes_nothing():
    architecture = Architecture("wide", (2, 34, 34), (Dense(60),), Readout(), 3, Neuron())
    for seed in range(60):
        checkpoint = checkpoint_of(architecture, seed=seed)
        columns = {name: np.asfortranarray(values) for name, values in checkpoint.parameters.items()}
        one, other = (
            compile(each, "aggressive_int4").program
            for each in (checkpoint, replace(checkpoint, parameters=columns))
        )
        assert one.costs == other.costs and program_hash(one) == program_hash(other)


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        save_program(tmp_path / name, compile(checkpoint_of(CONV), LOIHI).program)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_program_says_where_it_comes_from():
    checkpoint = checkpoint_of(DENSE)
    program = compile(checkpoint, LOIHI).program
    assert program.provenance["checkpoint_hash"] == checkpoint_hash(checkpoint)
    assert program.provenance["training"] == checkpoint.training
    assert "sastdeploy" in program.provenance["versions"]
    assert program.profile == LOIHI.record
    assert not [key for key in program.provenance if "time" in key or "date" in key]


def test_weights_of_zero_compile_and_are_warned_of():
    parameters = checkpoint_of(DENSE).parameters | {"layers.0.weight": np.zeros((12, 32), np.float32)}
    program = compile(checkpoint_of(DENSE, parameters=parameters), LOIHI).program
    assert not program.layers[0].weight.any()
    assert program.costs["warnings"] == ["layers.0: every weight is 0, so the layer sees nothing."]


def test_a_sample_maximum_is_not_causal():
    preprocessing = replace(two_inputs().preprocessing, normalisation="sample_max")
    with pytest.raises(CompileError) as caught:
        compile(two_inputs(preprocessing=preprocessing), LOIHI)
    assert str(caught.value) == (
        "normalisation 'sample_max' divides by a recording's own largest count, which is known only after its last event: "
        "no causal hardware can do that. Train with --normalisation fixed."
    )


def test_a_refusal_names_its_pass_and_those_before():
    with pytest.raises(CompileError) as caught:
        compile(two_inputs(), replace(LOIHI, accumulator_bits=8))
    assert str(caught.value).startswith(
        "layers.0, neuron 0: its sum can reach 254 (inputs up to 2) and needs 9 bits; "
    )
    assert str(caught.value).endswith(
        " [pass prove_ranges, after fold_scales, quantize_weights, fit_gains, fit_leaks, fit_thresholds_and_biases]"
    )


def test_a_pass_that_leaves_nonsense_is_named():
    def forget_the_readout(graph: Graph, profile) -> Graph:
        return graph.replace(graph.nodes[:-1])

    with pytest.raises(CompileError) as caught:
        run_passes(graph_from_checkpoint(two_inputs()), LOIHI, (PASSES[0], forget_the_readout))
    assert str(caught.value) == (
        "pass forget_the_readout (after fold_scales) left an invalid graph: graph: lif layers.0.lif: must end with a readout."
    )


def test_an_invalid_graph_enters_no_pass():
    graph = graph_from_checkpoint(two_inputs())
    with pytest.raises(InputError, match="must end with a readout"):
        run_passes(graph.replace((*graph.nodes[:-1], graph.nodes[1])), LOIHI, PASSES)


@pytest.mark.parametrize(
    ("architecture", "divisor", "name"),
    [(DENSE, 4.0, "input"), (POOL, 1.0, "layers.1"), (CONV, 1.0, "readout")],
)
def test_no_divisor_is_lost(architecture, divisor, name, monkeypatch):
    monkeypatch.setattr("sastdeploy.compiler.compile.PASSES", PASSES[1:])
    with pytest.raises(CompileError) as caught:
        compile(checkpoint_of(architecture, c_clip=1, divisor=divisor), LOIHI)
    assert str(caught.value) == f"{name}: its divisor is not folded into a gain; a pass was left out."


@pytest.mark.parametrize("left_out", range(5))
def test_no_pass_can_be_left_out_unnoticed(left_out, monkeypatch):
    passes = PASSES[:left_out] + PASSES[left_out + 1 :]
    monkeypatch.setattr("sastdeploy.compiler.compile.PASSES", passes)
    with pytest.raises(CompileError, match=r"Order the passes so|a pass was left out"):
        compile(two_inputs(), LOIHI)


def test_the_dump_holds_the_graph_after_every_pass(tmp_path):
    compile(checkpoint_of(DENSE), LOIHI, dump=tmp_path / "dump")
    names = ["00-imported.txt"] + [f"{i:02d}-{step.__name__}.txt" for i, step in enumerate(PASSES, 1)]
    assert sorted(path.name for path in (tmp_path / "dump").iterdir()) == [*names, "tensors.npz"]
    with np.load(tmp_path / "dump" / "tensors.npz") as stored:
        tensors = dict(stored)
    graph = graph_from_checkpoint(checkpoint_of(DENSE))
    for count, name in enumerate(names):
        text = (tmp_path / "dump" / name).read_text("utf-8")
        assert parse_graph(text, tensors, name) == run_passes(graph, LOIHI, PASSES[:count])
