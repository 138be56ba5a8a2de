"""A network's spike test on hardware with the other one: the same spikes, wherever integers can hold it."""

from dataclasses import replace

import numpy as np
import pytest

from sastdeploy import CompileError, InputError, compile
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Counts, Dense, Lif
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from tests.neuron_checks import network, profile

SHOWN = np.random.default_rng(0).integers(0, 4, (6, 5, 1, 2, 4)) // 3


def changed(**changes):
    """Return a network of halves, whose membranes meet their threshold of 1 often."""
    own = network(None)
    fits = {
        Counts: lambda node: node,
        Dense: lambda node: replace(node, weight=np.round(node.weight * 2) / 2, bias=node.bias * 0),
        Lif: lambda node: replace(node, **changes),
    }
    return replace(own, graph=own.graph.map(fits))


def spikes_of(program):
    result = reference.run(program, Frames.from_dense(SHOWN), trace=("0", "1"))
    return [result.traces[name].spikes for name in ("0", "1")]


@pytest.mark.parametrize("reset", ["zero", "none"])
@pytest.mark.parametrize(("test", "offered", "threshold"), [(">", ">=", 65537), (">=", ">", 65535)])
def test_the_other_test_one_step_further_gives_the_same_spikes(reset, test, offered, threshold):
    own = changed(spike_test=test, reset=reset)
    chip = profile(spike_test=offered, reset=reset)
    compilation = compile(own, chip)
    lif = compilation.program.layers[0].lif
    assert (lif.spike_test, lif.threshold[0], compilation.report.warnings) == (offered, threshold, ())
    meant = [spikes.reshape(6, 5, -1) for spikes in interpret(own.graph, SHOWN).spikes]
    assert all(np.array_equal(a, b) for a, b in zip(spikes_of(compilation.program), meant))
    followed = compile(own, chip, neuron="profile")
    assert any("spike test" in warning for warning in followed.report.warnings)
    assert not all(np.array_equal(a, b) for a, b in zip(spikes_of(followed.program), meant))


def test_a_reset_by_subtraction_holds_the_threshold_where_it_is():
    own = changed(spike_test=">")
    with pytest.raises(CompileError, match=r"spike test '>'; loihi_int8 does '>=' \(neuron\.spike_test\)"):
        compile(own, profile())
    with pytest.raises(InputError, match=r"lif 0\.lif: threshold step 1\.$"):
        changed(threshold_step=1)
