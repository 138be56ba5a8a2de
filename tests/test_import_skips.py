"""NIR graphs whose layers hear several others (skips): both ways, beside a plain computation of the same nodes."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from click.testing import CliRunner
from nir_files import f32, lif, write
from test_export_nir import counts_for, exact, read_back
from tiny_programs import tiny_program, tiny_readout

from sastdeploy import (
    CompileError,
    Framing,
    compile,
    export_nir,
    from_nir,
    load_profile,
    save_network,
    verify,
)
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.graph import stages
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.exchange.nir import order
from sastdeploy.program.records import ConvLif, DenseLif, FurtherConv, FurtherDense, RecurrentLif, SumPool
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine


def drawn(seed):
    """Return a function that draws weights in eighths: every product of whole numbers with them is exact."""
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.integers(-8, 10, shape) / 8


def conv(weight, padding=1, stride=1, bias=None):
    bias = np.zeros(len(weight)) if bias is None else bias
    return {
        "type": "Conv2d", "weight": weight, "bias": bias, "stride": stride, "padding": padding, "dilation": 1, "groups": 1,
    }  # fmt: skip


def affine(weight, bias):
    return {"type": "Affine", "weight": weight, "bias": bias}


def ends(*shape, outputs):
    return {"a": {"type": "Input", "shape": list(shape)}, "b": {"type": "Output", "shape": [outputs]}}


def plain(nodes, edges, x):
    """Return the spikes ``[T, ...]`` of every LIF node, and what the output gives (v += (x - v) / 2, spike above 1, reset to 0), computed node by node as NIR says it."""
    state: dict = {}
    sent: dict = {}
    for step in x:
        values, waiting = {"a": step}, [name for name in nodes if name != "a"]
        while waiting:
            name = next(n for n in waiting if all(s in values for s, t in edges if t == n))
            waiting.remove(name)
            node, total = nodes[name], sum(values[s] for s, t in edges if t == name)
            if node["type"] == "LIF":
                v = state.get(name, 0.0)
                v = v + (total - v) / 2
                values[name] = (v > 1) * 1.0
                state[name] = np.where(v > 1, 0.0, v)
                sent.setdefault(name, []).append(values[name])
            elif node["type"] == "Conv2d":
                values[name] = convolved(node, total)
            elif node["type"] in ("AvgPool2d", "SumPool2d"):
                values[name] = pooled(node, total)
            elif node["type"] in ("Linear", "Affine"):
                values[name] = node["weight"] @ total + node.get("bias", 0.0)
            elif node["type"] == "Delay":
                line = [total, *state.get(name, [])]
                state[name], steps = line, round(float(node["delay"]) / 1e-4)
                values[name] = line[steps] if steps < len(line) else 0.0 * total
            elif node["type"] == "Scale":
                values[name] = node["scale"] * total
            else:
                values[name] = total.reshape(-1) if node["type"] == "Flatten" else total
                if node["type"] == "Output":
                    sent.setdefault(name, []).append(total)
    return {name: np.array(spikes) for name, spikes in sent.items()}


def convolved(node, x):
    weight, stride, pad = node["weight"], node["stride"], node["padding"]
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    rows, columns = ((size - weight.shape[2]) // stride + 1 for size in padded.shape[1:])
    result = np.empty((len(weight), rows, columns))
    for y in range(rows):
        for z in range(columns):
            window = padded[:, y * stride :, z * stride :][:, : weight.shape[2], : weight.shape[3]]
            result[:, y, z] = (weight * window).sum((1, 2, 3)) + node["bias"]
    return result


def pooled(node, x):
    size = node["kernel_size"]
    each = conv(np.ones((1, 1, size, size)), node["padding"], node["stride"], np.zeros(1))
    sums = np.concatenate([convolved(each, channel[None]) for channel in x])
    return sums / size**2 if node["type"] == "AvgPool2d" else sums


def residual():
    """A map that is kept beside a convolution (SEW), added before one, passed through 1 x 1, and the input far on."""
    eighths = drawn(5)
    nodes = {
        **ends(2, 6, 6, outputs=3), "c1": conv(eighths(4, 2, 3, 3)), "n1": lif(), "c2": conv(eighths(4, 4, 3, 3)), "n2": lif(),
        "c3": conv(eighths(4, 4, 3, 3), bias=eighths(4)), "n3": lif(), "p": conv(eighths(6, 4, 1, 1), 0, 2, bias=eighths(6)),
        "c4": conv(eighths(6, 4, 3, 3), stride=2), "n4": lif(), "q": conv(eighths(6, 2, 3, 3), stride=2),
        "flat": {"type": "Flatten", "start_dim": 0, "end_dim": -1}, "w": affine(eighths(3, 54) / 2 + 1 / 8, eighths(3)), "n5": lif(),
    }  # fmt: skip
    chain = ["a", "c1", "n1", "c2", "n2", "c3", "n3", "c4", "n4", "flat", "w", "n5", "b"]
    skips = [("n1", "c3"), ("n1", "n3"), ("n2", "p"), ("p", "n4"), ("a", "q"), ("q", "n4")]
    return nodes, [*pairwise(chain), *skips], (2, 6, 6)


def connected():
    """Sums of fully connected layers, with biases and a factor among them; one goes on by two ways, whose biases both act."""
    eighths = drawn(6)
    nodes = {
        **ends(5, outputs=4), "w1": affine(eighths(6, 5), eighths(6)), "n1": lif(), "w2": affine(eighths(6, 6), eighths(6)),
        "n2": lif(), "w3": affine(eighths(4, 6), eighths(4)), "n3": lif(), "x": affine(eighths(6, 5), eighths(6)),
        "f": {"type": "Scale", "scale": f32(0.5)}, "y": affine(eighths(4, 4) / 2, eighths(4)), "w4": affine(eighths(4, 4) + 1, np.zeros(4)), "n4": lif(),
    }  # fmt: skip
    chain = ["a", "w1", "n1", "w2", "n2", "w3", "n3", "w4", "n4", "b"]
    skips = [("n1", "f"), ("f", "w3"), ("a", "x"), ("x", "w3"), ("w3", "y"), ("y", "n3"), ("n3", "n4")]
    return nodes, [*pairwise(chain), *skips], (5,)


@pytest.mark.parametrize("made", [residual, connected])
def test_every_spike_is_that_of_the_plain_computation(tmp_path, made):
    nodes, edges, shape = made()
    network = from_nir(
        write(tmp_path / "x.nir", nodes, edges), dialect="nir", framing=Framing(time_bins=6, clip=3)
    )
    shown = np.random.default_rng(1).integers(0, 4, (3, 6, *shape))
    frame = network.graph.input.shape
    read = interpret(network.graph, shown.reshape(3, 6, *frame))
    names = [neuron["name"] for neuron in network.semantics["neurons"]]
    assert len(names) == len(read.spikes) == sum(node["type"] == "LIF" for node in nodes.values())
    for n, recording in enumerate(shown):
        wanted = plain(nodes, edges, recording.astype(np.float64))
        for name, spikes in zip(names, read.spikes):
            assert np.array_equal(spikes[n].reshape(wanted[name].shape), wanted[name]), name
            assert wanted[name].any()


def test_where_skips_stand_and_what_they_weigh(tmp_path):
    nodes, edges, _ = residual()
    graph = from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir").graph
    further = {stage.node.name: [each.name for each in stage.node.further] for stage in stages(graph)}
    assert further == {
        "c1": [], "c2": [], "c3": ["c1.lif", "c1.lif"], "c4": ["input", "c2.lif"], "w": [], "readout": [],
    }  # fmt: skip
    third = next(node for node in graph.nodes if node.name == "c3")
    # The same kernel reads the sum's other half; a map that is kept is an identity of 1 x 1. Both times the gain of 1/2.
    assert np.array_equal(third.further[0].weight, nodes["c3"]["weight"] / 2)
    assert np.array_equal(third.further[1].weight[:, :, 0, 0], np.eye(4) / 2)
    assert np.array_equal(third.bias, nodes["c3"]["bias"] / 2)
    fourth = next(node for node in graph.nodes if node.name == "c4")
    assert np.array_equal(fourth.bias, nodes["p"]["bias"] / 2)


@pytest.mark.parametrize("made", [residual, connected])
def test_programs_of_such_graphs_are_equal_on_every_engine(tmp_path, made):
    nodes, edges, _ = made()
    framing = Framing(time_bins=4, clip=3)
    network = from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir", framing=framing)
    program = compile(network, load_profile("cortex_m"), neuron="profile").program
    assert sum(len(layer.further) for layer in program.layers) == (4 if made is residual else 6)
    found = verify(program, random=4)
    assert found.equal, found.first_difference
    assert found.spikes > 100


def test_a_program_with_further_inputs_reads_back(tmp_path):
    rng = np.random.default_rng(8)

    def weights(*shape):
        return rng.integers(-4, 6, shape).astype(np.int8)

    layers = [
        ConvLif("one", weights(3, 2, 3, 3), 4, (1, 1), (1, 1), exact(3)),
        ConvLif("two", weights(4, 3, 3, 3), 4, (1, 1), (1, 1), exact(4), further=(FurtherConv(0, weights(4, 2, 1, 1)),)),
        SumPool("pool", (2, 1)),
        RecurrentLif(
            "three", weights(5, 60), 4, exact(5), weights(5, 5),
            further=(FurtherDense(1, weights(5, 90)), FurtherDense(0, weights(5, 60))),
        ),
        DenseLif("four", weights(6, 5), 4, exact(6), further=(FurtherDense(2, weights(6, 120)),)),
    ]  # fmt: skip
    readout = tiny_readout(inputs=6, classes=3, weight=weights(3, 6))
    program = tiny_program(layers, readout, (2, 6, 5), classes=3)
    counts = counts_for(program)
    exported = export_nir(program, tmp_path / "p.nir", counts)
    assert exported.differing == 0 and exported.spikes > 50
    read = interpret(read_back(program, exported.path).graph, counts)
    names = ("one", "two", "three", "four")
    result = engine.run(program, Frames.from_dense(counts), engine="reference", trace=names)
    for name, membranes in zip(names, read.membranes, strict=True):
        own = result.traces[name].membranes
        assert np.array_equal(membranes.reshape(own.shape) * 4, own)


def test_the_command_checks_spikes_layer_by_layer(tmp_path):
    nodes, edges, shape = connected()
    path = write(tmp_path / "x.nir", nodes, edges)
    shown = np.random.default_rng(2).integers(0, 4, (2, 6, *shape)).astype(np.float64)
    spikes = [plain(nodes, edges, recording) for recording in shown]
    arrays = {name: np.stack([own[name] for own in spikes]) for name in spikes[0] if name != "b"}

    def checked(**changes):
        np.savez(tmp_path / "spikes.npz", input=shown, **{**arrays, **changes})
        arguments = [
            "--dialect",
            "nir",
            "--check",
            str(tmp_path / "spikes.npz"),
            "-o",
            str(tmp_path / "n.pt"),
            "--force",
        ]
        return CliRunner().invoke(cli, ["import", str(path), *arguments])

    done = checked()
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line.strip().startswith("w3")]
    # By both ways 4 x 6, again for the sum's other half, and 4 x 5 from the input.
    assert rows[0][:4] == ["w3", "dense", "4x1x1", "136"]
    wrong = arrays["n3"].copy()
    wrong[1, 4, 2] = 1 - wrong[1, 4, 2]
    done = checked(n3=wrong)
    first = "w3.lif: the first difference is at step 4, neuron [2, 0, 0]: the graph sends "
    assert str(done.exception).startswith(first)


def test_an_imported_skip_is_kept_in_its_file(tmp_path):
    from sastdeploy import load_network

    nodes, edges, _ = residual()
    network = from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir")
    save_network(tmp_path / "n.pt", network)
    assert load_network(tmp_path / "n.pt").graph == network.graph


LINEAR = {"type": "Linear", "weight": np.ones((1, 1))}
ONE = ends(1, outputs=1)
MAP = ends(1, 4, 4, outputs=4)
POOL = {"type": "SumPool2d", "kernel_size": 2, "stride": 2, "padding": 0}


@pytest.mark.parametrize(
    ("nodes", "edges", "messages"),
    [
        ({**ONE, "n": lif(), "w": LINEAR, "m": lif()}, [("a", "n"), ("n", "b"), ("n", "w"), ("w", "m")],
         ["m: leads nowhere; the output 'b' is not reached."]),
        ({**ONE, "n": lif(), "w": LINEAR}, [("a", "n"), ("w", "n"), ("n", "b")], ["w: nothing leads to it from the input 'a'."]),
        ({**MAP, "c": conv(np.ones((1, 1, 3, 3))), "n": lif(), "d": conv(np.ones((1, 1, 3, 3)), stride=2), "m": lif(),
          "f": {"type": "Flatten", "start_dim": 0}}, [*pairwise(["a", "c", "n", "d", "m", "f", "b"]), ("n", "m")],
         ["m: sums a convolution of 1 x 2 x 2 and, from n, a convolution of 1 x 4 x 4; engines add inputs of one kind and shape."]),
        ({**MAP, "c": conv(np.ones((1, 1, 4, 4)), 0), "n": lif(), "w": {"type": "Linear", "weight": np.ones((1, 16))}},
         [*pairwise(["a", "c", "n", "b"]), ("a", "w"), ("w", "n")],
         ["n: sums a convolution of 1 x 1 x 1 and, from the input, a fully connected layer of 1 x 1 x 1; engines add inputs of one kind and "
          "shape."]),
        ({**ONE, "w": LINEAR, "n": lif(), "z": {"type": "Linear", "weight": np.ones((1, 2))}}, [*pairwise("awnb"), ("a", "z"), ("z", "n")],
         ["z: weight (1, 2) for 1 values."]),
        ({**ONE, "w": LINEAR, "n": lif(), "x": {"type": "Delay", "delay": 1e-4}, "m": lif(), "z": {"type": "Delay", "delay": 1e-4}},
         [*pairwise("awnxmb"), ("a", "z"), ("z", "m")],
         ["z: delays what goes from the input to m, as another way there does; engines delay one of a layer's inputs, its own. Leave it "
          "out, or let the sum go to neurons before the delay."]),
    ],
)  # fmt: skip
def test_what_is_no_chain_with_skips_is_refused_by_name(tmp_path, nodes, edges, messages):
    path = write(tmp_path / "x.nir", nodes, edges)
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir")
    assert error.value.reasons == tuple(f"{path}: {message}" for message in messages)


def test_sums_of_too_many_paths_are_refused(tmp_path):
    """Twelve times two ways, one behind the other, are 4096 ways."""
    nodes, edges, last = {**ONE, "n": lif()}, [], "a"
    for n in range(12):
        nodes |= {f"l{n}": LINEAR, f"r{n}": LINEAR, f"s{n}": LINEAR}
        edges += [(last, f"l{n}"), (last, f"r{n}"), (f"l{n}", f"s{n}"), (f"r{n}", f"s{n}")]
        last = f"s{n}"
    path = write(tmp_path / "x.nir", nodes, [*edges, (last, "n"), ("n", "b")])
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect="nir")
    assert str(error.value) == (
        f"{path}: s6: more than {order.MAX_PATHS} paths lead to it from layers of neurons; each is a sum of its own. Add up the weights "
        "of paths from the same layer."
    )


def test_two_ways_from_one_layer_add_up(tmp_path):
    weight = {"type": "Linear", "weight": np.array([[3.0]])}
    nodes = {**ONE, "w": LINEAR, "v": weight, "n": lif()}
    edges = [("a", "w"), ("w", "n"), ("a", "v"), ("v", "n"), ("n", "b")]
    network = from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir", framing=Framing(time_bins=3))
    read = interpret(network.graph, np.array([0, 1, 0]).reshape(1, 3, 1, 1, 1))
    # v += (x + 3 x - v) / 2: 2 spikes.
    assert read.spikes[0].reshape(-1).tolist() == [0, 1, 0]
