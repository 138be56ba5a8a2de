"""Pools on the way past layers of neurons, and of sums of layers: they go into the weights behind them."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("h5py", reason="NIR files are HDF5")

from hypothesis import given, settings
from hypothesis import strategies as st
from nir_files import lif, write
from test_import_skips import affine, conv, convolved, drawn, ends, plain, pooled

from sastdeploy import CompileError, Framing, compile, from_nir, load_profile, verify
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Conv2d, Dense
from sastdeploy.exchange.parts import Pooling
from sastdeploy.exchange.pooled_weights import before_pool

FLAT = {"type": "Flatten", "start_dim": 0, "end_dim": -1}


def pool(size, stride, padding=0, kind="SumPool2d"):
    return {"type": kind, "kernel_size": size, "stride": stride, "padding": padding}


def network():
    """A sum of two maps that is pooled, a pooled map added as it is, and pools before a convolution and a full connection."""
    eighths = drawn(7)
    nodes = {
        **ends(2, 6, 6, outputs=3), "c1": conv(eighths(4, 2, 3, 3)), "n1": lif(), "c2": conv(eighths(4, 4, 3, 3)), "n2": lif(),
        "p": pool(2, 2), "c3": conv(eighths(4, 4, 3, 3) / 4, bias=eighths(4)), "n3": lif(), "q": pool(2, 2, kind="AvgPool2d"),
        "r": pool(3, 1, 1), "c4": conv(eighths(4, 2, 2, 2) / 4, 0, 2), "s": pool(3, 2, 1), "flat1": FLAT, "flat2": FLAT,
        "w1": affine(eighths(3, 36) / 2, eighths(3)), "w2": affine(eighths(3, 36) / 8, eighths(3)), "n4": lif(),
    }  # fmt: skip
    chain = ["a", "c1", "n1", "c2", "n2", "p", "c3", "n3", "flat1", "w1", "n4", "b"]
    ways = [("n1", "p"), ("n2", "q"), ("q", "n3"), ("a", "r"), ("r", "c4"), ("c4", "n3"), ("n1", "s"), ("s", "flat2"), ("flat2", "w2"), ("w2", "n4")]  # fmt: skip
    return nodes, [*pairwise(chain), *ways]


@pytest.fixture
def read(tmp_path):
    nodes, edges = network()
    path = write(tmp_path / "x.nir", nodes, edges)
    return nodes, edges, from_nir(path, dialect="nir", framing=Framing(time_bins=6, clip=3))


def test_every_spike_is_that_of_the_plain_computation(read):
    nodes, edges, imported = read
    shown = np.random.default_rng(1).integers(0, 4, (3, 6, 2, 6, 6))
    found = interpret(imported.graph, shown)
    for n, recording in enumerate(shown):
        wanted = plain(nodes, edges, recording.astype(np.float64))
        for neuron, spikes in zip(imported.semantics["neurons"], found.spikes, strict=True):
            name = neuron["name"]
            assert np.array_equal(spikes[n].reshape(wanted[name].shape), wanted[name]), name
            assert wanted[name].any()


def test_its_program_is_equal_on_every_engine(read):
    program = compile(read[2], load_profile("cortex_m"), neuron="profile").program
    assert sum(len(layer.further) for layer in program.layers) == 4
    found = verify(program, random=4)
    assert found.equal, found.first_difference


def test_windows_by_hand():
    # Row 0 alone in window 0, row 1 in both, rows 2 and 3 (the last beyond any window's stride) in window 1.
    node = Dense("w", np.array([[10.0, 1.0]]), np.zeros(1))
    sums = before_pool(node, Pooling("p", (2, 1), (1, 1), (0, 0), mean=False), (1, 3, 1))
    assert sums.weight.tolist() == [[10.0, 11.0, 1.0]]
    means = before_pool(node, Pooling("p", (2, 1), (2, 1), (0, 0), mean=True), (1, 5, 1))
    assert means.weight.tolist() == [[5.0, 5.0, 0.5, 0.5, 0.0]]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_weights_before_a_pool_give_what_those_behind_it_give(data):
    number = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    size, kernel, stride = number(3, 9), number(1, 3), number(1, 3)
    padding, own, step, pad = number(0, kernel // 2), number(1, 2), number(1, 2), number(0, 1)
    rng = np.random.default_rng(number(0, 99))
    x = rng.integers(0, 3, (2, size, size)).astype(float)
    behind = pooled(pool(kernel, stride, padding), x)
    rows = behind.shape[1]
    given = Pooling("p", (kernel, kernel), (stride, stride), (padding, padding), mean=False)
    dense = Dense("w", rng.integers(-3, 4, (2, behind.size)).astype(float), np.zeros(2))
    assert np.array_equal(
        before_pool(dense, given, x.shape).weight @ x.reshape(-1), dense.weight @ behind.reshape(-1)
    )
    if rows + 2 * pad < own:
        return
    weight = rng.integers(-3, 4, (2, 2, own, own)).astype(float)
    node = Conv2d("c", weight, np.zeros(2), stride=(step, step), padding=(pad, pad))
    try:
        ours = before_pool(node, given, x.shape)
    except CompileError:
        # Windows side by side that cover the map are never refused.
        assert not (kernel == stride and padding == 0 and size % kernel == 0)
        return
    there = convolved(
        {"weight": ours.weight, "stride": ours.stride[0], "padding": ours.padding[0], "bias": np.zeros(2)}, x
    )
    assert np.array_equal(
        there, convolved({"weight": weight, "stride": step, "padding": pad, "bias": np.zeros(2)}, behind)
    )


def test_what_no_convolution_gives_is_refused(tmp_path):
    ones = conv(np.ones((1, 1, 3, 3)))
    nodes = {
        **ends(1, 5, 5, outputs=4), "c": ones, "n": lif(), "d": ones, "m": lif(), "p": pool(2, 2), "e": ones, "k": lif(), "f": FLAT,
    }  # fmt: skip
    edges = [*pairwise(["a", "c", "n", "d", "m", "p", "e", "k", "f", "b"]), ("n", "p")]
    with pytest.raises(CompileError) as caught:
        from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir")
    assert caught.value.reasons == (
        f"{tmp_path / 'x.nir'}: p: pools 1 x 5 x 5 to 1 x 2 x 2 on a way past a layer, before e with padding 1 x 1; engines pool only what "
        "goes from one layer to the next, and no convolution gives the same. Pool windows side by side that cover the whole map, or let the "
        "sum go to neurons before the pool.",
    )


def test_weights_that_grow_too_many_are_refused():
    node = Dense("w", np.zeros((4096, 1)), np.zeros(4096))
    whole = Pooling("p", (200, 200), (200, 200), (0, 0), mean=False)
    with pytest.raises(
        CompileError,
        match="p: a pool on a way past a layer goes into the weights behind it, which makes 163,840,000; at most",
    ):
        before_pool(node, whole, (1, 200, 200))
