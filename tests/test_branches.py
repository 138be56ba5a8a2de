"""Layers side by side, which hear the same layer: by hand, in files, in every engine, in C and vectors."""

from dataclasses import replace

import numpy as np
import pytest
from neuron_checks import assert_edited_manifest_refused, assert_every_engine_agrees, assert_program_refused
from tiny_programs import counts, tiny_lif, tiny_program, tiny_readout

from sastdeploy import (
    InputError,
    export_c,
    export_vectors,
    export_verilog,
    load_program,
    save_program,
)
from sastdeploy.exchange.vectors.values import signals
from sastdeploy.program.check import check_program
from sastdeploy.program.counting import footprint_bytes, largest_synops
from sastdeploy.program.file import meaning_hash
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.records import (
    ConvLif,
    Delay,
    DenseLif,
    FurtherConv,
    FurtherDense,
    RecurrentLif,
    SumPool,
)
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine, reference
from sastdeploy.simulator.metrics import summarise
from sastdeploy.simulator.neurobench import neurobench, synops_by_definition
from sastdeploy.simulator.result import differences

# Counts 1, 4, 0, 2, 5 (5 clips to 4); I = (3 acc + 1) >> 1, bias -1, threshold 5, leak u * 5 >> 3, reset a step later.
COUNTS = (1, 4, 0, 2, 5)
# a: acc = 2 x = 2, 8, 0, 4, 8; I = 3, 12, 0, 6, 12; u = 3-1 | 1+12-1 | 7+0-1-5 | 0+6-1 | 3+12-1-5
A = (2, 12, 1, 5, 9), (0, 1, 0, 1, 1)
# b hears the input too: acc = x; I = 2, 6, 0, 3, 6; u = 2-1 | 0+6-1 | 3+0-1-5 | -2+3-1 | 0+6-1
B = (1, 5, -3, 0, 5), (0, 1, 0, 0, 1)
# c hears both: acc = 3 s(b) + 2 s(a) = 0, 5, 0, 2, 5; I = 0, 8, 0, 3, 8; u = -1 | -1+8-1 | 3+0-1-5 | -2+3-1 | 0+8-1
C_SUMS = (0, 5, 0, 2, 5)
C = (-1, 6, -3, 0, 7), (0, 1, 0, 0, 1)
ONE = np.array([[1]], np.int8)


def side_by_side(**changes):
    """Return two neurons that hear the input with 2 and 1, and one that hears them with 2 and 3."""
    layers = [
        DenseLif("a", 2 * ONE, 4, tiny_lif()), DenseLif("b", ONE, 4, tiny_lif(), source=0),
        DenseLif("c", 3 * ONE, 4, tiny_lif(), further=(FurtherDense(1, 2 * ONE),)),
    ]  # fmt: skip
    program = tiny_program(layers, tiny_readout())
    return replace(program, layers=tuple(changes.get(layer.name, layer) for layer in program.layers))


def test_two_neurons_beside_each_other_by_hand():
    program, shown = side_by_side(), counts(*COUNTS)
    result = reference.run(program, shown, trace=("a", "b", "c"))
    for name, (membranes, spikes) in (("a", A), ("b", B), ("c", C)):
        assert result.traces[name].membranes[0].squeeze().tolist() == list(membranes)
        assert result.traces[name].spikes[0].squeeze().tolist() == list(spikes)
    (sums,) = (signal for signal in signals(program, shown) if (signal.layer, signal.kind) == ("c", "sums"))
    assert sums.values[0].squeeze().tolist() == list(C_SUMS)
    # Four bins with counts, 11 events, to two neurons; three spikes and two to one; two to two classes.
    assert (result.active.tolist(), result.events.tolist()) == ([[4, 3, 2, 2]], [[11, 3, 2, 2]])
    assert result.synops.tolist() == [[4 * 2, 3, 2, 2 * 2]]
    assert result.synops_events.tolist() == [[11 * 2, 3, 2, 2 * 2]]
    for name in ("numba", "onnxruntime"):
        assert differences(result, engine.run(program, shown, engine=name, trace=("a", "b", "c"))) == []


def test_the_second_of_two_alone_is_the_layer_that_it_would_be():
    """A layer that does not hear the one before it computes what it would without that one."""
    first, second, last = side_by_side().layers
    alone = tiny_program([replace(second, source=None), replace(last, further=())], tiny_readout())
    without = replace(last, further=(FurtherDense(1, 0 * ONE),))
    traces = [
        reference.run(program, counts(*COUNTS), trace=("b", "c"))
        for program in (alone, side_by_side(c=without))
    ]
    assert differences(*(replace(t, layers=(), neuron_spikes=(), **_counted()) for t in traces)) == []
    assert first.source is None


def _counted():
    """Return empty counts of operations, which more layers have more of."""
    none = np.zeros(0, np.int64)
    fields = (
        "active",
        "events",
        "synops",
        "synops_events",
        "synops_nonzero",
        "overflow_low",
        "overflow_high",
    )
    return dict.fromkeys(fields, none)


def several_layers():
    """Branches of every kind: from the input and from layers, of convolutions, pools, delays and rows, and skips across them."""
    rng = np.random.default_rng(3)

    def weights(*shape, most=7):
        return rng.integers(-most, most + 1, shape).astype(np.int8)

    def neurons(channels, most, **changes):
        return tiny_lif(
            channels, membrane=QFormat(8, 8), multiplier=np.full(channels, 9, np.int32), threshold=np.full(channels, most, np.int32), **changes
        )  # fmt: skip

    layers = [
        ConvLif("c0", weights(3, 2, 3, 3), 4, (1, 1), (1, 1), neurons(3, 60)),
        ConvLif("c1", weights(4, 2, 3, 3), 4, (1, 1), (1, 1), neurons(4, 60, max_spikes=3), source=0),
        Delay("d1", np.array([0, 2, 1], np.int32), source=1),
        SumPool("p1", 2),
        ConvLif("c2", weights(5, 3, 1, 1), 4, (1, 1), (0, 0), neurons(5, 60)),
        SumPool("p2", 2, source=2),
        ConvLif(
            "c3", weights(4, 4, 1, 1), 4, (1, 1), (0, 0), neurons(4, 60), further=(FurtherConv(1, weights(4, 3, 2, 2), (2, 2)),)
        ),
        RecurrentLif(
            "r", weights(30, 45), 4, neurons(30, 90), weights(30, 30, most=2), source=5,
            further=(FurtherDense(7, weights(30, 36)),),
        ),
        ConvLif("c4", weights(2, 4, 2, 2), 4, (2, 2), (0, 0), neurons(2, 60), source=2),
        Delay("d2", 1, source=0),
        DenseLif("e", weights(7, 72, most=2), 4, neurons(7, 60)),
        DenseLif(
            "d", weights(6, 30), 4, neurons(6, 60), source=8,
            further=(FurtherDense(11, weights(6, 7)), FurtherDense(9, weights(6, 18)), FurtherDense(0, weights(6, 72, most=1))),
        ),
    ]  # fmt: skip
    return tiny_program(layers, tiny_readout(6), (2, 6, 6), time_bins=6)


def test_every_engine_gives_the_same_integers(tmp_path):
    program = several_layers()
    assert program.sources() == (0, 0, 1, 3, 4, 2, 6, 5, 2, 0, 10, 8, 12)
    _, again = assert_every_engine_agrees(program, tmp_path, version=6, spikes=1000)
    assert again.sources() == program.sources() and again.shapes() == program.shapes()
    renamed = replace(program, layers=(replace(program.layers[0], name="x"), *program.layers[1:]))
    assert meaning_hash(renamed) == meaning_hash(program)
    *layers, last = program.layers
    # Both are rows of spikes; what is heard is part of the meaning.
    both = [replace(last, source=source, weight=np.zeros((6, 30), np.int8)) for source in (8, None)]
    assert len({meaning_hash(replace(program, layers=(*layers, each))) for each in both}) == 2


def test_chunks_and_threads_do_not_matter():
    program = several_layers()
    shown = Frames.from_dense(np.random.default_rng(1).integers(0, 4, (7, 6, 2, 6, 6)))
    whole = reference.run(program, shown)
    for chunk, threads in ((1, 1), (3, 2), (7, 1)):
        assert differences(whole, engine.run(program, shown, chunk=chunk, threads=threads)) == []


@pytest.mark.parametrize("kind", ["dense", "recurrent", "conv", "sum_pool", "delay"])
def test_every_kind_is_stored_with_its_source(kind, tmp_path):
    save_program(tmp_path / "p.onnx", several_layers())
    stored = {
        layer.kind: layer.source
        for layer in load_program(tmp_path / "p.onnx").layers
        if layer.source is not None
    }
    assert stored[kind] == {"dense": 8, "recurrent": 5, "conv": 2, "sum_pool": 2, "delay": 0}[kind]


def test_what_branches_cost():
    program = several_layers()
    shown = Frames.from_dense(np.random.default_rng(0).integers(0, 4, (3, 6, 2, 6, 6)))
    result = reference.run(program, shown)
    # The first pool hears what a delay sends, the second a layer that a convolution hears too; every value lies in one window.
    into_pools = int(result.active[:, [2, 3]].sum())
    sent = int(result.events[:, [2, 3]].sum())
    assert into_pools > 100 and sent > into_pools
    figures = synops_by_definition(program, result)
    assert figures["neurobench"] * 3 == pytest.approx(result.synops_nonzero.sum() - into_pools)
    assert figures["sinabs"] * 3 == pytest.approx(result.synops_events.sum() - sent)
    operations = neurobench(program, result)["synaptic_operations"]
    assert operations["dense"] == largest_synops(program)[0].sum() - 6 * (4 * 36 + 3 * 36)
    # The last layers beside each other: 2 kernels of 2 x 2 meet every value once, and so does the pool.
    assert (result.synops[:, 2] == result.active[:, 2] * (1 + 2)).all()


def test_figures_say_what_hears_a_source():
    program = several_layers()
    result = reference.run(program, Frames.from_dense(np.ones((1, 6, 2, 6, 6), np.int64)))
    targets = {row["source"]: row["target"] for row in summarise(program, result)["ksynops"]["sources"]}
    assert targets == {
        "input": "c0 and c1 and d2", "c0": "d1", "c1": "p2 and c4", "d1": "p1", "p1": "c2", "c2": "r", "p2": "c3",
        "c3": "r", "r": "d", "c4": "d", "d2": "e", "e": "d", "d": "readout",
    }  # fmt: skip


def test_a_delay_holds_the_values_of_its_source():
    """Three counts of 0 to 4 wait, not three spikes."""
    layers = [
        DenseLif("a", ONE, 4, tiny_lif()), Delay("wait", 3, source=0),
        DenseLif("b", ONE, 4, tiny_lif(), further=(FurtherDense(1, ONE),)),
    ]  # fmt: skip
    program = tiny_program(layers, tiny_readout())
    nothing = replace(program, layers=(layers[0], replace(layers[1], steps=0), layers[2]))
    assert footprint_bytes(program)["state"] - footprint_bytes(nothing)["state"] == 2
    assert largest_synops(program)[1].tolist() == [5 * 4, 5, 5 * 4, 5 * 2]


def test_sums_are_proven_for_the_values_of_the_source():
    """A layer's sums of 128 spikes fit the membrane's update; of 128 counts up to 5 they do not."""
    end = {
        "multiplier": np.full(2, 32767, np.int32), "shift": np.zeros(2, np.int32), "membrane": QFormat(24, 0),
        "threshold": np.full(2, 8388607, np.int32),
    }  # fmt: skip
    first = DenseLif("a", np.eye(128, dtype=np.int8), 8, tiny_lif(128))
    second = DenseLif("b", np.full((2, 128), 127, np.int8), 8, tiny_lif(2, **end))
    last = DenseLif(
        "c", np.ones((1, 2), np.int8), 8, tiny_lif(), further=(FurtherDense(1, np.ones((1, 128), np.int8)),)
    )

    def program(source):
        layers = [first, replace(second, source=source), last]
        return tiny_program(layers, tiny_readout(), (1, 8, 16), c_clip=5)

    check_program(program(None))
    with pytest.raises(InputError, match=r"layer 'b': the membrane update of output 0 can reach 2\d{9}\."):
        check_program(program(0))


BEFORE = "Allowed: None, the layer before it"
NEURONS = "(0 for the input, l + 1 for an earlier layer l with neurons)"


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("a", 0, f"source is 0. {BEFORE}."),
        ("a", 1, f"source is 1. {BEFORE}."),
        ("b", 1, f"source is 1. {BEFORE}, or 0 {NEURONS}."),
        ("b", 2, f"source is 2. {BEFORE}, or 0 {NEURONS}."),
        ("b", -1, f"source is -1. {BEFORE}, or 0 {NEURONS}."),
        ("b", True, f"source is True. {BEFORE}, or 0 {NEURONS}."),
        ("b", "a", f"source is 'a'. {BEFORE}, or 0 {NEURONS}."),
        ("c", 2, f"source is 2. {BEFORE}, or 0, 1 {NEURONS}."),
        ("c", 1.0, f"source is 1.0. {BEFORE}, or 0, 1 {NEURONS}."),
    ],
)
def test_sources_that_are_none_are_refused(name, source, fault):
    (layer,) = (layer for layer in side_by_side().layers if layer.name == name)
    assert_program_refused(side_by_side(**{name: replace(layer, source=source)}), f"layer '{name}': {fault}")


def test_pools_hear_neurons_and_nothing_hears_pools_from_afar():
    first, second = several_layers().layers[:2]
    pool = SumPool("p", 2, source=0)
    program = replace(several_layers(), layers=(first, pool, replace(second, source=None)))
    assert_program_refused(program, f"layer 'p': source is 0. {BEFORE}.")
    layers = list(several_layers().layers)
    layers[6] = replace(layers[6], source=4)
    assert_program_refused(
        replace(program, layers=tuple(layers)), f"layer 'c3': source is 4. {BEFORE}, or 0, 1, 2, 5 {NEURONS}."
    )
    layers[6] = replace(layers[6], source=1, weight=np.ones((4, 3, 2, 2), np.int8), stride=(2, 2))
    assert_program_refused(
        replace(program, layers=tuple(layers)),
        "layer 'p2': no layer hears it, and the readout does not. Allowed: layers whose values something takes.",
    )


def test_a_layer_that_nothing_hears_is_refused():
    last = replace(side_by_side().layers[2], further=())
    assert_program_refused(
        side_by_side(c=last),
        "layer 'a': no layer hears it, and the readout does not. Allowed: layers whose values something takes.",
    )
    check_program(side_by_side(c=replace(last, further=(FurtherDense(1, ONE),))))


def test_weights_fit_the_source():
    first, second, last = side_by_side().layers
    wide = replace(second, weight=np.ones((1, 2), np.int8))
    two = replace(first, weight=np.ones((2, 1), np.int8), lif=tiny_lif(2))
    last = replace(last, further=(FurtherDense(1, np.ones((1, 2), np.int8)),))
    check_program(side_by_side(a=two, b=replace(wide, source=None), c=last))
    assert_program_refused(
        side_by_side(a=two, b=wide, c=last),
        "layer 'b': weight has 2 columns. Allowed: 1, one per value of its 1 x 1 x 1 input.",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"source":0,', ""),
        ('"source":0,', '"source":1,'),
        ('"source":0,', '"source":null,'),
        ('"source":0,', '"source":[0],'),
    ],
)
def test_manifests_that_say_other_sources_are_refused(tmp_path, old, new):
    assert_edited_manifest_refused(side_by_side(), tmp_path, old, new)


def test_a_program_without_branches_says_nothing_of_them():
    chain = tiny_program(
        [layer for layer in several_layers().layers if layer.name == "c0"], tiny_readout(108), (2, 6, 6)
    )
    assert all("source" not in layer.record() for layer in chain.layers)
    assert "source" not in SumPool("p", 2).record() and "source" not in Delay("d", 2).record()
    assert [
        SumPool("p", 2, source=1).since_format,
        SumPool("p", (1, 2), source=1).since_format,
        SumPool("p", 2).since_format,
    ] == [6, 6, 1]


def test_c_keeps_the_sums_of_branches_and_verilog_refuses_them_by_name(tmp_path):
    export_c(side_by_side(), tmp_path / "c", name="net")
    header, source = ((tmp_path / "c" / f"net.{end}").read_text() for end in "hc")
    assert (
        "those of a layer that does not hear the one before it with the part behind what it hears" in header
    )
    # The input's values go to both; what both send is the third's, whose sums last over both their steps.
    assert "add0(state, input, (int32_t)" in source and "add1(state, input, (int32_t)" in source
    assert source.index("run0(state);") < source.index("run1(state);") < source.index("memset(state->sum1")
    with pytest.raises(InputError) as error:
        export_verilog(side_by_side(), tmp_path / "v")
    assert str(error.value) == (
        "layer b: hears another layer than the one before it; the core's layers stand one after another. Export it with --to c."
    )


def test_vectors_say_what_a_layer_hears(tmp_path):
    export_vectors(side_by_side(), tmp_path / "v")
    text = (tmp_path / "v" / "README.md").read_text()
    assert "- b: hears input.\n" in text and "- a: hears" not in text
