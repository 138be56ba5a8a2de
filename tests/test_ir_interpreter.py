"""The interpreter is the graph's meaning: worked out by hand, and held against the hard torch network."""

from dataclasses import replace

import numpy as np
import pytest
from small_networks import CONV, DENSE, POOL, checkpoint_of, labelled

from sastdeploy.compiler.compile import PASSES, run_passes
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Dense, Input, Lif, Readout, run_lif
from sastdeploy.compiler.passes.fold_scales import fold_scales
from sastdeploy.compiler.passes.quantize_weights import quantize_weights
from sastdeploy.compiler.profiles import load_profile

TIE = 1e-9


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda a: a.name)
@pytest.mark.parametrize("seed", range(3))
def test_every_spike_is_the_hard_torch_networks(architecture, seed):
    inference = pytest.importorskip("sastdeploy.training.inference")
    checkpoint = checkpoint_of(architecture, seed, spread=2.0 if architecture is POOL else 0.6, divisor=4.0)
    frames = labelled(architecture, 40, seed).frames
    meaning = interpret(graph_from_checkpoint(checkpoint), frames.dense())
    torch_run = inference.run(checkpoint, frames, hard=True, record=True)
    assert len(meaning.spikes) == len(torch_run.spikes) == 2
    for i, (spikes, membranes) in enumerate(zip(meaning.spikes, meaning.membranes)):
        ours = spikes.reshape(torch_run.spikes[i].shape)
        distance = np.abs(torch_run.membranes[i] - 1.0)
        assert distance.min() > TIE, "a tie: choose another seed"
        assert np.array_equal(ours, torch_run.spikes[i])
        assert ours.any() and not ours.all()
        np.testing.assert_allclose(membranes.reshape(ours.shape), torch_run.membranes[i], rtol=0, atol=1e-12)
    np.testing.assert_allclose(meaning.scores, torch_run.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda a: a.name)
def test_folding_keeps_the_meaning(architecture):
    graph = graph_from_checkpoint(checkpoint_of(architecture, divisor=7.0))
    folded = fold_scales(graph, load_profile("loihi_int8"))
    counts = labelled(architecture).frames.dense()
    before, after = interpret(graph, counts), interpret(folded, counts)
    for a, b in zip(before.spikes, after.spikes):
        assert np.array_equal(a, b)
    np.testing.assert_allclose(after.scores, before.scores, rtol=0, atol=1e-12)


def test_quantizing_changes_the_meaning_only_through_the_weights():
    loihi = load_profile("loihi_int8")
    folded = fold_scales(graph_from_checkpoint(checkpoint_of(DENSE)), loihi)
    quantized = quantize_weights(folded, loihi)
    # The same graph written with the dequantized weights as its real ones.
    written = folded.replace(
        tuple(
            replace(node, weight=after.effective_weight) if isinstance(node, (Dense, Readout)) else node
            for node, after in zip(folded.nodes, quantized.nodes)
        )
    )
    counts = labelled(DENSE).frames.dense()
    a, b = interpret(quantized, counts), interpret(written, counts)
    assert np.array_equal(a.scores, b.scores)
    assert all(np.array_equal(x, y) for x, y in zip(a.membranes, b.membranes))


def one_neuron(**changes) -> Graph:
    """Return one input with divisor 2, weight 3, bias -0.25, theta 1, alpha 0.5; scores 2 mean(s) + 0.5."""
    return Graph(
        "one",
        (
            Input("input", (1, 1, 1), 4, 2, 2.0),
            Dense("fc", np.array([[3.0]]), np.array([-0.25])),
            Lif("fc.lif", 0.5, np.array([1.0]), **changes),
            Readout("readout", np.array([[2.0]]), np.array([0.5])),
        ),
    )


# Counts 1 5 0 0 become x = 0.5 1 0 0 (5 is clipped to 2), so I = 1.25 2.75 -0.25 -0.25.
HAND = {
    # u: 1.25 | .625 + 2.75 - 1 = 2.375 | 1.1875 - .25 - 1 = -.0625 | -.03125 - .25 = -.28125
    "subtract, delayed": ({}, [1.25, 2.375, -0.0625, -0.28125], [1, 1, 0, 0]),
    # u after the reset at once: 1.25 - 1 = .25 | .125 + 2.75 - 1 = 1.875 | .9375 - .25 = .6875 | .34375 - .25 = .09375
    "subtract, at once": ({"reset_delay": 0}, [0.25, 1.875, 0.6875, 0.09375], [1, 1, 0, 0]),
    # u: 1.25 | 0 + 2.75 | 0 - .25 | -.125 - .25
    "zero, delayed": ({"reset": "zero"}, [1.25, 2.75, -0.25, -0.375], [1, 1, 0, 0]),
    # u after the reset at once: 0 | 0 | -.25 | -.375
    # It drops the whole second step: 0, then -0.25 and -0.125 - 0.25.
    "refractory": ({"reset": "refractory"}, [1.25, 0.0, -0.25, -0.375], [1, 0, 0, 0]),
    "zero, at once": ({"reset": "zero", "reset_delay": 0}, [0.0, 0.0, -0.25, -0.375], [1, 1, 0, 0]),
    # u: 1.25 | .625 + 2.75 = 3.375 | 1.6875 - .25 = 1.4375 | .71875 - .25 = .46875
    "none": ({"reset": "none"}, [1.25, 3.375, 1.4375, 0.46875], [1, 1, 1, 0]),
}


@pytest.mark.parametrize("case", HAND)
def test_one_neuron_by_hand(case):
    changes, membranes, spikes = HAND[case]
    meaning = interpret(one_neuron(**changes), np.array([1, 5, 0, 0]).reshape(1, 4, 1, 1, 1))
    assert meaning.membranes[0].ravel().tolist() == membranes
    assert meaning.spikes[0].ravel().tolist() == spikes
    assert meaning.scores.tolist() == [[2 * sum(spikes) / 4 + 0.5]]


@pytest.mark.parametrize(("test", "spikes"), [(">=", [1, 0]), (">", [0, 0])])
def test_the_spike_test_decides_a_tie(test, spikes):
    node = Lif("l", 0.5, np.array([1.0]), spike_test=test)
    s, _ = run_lif(node, np.array([1.0, -2.0]).reshape(1, 2, 1, 1, 1))
    assert s.ravel().tolist() == spikes


def test_all_passes_leave_a_graph_that_answers_nearly_the_same():
    graph = graph_from_checkpoint(checkpoint_of(DENSE))
    compiled = run_passes(graph, load_profile("loihi_int8"), PASSES)
    counts = labelled(DENSE, 100).frames.dense()
    a, b = interpret(graph, counts), interpret(compiled, counts)
    assert np.mean(a.scores.argmax(1) == b.scores.argmax(1)) > 0.9
