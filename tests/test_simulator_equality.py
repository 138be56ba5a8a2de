"""Every engine gives the same integers: spikes, membranes, counts, overflows, operations, scores.

``SASTDEPLOY_PROGRAMS`` sets the number of random programs.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, programs

from sastdeploy.simulator import engine
from sastdeploy.simulator.result import differences

PROGRAMS = int(os.environ.get("SASTDEPLOY_PROGRAMS", "250"))
RANDOM = settings(
    max_examples=PROGRAMS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def lif_layers(program):
    return tuple(layer.name for layer in program.layers if layer.lif is not None)


def equal_to_the_reference(program, frames, **options):
    names = lif_layers(program)
    expected = engine.run(program, frames, engine="reference", trace=names)
    result = engine.run(program, frames, trace=names, **options)
    assert differences(expected, result) == []


@RANDOM
@given(st.data())
def test_numba_equals_the_reference(data):
    program = data.draw(programs())
    frames = data.draw(frames_for(program))
    threads = data.draw(st.sampled_from((1, 2)))
    chunk = data.draw(st.sampled_from((None, 1, 2)))
    equal_to_the_reference(program, frames, engine="numba", threads=threads, chunk=chunk)


@settings(RANDOM, max_examples=max(5, PROGRAMS // 5))
@given(st.data())
def test_onnxruntime_equals_the_reference(data):
    pytest.importorskip("sastdeploy.simulator.onnxruntime_engine")
    program = data.draw(programs())
    frames = data.draw(frames_for(program))
    equal_to_the_reference(program, frames, engine="onnxruntime", threads=1)


@settings(RANDOM, max_examples=max(5, PROGRAMS // 10))
@given(st.data())
def test_a_trace_changes_nothing_else(data):
    program = data.draw(programs())
    frames = data.draw(frames_for(program))
    plain = engine.run(program, frames, threads=1)
    traced = engine.run(program, frames, threads=1, trace=lif_layers(program))
    assert differences(plain, traced) == ["traces"]
