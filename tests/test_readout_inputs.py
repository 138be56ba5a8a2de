"""Outputs that sum several layers: the readout's further inputs, in programs, graphs and NIR files."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import lif, write
from test_export_nir import counts_for, exact, read_back
from test_import_skips import affine, conv, drawn, ends, plain
from tiny_programs import counts, tiny_lif, tiny_program, tiny_readout

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
    from_nir,
    load_network,
    load_profile,
    save_network,
    verify,
)
from sastdeploy.compiler.ir.graph import Graph, check_graph
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Counts, Dense, Input, Integrator, Lif, Membranes, Readout
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.program.check import check_program
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.records import ConvLif, DenseLif, FurtherConv, FurtherDense, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine, reference
from tests.neuron_checks import (
    assert_edited_manifest_refused,
    assert_every_engine_agrees,
    assert_program_refused,
    profile,
)

ONES = np.array([[1], [-2]], np.int8)
FURTHER = (FurtherDense(1, ONES), FurtherDense(0, np.array([[0], [3]], np.int8)))


def two_layers(further=FURTHER, **changes):
    """Return a neuron and behind it another; the readout hears both, and the input."""
    first = DenseLif("a", np.array([[2]], np.int8), 4, tiny_lif())
    second = DenseLif("b", np.array([[4]], np.int8), 4, tiny_lif())
    return tiny_program([first, second], tiny_readout(further=further, **changes))


def test_scores_by_hand():
    """``y = (5 (w_b b + w_a a + w_x x) + 2) >> 2``, plus a bias of 1 a step for the first class."""
    program, shown = two_layers(), counts(4, 1, 4, 0, 2)
    result = reference.run(program, shown, trace=("a", "b"))
    a, b = (int(result.traces[name].spikes.sum()) for name in "ab")
    assert a > b > 0
    sums = np.array([2 * b + a, -3 * b - 2 * a + 3 * 11])
    assert result.scores.tolist() == [((5 * sums + 2 >> 2) + 5 * np.array([1, 0])).tolist()]
    # The input and a go to one neuron and both classes, b to both classes.
    assert result.synops.tolist() == [[4 * (1 + 2), a * (1 + 2), b * 2]]
    assert result.synops_events.tolist() == [[11 * (1 + 2), a * (1 + 2), b * 2]]
    assert result.synops_nonzero.tolist() == [[4 * (1 + 1), a * (1 + 2), b * 2]]
    every, events, nonzero = largest_synops(program).tolist()
    assert (every, events, nonzero) == ([5 * 3, 5 * 3, 10], [5 * 3 * 4, 5 * 3, 10], [5 * 2, 5 * 3, 10])
    without = footprint_bytes(two_layers(()))
    # Two weights of 4 bits each; counters up to 5 spikes, and up to 5 times a count of 4.
    assert footprint_bytes(program) == {
        "weights": without["weights"] + 2, "parameters": without["parameters"], "state": without["state"] + 1 + 1,
        "total": without["total"] + 4,
    }  # fmt: skip


def maps():
    """Maps that the readout pools, one before them in full, a fully connected layer beside them, and the input."""
    rng = np.random.default_rng(5)

    def weights(*shape):
        return rng.integers(-7, 8, shape).astype(np.int8)

    def neurons(channels):
        return tiny_lif(
            channels, membrane=QFormat(8, 8), multiplier=np.full(channels, 9, np.int32), threshold=np.full(channels, 60, np.int32),
        )  # fmt: skip

    layers = [
        ConvLif("c0", weights(3, 2, 3, 3), 4, (1, 1), (1, 1), neurons(3)),
        DenseLif("d", weights(5, 108), 4, replace(neurons(5), max_spikes=3)),
        ConvLif("c1", weights(4, 3, 3, 3), 4, (2, 2), (1, 1), neurons(4), source=1),
    ]
    further = (
        FurtherDense(1, weights(6, 108)),
        FurtherDense(2, weights(6, 5)),
        FurtherDense(0, weights(6, 72)),
    )
    readout = tiny_readout(inputs=4, classes=6, weight=weights(6, 4), global_sum_pool=True, further=further)
    return tiny_program(layers, readout, (2, 6, 6), classes=6, time_bins=4)


def test_every_engine_gives_the_same_integers(tmp_path):
    _, again = assert_every_engine_agrees(maps(), tmp_path, version=7, spikes=500)
    assert [each.source for each in again.readout.further] == [1, 2, 0]
    assert again.readout.further[0].weight.dtype == np.int8


def test_a_large_sum_is_exact_where_no_float_holds_it():
    """Counts of 1000 steps with weights of 127, in 32 bits to the last one."""
    first = DenseLif("a", np.array([[2]], np.int8), 4, tiny_lif(threshold=np.ones(1, np.int32)))
    weight = np.array([[127], [-127]], np.int8)
    further = (FurtherDense(0, weight), FurtherDense(1, weight))
    readout = tiny_readout(
        weight=weight,
        weight_bits=8,
        further=further,
        multiplier=np.full(2, 32767, np.int32),
        shift=np.full(2, 9, np.int32),
    )
    program = tiny_program([first], readout, time_bins=1000)
    shown = counts(*[4] * 1000)
    result = reference.run(program, shown)
    fired = int(result.events[0, 1])
    assert result.scores[0, 0] == ((127 * (2 * fired + 4000) * 32767 + 256) >> 9) + 1000
    for name in ("numba", "onnxruntime"):
        assert np.array_equal(engine.run(program, shown, engine=name).scores, result.scores)


@pytest.mark.parametrize(
    ("further", "fault"),
    [
        ([FurtherDense(0, ONES)], ": further is a list. Allowed: a tuple."),
        ((FurtherConv(0, ONES),), ", further input 0: a FurtherConv of a readout layer. Allowed: a FurtherDense."),
        ((FurtherDense(3, ONES),),
         ", further input 0: source is 3. Allowed: 0, 1, 2 (0 for the input, l + 1 for an earlier layer l with neurons)."),
        ((FurtherDense(1, ONES[:1]),), ", further input 0: gives sums of 1 x 1 x 1. Allowed: 2 x 1 x 1, as the layer's own input gives."),
        ((FurtherDense(0, 9 * ONES),), ", further input 0: weight[0, 0] is 9. Allowed: -7 to 7 in 4 bits."),
    ],
)  # fmt: skip
def test_further_inputs_that_do_not_fit_are_refused(further, fault):
    assert_program_refused(two_layers(further), f"readout 'readout'{fault}")


def test_membranes_are_read_alone():
    silent = tiny_lif(2, threshold=np.full(2, 15, np.int32), spike_test=">", reset="none")
    first = DenseLif("a", np.ones((2, 1), np.int8), 4, silent)
    plainly = tiny_readout(
        2, weight=np.eye(2, dtype=np.int8), multiplier=np.ones(2, np.int32), shift=np.zeros(2, np.int32), bias=np.zeros(2, np.int32),
        reads="last", further=(FurtherDense(0, ONES),),
    )  # fmt: skip
    assert_program_refused(
        tiny_program([first], plainly),
        "readout 'readout': reads 'last' through a weight, gain, bias, pool or further input. Allowed: the identity, multiplier 1, shift 0, "
        "bias 0, no pool and no further input, as membranes are scores themselves.",
    )


def test_the_largest_score_has_further_inputs_in_it():
    """Five spikes fit; five counts up to 4 beside them do not."""
    weight = np.array([[127], [127]], np.int8)
    changes = {
        "weight": weight,
        "weight_bits": 8,
        "multiplier": np.full(2, 32767, np.int32),
        "shift": np.zeros(2, np.int32),
    }
    engine.run(two_layers(further=(), **changes), counts(1, 1, 1, 1, 1), engine="reference")
    many = tuple(FurtherDense(0, weight) for _ in range(26))
    check_program(two_layers(further=many[:25], **changes))
    with pytest.raises(
        InputError,
        match=r"readout 'readout': the score of output 0 can reach 21[0-9]{8}\. Allowed: below 2\^31",
    ):
        check_program(two_layers(further=many, **changes))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"further":[{"source":1', '"further":[{"source":2'), ('"further":[{', '"further":[[],{'),
        (',"weight_shape":[2,1]},{"source":0', '},{"source":0'),
    ],
)  # fmt: skip
def test_manifests_that_say_other_further_inputs_are_refused(tmp_path, old, new):
    assert_edited_manifest_refused(two_layers(), tmp_path, old, new)


def test_exports_say_what_the_readout_sums_or_refuse_by_name(tmp_path):
    program = two_layers()
    export_c(program, tmp_path / "c", name="net")
    header = (tmp_path / "c" / "net.h").read_text()
    assert "those of further inputs with the part behind their source" in header
    frames = counts(1, 2, 3, 4, 0)
    export_vectors(program, tmp_path / "vectors", frames)
    assert "with weights of 4 bits; of a, input too." in (tmp_path / "vectors" / "README.md").read_text()
    with pytest.raises(InputError) as error:
        export_verilog(program, tmp_path / "v")
    assert str(error.value) == (
        "readout: has further inputs, from layers before the last one; the core's readout has one. Export it with --to c."
    )


def network(kind=Readout):
    """Return two layers whose spikes, with the input, are weighted into scores; or whose spikes are counted together."""
    rng = np.random.default_rng(4)
    first, second, *others = (
        rng.integers(-60, 120, shape) / 64 for shape in ((3, 8), (3, 3), (4, 3), (4, 3), (4, 8))
    )
    if kind is Counts:
        one, none = np.eye(3), np.zeros(3)
        last = Counts("readout", one, none, further=(Dense("0.lif", one, none),))
    else:
        own, more, skip = others
        none = np.zeros(4)
        last = Readout(
            "readout", own, np.full(4, 0.25), further=(Dense("0.lif", more, none), Dense("input", skip, none))
        )
    nodes = (
        Input("input", (1, 2, 4), 5, 3, 3.0), Dense("0", first, np.full(3, 0.25)), Lif("0.lif", 0.5, np.ones(3)),
        Dense("1", second, np.full(3, 0.5)), Lif("1.lif", 0.5, np.ones(3)), last,
    )  # fmt: skip
    classes = tuple(map(str, range(len(last.weight))))
    return ImportedNetwork(Graph("sums", nodes), Preprocessing((4, 2, 1), (4, 2), 5, 3, 3.0), classes)


@pytest.mark.parametrize("kind", [Readout, Counts])
def test_a_graph_means_what_its_program_computes(kind):
    own = network(kind)
    program = compile(own, profile(weight_bits=8)).program
    shown = np.random.default_rng(0).integers(0, 4, (40, 5, 1, 2, 4)).astype(np.uint8)
    read = interpret(own.graph, shown)
    mean = [spikes.reshape(40, 5, -1).mean(1) for spikes in read.spikes]
    last = own.graph.nodes[-1]
    wanted = mean[1] @ last.weight.T + mean[0] @ last.further[0].weight.T + last.bias
    if kind is Readout:
        wanted = wanted + (shown / 3).reshape(40, 5, -1).mean(1) @ last.further[1].weight.T
    assert np.allclose(read.scores, wanted)
    result = engine.run(program, Frames.from_dense(shown), engine="reference", trace=("0", "1"))
    equal = [
        np.array_equal(spikes.reshape(result.traces[name].spikes.shape), result.traces[name].spikes)
        for name, spikes in zip("01", read.spikes)
    ]
    scores = result.scores / (5 * 2.0**program.readout.fraction_bits)
    if kind is Counts:
        assert np.array_equal(
            result.scores, result.traces["0"].spikes.sum(1) + result.traces["1"].spikes.sum(1)
        )
    elif all(equal):
        assert np.allclose(scores, read.scores, atol=0.05)
    assert verify(program, random=4).equal


def test_a_text_with_a_readouts_further_inputs_reads_back():
    text, tensors = print_graph(network().graph)
    assert parse_graph(text, tensors) == network().graph


def test_spikes_are_counted_once_each_and_membranes_have_no_further_inputs():
    *nodes, last = network(Counts).graph.nodes
    twice = (replace(last.further[0], weight=2 * np.eye(3)),)
    with pytest.raises(InputError, match="counts readout: must be the identity, without bias, gain and pool"):
        check_graph(Graph("sums", (*nodes, replace(last, further=twice))))
    read = Membranes("readout", np.eye(3), np.zeros(3), further=last.further)
    with pytest.raises(
        InputError, match="takes no further inputs; dense, recurrent, conv2d, readout and counts nodes do"
    ):
        check_graph(Graph("sums", (*nodes[:4], Integrator("1.li", 0.5, np.ones(3)), read)))


FLAT = {"type": "Flatten", "start_dim": 0}


def counted():
    """Two layers of neurons, one behind the other, whose spikes add up at the output."""
    eighths = drawn(4)
    nodes = {
        **ends(5, outputs=4),
        "v": affine(eighths(4, 5), eighths(4)),
        "m": lif(),
        "w": affine(eighths(4, 4), eighths(4)),
        "n": lif(),
    }
    return nodes, [*pairwise("avmwnb"), ("m", "b")], (5,)


def weighted():
    """Maps, a fully connected layer beside them and the input, each through weights with a bias."""
    eighths = drawn(6)
    nodes = {
        **ends(2, 4, 4, outputs=3), "c": conv(eighths(3, 2, 3, 3)), "m": lif(), "flat": FLAT, "x": affine(eighths(3, 48), eighths(3)),
        "p": {"type": "SumPool2d", "kernel_size": 4, "stride": 4, "padding": 0}, "flat2": FLAT, "y": affine(eighths(3, 3), eighths(3)),
        "d": conv(eighths(3, 3, 3, 3)), "n": lif(), "flat3": FLAT, "z": affine(eighths(3, 32), eighths(3)),
    }  # fmt: skip
    ways = [
        ("a", "c", "m", "d", "n", "p", "flat2", "y", "b"),
        ("m", "flat", "x", "b"),
        ("a", "flat3", "z", "b"),
    ]
    return nodes, [edge for way in ways for edge in pairwise(way)], (2, 4, 4)


def summed():
    """A residual sum of maps, pooled and weighted once: the weights are read from both."""
    eighths = drawn(7)
    nodes = {
        **ends(2, 4, 4, outputs=3), "c": conv(eighths(3, 2, 3, 3)), "m": lif(), "d": conv(eighths(3, 3, 3, 3)), "n": lif(),
        "p": {"type": "AvgPool2d", "kernel_size": 4, "stride": 4, "padding": 0}, "flat": FLAT, "y": affine(eighths(3, 3), eighths(3)),
    }  # fmt: skip
    return nodes, [*pairwise("acmdnp"), ("m", "p"), ("p", "flat"), ("flat", "y"), ("y", "b")], (2, 4, 4)


@pytest.mark.parametrize("made", [counted, weighted, summed])
def test_an_output_that_sums_layers_gives_the_mean_of_its_steps(tmp_path, made):
    nodes, edges, shape = made()
    path = write(tmp_path / "x.nir", nodes, edges)
    network = from_nir(path, dialect="nir", framing=Framing(time_bins=6, clip=3))
    shown = np.random.default_rng(1).integers(0, 4, (5, 6, *shape))
    read = interpret(network.graph, shown.reshape(5, 6, *network.graph.input.shape))
    for n, recording in enumerate(shown):
        wanted = plain(nodes, edges, recording.astype(np.float64))
        assert wanted["m"].any() and wanted["n"].any()
        assert np.allclose(read.scores[n], wanted["b"].mean(0), atol=1e-12)
    assert isinstance(network.graph.nodes[-1], Counts) == (made is counted)
    program = compile(network, load_profile("cortex_m"), neuron="profile").program
    assert verify(program, random=4).equal
    save_network(tmp_path / "n.pt", network)
    assert load_network(tmp_path / "n.pt").graph == network.graph


def test_a_program_whose_output_sums_layers_reads_back(tmp_path):
    rng = np.random.default_rng(8)

    def weights(*shape):
        return rng.integers(-4, 6, shape).astype(np.int8)

    layers = [
        ConvLif("c", weights(3, 2, 3, 3), 4, (1, 1), (1, 1), exact(3)),
        SumPool("pool", (2, 1)),
        DenseLif("d", weights(5, 45), 4, exact(5)),
    ]
    further = (FurtherDense(1, weights(3, 90)), FurtherDense(0, weights(3, 60)))
    readout = tiny_readout(inputs=5, classes=3, weight=weights(3, 5), further=further)
    program = tiny_program(layers, readout, (2, 6, 5), classes=3)
    shown = counts_for(program)
    exported = export_nir(program, tmp_path / "p.nir", shown)
    assert exported.differing == 0 and exported.spikes > 50
    network = read_back(program, exported.path)
    assert [each.name for each in network.graph.nodes[-1].further] == ["input", "c.lif"]
    result = engine.run(program, Frames.from_dense(shown), engine="reference")
    mean = interpret(network.graph, shown).scores * program.preprocessing.time_bins
    assert np.abs(result.scores - mean).max() < 1  # (5 sum + 2) >> 2 rounds once


@pytest.mark.parametrize(
    ("nodes", "edges", "messages"),
    [
        ({"m": lif(), "n": lif(), "w": affine(np.ones((2, 1)), np.zeros(2))}, [("a", "m"), ("m", "b"), ("a", "w"), ("w", "n"), ("n", "b")],
         ["b: sums a fully connected layer of 2 x 1 x 1 and, from m, a fully connected layer of 1 x 1 x 1; engines add inputs of one "
          "kind and shape."]),
        ({"m": lif(), "n": lif(), "z": {"type": "Delay", "delay": 1e-4}}, [*pairwise("amnb"), *pairwise("mzb")],
         ["z: a delay that neurons do not follow; engines read the spikes of the last neurons as they send them. Leave it out, and let "
          "the recordings end as many steps earlier."]),
        ({"m": lif(), "n": lif(), "z": {"type": "Delay", "delay": 1e-4}}, [*pairwise("amnzb"), ("m", "b")],
         ["z: a delay that neurons do not follow; engines read the spikes of the last neurons as they send them. Leave it out, and let "
          "the recordings end as many steps earlier."]),
        ({"m": lif(), "i": {"type": "LI", "tau": np.ones(1), "r": np.ones(1), "v_leak": np.zeros(1)}}, [*pairwise("amib"), ("m", "b")],
         ["b: follows i.li, which sends no spikes; membranes are read at the end."]),
    ],
)  # fmt: skip
def test_sums_at_the_output_that_no_engine_computes_are_refused_by_name(tmp_path, nodes, edges, messages):
    path = write(tmp_path / "x.nir", {**ends(1, outputs=1), **nodes}, edges)
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir")
    assert error.value.reasons == tuple(f"{path}: {message}" for message in messages)
