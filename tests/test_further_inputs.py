"""Layers that hear earlier layers or the inputs as well (skips): by hand, in files, in every engine, and from the graph to the program."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_programs import counts, tiny_lif, tiny_program, tiny_readout

from sastdeploy import (
    CompileError,
    ImportedNetwork,
    InputError,
    Preprocessing,
    compile,
    export_c,
    export_verilog,
    load_profile,
    load_program,
    save_program,
)
from sastdeploy.compiler.ir.graph import Graph, check_graph, stages
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Conv2d, Counts, Dense, Input, Lif, Recurrent
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.compiler.mapping import map_layers
from sastdeploy.compiler.passes.check_limits import check_limits
from sastdeploy.compiler.profiles import Cores
from sastdeploy.exchange.vectors.values import signals
from sastdeploy.program.check import check_program
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.file import meaning_hash
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.records import ConvLif, DenseLif, FurtherConv, FurtherDense, RecurrentLif, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine, reference
from sastdeploy.simulator.neurobench import neurobench, synops_by_definition
from sastdeploy.simulator.result import differences
from tests.neuron_checks import (
    AGAIN,
    assert_edited_manifest_refused,
    assert_every_engine_agrees,
    assert_graph_and_program_agree,
    assert_program_refused,
)

# Counts 1, 4, 0, 2, 5 (5 clips to 4); I = (3 acc + 1) >> 1, bias -1, threshold 5, leak u * 5 >> 3, reset a step later.
COUNTS = (1, 4, 0, 2, 5)
# a: acc = 2 x = 2, 8, 0, 4, 8; I = 3, 12, 0, 6, 12; u = 3-1 | 1+12-1 | 7+0-1-5 | 0+6-1 | 3+12-1-5
A = (2, 12, 1, 5, 9), (0, 1, 0, 1, 1)
# b: acc = 3 s + x = 1, 7, 0, 5, 7 and -2 s + 2 x = 2, 6, 0, 2, 6; I = 2, 11, 0, 8, 11 and 3, 9, 0, 3, 9
# u = 2-1 | 0+11-1 | 6+0-1-5 | 0+8-1 | 4+11-1-5 and 3-1 | 1+9-1 | 5+0-1-5 | -1+3-1 | 0+9-1
B_SUMS = ((1, 2), (7, 6), (0, 0), (5, 2), (7, 6))
B = ((1, 2), (10, 9), (0, -1), (7, 1), (9, 8)), ((0, 0), (1, 1), (0, 0), (1, 0), (1, 1))


def two_layers(further=None, **changes):
    """Return a neuron, and behind it two that hear it with 3 and -2, and the input itself with 1 and 2."""
    first = DenseLif("a", np.array([[2]], np.int8), 4, tiny_lif())
    further = (FurtherDense(0, np.array([[1], [2]], np.int8)),) if further is None else further
    second = DenseLif("b", np.array([[3], [-2]], np.int8), 4, tiny_lif(2), further=further)
    return tiny_program([first, replace(second, **changes)], tiny_readout(2))


def test_two_layers_by_hand():
    program, shown = two_layers(), counts(*COUNTS)
    result = reference.run(program, shown, trace=("a", "b"))
    for name, (membranes, spikes) in (("a", A), ("b", B)):
        assert np.array_equal(result.traces[name].membranes[0].squeeze(), membranes)
        assert np.array_equal(result.traces[name].spikes[0].squeeze(), spikes)
    (sums,) = (signal for signal in signals(program, shown) if (signal.layer, signal.kind) == ("b", "sums"))
    assert sums.values[0].tolist() == list(map(list, B_SUMS))
    for name in ("numba", "onnxruntime"):
        assert differences(result, engine.run(program, shown, engine=name, trace=("a", "b"))) == []


def test_every_spike_costs_its_own_fan_out():
    result = reference.run(two_layers(), counts(*COUNTS))
    # Four bins with counts, 11 events: to one neuron and past it to two. Three spikes to two neurons; five to two classes.
    assert result.synops.tolist() == [[4 * (1 + 2), 3 * 2, 5 * 2]]
    assert result.synops_events.tolist() == [[11 * (1 + 2), 3 * 2, 5 * 2]]
    program = two_layers((FurtherDense(0, np.array([[0], [2]], np.int8)),))
    assert reference.run(program, counts(*COUNTS)).synops_nonzero[0, 0] == 4 * (1 + 1)
    every, events, nonzero = largest_synops(program).tolist()
    assert (every, events, nonzero) == ([5 * 3, 5 * 2, 20], [5 * 3 * 4, 5 * 2, 20], [5 * 2, 5 * 2, 20])
    # Weights of 4 bits: 1, 2 + 2, and 4 of the readout.
    assert footprint_bytes(program)["weights"] == 1 + 2 + 2


def several_layers():
    """Convolutions that hear the input and each other, a pool between them, and fully connected ones that hear maps."""
    rng = np.random.default_rng(3)

    def weights(*shape, most=7):
        return rng.integers(-most, most + 1, shape).astype(np.int8)

    def neurons(channels, most):
        return tiny_lif(
            channels, membrane=QFormat(8, 8), multiplier=np.full(channels, 9, np.int32), threshold=np.full(channels, most, np.int32)
        )  # fmt: skip

    layers = [
        ConvLif("c0", weights(3, 2, 3, 3), 4, (1, 1), (1, 1), neurons(3, 60)),
        ConvLif(
            "c1", weights(4, 3, 3, 3), 4, (1, 1), (1, 1), neurons(4, 60),
            further=(FurtherConv(0, weights(4, 2, 1, 1)), FurtherConv(1, weights(4, 3, 5, 5), (1, 1), (2, 2))),
        ),
        SumPool("pool", 2),
        ConvLif(
            "c2", weights(5, 4, 1, 1), 4, (1, 1), (0, 0), neurons(5, 60),
            further=(FurtherConv(1, weights(5, 3, 2, 2), (2, 2)), FurtherConv(2, weights(5, 4, 3, 3), (2, 2), (1, 1))),
        ),
        RecurrentLif(
            "r", weights(70, 45), 4, neurons(70, 90), weights(70, 70, most=2),
            further=(FurtherDense(2, weights(70, 4 * 36, most=2)), FurtherDense(0, weights(70, 2 * 36, most=2))),
        ),
        DenseLif("d", weights(6, 70), 4, neurons(6, 60), further=(FurtherDense(4, weights(6, 45)),)),
    ]  # fmt: skip
    return tiny_program(layers, tiny_readout(6), (2, 6, 6), time_bins=4)


def test_every_engine_gives_the_same_integers(tmp_path):
    program = several_layers()
    _, again = assert_every_engine_agrees(program, tmp_path, version=5, spikes=1000)
    assert [each.source for each in again.layers[3].further] == [1, 2]
    assert again.layers[3].further[0].stride == (2, 2) and again.layers[1].further[0].weight.dtype == np.int8
    renamed = replace(program, layers=(replace(program.layers[0], name="x"), *program.layers[1:]))
    assert (
        meaning_hash(renamed)
        == meaning_hash(program)
        != meaning_hash(replace(program, layers=other(program)))
    )


def other(program):
    *layers, last = program.layers
    (further,) = last.further
    return (*layers, replace(last, further=(replace(further, source=4, weight=-further.weight),)))


def test_neurobench_counts_what_goes_past_a_pool():
    program = several_layers()
    shown = Frames.from_dense(np.random.default_rng(0).integers(0, 4, (3, 4, 2, 6, 6)))
    result = reference.run(program, shown)
    into_pool = int(result.neuron_spikes[1].sum())
    assert into_pool > 100
    figures = synops_by_definition(program, result)
    assert figures["neurobench"] * 3 == pytest.approx(result.synops_nonzero.sum() - into_pool)
    assert figures["sinabs"] * 3 == pytest.approx(result.synops_events.sum() - into_pool)
    operations = neurobench(program, result)["synaptic_operations"]
    assert operations["dense"] == largest_synops(program)[0].sum() - 4 * 4 * 36


ONE = np.array([[1], [2]], np.int8)
TWO_BY_TWO = np.ones((2, 2), np.int8)


@pytest.mark.parametrize(
    ("further", "fault"),
    [
        ([FurtherDense(0, ONE)], ": further is a list. Allowed: a tuple."),
        ((FurtherConv(0, ONE),), ", further input 0: a FurtherConv of a dense layer. Allowed: a FurtherDense."),
        ((FurtherDense(0, ONE), ONE), ", further input 1: a ndarray of a dense layer. Allowed: a FurtherDense."),
        ((FurtherDense(2, TWO_BY_TWO),),
         ", further input 0: source is 2. Allowed: 0, 1 (0 for the input, l + 1 for an earlier layer l with neurons)."),
        ((FurtherDense(True, ONE),),
         ", further input 0: source is True. Allowed: 0, 1 (0 for the input, l + 1 for an earlier layer l with neurons)."),
        ((FurtherDense(-1, ONE),),
         ", further input 0: source is -1. Allowed: 0, 1 (0 for the input, l + 1 for an earlier layer l with neurons)."),
        ((FurtherDense(0, TWO_BY_TWO),), ", further input 0: weight has 2 columns. Allowed: 1, one per value of its 1 x 1 x 1 input."),
        ((FurtherDense(0, ONE[:1]),), ", further input 0: gives sums of 1 x 1 x 1. Allowed: 2 x 1 x 1, as the layer's own input gives."),
        ((FurtherDense(0, 8 * ONE),), ", further input 0: weight[0, 0] is 8. Allowed: -7 to 7 in 4 bits."),
        ((FurtherDense(0, ONE.astype(np.int32)),),
         ", further input 0: weight is int32 of shape [2, 1]. Allowed: an int8 array of 2 dimensions."),
    ],
)  # fmt: skip
def test_further_inputs_that_do_not_fit_are_refused(further, fault):
    assert_program_refused(two_layers(further), f"layer 'b'{fault}")


def test_a_pool_is_no_source():
    program = several_layers()
    layers = list(program.layers)
    layers[3] = replace(layers[3], further=(FurtherConv(3, np.ones((5, 4, 1, 1), np.int8)),))
    with pytest.raises(InputError) as error:
        check_program(replace(program, layers=tuple(layers)))
    assert str(error.value) == (
        "layer 'c2', further input 0: source is 3. Allowed: 0, 1, 2 (0 for the input, l + 1 for an earlier layer l with "
        f"neurons). {AGAIN}"
    )


def test_the_largest_sum_has_further_inputs_in_it():
    """A sum of the layer's own inputs fits the membrane's update; with counts up to 4 of the network's input it does not."""
    end = {
        "multiplier": np.full(2, 32767, np.int32), "shift": np.zeros(2, np.int32), "membrane": QFormat(24, 0),
        "threshold": np.full(2, 8388607, np.int32),
    }  # fmt: skip
    first = DenseLif("a", np.ones((2, 128), np.int8), 8, tiny_lif(2))

    def program(weight):
        further = (FurtherDense(0, weight),)
        second = DenseLif("b", np.ones((2, 2), np.int8), 8, tiny_lif(2, **end), further=further)
        return tiny_program([first, second], tiny_readout(2), (1, 8, 16), c_clip=4)

    check_program(program(np.full((2, 128), 31, np.int8)))
    with pytest.raises(InputError, match=r"layer 'b': the membrane update of output 0 can reach 2\d{9}\."):
        check_program(program(np.full((2, 128), 127, np.int8)))


def test_damaged_files_are_refused(tmp_path):
    import onnx

    again = "Compile the checkpoint again with 'sastdeploy compile'."
    save_program(tmp_path / "p.onnx", two_layers())
    model = onnx.load(tmp_path / "p.onnx")
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "b/further0"]
    (wrong,) = (tensor for tensor in model.graph.initializer if tensor.name == "b/further0")
    assert list(wrong.dims) == [2, 1] and wrong.data_type == onnx.TensorProto.INT4
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    (tmp_path / "without.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError) as error:
        load_program(tmp_path / "without.onnx")
    assert str(error.value) == f"{tmp_path / 'without.onnx'}: the array 'b/further0' is missing. {again}"
    wrong.dims[:] = [1, 2]
    model.graph.initializer.extend([wrong])
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError) as error:
        load_program(tmp_path / "other.onnx")
    words = "the array 'b/further0' has shape [1, 2]; the manifest says [2, 1]."
    assert str(error.value) == f"{tmp_path / 'other.onnx'}: {words} {again}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"further":[{"source":0', '"further":[{"source":1'), ('"further":[{', '"further":[[],{'), ('"source":0,', ""),
        ('"further":[{"source":0,"weight_shape":[2,1]}]', '"further":7'), ('0,"weight_shape":[2,1]}]', '0,"weight_shape":[2,0]}]'),
    ],
)  # fmt: skip
def test_manifests_that_say_other_further_inputs_are_refused(tmp_path, old, new):
    assert_edited_manifest_refused(two_layers(), tmp_path, old, new)


def test_c_says_where_operations_stand_and_verilog_refuses_by_name(tmp_path):
    export_c(two_layers(), tmp_path / "c", name="net")
    header = (tmp_path / "c" / "net.h").read_text()
    assert "those of further inputs with the part behind their source" in header
    with pytest.raises(InputError) as error:
        export_verilog(two_layers(), tmp_path / "v")
    assert str(error.value) == (
        "layer b: has further inputs, from layers before the last one; the core's layers have one. Export it with --to c."
    )


def network(divisor=1.0, steps=5, kind=Dense):
    """Return two layers of which the second hears the input too, in 64ths."""
    rng = np.random.default_rng(4)
    first, second, skip = (rng.integers(-60, 120, shape) / 64 for shape in ((6, 8), (3, 6), (3, 8)))
    first[0, 0] = second[0, 0] = 119 / 64
    skip[:, ::2] = 0
    further = (Dense("input", -skip, np.zeros(3)),)
    nodes = [
        Input("input", (1, 2, 4), steps, 3, divisor), Dense("0", first, np.full(6, 0.25)), Lif("0.lif", 0.5, np.ones(6)),
        Dense("1", second, np.full(3, -0.5), further=further) if kind is Dense
        else Recurrent("1", second, np.full(3, -0.5), recurrent=-np.eye(3), further=further),
        Lif("1.lif", 0.5, np.ones(3)), Counts("readout", np.eye(3), np.zeros(3)),
    ]  # fmt: skip
    preprocessing = Preprocessing((4, 2, 1), (4, 2), steps, 3, max(divisor, 3.0))
    return ImportedNetwork(Graph("skip", tuple(nodes)), preprocessing, ("a", "b", "c"))


def profile(**changes):
    base = replace(load_profile("loihi_int8"), scale="power_of_two", membrane=QFormat(8, 16), recurrent=True)
    return replace(base, **changes)


@pytest.mark.parametrize("kind", [Dense, Recurrent])
def test_a_graph_means_what_its_program_computes(kind):
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    own = network(kind=kind)
    program = compile(own, profile()).program
    assert [each.source for each in program.layers[1].further] == [0]
    assert_graph_and_program_agree(own, program)
    without = own.graph.map({Dense: lambda node: replace(node, further=())})
    shown = np.random.default_rng(0).integers(0, 4, (6, 5, 1, 2, 4))
    assert not np.array_equal(interpret(without, shown).scores, interpret(own.graph, shown).scores)
    assert without != own.graph


def test_the_graph_by_hand():
    """The first case above, in real values without rounding: I = 1.5 acc - 1, leak 0.5."""
    further = (Dense("input", 1.5 * np.array([[1.0], [2.0]]), np.zeros(2)),)
    nodes = (
        Input("input", (1, 1, 1), 3, 4, 1.0), Dense("a", np.array([[3.0]]), -np.ones(1)), Lif("a.lif", 0.5, 5 * np.ones(1)),
        Dense("b", 1.5 * np.array([[3.0], [-2.0]]), -np.ones(2), further=further), Lif("b.lif", 0.5, 5 * np.ones(2)),
    )  # fmt: skip
    graph = Graph("by hand", (*nodes, Counts("readout", np.eye(2), np.zeros(2))))
    check_graph(graph)
    found = interpret(graph, np.array([1, 4, 0]).reshape(1, 3, 1, 1, 1))
    # a: 3-1 | 1+12-1 | 6-1-5; b: 1.5-1, 3-1 | 0.25+10.5-1, 1+9-1 | 4.875-1-5, 4.5-1-5
    assert found.membranes[0].reshape(3).tolist() == [2, 12, 0]
    assert found.membranes[1].reshape(3, 2).tolist() == [[0.5, 2], [9.75, 9], [-1.125, -1.5]]


def test_one_scale_holds_all_inputs_of_a_layer():
    """With frames divided by 4, codes of the skip act in the unit of the spikes' weights."""
    own = network(divisor=4.0)
    compilation = compile(own, profile(weight_bits=8))
    layer, node = compilation.program.layers[1], own.graph.nodes[3]
    unit = layer.lif.multiplier[0] / 2.0 ** layer.lif.shift[0] / 2**16
    assert np.abs(layer.weight * unit - node.weight).max() <= unit / 2
    assert np.abs(layer.further[0].weight * unit - node.further[0].weight / 4).max() <= unit / 2
    report = compilation.report.layers[1]
    assert (report.weights, report.fan_in, report.weight_bytes) == (3 * 6 + 3 * 8, 6 + 8, 42)


def test_limits_count_every_target_and_source():
    own, wide = network().graph, profile()
    assert check_limits(own, replace(wide, limits={"fan_out": 9, "fan_in": 14})) is own
    with pytest.raises(CompileError) as error:
        check_limits(own, replace(wide, limits={"fan_out": 8, "fan_in": 13}))
    assert [reason.split(";")[0] for reason in error.value.reasons] == [
        "input, into 0 and 1: 9 targets per source", "1: 14 sources per neuron",
    ]  # fmt: skip
    # 6 * 8, 3 * 6 + 3 * 8, and 3 * 3 of the readout.
    shared = Cores(1, None, (200,), None, True, "none")
    assert map_layers(own, replace(wide, cores=shared)).cores[0].memory_bytes == 48 + 42 + 9
    # One core each, sizes rounded up: 3 neurons take 4; 6 sources and a map of 8 positions.
    apart = Cores(3, None, (200,) * 3, None, False, "power_of_two")
    used = {core.layers: core.memory_bytes for core in map_layers(own, replace(wide, cores=apart)).cores}
    assert used["1",] == 4 * (6 + 8)
    assert [stage.further for stage in stages(own)] == [(), (((1, 2, 4), 3),), ()]


def test_a_text_with_further_inputs_reads_back():
    graph = network(kind=Recurrent).graph
    text, tensors = print_graph(graph)
    assert '"further": [{"node": "input = dense {' in text
    assert parse_graph(text, tensors) == graph
    with pytest.raises(InputError, match=r"line 5: not a node \(unknown kind 'thing'"):
        parse_graph(text.replace("input = dense {", "input = thing {"), tensors)


@pytest.mark.parametrize(
    ("further", "fault"),
    [
        (Dense("later", np.ones((3, 8)), np.zeros(3)), "further input 'later': no input or spiking neurons of that name before it"),
        (Dense("1.lif", np.ones((3, 3)), np.zeros(3)), "further input '1.lif': no input or spiking neurons of that name before it"),
        (Dense("0", np.ones((3, 6)), np.zeros(3)), "further input '0': no input or spiking neurons of that name before it"),
        (Conv2d("input", np.ones((3, 1, 2, 4)), np.zeros(3)), "a further input must be a dense without others"),
        (Dense("input", np.ones((2, 8)), np.zeros(2)), "further input 'input' gives (2, 1, 1), not (3, 1, 1)"),
        (Dense("input", np.ones((3, 8)), np.ones(3)), "further input input has a bias"),
    ],
)  # fmt: skip
def test_graphs_with_other_further_inputs_are_refused(further, fault):
    nodes = list(network().graph.nodes)
    nodes[3] = replace(nodes[3], further=(further,))
    with pytest.raises(InputError) as error:
        check_graph(Graph("skip", tuple(nodes)))
    assert str(error.value) == f"graph: dense 1: {fault}."
