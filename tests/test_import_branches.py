"""NIR graphs with layers side by side, which hear the same layer: both ways, beside a plain computation of the same nodes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from click.testing import CliRunner
from nir_files import lif, write
from test_export_nir import counts_for, exact, read_back
from test_import_skips import affine, conv, drawn, ends, plain
from tiny_programs import tiny_program, tiny_readout

from sastdeploy import (
    CompileError,
    Framing,
    compile,
    export_nir,
    from_nir,
    load_network,
    load_profile,
    save_network,
    verify,
)
from sastdeploy.cli.main import cli
from sastdeploy.cli.network_tables import network_record
from sastdeploy.compiler.ir.interpreter import interpret
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
from sastdeploy.simulator import engine

FLAT = {"type": "Flatten", "start_dim": 0, "end_dim": -1}
LINEAR = {"type": "Linear", "weight": np.ones((1, 1))}


def pool(size, stride, padding=0, kind="SumPool2d"):
    return {"type": kind, "kernel_size": size, "stride": stride, "padding": padding}


def inception():
    """Three branches behind one layer: 1 x 1, 3 x 3, and a pool before 1 x 1; their maps add up before the next layer."""
    eighths = drawn(5)
    nodes = {
        **ends(2, 6, 6, outputs=3), "stem": conv(eighths(4, 2, 3, 3)), "n0": lif(), "one": conv(eighths(3, 4, 1, 1) + 1 / 2, 0), "n1": lif(),
        "three": conv(eighths(5, 4, 3, 3), bias=eighths(5)), "n2": lif(), "p": pool(3, 1, 1, "AvgPool2d"),
        "behind": conv(9 * eighths(2, 4, 1, 1) / 8 + 3, 0), "n3": lif(), "j1": conv(eighths(4, 3, 3, 3)), "j2": conv(eighths(4, 5, 3, 3)),
        "j3": conv(eighths(4, 2, 3, 3), bias=eighths(4)), "n4": lif(), "flat": FLAT, "w": affine(eighths(3, 144) / 2, eighths(3)), "n5": lif(),
    }  # fmt: skip
    ways = [
        ("n0", "one", "n1", "j1", "n4"),
        ("n0", "three", "n2", "j2", "n4"),
        ("n0", "p", "behind", "n3", "j3", "n4"),
    ]
    edges = [*pairwise(["a", "stem", "n0"]), *(edge for way in ways for edge in pairwise(way))]
    return nodes, [*edges, *pairwise(["n4", "flat", "w", "n5", "b"])], (2, 6, 6)


def downsampled():
    """A block whose short cut is a convolution with neurons of its own (SEW); both maps add up, and both go on by two ways."""
    eighths = drawn(6)
    nodes = {
        **ends(2, 6, 6, outputs=3), "c1": conv(eighths(4, 2, 3, 3)), "n1": lif(), "c2": conv(eighths(5, 4, 3, 3), stride=2), "n2": lif(),
        "c3": conv(eighths(5, 5, 3, 3)), "n3": lif(), "d": conv(eighths(5, 4, 1, 1), 0, 2, bias=eighths(5)), "nd": lif(),
        "c4": conv(eighths(5, 5, 3, 3), bias=eighths(5)), "n4": lif(), "flat": FLAT, "w": affine(eighths(3, 45) / 2, eighths(3)), "n5": lif(),
    }  # fmt: skip
    ways = [
        ("a", "c1", "n1", "c2", "n2", "c3", "n3", "c4", "n4"),
        ("n1", "d", "nd", "c4"),
        ("n3", "n4"),
        ("nd", "n4"),
    ]
    return (
        nodes,
        [*(e for way in ways for e in pairwise(way)), *pairwise(["n4", "flat", "w", "n5", "b"])],
        (2, 6, 6),
    )


def from_the_input():
    """Rows that hear the input at once, later, and by a factor, one behind another that waits; a last one hears them all."""
    eighths = drawn(4)
    nodes = {
        **ends(5, outputs=4), "w1": affine(eighths(6, 5), eighths(6)), "n1": lif(), "f": {"type": "Scale", "scale": np.array([0.5])},
        "w2": affine(eighths(3, 5), eighths(3)), "n2": lif(), "d": {"type": "Delay", "delay": np.array(1e-4)}, "w3": affine(eighths(4, 5), eighths(4)),
        "n3": lif(), "late": {"type": "Delay", "delay": np.array(2e-4)}, "w4": affine(eighths(2, 6) + 1, eighths(2)), "n4": lif(),
        "x": affine(eighths(4, 6) + 1 / 4, eighths(4)), "y": affine(eighths(4, 3), eighths(4)), "z": affine(eighths(4, 2), eighths(4)), "n5": lif(),
    }  # fmt: skip
    ways = [
        ("a", "w1", "n1", "x", "n5", "b"), ("a", "f", "w2", "n2", "y", "n5"), ("a", "d", "w3", "n3", "n5"), ("n1", "late", "w4", "n4", "z", "n5"),
    ]  # fmt: skip
    return nodes, [edge for way in ways for edge in pairwise(way)], (5,)


def waiting():
    """A way past two layers on which values wait: it is the last layer's own input, and what comes from the layer before it a skip."""
    eighths = drawn(2)
    nodes = {
        **ends(5, outputs=3), "w1": affine(eighths(6, 5), eighths(6)), "n1": lif(), "w2": affine(eighths(4, 6) + 1 / 2, eighths(4)), "n2": lif(),
        "d": {"type": "Delay", "delay": np.array(2e-4)}, "far": affine(eighths(3, 5) / 2, eighths(3)), "near": affine(eighths(3, 4), eighths(3)),
        "n3": lif(),
    }  # fmt: skip
    return (
        nodes,
        [*pairwise(["a", "w1", "n1", "w2", "n2", "near", "n3", "b"]), *pairwise(["a", "d", "far", "n3"])],
        (5,),
    )


MADE = [inception, downsampled, from_the_input, waiting]


def network_of(made, tmp_path, bins=6):
    nodes, edges, shape = made()
    framing = Framing(time_bins=bins, clip=3)
    return (
        nodes,
        edges,
        shape,
        from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir", framing=framing),
    )


@pytest.mark.parametrize("made", MADE)
def test_every_spike_is_that_of_the_plain_computation(tmp_path, made):
    nodes, edges, shape, network = network_of(made, tmp_path)
    shown = np.random.default_rng(1).integers(0, 4, (3, 6, *shape))
    read = interpret(network.graph, shown.reshape(3, 6, *network.graph.input.shape))
    names = [neuron["name"] for neuron in network.semantics["neurons"]]
    assert len(names) == len(read.spikes) == sum(node["type"] == "LIF" for node in nodes.values())
    for n, recording in enumerate(shown):
        wanted = plain(nodes, edges, recording.astype(np.float64))
        for name, spikes in zip(names, read.spikes):
            assert np.array_equal(spikes[n].reshape(wanted[name].shape), wanted[name]), name
            assert wanted[name].any() and not wanted[name].all(), name


@pytest.mark.parametrize(
    ("made", "sources", "further"),
    [
        (inception, {"three": "stem.lif", "p": "stem.lif"}, {"j3": ["one.lif", "three.lif"]}),
        (downsampled, {"d": "c1.lif", "c3": "c2.lif"}, {"c4": ["d.lif", "d.lif", "c3.lif"]}),
        (waiting, {"d": "input"}, {"far": ["w2.lif"]}),
        (from_the_input, {"w2": "input", "d": "input", "late": "w1.lif"}, {"z": ["w1.lif", "w2.lif", "w3.lif"]}),
    ],
)  # fmt: skip
def test_what_each_layer_hears(tmp_path, made, sources, further):
    *_, network = network_of(made, tmp_path)
    nodes = network.graph.nodes
    assert {node.name: node.source for node in nodes if node.source is not None} == sources
    assert {
        node.name: [each.name for each in node.further] for node in nodes if getattr(node, "further", ())
    } == further
    shown = {node["name"]: node["source"] for node in network_record(network)["nodes"] if "source" in node}
    assert shown == sources


@pytest.mark.parametrize("made", MADE)
def test_programs_of_such_graphs_are_equal_on_every_engine(tmp_path, made):
    *_, network = network_of(made, tmp_path, bins=4)
    program = compile(network, load_profile("cortex_m"), neuron="profile").program
    assert any(layer.source is not None for layer in program.layers)
    found = verify(program, random=4)
    assert found.equal, found.first_difference
    assert found.spikes > 100
    save_network(tmp_path / "n.pt", network)
    assert load_network(tmp_path / "n.pt").graph == network.graph


def test_a_program_with_branches_reads_back(tmp_path):
    """Its layers come back in the order of their depth and names, which is another one; every spike and membrane is the same."""
    rng = np.random.default_rng(8)

    def weights(*shape):
        return rng.integers(-4, 6, shape).astype(np.int8)

    layers = [
        ConvLif("z", weights(3, 2, 3, 3), 4, (1, 1), (1, 1), exact(3)),
        ConvLif("a", weights(4, 2, 3, 3), 4, (1, 1), (1, 1), exact(4), source=0),
        Delay("wait", 1, source=1), SumPool("pool", (2, 1)),
        ConvLif("two", weights(4, 3, 1, 1), 4, (1, 1), (0, 0), exact(4), further=(FurtherConv(2, weights(4, 4, 2, 1), (2, 1)),)),
        SumPool("other", (2, 1), source=2), RecurrentLif("r", weights(5, 60), 4, exact(5), weights(5, 5)),
        DenseLif("rows", weights(4, 60), 4, exact(4), source=0),
        DenseLif(
            "last", weights(6, 60), 4, exact(6), source=5,
            further=(FurtherDense(7, weights(6, 5)), FurtherDense(8, weights(6, 4)), FurtherDense(0, weights(6, 60))),
        ),
    ]  # fmt: skip
    readout = tiny_readout(inputs=6, classes=3, weight=weights(3, 6))
    program = tiny_program(layers, readout, (2, 6, 5), classes=3)
    counts = counts_for(program)
    exported = export_nir(program, tmp_path / "p.nir", counts)
    assert exported.differing == 0 and exported.spikes > 50
    network = read_back(program, exported.path)
    read = interpret(network.graph, counts)
    names = [each["name"].removesuffix(".lif") for each in network.semantics["neurons"]]
    assert names == ["a", "rows", "z", "r", "two", "last"] != list(program.neurons())
    result = engine.run(program, Frames.from_dense(counts), engine="reference", trace=tuple(names))
    for name, membranes in zip(names, read.membranes, strict=True):
        own = result.traces[name].membranes
        assert np.array_equal(membranes.reshape(own.shape) * 4, own)
    fault = replace(layers[7], weight=-layers[7].weight)
    assert (
        export_nir(
            replace(program, layers=(*layers[:7], fault, layers[8])), tmp_path / "q.nir", counts
        ).differing
        == 0
    )


def test_the_command_says_what_a_layer_hears(tmp_path):
    nodes, edges, _ = from_the_input()
    path = write(tmp_path / "x.nir", nodes, edges)
    words = ["import", str(path), "--dialect", "nir", "-o", str(tmp_path / "n.pt")]
    done = CliRunner().invoke(cli, words, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "dense, hears input" in done.output and "delay, up to 2, hears w1.lif" in done.output


ONE = ends(1, outputs=1)
MAP = ends(1, 4, 4, outputs=4)


@pytest.mark.parametrize(
    ("nodes", "edges", "messages"),
    [
        ({**MAP, "c": conv(np.ones((1, 1, 3, 3))), "m": lif(), "p": pool(1, 1), "e": conv(np.ones((1, 1, 3, 3))), "n": lif(),
          "k": lif()},
         [*pairwise(["a", "c", "m", "k", "b"]), *pairwise(["a", "p", "e", "n", "k"])],
         ["p: pools the input; engines pool spikes. Reduce the recordings instead (frame size)."]),
        ({**ONE, "w": LINEAR, "n": lif(), "z": {"type": "Linear", "weight": np.ones((1, 2))}, "o": lif(), "k": lif()},
         [*pairwise(["a", "w", "n", "k", "b"]), *pairwise(["a", "z", "o", "k"])], ["z: weight (1, 2) for 1 values."]),
        ({**ONE, "n": lif(), "i": {"type": "LI", "tau": np.ones(1), "r": np.ones(1), "v_leak": np.zeros(1)}, "v": LINEAR, "w": LINEAR,
          "x": LINEAR, "m": lif()},
         [*pairwise(["a", "v", "i", "w", "m", "b"]), *pairwise(["a", "x", "n", "m"])],
         ["n: follows v.li, which sends no spikes; membranes are read at the end."]),
    ],
)  # fmt: skip
def test_branches_that_no_engine_computes_are_refused_by_name(tmp_path, nodes, edges, messages):
    path = write(tmp_path / "x.nir", nodes, edges)
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir")
    assert error.value.reasons == tuple(f"{path}: {message}" for message in messages)


def test_a_layer_behind_one_that_was_refused_is_not_told_of(tmp_path):
    """Its source cannot be known; what is told is why."""
    wrong = lif(tau=np.array([1e-4, 2e-4]))
    nodes = {**ONE, "n": wrong, "m": lif(), "v": LINEAR, "k": lif(), "l": lif()}
    path = write(
        tmp_path / "x.nir",
        nodes,
        [*pairwise(["a", "n", "v", "k", "b"]), ("a", "m"), ("m", "k"), ("n", "l"), ("l", "k")],
    )
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir")
    assert len(error.value.reasons) == 1 and error.value.reasons[0].startswith(f"{path}: n: ")
