"""NIR files with delays: whole steps of dt, every shape, nested graphs, and what is refused by name; and files of our own."""

import numpy as np
import pytest
from nir_files import f32, lif, write
from tiny_programs import tiny_lif, tiny_program, tiny_readout

from sastdeploy import CompileError, Framing, compile, export_nir, from_nir, load_profile
from sastdeploy.cli.network_tables import network_record
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Delay
from sastdeploy.program.records import ConvLif, DenseLif, SumPool
from sastdeploy.program.records import Delay as ProgramDelay
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference

# Neurons that add half of what comes to half of what they have, and spike above 1.
ENDS = {"a": {"type": "Input", "shape": [2]}, "b": {"type": "Output", "shape": [2]}}
IDENTITY = {"type": "Linear", "weight": np.eye(2)}


def chain(*nodes):
    """Return nodes from the input to the output."""
    return {"a": ENDS["a"], **{f"n{k}": node for k, node in enumerate(nodes)}, "b": ENDS["b"]}


def delay(*values, shape=None):
    return {
        "type": "Delay",
        "delay": np.reshape(np.array(values), np.shape(values) if shape is None else shape),
    }


def read(tmp_path, nodes, edges=None, dialect="nir", **rules):
    path = write(tmp_path / "x.nir", nodes, edges)
    return from_nir(path, dialect=dialect, framing=Framing(time_bins=6, clip=4), **rules)


def steps(network):
    return {
        node.name: node.steps if isinstance(node.steps, int) else node.steps.tolist() for node in network.graph.nodes if isinstance(node, Delay)
    }  # fmt: skip


def test_delayed_spikes_by_hand(tmp_path):
    """Both neurons spike in bin 1; the second's spike reaches the layer behind it two bins later."""
    network = read(
        tmp_path, chain(IDENTITY, lif(), delay(0, 2e-4), {"type": "Linear", "weight": 4 * np.eye(2)}, lif())
    )
    assert [node.kind for node in network.graph.nodes] == [
        "input",
        "dense",
        "lif",
        "delay",
        "dense",
        "lif",
        "counts",
    ]
    assert steps(network) == {"n2": [0, 2]}
    found = interpret(network.graph, np.array([0, 4, 0, 0, 0, 0]).reshape(1, 6, 1, 1, 1).repeat(2, axis=4))
    assert found.spikes[0].reshape(6, 2).T.tolist() == [[0, 1, 0, 0, 0, 0]] * 2
    assert found.spikes[1].reshape(6, 2).T.tolist() == [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    nodes = network_record(network)["nodes"]
    assert nodes[3]["largest_delay"] == 2 and "largest_delay" not in nodes[2]


@pytest.mark.parametrize(
    ("node", "dialect", "rules", "wanted"),
    [
        (delay(3e-4, shape=()), "nir", {}, 3), (delay(3e-4), "nir", {}, 3), (delay(3e-4, 3e-4), "nir", {}, 3),
        (delay(3e-4, 0.0, shape=(1, 2)), "nir", {}, [3, 0]), (delay(3.0, 1.0), "sinabs", {"spikes_per_step": "one"}, [3, 1]),
        (delay(3e-6, 1e-6), "norse", {}, [3, 1]), (delay(0.003, 0.02), "nir", {"dt": 1e-3}, [3, 20]),
        ({"type": "Delay", "delay": f32(0.0123, 0.0047)}, "nir", {}, [123, 47]), ({"type": "Delay", "delay": f32(0.1, 0.0999)}, "nir", {}, [1000, 999]),
        ({"type": "Delay", "delay": np.array([1, 0])}, "sinabs", {"spikes_per_step": "one"}, [1, 0]), (delay(0.0, -0.0), "nir", {}, 0),
    ],
)  # fmt: skip
def test_seconds_of_every_shape_are_steps_of_dt(tmp_path, node, dialect, rules, wanted):
    assert steps(read(tmp_path, chain(node, IDENTITY, lif(tau=f32(2.0))), dialect=dialect, **rules)) == {
        "n0": wanted
    }


GIVE = "Give the dt that the network was trained with (--dt), or write the delays as whole steps of it."


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (delay(0.0, 2.5e-4), f"n0: delay[1] is 0.00025 s / dt 0.0001 s = 2.5 steps, no whole number of steps. {GIVE}"),
        (delay(1.0001e-4, shape=()), f"n0: delay is 0.00010001 s / dt 0.0001 s = 1.0001 steps, no whole number of steps. {GIVE}"),
        (delay(-1e-4, 0.0), f"n0: delay[0] is -0.0001 s / dt 0.0001 s = -1 steps, negative. {GIVE}"),
        (delay(0.0, np.nan, shape=(1, 2)), f"n0: delay[0, 1] is nan s / dt 0.0001 s = nan steps, no number. {GIVE}"),
        (delay(np.inf, 0.0), f"n0: delay[0] is inf s / dt 0.0001 s = inf steps, no number. {GIVE}"),
        (delay(1.7e308, 0.0), f"n0: delay[0] is 1.7e+308 s / dt 0.0001 s = inf steps, no number. {GIVE}"),
        (delay(0.1001, 0.0), "n0: a delay of 1001 steps (delay / dt 0.0001 s); at most 1,000 are allowed."),
        (delay(1e300, 0.0), "n0: a delay of 1e+304 steps (delay / dt 0.0001 s); at most 1,000 are allowed."),
        (delay(0.0, 0.0, 0.0), "n0: delays of shape (3,) for 1 channels of 1 x 2; allowed are one value, one per channel (1, 1, 1), or one per position (1, 1, 2)."),
        ({"type": "Delay"}, "n0: a Delay without 'delay'."),
        ({"type": "Delay", "delay": "long"}, "n0: a Delay that is not whole (could not convert string to float: 'long')."),
    ],
)  # fmt: skip
def test_delays_that_are_none_are_refused(tmp_path, node, message):
    with pytest.raises(CompileError) as error:
        read(tmp_path, chain(node, IDENTITY, lif()))
    assert str(error.value) == f"{tmp_path / 'x.nir'}: {message}"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((IDENTITY, delay(1e-4, 2e-4), lif()),
         "n1: delays the currents of n0 by numbers that differ; engines delay values, before the weights. Give one number for all, or put the "
         "delay before the weights."),
        (({"type": "Affine", "weight": np.eye(2), "bias": f32(0, 1e-9)}, delay(1e-4), lif()),
         "n1: delays the currents of n0, and with them its bias, which would begin late; engines add a bias in every step. Put the delay "
         "before the weights, or leave the bias out."),
        ((IDENTITY, delay(0.1001), lif()), "n1: a delay of 1001 steps (delay / dt 0.0001 s); at most 1,000 are allowed."),
        ((IDENTITY, lif(), IDENTITY, delay(1e-4)),
         "n3: a delay that neurons do not follow; engines read the spikes of the last neurons as they send them. Leave it out, and let the "
         "recordings end as many steps earlier."),
        ((IDENTITY, lif(), delay(1e-4)),
         "n2: a delay that neurons do not follow; engines read the spikes of the last neurons as they send them. Leave it out, and let the "
         "recordings end as many steps earlier."),
        ((IDENTITY, lif(), delay(1e-4), IDENTITY),
         "n2: a delay that neurons do not follow; engines read the spikes of the last neurons as they send them. Leave it out, and let the "
         "recordings end as many steps earlier."),
        ((delay(1e-4), IDENTITY), "the network has no spiking neurons, so there is nothing to simulate."),
        ((IDENTITY, {"type": "LI", "tau": f32(2e-4)}, delay(1e-4)), "n2: follows n0.li, which sends no spikes; membranes are read at the end."),
    ],
)  # fmt: skip
def test_delays_in_other_places_are_refused(tmp_path, nodes, message):
    with pytest.raises(CompileError) as error:
        read(tmp_path, chain(*nodes))
    assert message in [reason.removeprefix(f"{tmp_path / 'x.nir'}: ") for reason in error.value.reasons]


def late(currents, count):
    """Return currents ``[T, N]`` as NIR's Delay gives them: 0 before."""
    return np.concatenate([np.zeros_like(currents[:count]), currents])[: len(currents)]


def spiking(currents, back=0.0, threshold=1.0):
    """Return the spikes of `lif` for currents ``[T, N]``, with what they send times ``back`` a step later, as they are written."""
    u = s = np.zeros(currents.shape[1])
    spikes = []
    for x in currents:
        u = u + (x + back * s - u) / 2
        s = (u > threshold) * 1.0
        u = np.where(s > 0, 0, u)
        spikes.append(s)
    return np.array(spikes)


RNG = np.random.default_rng(7)
WEIGHTS, OTHERS = (RNG.integers(-8, 24, (3, size)) / 8 for size in (2, 3))
VALUES = RNG.integers(0, 4, (40, 2))
LINEAR = {"type": "Linear", "weight": WEIGHTS}
SHOWN = {"a": {"type": "Input", "shape": [2]}, "b": {"type": "Output", "shape": [3]}}


def kinds(network):
    return [node.kind for node in network.graph.nodes]


@pytest.mark.parametrize(("between", "currents"), [
    ((LINEAR, delay(3e-4)), late(VALUES @ WEIGHTS.T, 3)),
    ((LINEAR, delay(3e-4, 3e-4, 3e-4)), late(VALUES @ WEIGHTS.T, 3)),
    ((LINEAR, delay(0.0)), VALUES @ WEIGHTS.T),
    ((LINEAR, delay(5e-3)), 0 * (VALUES @ WEIGHTS.T)),
    (({"type": "Affine", "weight": WEIGHTS, "bias": np.zeros(3)}, delay(2e-4)), late(VALUES @ WEIGHTS.T, 2)),
    ((LINEAR, {"type": "Scale", "scale": f32(0.5, 1, 2)}, delay(1e-4)), late(VALUES @ WEIGHTS.T * [0.5, 1, 2], 1)),
    ((LINEAR, delay(1e-4), {"type": "Scale", "scale": f32(0.5, 1, 2)}), late(VALUES @ WEIGHTS.T * [0.5, 1, 2], 1)),
    ((delay(1e-4, 2e-4), LINEAR, delay(2e-4)), late(np.stack([late(VALUES[:, k], k + 1) for k in (0, 1)], 1) @ WEIGHTS.T, 2)),
    # A bias behind the delay acts from the first step on.
    ((LINEAR, delay(3e-4), {"type": "Affine", "weight": OTHERS, "bias": f32(0.5, 3.0, -1.0)}), late(VALUES @ WEIGHTS.T, 3) @ OTHERS.T + [0.5, 3, -1]),
    ((LINEAR, delay(1e-4), {"type": "Linear", "weight": OTHERS}, delay(1e-4)), late(VALUES @ WEIGHTS.T @ OTHERS.T, 2)),
])  # fmt: skip
def test_one_delay_of_all_currents_is_one_of_the_values(tmp_path, between, currents):
    """Currents as they are written, weights first; only where nothing arrives in time there are no spikes."""
    nodes = {f"n{k}": node for k, node in enumerate((*between, lif()))}
    network = read(tmp_path, {"a": SHOWN["a"], **nodes, "b": SHOWN["b"]})
    assert kinds(network)[-3:] == ["dense", "lif", "counts"]
    found = interpret(network.graph, VALUES.reshape(1, 40, 1, 1, 2)).spikes[0].reshape(40, 3)
    assert np.array_equal(found, spiking(currents))
    assert found.sum() > 20 or not currents.any()


def test_currents_of_maps_are_delayed_before_their_pool(tmp_path):
    """A pool before the weights stands before the delay; spikes are those of weights first."""
    conv = {
        "type": "Conv2d", "input_shape": [1, 2], "weight": np.arange(3.0).reshape(3, 1, 1, 1), "bias": np.zeros(3), "stride": 1,
        "padding": 0, "dilation": 1, "groups": 1,
    }  # fmt: skip
    pool = {"type": "SumPool2d", "kernel_size": [1, 2], "stride": [1, 2], "padding": 0}
    nodes = {
        "a": {"type": "Input", "shape": [1, 1, 2]}, "n": lif(), "p": pool, "c": conv, "d": delay(2e-4), "m": lif(), "b": {"type": "Output", "shape": [3, 1, 1]},
    }  # fmt: skip
    network = read(tmp_path, nodes)
    assert kinds(network) == ["input", "conv2d", "lif", "sum_pool", "delay", "conv2d", "lif", "counts"]
    found = interpret(network.graph, VALUES.reshape(1, 40, 1, 1, 2))
    first = spiking(VALUES)
    wanted = spiking(late(first.sum(1)[:, None] * np.arange(3.0), 2))
    assert np.array_equal(found.spikes[1].reshape(40, 3), wanted) and wanted.any()


def test_delayed_currents_beside_a_way_back_and_a_skip(tmp_path):
    """What comes back, and what skips, is not delayed; nor is a skip's bias."""
    skip = {"type": "Affine", "weight": OTHERS[:, :2], "bias": f32(0.25, 0.5, 0.75)}
    nodes = {
        "a": SHOWN["a"], "w": LINEAR, "d": delay(2e-4), "n": lif(), "r": {"type": "Scale", "scale": f32(0.5)}, "s": skip, "b": SHOWN["b"],
    }  # fmt: skip
    edges = [("a", "w"), ("w", "d"), ("d", "n"), ("n", "r"), ("r", "n"), ("n", "b"), ("a", "s"), ("s", "n")]
    network = read(tmp_path, nodes, edges)
    wanted = spiking(late(VALUES @ WEIGHTS.T, 2) + VALUES @ OTHERS[:, :2].T + [0.25, 0.5, 0.75], back=0.5)
    assert kinds(network) == ["input", "delay", "recurrent", "lif", "counts"]
    found = interpret(network.graph, VALUES.reshape(1, 40, 1, 1, 2)).spikes[0].reshape(40, 3)
    assert np.array_equal(found, wanted) and wanted.any() and not wanted.all()
    # A bias of the delayed way would begin with it.
    biased = {**nodes, "w": {"type": "Affine", "weight": WEIGHTS, "bias": f32(0, 0, 1)}}
    with pytest.raises(CompileError, match="d: delays the currents of w, and with them its bias"):
        read(tmp_path, biased, edges)


@pytest.mark.parametrize("name", ["d", "z"])
def test_of_two_ways_one_may_be_delayed(tmp_path, name):
    """Whatever the nodes are called: the delayed way is the layer's own input, the other a skip."""
    nodes = {
        "a": {"type": "Input", "shape": [1]},
        name: delay(1e-4),
        "w": {"type": "Linear", "weight": np.ones((1, 1))},
        "n": lif(),
        "b": {"type": "Output", "shape": [1]},
    }
    network = read(tmp_path, nodes, [("a", name), (name, "n"), ("a", "w"), ("w", "n"), ("n", "b")])
    # u += (x[t - 1] + x[t] - u) / 2: 1 | 0.5 + 1, a spike | 0
    found = interpret(network.graph, np.array([2, 0, 0, 0, 0, 0]).reshape(1, 6, 1, 1, 1))
    assert found.spikes[0].reshape(6).tolist() == [0, 1, 0, 0, 0, 0]
    both = {**nodes, "w": delay(2e-4)}
    with pytest.raises(
        CompileError,
        match="delays what goes from the input to n, as another way there does; engines delay one of",
    ):
        read(tmp_path, both, [("a", name), (name, "n"), ("a", "w"), ("w", "n"), ("n", "b")])


def test_a_delay_in_a_loop_is_refused_by_name(tmp_path):
    nodes = {**ENDS, "n": lif(), "d": delay(1e-4)}
    with pytest.raises(
        CompileError, match=r"n: its spikes come back by d -> n -> d; engines compute one way back"
    ):
        read(tmp_path, nodes, [("a", "n"), ("n", "d"), ("d", "n"), ("n", "b")])


def test_a_pool_of_the_delayed_input_is_one_of_the_input(tmp_path):
    pool = {"type": "SumPool2d", "kernel_size": 2, "stride": 2, "padding": 0}
    nodes = {
        **chain(delay(1e-4), pool, lif()),
        "a": {"type": "Input", "shape": [1, 4, 4]},
        "b": {"type": "Output", "shape": [1, 2, 2]},
    }
    network = read(tmp_path, nodes)
    assert [node.kind for node in network.graph.nodes] == ["input", "delay", "conv2d", "lif", "counts"]


def test_factors_pools_and_nested_graphs_around_delays(tmp_path):
    """A factor of each value goes past the delay into the weights; a pool before it stands where it stood."""
    conv = {
        "type": "Conv2d", "input_shape": [4, 4], "weight": np.ones((2, 1, 1, 1)), "bias": np.zeros(2), "stride": 1, "padding": 0,
        "dilation": 1, "groups": 1,
    }  # fmt: skip
    inner = {
        "nodes": {"in": {"type": "Input", "shape": [2, 2, 2]}, "late": delay(1e-4, 2e-4, shape=(2, 1, 1)), "out": {"type": "Output", "shape": [2, 2, 2]}},
    }  # fmt: skip
    weights = {"type": "Linear", "weight": np.ones((2, 8))}
    nodes = {
        "a": {"type": "Input", "shape": [1, 4, 4]}, "s": {"type": "Scale", "scale": f32(3.0)}, "d": delay(*np.arange(16) * 1e-4, shape=(1, 4, 4)),
        "c": conv, "n": lif(), "p": {"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 0}, "g": inner,
        "f": {"type": "Flatten", "start_dim": 0, "end_dim": -1}, "e": delay(1e-4), "w": weights, "m": lif(), "b": ENDS["b"],
    }  # fmt: skip
    network = read(tmp_path, nodes)
    assert [node.kind for node in network.graph.nodes] == [
        "input", "delay", "conv2d", "lif", "avg_pool", "delay", "delay", "dense", "lif", "counts",
    ]  # fmt: skip
    assert list(steps(network).values()) == [list(range(16)), [1, 2], 1]
    # 3 of the factor, half of the neuron's gain.
    assert np.allclose(network.graph.nodes[2].weight, 1.5)


def program():
    """Return a program with delays of every form around a convolution, a pool and a fully connected layer."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return rng.integers(-3, 8, shape).astype(np.int8)

    layers = [
        ProgramDelay("d0", rng.integers(0, 3, 16).astype(np.int32)), ConvLif("c", weights(3, 1, 2, 2), 4, (1, 1), (0, 0), tiny_lif(3)),
        ProgramDelay("d1", np.array([2, 0, 1], np.int32)), SumPool("pool", 3), ProgramDelay("d2", 1),
        DenseLif("e", weights(4, 3), 4, tiny_lif(4)), ProgramDelay("d3", np.array([0, 2, 1, 0], np.int32)),
        DenseLif("f", weights(2, 4), 4, tiny_lif(2)),
    ]  # fmt: skip
    return tiny_program(layers, tiny_readout(2), (1, 4, 4), time_bins=6)


def test_our_files_hold_delays_and_read_back(tmp_path):
    own = program()
    export = export_nir(own, tmp_path / "p.nir")
    framing = Framing(time_bins=6, clip=4)
    network = from_nir(export.path, framing=framing)
    assert steps(network) == {
        layer.name: layer.steps if isinstance(layer.steps, int) else layer.steps.tolist() for layer in own.layers if layer.kind == "delay"
    }  # fmt: skip
    assert export.spikes > 50
    # Membranes of 16 bits after the point instead of whole numbers: the same network, compiled again.
    again = compile(network, load_profile("cortex_m"), neuron="profile").program
    assert [layer.kind for layer in again.layers] == [layer.kind for layer in own.layers]
    shown = Frames.from_dense(np.random.default_rng(1).integers(0, 5, (4, 6, 1, 4, 4)))
    assert reference.run(again, shown).spikes.sum() > 0


def test_what_the_nir_package_writes_is_read(tmp_path):
    """Delays as its own node holds them: in seconds, one for each value."""
    nir = pytest.importorskip("nir", reason="nir is not installed")

    def spiking(count):
        ones = np.ones(count)
        return nir.LIF(tau=2e-4 * ones, r=ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones)

    graph = nir.NIRGraph.from_list(
        nir.Delay(np.array([0.0, 1e-4, 3e-4])), nir.Affine(np.ones((2, 3)), np.zeros(2)), spiking(2), nir.Delay(np.array([2e-4, 0.0])),
        nir.Linear(np.ones((2, 2))), spiking(2),
    )  # fmt: skip
    nir.write(tmp_path / "package.nir", graph)
    network = from_nir(tmp_path / "package.nir", dialect="nir", framing=Framing(time_bins=6, clip=4))
    assert list(steps(network).values()) == [[0, 1, 3], [2, 0]]
    export = export_nir(program(), tmp_path / "own.nir")
    theirs = nir.read(export.path)
    delays = {name: node.delay for name, node in theirs.nodes.items() if isinstance(node, nir.Delay)}
    assert {name: values.shape for name, values in delays.items()} == {
        "d0": (1, 4, 4),
        "d1": (3, 3, 3),
        "d2": (3, 1, 1),
        "d3": (4,),
    }
    assert np.array_equal(np.round(delays["d3"] / 1e-4), [0, 2, 1, 0])
    nir.write(tmp_path / "again.nir", theirs)
    read_again = from_nir(tmp_path / "again.nir", framing=Framing(time_bins=6, clip=4))
    assert steps(read_again) == steps(from_nir(export.path, framing=Framing(time_bins=6, clip=4)))
