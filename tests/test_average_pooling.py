"""Average pooling on its whole road: YAML, torch, graph, program, engines."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import checkpoint_of, labelled
from tiny_programs import tiny_lif, tiny_program, tiny_readout

from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.ir.graph import shapes
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import AvgPool as AvgPoolNode
from sastdeploy.compiler.ir.nodes import SumPool as SumPoolNode
from sastdeploy.compiler.passes.fold_scales import fold_scales
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture, AvgPool, Conv, Dense, Readout
from sastdeploy.networks.builtin import describe, load_architecture
from sastdeploy.program.check import check_program
from sastdeploy.program.file import VERSION_KEY, load_program, program_hash, save_program
from sastdeploy.program.records import DenseLif, SumPool
from sastdeploy.simulator import engine
from sastdeploy.simulator.result import differences

WINDOWS = [(2, None, 0), (3, 2, 1), (3, 1, 0), (2, 3, 1), (1, 2, 0)]


def network(*window):
    layers = (Conv(3, 3, 1, 1), AvgPool(*window), Dense(6))
    return Architecture("pooled", (1, 8, 7), layers, Readout(), 2)


@pytest.mark.parametrize("window", WINDOWS)
def test_graph_and_training_compute_the_same_mean(window):
    from sastdeploy.training.inference import run

    checkpoint, data = checkpoint_of(network(*window), spread=1.0), labelled(network(*window), 6)
    trained = run(checkpoint, data.frames, hard=True, record=True)
    meant = interpret(graph_from_checkpoint(checkpoint), data.frames.dense())
    assert np.allclose(trained.scores, meant.scores, atol=1e-12)
    for ours, theirs in zip(meant.spikes, trained.spikes):
        assert np.array_equal(ours.reshape(theirs.shape), theirs) and ours.any()


@pytest.mark.parametrize("window", WINDOWS)
def test_the_divisor_folds_into_the_next_gain(window):
    checkpoint, data = checkpoint_of(network(*window)), labelled(network(*window), 4)
    start = graph_from_checkpoint(checkpoint)
    graph = fold_scales(start, load_profile("loihi_int8"))
    (pool,) = (node for node in graph.nodes if isinstance(node, SumPoolNode))
    assert not any(isinstance(node, AvgPoolNode) for node in graph.nodes)
    assert graph.nodes[graph.nodes.index(pool) + 1].gain == 1 / window[0] ** 2
    counts = data.frames.dense()
    assert np.allclose(interpret(start, counts).scores, interpret(graph, counts).scores, atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_compiled_average_is_the_same_integers_everywhere(window, tmp_path):
    checkpoint, data = checkpoint_of(network(*window), spread=1.0), labelled(network(*window), 5)
    program = compile(checkpoint, load_profile("loihi_int8")).program
    assert program.shapes()[2] == shapes(graph_from_checkpoint(checkpoint))[3]
    traced = tuple(layer.name for layer in program.layers if layer.lif is not None)
    results = [engine.run(program, data.frames, engine=name, trace=traced) for name in engine.ENGINES]
    assert differences(results[0], results[1]) == [] and differences(results[1], results[2]) == []
    assert results[0].spikes.any(axis=0).all()
    save_program(tmp_path / "p.onnx", program)
    assert program_hash(load_program(tmp_path / "p.onnx")) == program_hash(program)


def test_a_pool_is_summed_and_counted_by_hand():
    """3 x 3 windows at stride 2 with a border of zeros: on 3 x 3 inputs the middle lies in all four, a corner in one."""
    pool = SumPool("pool", 3, 2, 1)
    x = np.arange(1, 10).reshape(1, 3, 3)
    assert pool.sums(x).tolist() == [[[1 + 2 + 4 + 5, 2 + 3 + 5 + 6], [4 + 5 + 7 + 8, 5 + 6 + 8 + 9]]]
    assert pool.fan_out((1, 3, 3))[0].reshape(3, 3).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert pool.synops(x) == (16, int((x.reshape(-1) * [1, 2, 1, 2, 4, 2, 1, 2, 1]).sum()), 16)
    facts = describe(replace(network(3, 2, 1), input_shape=(1, 3, 3)), 1)
    assert (facts[1].kind, facts[1].fan_out, facts[1].output_shape) == ("avg_pool", (1, 4), (3, 2, 2))


def test_a_pool_side_by_side_has_one_form():
    assert SumPool("p", 2) == SumPool("p", (2, 2), (2, 2), (0, 0)) and SumPool("p", 2).since_format == 1
    assert (SumPool("p", (2, 1)).since_format, SumPool("p", 2, 1).since_format) == (2, 2)


def test_programs_of_windows_that_overlap_are_of_format_2(tmp_path):
    import onnx

    first = DenseLif("first", np.ones((1, 1), np.int8), 8, tiny_lif())
    for pool, version in ((SumPool("pool", 1), "1"), (SumPool("pool", 1, 2), "2")):
        program = tiny_program([first, pool, replace(first, name="last")], tiny_readout())
        save_program(tmp_path / "p.onnx", program, force=True)
        stored = {entry.key: entry.value for entry in onnx.load(tmp_path / "p.onnx").metadata_props}
        assert stored[VERSION_KEY] == version


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (SumPool("pool", 2, 0), "layer 'pool': stride is 0. Allowed: a whole number or a pair of them, 1 to 127"),
        (SumPool("pool", 2, 1, 2), "layer 'pool': padding is 2. Allowed: at most half the kernel, 2"),
        (SumPool("pool", (1, 9), 1), "layer 'pool': kernel is (1, 9). Allowed: 1 to 3 and 1 to 3 on a 1 x 3 x 3 input"),
        (SumPool("pool", 2, 1, -1), "layer 'pool': padding is -1. Allowed: a whole number or a pair of them, 0 to 127"),
        (SumPool("pool", "2"), "layer 'pool': kernel is '2'. Allowed: 1 to 3 on a 1 x 3 x 3 input"),
        (SumPool("pool", 2, 1.5), "layer 'pool': stride is 1.5. Allowed: a whole number or a pair of them, 1 to 127"),
    ],
)  # fmt: skip
def test_wrong_windows_are_refused(pool, message):
    with pytest.raises(InputError) as caught:
        pool.check("layer 'pool'", (1, 3, 3), 1)
    assert str(caught.value).startswith(message)


YAML = "name: own\nlayers:\n  - {{kind: conv, channels: 4, kernel: 3, stride: 1, padding: 1}}\n  - {}\n  - {{kind: dense, neurons: 5}}\n"


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("{kind: avg_pool}", AvgPool(2, 2, 0)),
        ("{kind: avg_pool, kernel: 3, stride: 2, padding: 1}", AvgPool(3, 2, 1)),
        ("{kind: sum_pool, kernel: 3}", AvgPool(3, 3, 0)),
    ],
)
def test_yaml_names_what_is_computed(tmp_path, text, layer):
    path = tmp_path / "own.yaml"
    path.write_text(YAML.format(text))
    assert load_architecture(str(path), (2, 9, 9), 3).layers[1] == layer


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (
            (3, 2, 2),
            "layer 1 (avg_pool): stride must be 1 to 127, padding from 0 to half the kernel; found 2 and 2.",
        ),
        (
            (3, 0, 1),
            "layer 1 (avg_pool): stride must be 1 to 127, padding from 0 to half the kernel; found 0 and 1.",
        ),
        ((12, 1, 0), "layer 1 (avg_pool): kernel 12 does not fit its 8 x 7 input (at most 11)."),
    ],
)
def test_windows_that_do_not_fit_are_refused(window, message):
    with pytest.raises(InputError) as caught:
        network(*window).shapes()
    assert str(caught.value) == f"pooled: {message}"


def test_a_verified_pool_keeps_its_sums_within_eight_bits():
    first = DenseLif("first", np.ones((1, 1), np.int8), 8, tiny_lif())
    check_program(tiny_program([first, SumPool("pool", 1, 2), replace(first, name="last")], tiny_readout()))
    with pytest.raises(InputError, match="a window of 12 x 11 inputs up to 1 sums to 132"):
        SumPool("pool", (12, 11), 1).check("layer 'pool'", (1, 12, 12), 1)
