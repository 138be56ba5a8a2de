"""Recurrent layers from elsewhere and back: loops of NIR files, live snnTorch modules, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import cuba, f32, lif, write, written_by
from test_export_nir import counts_for, exact, read_back
from tiny_programs import tiny_program, tiny_readout

from sastdeploy import CompileError, Framing, export_nir, from_nir
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.exchange.nir.loops import cycle_refused
from sastdeploy.exchange.recorded import check_recorded
from sastdeploy.program.records import RecurrentLif
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine
from tests.nir_files import FIXTURES, run

ENDS = {"a": {"type": "Input", "shape": [1]}, "b": {"type": "Output", "shape": [1]}}
CHAIN = [("a", "i"), ("i", "n"), ("n", "b")]


def one(path, neuron, back, more=(), **others):
    """Write one neuron with weight 1 whose spikes come back through the nodes ``back``, and more nodes and edges."""
    loop = ["n", *back, "n"]
    nodes = {**ENDS, "i": {"type": "Linear", "weight": f32([1.0])}, "n": neuron, **back, **others}
    return write(path, nodes, [*CHAIN, *pairwise(loop), *more])


# Decay 1/2 and threshold 2: dialect, neuron, the way back, inputs, then spikes and membranes of each step.
GOLDEN = {
    # m = m/2 + x + (s[t-1] + 0.5) - 2 s[t-1], s = m > 2; the bias acts at once.
    "through an affine node": (
        "snntorch", lif(r=f32(2.0)), {"w": {"type": "Affine", "weight": f32([1.0]), "bias": f32(0.5)}}, [2, 2, 0, 4, 0],
        [1, 1, 0, 1, 0], [2.5, 2.75, 0.875, 4.9375, 1.96875],
    ),
    # v += (x - 4 s[t-1] - v) / 2, s = v > 2, v = 0: the spike comes back, the membrane does not.
    "through weights": ("nir", lif(), {"w": {"type": "Linear", "weight": f32([-4.0])}}, [6, 6, 4, 6], [1, 0, 1, 0],
                        [0.0, 1.0, 0.0, 1.0]),
    # v += (x + s[t-1] - v) / 2
    "through nothing": ("nir", lif(), {}, [6, 3, 3], [1, 0, 1], [0.0, 2.0, 0.0]),
    # -4 = -2 * 2, with a bias of 1 * 2 in every step: v += (x - 4 s[t-1] + 2 - v) / 2
    "through a factor": (
        "nir", lif(), {"w": {"type": "Affine", "weight": f32([-2.0]), "bias": f32(1.0)}, "f": {"type": "Scale", "scale": f32(2.0)}},
        [4, 4, 2, 4], [1, 0, 1, 0], [0.0, 1.0, 0.0, 1.0],
    ),
    # i = i/2 + x/2 - 2 s[t-1], v += (i - v) / 2: i 4, 2, 5 | -2 + 2.5 + 0: v 2, 2, 3.5 -> 0, 0.25
    "behind a current": ("nir", cuba(), {"w": {"type": "Linear", "weight": f32([-4.0])}}, [8, 0, 8, 0], [0, 0, 1, 0],
                         [2.0, 2.0, 0.0, 0.25]),
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_one_neuron_that_hears_itself_by_hand(tmp_path, case):
    dialect, neuron, back, values, spikes, membranes = GOLDEN[case]
    path = one(tmp_path / "one.nir", {**neuron, "v_threshold": f32(2.0)}, back)
    network = from_nir(path, dialect=dialect, framing=Framing(time_bins=len(values)))
    assert run(network, values) == (spikes, membranes)


def test_snntorchs_recurrent_layers_spike_as_there(tmp_path):
    """A file and spikes of snnTorch 1.0.0: RLeaky, all to all, and RSynaptic, each to itself."""
    network = from_nir(written_by("snntorch_recurrent", tmp_path), framing=Framing(time_bins=12))
    assert [node.kind for node in network.graph.nodes] == [
        "input", "recurrent", "lif", "recurrent", "lif", "counts",
    ]  # fmt: skip
    second = network.graph.nodes[3].recurrent
    np.testing.assert_allclose(second, np.diag(np.linspace(-0.5, 0.5, 5)), atol=1e-7)
    checked = check_recorded(network, FIXTURES / "snntorch_recurrent.npz")
    assert checked == {
        "layers": 2, "recordings": 3, "steps": 12, "spikes": 188, "differences": 0, "ties": 0,
    }  # fmt: skip


def test_the_table_counts_recurrent_weights(tmp_path):
    path = written_by("snntorch_recurrent", tmp_path)
    done = CliRunner().invoke(cli, ["import", str(path), "-o", str(tmp_path / "n.pt")])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if " recurrent " in line]
    # 6 x 7 + 7 x 7, and 7 x 5 + 5 x 5.
    assert [row[:4] for row in rows] == [["0", "recurrent", "7x1x1", "91"], ["2", "recurrent", "5x1x1", "60"]]


def test_nested_graphs_hold_loops_as_well(tmp_path):
    inner = {
        "in": {"type": "Input", "shape": [1]}, "lif": lif(), "w": {"type": "Linear", "weight": f32([-4.0])},
        "out": {"type": "Output", "shape": [1]},
    }  # fmt: skip
    loop = [("in", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "out")]
    nodes = {**ENDS, "block": {"nodes": inner, "edges": loop}}
    path = write(tmp_path / "x.nir", nodes, [("a", "block"), ("block", "b")])
    network = from_nir(path, dialect="nir", framing=Framing(time_bins=4))
    # No weights come before the neuron: an identity stands there.
    assert [node.kind for node in network.graph.nodes] == ["input", "recurrent", "lif", "counts"]
    # v += (x - 4 s[t-1] - v) / 2, s = v > 1, v = 0
    assert run(network, [3, 4, 4, 0]) == ([1, 0, 1, 0], [0.0, 0.0, 0.0, -2.0])


LINEAR = {"type": "Linear", "weight": f32([1.0])}


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ({"w": LINEAR, "v": LINEAR, "n": lif()}, [("a", "w"), ("w", "v"), ("v", "w"), ("v", "n"), ("n", "b")],
         "v: a loop without neurons that spike (v -> w -> v), which no engine computes."),
        ({"l": {**lif(), "type": "LI"}, "w": LINEAR}, [("a", "l"), ("l", "w"), ("w", "l"), ("l", "b")],
         "l: a loop without neurons that spike (l -> w -> l), which no engine computes."),
        ({"n": lif(), "w": LINEAR, "m": lif(), "u": LINEAR},
         [("a", "n"), ("n", "w"), ("w", "m"), ("m", "u"), ("u", "n"), ("m", "b")],
         "m: a loop through 2 layers of neurons (m -> u -> n -> w -> m); engines compute spikes that come back to their own layer."),
        ({"n": lif(), "c": {"type": "Conv2d"}}, [("a", "n"), ("n", "c"), ("c", "n"), ("n", "b")],
         "n: its spikes come back by c -> n -> c; engines compute one way back, through Linear, Affine, Scale, or none."),
        ({"n": lif(), "w": LINEAR, "u": LINEAR}, [("a", "n"), ("n", "w"), ("w", "n"), ("n", "u"), ("u", "n"), ("n", "b")],
         "n: its spikes come back by n -> u -> n; engines compute one way back, through Linear, Affine, Scale, or none."),
    ],
)  # fmt: skip
def test_other_loops_are_refused_by_name(tmp_path, nodes, edges, message):
    path = write(tmp_path / "x.nir", {**ENDS, **nodes}, edges)
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir")
    assert error.value.reasons[0] == f"{path}: {message}"


def test_a_long_loop_is_cut_short_in_its_message():
    names = [f"{n:02d}" for n in range(40)]
    edges = [("a", names[3]), *pairwise([*names, names[0]])]
    shown = " -> ".join([*names[:12], "...", "00"])
    assert cycle_refused(dict.fromkeys(names, LINEAR), edges) == [
        f"00: a loop without neurons that spike ({shown}), which no engine computes."
    ]
    assert cycle_refused(dict.fromkeys(names, LINEAR), edges[:-1]) == []


def conv(size):
    weight = np.ones((1, 1, size, size), np.float32)
    return {
        "type": "Conv2d", "weight": weight, "stride": 1, "padding": 0, "dilation": 1, "groups": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "dialect", "message"),
    [
        ({"w": {"type": "Linear", "weight": np.ones((2, 2))}}, "nir", "n: a recurrent weight (2, 2) for 1 neurons."),
        ({"w": {"type": "Affine", "weight": np.ones((1, 1)), "bias": np.ones(2)}}, "nir",
         "n: a recurrent bias of 2 values for 1 neurons."),
        ({"w": {"type": "Affine", "weight": np.ones(1), "bias": np.ones(1)}}, "nir",
         "n: hears its spikes through shapes that do not fit: w."),
        ({"w": {"type": "Linear"}}, "nir", "w: a Linear without 'weight'."),
        ({"i": conv(2), "w": LINEAR}, "nir",
         "n: recurrent behind the convolution i; engines compute recurrent layers that are fully connected."),
    ],
)  # fmt: skip
def test_what_no_engine_computes_is_named(tmp_path, nodes, dialect, message):
    whole = {
        **ENDS, "i": LINEAR, "n": lif(), **nodes,
    }  # fmt: skip
    whole["a"] = {"type": "Input", "shape": [1, 2, 2] if "weight" in nodes.get("i", {}) else [1]}
    path = write(tmp_path / "x.nir", whole, [*CHAIN, ("n", "w"), ("w", "n")])
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect=dialect, reset="zero")
    assert str(error.value) == f"{path}: {message}"


def test_a_program_with_recurrent_layers_reads_back(tmp_path):
    rng = np.random.default_rng(8)

    def weights(*shape):
        return rng.integers(-4, 6, shape).astype(np.int8)

    layers = [
        RecurrentLif("one", weights(4, 60), 4, exact(4), weights(4, 4)),
        RecurrentLif("two", weights(5, 4), 4, exact(5), weights(5, 5)),
    ]
    readout = tiny_readout(inputs=5, classes=3, weight=weights(3, 5))
    program = tiny_program(layers, readout, (2, 6, 5), classes=3)
    counts = counts_for(program)
    exported = export_nir(program, tmp_path / "p.nir", counts)
    assert exported.differing == 0 and exported.spikes > 50
    read = interpret(read_back(program, exported.path).graph, counts)
    result = engine.run(program, Frames.from_dense(counts), engine="reference", trace=("one", "two"))
    for name, membranes in zip(("one", "two"), read.membranes):
        own = result.traces[name].membranes
        assert np.array_equal(membranes.reshape(own.shape) * 4, own)


@pytest.mark.parametrize("all_to_all", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_live_snntorch_modules_spike_by_spike(all_to_all, reset):
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    from sastdeploy.exchange.torch_modules import from_module

    torch.manual_seed(1)
    common = {"threshold": 0.7, "init_hidden": True, "reset_mechanism": reset, "all_to_all": all_to_all}
    sizes = [{"linear_features": n} if all_to_all else {"V": torch.linspace(-1, 1, n)} for n in (7, 4)]
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 7), snn.RLeaky(beta=0.9, **common, **sizes[0]),
        torch.nn.Linear(7, 4), snn.RSynaptic(alpha=0.6, beta=0.8, **common, **sizes[1]),
    )  # fmt: skip
    network = from_module(net, torch.zeros(1, 6))
    assert [node.kind for node in network.graph.nodes][1:4:2] == ["recurrent", "recurrent"]
    assert network.provenance["checked"]["spikes"] > 50


def test_live_snntorch_modules_that_no_engine_computes():
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    from sastdeploy.exchange.torch_modules import from_module

    at_once = snn.RLeaky(beta=0.9, linear_features=2, init_hidden=True, reset_delay=False)
    maps = snn.RLeaky(beta=0.9, conv2d_channels=2, kernel_size=3, init_hidden=True)
    with pytest.raises(CompileError) as error:
        from_module(torch.nn.Sequential(torch.nn.Linear(3, 2), at_once, maps), torch.zeros(1, 3))
    assert error.value.reasons == (
        "1: reset_delay=False subtracts once more, a step later, from a membrane that stays above its threshold, which no engine computes.",
        "2: recurrent through a convolution, which no engine computes.",
    )
