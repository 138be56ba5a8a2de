"""Any network on any profile: a verified program that follows the profile, or a refusal; never anything else."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from profile_strategies import LOIHI, PROFILES
from small_networks import CONV, DENSE, POOL, checkpoint_of, labelled

from sastdeploy.compiler.compile import compile
from sastdeploy.errors import CompileError
from sastdeploy.program.check import check_program
from sastdeploy.program.fixedpoint import weight_limit
from sastdeploy.program.limits import worst_sums
from sastdeploy.program.records import SumPool
from sastdeploy.simulator import reference


@settings(max_examples=150, deadline=None)
@given(
    PROFILES,
    st.sampled_from([DENSE, CONV, POOL]),
    st.integers(0, 2**16),
    st.sampled_from([1e-38, 1e-6, 0.1, 0.6, 3.0, 100.0, 1e30]),
    st.integers(1, 127),
    st.sampled_from([1.0, 1.7, 1e9]),
)
@example(LOIHI, DENSE, 0, 0.6, 3, 1.0)
def test_a_verified_program_or_a_refusal(profile, architecture, seed, spread, c_clip, loose):
    checkpoint = checkpoint_of(architecture, seed, spread, c_clip=c_clip, divisor=c_clip * loose)
    try:
        program = compile(checkpoint, profile).program
    except CompileError as error:
        assert len(str(error)) > 40 and all(reason.count("[pass ") == 1 for reason in error.reasons)
        return
    check_program(program)
    assert all(np.isfinite(layer["gain_relative_error"]) for layer in program.costs["layers"])
    report = {layer["name"]: layer for layer in program.costs["layers"]}
    largest = c_clip
    for layer in program.layers:
        if isinstance(layer, SumPool):
            largest *= layer.kernel**2
            continue
        lif = layer.lif
        assert (lif.membrane, lif.overflow, lif.leak_rounding) == (
            profile.membrane,
            profile.overflow,
            profile.leak_rounding,
        )
        assert (lif.spike_test, lif.reset, lif.reset_delay) == (
            profile.spike_test,
            profile.reset,
            profile.reset_delay,
        )
        assert np.abs(layer.weight.astype(int)).max() <= weight_limit(profile.weight_bits)
        bits = report[layer.name]["accumulator_bits"]
        assert bits <= profile.accumulator_bits
        assert worst_sums(layer.weight, largest).max() <= 1 << (bits - 1)
        if profile.scale == "power_of_two":
            assert all(m == 1 or r == 0 for m, r in zip(lif.multiplier, lif.shift))
        largest = 1


@settings(max_examples=25, deadline=None)
@given(PROFILES, st.sampled_from([DENSE, CONV, POOL]), st.integers(0, 2**16))
def test_compiled_programs_run(profile, architecture, seed):
    checkpoint = checkpoint_of(architecture, seed)
    try:
        program = compile(checkpoint, replace(profile, accumulator_bits=32)).program
    except CompileError:
        return
    result = reference.run(program, labelled(architecture, 4, seed).frames)
    assert result.scores.shape == (4, architecture.classes)
