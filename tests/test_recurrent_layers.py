"""Layers that hear their own spikes of the step before: by hand, in files, in every engine, and from the graph to the program."""

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
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Counts, Dense, Input, Integrator, Lif, Membranes, Recurrent
from sastdeploy.compiler.mapping import map_layers
from sastdeploy.compiler.profiles import Cores
from sastdeploy.exchange.vectors.values import signals
from sastdeploy.program.check import check_program
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.records import DenseLif, RecurrentLif, SumPool, SynapticCurrent
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine, reference
from sastdeploy.simulator.neurobench import neurobench, synops_by_definition
from sastdeploy.simulator.result import differences
from tests.neuron_checks import (
    assert_every_engine_agrees,
    assert_graph_and_program_agree,
    assert_program_refused,
)
from tests.neuron_checks import profile as currents_profile

# Neuron 0 hears neuron 1 with 2; neuron 1 hears neuron 0 with -1 and itself with 1.
OWN = np.array([[0, 2], [-1, 1]], np.int8)
# Counts 1, 4, 0, 2, 5 (5 clips to 4), with weights 1 and 2; I = (3 acc + 1) >> 1, bias -1, threshold 5, leak u * 5 >> 3.
COUNTS = (1, 4, 0, 2, 5)

CASES = {
    # step 2: both fired, so acc = 0 + 2, 0 - 1 + 1; I = 3, 0; u = 3 + 3-1-5, 7 + 0-1-5
    # step 4: neuron 1 fired: acc = 4 + 2, 8 + 1; I = 9, 14; u = 1 + 9-1, 3 + 14-1-5
    "resets a step later": (
        {}, ((1, 2), (4, 8), (2, 0), (2, 4), (6, 9)), ((1, 2), (5, 12), (0, 1), (2, 5), (9, 11)),
        ((0, 0), (1, 1), (0, 0), (0, 1), (1, 1)),
    ),
    # The spike comes back although the membrane is 0 at once. step 2: I = 3, 0; u = 3-1, 0-1
    # step 3: acc = 2, 4; I = 3, 6; u = (10 >> 3) + 3-1, (-5 >> 3) + 6-1; step 4: nobody fired: u = 1 + 6-1, 2 + 12-1, both reset
    "resets at once": (
        {"reset": "zero", "reset_delay": 0}, ((1, 2), (4, 8), (2, 0), (2, 4), (4, 8)),
        ((1, 2), (0, 0), (2, -1), (3, 4), (0, 0)), ((0, 0), (1, 1), (0, 0), (0, 0), (1, 1)),
    ),
    # i = i >> 1 + I - 1: 1, 2 | 0+5, 1+11 | 2+2, 6-1 | 2+2, 2+5 | acc 4, 8 + own
    # u: 1, 2 | 0+5, 1+12 | 3+4-5, 8+5-5 | acc = 2+2 (neuron 1 fired), 4+1: I = 6, 8; i = 2+5, 2+7; u = 1+7, 5+9-5
    # step 4: both fired: acc = 4+2, 8+0: I = 9, 12; i = 3+8, 4+11; u = 5+11-5, 5+15-5
    "behind a synaptic current": (
        {"current": SynapticCurrent(1, 1, Rounding.FLOOR)}, ((1, 2), (4, 8), (2, 0), (4, 5), (6, 8)),
        ((1, 2), (5, 13), (2, 8), (8, 9), (11, 15)), ((0, 0), (1, 1), (0, 1), (1, 1), (1, 1)),
    ),
}  # fmt: skip


def two_neurons(own=OWN, **changes):
    """Return two recurrent neurons with weights 1 and 2, on five bins of one input."""
    layer = RecurrentLif("rec", np.array([[1], [2]], np.int8), 4, tiny_lif(2, **changes), own)
    return tiny_program([layer], tiny_readout(2))


@pytest.mark.parametrize("case", CASES)
def test_two_neurons_by_hand(case):
    changes, sums, membranes, spikes = CASES[case]
    program = two_neurons(**changes)
    result = reference.run(program, counts(*COUNTS), trace=("rec",))
    assert result.traces["rec"].membranes[0].tolist() == list(map(list, membranes))
    assert result.traces["rec"].spikes[0].tolist() == list(map(list, spikes))
    recorded = {signal.kind: signal for signal in signals(program, counts(*COUNTS)) if signal.layer == "rec"}
    assert recorded["sums"].values[0].tolist() == list(map(list, sums))
    for name in ("numba", "onnxruntime"):
        assert differences(result, engine.run(program, counts(*COUNTS), engine=name, trace=("rec",))) == []


def test_spikes_cost_their_fan_out_in_their_own_layer_too():
    result = reference.run(two_neurons(), counts(*COUNTS))
    # Four bins with counts, 11 events, to two neurons; then spikes 2 and 3, each to two classes and to both neurons.
    assert result.synops.tolist() == [[4 * 2, 5 * (2 + 2)]]
    assert result.synops_events.tolist() == [[11 * 2, 5 * (2 + 2)]]
    # Neuron 0 sends one weight of 0.
    assert result.synops_nonzero.tolist() == [[4 * 2, 2 * (2 + 1) + 3 * (2 + 2)]]
    every, events, nonzero = largest_synops(two_neurons()).tolist()
    assert (every, events, nonzero) == ([5 * 2, 5 * 2 * 4], [5 * 4 * 2, 5 * 2 * 4], [5 * 2, 5 * (3 + 4)])
    # Weights of 4 bits: 2 and 4 of them, and 4 of the readout; two neurons of Q5.0 with a spike bit.
    assert footprint_bytes(two_neurons())["weights"] == 3 + 2
    assert footprint_bytes(two_neurons())["state"] == 2 + 1


def several_layers():
    """A recurrent layer of more neurons than one vector holds, a pool behind it, and one behind a synaptic current."""
    rng = np.random.default_rng(2)

    def weights(*shape, most=7):
        return rng.integers(-most, most + 1, shape).astype(np.int8)

    wide = {
        "membrane": QFormat(8, 8),
        "multiplier": np.full(70, 9, np.int32),
        "threshold": np.full(70, 300, np.int32),
    }
    last = {
        "shift": np.full(6, 4, np.int32), "reset": "zero", "reset_delay": 0, "overflow": Overflow.WRAP,
        "current": SynapticCurrent(5, 3, Rounding.TOWARD_ZERO),
    }  # fmt: skip
    layers = [
        RecurrentLif("first", weights(70, 30), 4, tiny_lif(70, **wide), weights(70, 70)),
        SumPool("pool", 1),
        RecurrentLif("second", weights(6, 70, most=3), 3, tiny_lif(6, **last), weights(6, 6, most=3)),
    ]
    return tiny_program(layers, tiny_readout(6), (1, 5, 6), time_bins=6)


def test_every_engine_gives_the_same_integers(tmp_path):
    program = several_layers()
    _, again = assert_every_engine_agrees(program, tmp_path, version=4, spikes=1000)
    assert np.array_equal(again.layers[0].recurrent, program.layers[0].recurrent)
    assert again.layers[2].recurrent.dtype == np.int8


def test_neurobench_counts_what_comes_back_where_a_pool_follows():
    program = several_layers()
    shown = Frames.from_dense(np.random.default_rng(0).integers(0, 4, (3, 6, 1, 5, 6)))
    result = reference.run(program, shown)
    into_pool = int(result.neuron_spikes[0].sum())
    assert into_pool > 100
    figures = synops_by_definition(program, result)
    assert figures["neurobench"] * 3 == pytest.approx(result.synops_nonzero.sum() - into_pool)
    assert figures["sinabs"] * 3 == pytest.approx(result.synops_events.sum() - into_pool)
    bench = neurobench(program, result)
    operations = bench["synaptic_operations"]
    assert (operations["effective_acs"] + operations["effective_macs"]) * 3 == pytest.approx(
        result.synops_nonzero.sum() - into_pool
    )
    assert operations["dense"] == largest_synops(program)[0].sum() - 6 * 70
    weights = sum(array.size for layer in program.layers if layer.lif for array in layer.weight_arrays) + 12
    biases = 70 + 6 + 2
    assert bench["footprint_float32_bytes"] == 4 * (weights + biases)


def changed(**changes):
    layer = two_neurons().layers[0]
    return replace(two_neurons(), layers=(replace(layer, **changes),))


@pytest.mark.parametrize(
    ("recurrent", "fault"),
    [
        (OWN[:1], "recurrent has shape 1 x 2. Allowed: 2 x 2, from each of its neurons to each."),
        (np.zeros((3, 3), np.int8), "recurrent has shape 3 x 3. Allowed: 2 x 2, from each of its neurons to each."),
        (OWN[0], "recurrent is int8 of shape [2]. Allowed: an int8 array of 2 dimensions."),
        (OWN.astype(np.int32), "recurrent is int32 of shape [2, 2]. Allowed: an int8 array of 2 dimensions."),
        (None, "recurrent is a NoneType. Allowed: an int8 array of 2 dimensions."),
        (np.array([[0, 2], [8, 1]], np.int8), "recurrent[1, 0] is 8. Allowed: -7 to 7 in 4 bits."),
    ],
)  # fmt: skip
def test_recurrent_weights_out_of_range_are_refused(recurrent, fault):
    assert_program_refused(changed(recurrent=recurrent), f"layer 'rec': {fault}")


def test_the_largest_sum_has_its_own_spikes_in_it():
    """A sum of inputs alone fits the membrane's update; with the neuron's own spike it does not."""
    end = {
        "multiplier": np.full(2, 32767, np.int32),
        "shift": np.zeros(2, np.int32),
        "membrane": QFormat(24, 0),
    }
    weight = np.full((2, 128), 127, np.int8)
    layer = RecurrentLif(
        "rec",
        weight,
        8,
        tiny_lif(2, **end, threshold=np.full(2, 8388607, np.int32)),
        np.zeros((2, 2), np.int8),
    )

    def program(recurrent):
        return tiny_program([replace(layer, recurrent=recurrent)], tiny_readout(2), (1, 8, 16), c_clip=4)

    check_program(program(layer.recurrent))
    with pytest.raises(InputError, match=r"layer 'rec': the membrane update of output 1 can reach 2\d{9}\."):
        check_program(program(np.array([[0, 0], [127, 127]], np.int8)))


def test_a_file_without_its_recurrent_weights_is_refused(tmp_path):
    import onnx

    save_program(tmp_path / "p.onnx", two_neurons())
    model = onnx.load(tmp_path / "p.onnx")
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "rec/recurrent"]
    assert len(kept) == len(model.graph.initializer) - 1
    wrong = next(tensor for tensor in model.graph.initializer if tensor.name == "rec/recurrent")
    assert list(wrong.dims) == [2, 2] and wrong.data_type == onnx.TensorProto.INT4
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    (tmp_path / "without.onnx").write_bytes(model.SerializeToString())
    again = "Compile the checkpoint again with 'sastdeploy compile'."
    with pytest.raises(InputError) as error:
        load_program(tmp_path / "without.onnx")
    assert str(error.value) == f"{tmp_path / 'without.onnx'}: the array 'rec/recurrent' is missing. {again}"
    wrong.dims[:] = [4, 1]
    model.graph.initializer.extend([wrong])
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError) as error:
        load_program(tmp_path / "other.onnx")
    words = "the array 'rec/recurrent' has shape [4, 1]; the manifest says [2, 2]."
    assert str(error.value) == f"{tmp_path / 'other.onnx'}: {words} {again}"


def test_c_names_its_state_and_verilog_refuses_it_by_name(tmp_path):
    export_c(two_neurons(), tmp_path / "c", name="net")
    header = (tmp_path / "c" / "net.h").read_text()
    assert "uint8_t spiked0[2];" in header and "those of a recurrent layer's spikes in itself" in header
    with pytest.raises(InputError) as error:
        export_verilog(two_neurons(), tmp_path / "v")
    assert str(error.value) == (
        "layer rec: a recurrent layer is nothing the Verilog core holds. Allowed: dense, conv, sum_pool. Export it with --to c."
    )


def network(divisor=1.0, steps=5, current_alpha=None):
    rng = np.random.default_rng(4)
    nodes = [Input("input", (1, 2, 4), steps, 3, divisor)]
    for number, (neurons, inputs) in enumerate(((6, 8), (3, 6))):
        weight, own = (
            rng.integers(-60, 120, (neurons, inputs)) / 64,
            rng.integers(-100, 60, (neurons, neurons)) / 64,
        )
        ones = np.ones(neurons)
        nodes.append(Recurrent(f"{number}", weight, 0.25 * ones, recurrent=own))
        nodes.append(Lif(f"{number}.lif", 0.5, ones, current_alpha=current_alpha if number else None))
    graph = Graph("own", (*nodes, Counts("readout", np.eye(3), np.zeros(3))))
    return ImportedNetwork(
        graph, Preprocessing((4, 2, 1), (4, 2), steps, 3, max(divisor, 3.0)), ("a", "b", "c")
    )


def profile(**changes):
    return currents_profile(**{"recurrent": True, **changes})


@pytest.mark.parametrize("current_alpha", [None, 0.5])
def test_a_graph_means_what_its_program_computes(current_alpha):
    """Halves of 64ths: every product is exact, so float and integers are equal."""
    own = network(current_alpha=current_alpha)
    program = compile(own, profile()).program
    assert_graph_and_program_agree(own, program)


def test_the_graph_by_hand():
    """The first case above, in real values without rounding: I = 1.5 acc - 1, leak 0.5."""
    weight, ones = np.array([[1.0], [2.0]]), np.ones(2)
    own = Recurrent("rec", 1.5 * weight, -ones, recurrent=1.5 * OWN)
    nodes = (Input("input", (1, 1, 1), 3, 4, 1.0), own, Lif("rec.lif", 0.5, 5 * ones))
    graph = Graph("by hand", (*nodes, Counts("readout", np.eye(2), np.zeros(2))))
    found = interpret(graph, np.array([1, 4, 0]).reshape(1, 3, 1, 1, 1))
    # 1.5-1, 3-1 | 0.25+5, 1+11 | 2.625 + 1.5*2-1 - 5, 6 + 1.5*0-1 - 5
    assert found.membranes[0].reshape(3, 2).tolist() == [[0.5, 2.0], [5.25, 12.0], [-0.375, 0.0]]
    assert found.spikes[0].reshape(3, 2).tolist() == [[0, 0], [1, 1], [0, 0]]


def test_a_divisor_of_the_frames_acts_on_the_inputs_alone():
    """One scale holds both: with a divisor of 4, codes of the recurrent weights are four times as large."""
    own = network(divisor=4.0)
    compilation = compile(own, profile(weight_bits=8))
    first = compilation.program.layers[0]
    unit = first.lif.multiplier[0] / 2.0 ** first.lif.shift[0] / 2**16
    node = own.graph.nodes[1]
    assert np.abs(first.recurrent * unit - node.recurrent).max() <= unit / 2
    assert np.abs(first.weight * unit - node.weight / 4).max() <= unit / 2
    assert max(np.abs(first.recurrent).max(), np.abs(first.weight).max()) > 63
    assert compilation.report.layers[0].weights == 6 * 8 + 6 * 6
    assert (compilation.report.layers[0].fan_in, compilation.report.layers[1].fan_in) == (8 + 6, 6 + 3)
    assert compilation.report.layers[0].weight_bytes == 84
    assert compilation.report.layers[0].signal_to_noise_db < 60


def test_hardware_without_recurrent_layers_is_refused():
    with pytest.raises(CompileError) as error:
        compile(network(), "loihi_int8")
    assert error.value.reasons[0] == (
        "0: recurrent; loihi_int8 states no recurrent layers (neuron.recurrent). cortex_m, loihi1, loihi2, spinnaker2, "
        "xylo_a2, xylo_a3 and xylo_imu do; or state it in a profile of your own."
    )
    with pytest.raises(CompileError, match="1: recurrent; speck states no recurrent layers"):
        compile(network(), "speck", neuron="profile")
    for name in ("loihi1", "loihi2", "xylo_a2", "xylo_a3", "xylo_imu", "spinnaker2", "cortex_m"):
        assert load_profile(name).recurrent, name
    assert compile(network(), "cortex_m").program.layers[0].kind == "recurrent"


def test_limits_and_cores_count_what_comes_back():
    limits = {"neurons": None, "fan_in": 13, "fan_out": 8, "memory_bytes": 100}
    with pytest.raises(CompileError) as error:
        compile(network(), profile(limits=limits))
    for words in (
        "0: 14 sources per neuron; loihi_int8 allows 13 (limits.fan_in).",
        "0, into 1 and 0: 9 targets per source; loihi_int8 allows 8 (limits.fan_out).",
        # 8 * 6 + 6 * 6, 6 * 3 + 3 * 3, and 3 * 3 of the readout.
        "own: 120 bytes of packed weights in all; loihi_int8 allows 100 (limits.memory_bytes).",
    ):
        assert any(reason.startswith(words) for reason in error.value.reasons), error.value.reasons
    cores = Cores(2, None, (200, 200), None, True, "none")
    assert map_layers(network().graph, profile(cores=cores)).cores[0].memory_bytes == 120
    needed = compile(network(), profile()).report.layers[0].accumulator_bits
    with pytest.raises(CompileError, match=rf"0, neuron \d: its sum can reach .* needs {needed} bits"):
        compile(network(), profile(accumulator_bits=needed - 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recurrent": np.zeros((2, 6))}, "recurrent (2, 6) for 6 neurons, each to each"),
        ({"recurrent": np.full((6, 6), np.nan)}, "a recurrent weight is not finite"),
        ({"recurrent_q": np.zeros((6, 6), np.int8)}, "weight_q and recurrent_q go together"),
    ],
)
def test_a_graph_with_wrong_recurrent_weights_is_refused(change, words):
    own = network()
    first = replace(own.graph.nodes[1], **change)
    with pytest.raises(InputError) as error:
        replace(own, graph=own.graph.replace((own.graph.nodes[0], first, *own.graph.nodes[2:])))
    assert str(error.value) == f"graph: recurrent 0: {words}."


def test_neurons_without_spikes_hear_nothing():
    nodes = list(network().graph.nodes)
    nodes[-2:] = [
        Integrator("1.li", 0.5, np.ones(3)),
        Membranes("readout", np.eye(3), np.zeros(3)),
    ]
    with pytest.raises(InputError) as error:
        replace(network(), graph=Graph("own", tuple(nodes)))
    assert str(error.value) == "graph: integrator 1.li: may not follow recurrent 1."


def test_without_recurrent_weights_it_is_a_dense_layer():
    nodes = list(network().graph.nodes)
    for place in (1, 3):
        node = nodes[place]
        nodes[place] = Dense(node.name, node.weight, node.bias)
    plain = replace(network(), graph=Graph("own", tuple(nodes)))
    shown = np.random.default_rng(0).integers(0, 4, (6, 5, 1, 2, 4))
    silent = network().graph.map({Recurrent: lambda node: replace(node, recurrent=0 * node.recurrent)})
    assert np.array_equal(interpret(silent, shown).scores, interpret(plain.graph, shown).scores)
    assert not np.array_equal(interpret(network().graph, shown).scores, interpret(plain.graph, shown).scores)
    assert [type(layer) for layer in compile(plain, profile()).program.layers] == [DenseLif, DenseLif]
