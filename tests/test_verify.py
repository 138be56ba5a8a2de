"""verify: equal engines are called equal, and a fault planted into any of them is found and named."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_networks import CONV, POOL, checkpoint_of
from tiny_programs import one_neuron

from sastdeploy import Frames, InputError, SimulationError, compile, load_program, save_program, verify
from sastdeploy.cli import main as main_module
from sastdeploy.exchange.c99 import source as c99
from sastdeploy.program.layers.lif import lif_step
from sastdeploy.simulator import onnxruntime_engine, reference
from sastdeploy.simulator.numba_engine import chunks, plan
from sastdeploy.verification import compiled_c, engines, inputs
from tests import equal

NUMBA = ("numba", "numba, threads", "numba, no traces", "numba, wide")
needs_compiler = pytest.mark.skipif(compiled_c.compiler() is None, reason="no C compiler")


@pytest.fixture(autouse=True)
def without_verilog(monkeypatch):
    """Its simulation is slow; tests/test_export_verilog.py runs it and plants faults into it."""
    monkeypatch.setattr(engines, "simulator", lambda: None)


@pytest.fixture(scope="module")
def program():
    return compile(checkpoint_of(POOL), "aggressive_int4").program


def wrong(program):
    """Return the program with a bias of the first layer one higher."""
    first = program.layers[0]
    bias = first.lif.bias + np.eye(1, len(first.lif.bias), dtype=np.int32)[0]
    return replace(program, layers=(replace(first, lif=replace(first.lif, bias=bias)), *program.layers[1:]))


def more(kept, array):
    """Add one to an array's first number, in place: kernels need its memory as it lies; return ``kept``."""
    array[0] += 1
    return kept


def differing(found):
    return tuple(proof.engine for proof in found.engines if proof.difference)


def test_all_engines_are_equal_and_every_integer_is_counted(program):
    found = verify(program)
    assert found.equal and found.first_difference is None and differing(found) == ()
    assert [proof.engine for proof in found.engines] == [*NUMBA, "onnxruntime", "c", "verilog"]
    assert found.inputs == {"random": 8, "adversarial": 8, "ties": 2}
    assert found.spikes > 0 and found.ties > 0 and found.overflows > 0
    traced = 18 * 6 * (3 * 8 * 8 + 6) * 2
    others = 18 * (2 + 1 + 5 * 4 + 2 * 3) + 3 * (3 * 8 * 8 + 3 * 4 * 4 + 6)
    assert found.engines[0].values == traced + others
    assert found.engines[2].values == others


def test_own_recordings_are_compared_too(program):
    counts = np.random.default_rng(0).integers(0, 9, (3, 6, 1, 8, 8))
    found = verify(program, {"mine": counts, "frames": Frames.from_dense(counts[:1])}, random=1)
    assert found.equal and found.inputs == {"random": 1, "adversarial": 8, "ties": 2, "mine": 3, "frames": 1}
    assert verify(program, counts, random=1).inputs["own"] == 3
    with pytest.raises(
        InputError, match=r"^frames: 1x8x8 in 5 bins, but program tiny_pool.aggressive_int4 takes "
    ):
        verify(program, counts[:, :5])
    with pytest.raises(InputError) as error:
        verify(program, random=0)
    assert str(error.value) == "random 0: outside 1 to 10,000. Choose how many random recordings to make."


# A fault in each engine


def test_a_fault_in_onnxruntime_is_found(program, monkeypatch):
    real = onnxruntime_engine.build_model
    monkeypatch.setattr(onnxruntime_engine, "build_model", lambda program: real(wrong(program)))
    found = verify(program)
    assert differing(found) == ("onnxruntime",) and not found.equal
    first = found.first_difference
    # The first input, at the first step: the bias alone.
    assert (first.inputs, first.recording, first.layer, first.step, first.place, first.what) == (
        "random", 0, "layers.0", 0, 0, "membrane",
    )  # fmt: skip
    assert first.got == first.expected + 1
    assert str(first) == (
        f"onnxruntime: random recording 0, layer layers.0, step 0, membrane of neuron 0: {first.got}, "
        f"where the reference has {first.expected}"
    )


@needs_compiler
def test_a_fault_in_c_is_found(program, monkeypatch):
    real = c99.write_source

    def faulty(program, name):
        source = real(program, name)
        assert "v >= threshold" in source.source
        return replace(source, source=source.source.replace("v >= threshold", "v > threshold"))

    monkeypatch.setattr(c99, "write_source", faulty)
    found = verify(program)
    assert differing(found) == ("c",)
    assert (found.first_difference.what, found.first_difference.got, found.first_difference.expected) == (
        "spike", 0, 1,
    )  # fmt: skip


def test_a_fault_in_the_reference_is_found(program, monkeypatch):
    def faulty(lif, sums, u, s):
        u, s, low, high = lif_step(lif, sums, u, s)
        return u, s, low, high + 1

    monkeypatch.setattr(reference, "lif_step", faulty)
    found = verify(program)
    assert differing(found) == tuple(proof.engine for proof in found.engines if proof.absent is None)
    assert (found.first_difference.what, found.first_difference.place) == ("overflow_high", 0)


@pytest.mark.parametrize(
    ("owner", "name", "change", "what"),
    [
        (plan, "_step", lambda step: more(step, step.bias), "membrane"),
        (plan, "_step", lambda step: more(step, step.test), "spike"),
        (chunks.Chunks, "_scores", lambda scores: scores + 1, "scores"),
    ],
)
def test_a_fault_in_numba_is_found(program, monkeypatch, owner, name, change, what):
    real = getattr(owner, name)
    monkeypatch.setattr(plan, "_plans", {})
    monkeypatch.setattr(owner, name, lambda *given: change(real(*given)))
    found = verify(program, random=4)
    assert differing(found) == NUMBA
    assert found.first_difference.what == what


def test_a_fault_in_a_choice_of_numba_is_found_there_alone(program, monkeypatch):
    real = plan.make_plan
    monkeypatch.setattr(plan, "_plans", {})
    wide = compile(checkpoint_of(CONV), "loihi_int8").program
    assert all(layer.wiring.budget > 0 for layer in real(wide).layers)
    convert = engines._int64

    def faulty(values):
        array = convert(values)
        return more(array, array)

    monkeypatch.setattr(engines, "_int64", faulty)
    assert differing(verify(wide, random=2)) == ("numba, wide",)


def test_a_count_over_all_recordings_that_differs_is_found(program, monkeypatch):
    real = onnxruntime_engine._fill

    def faulty(result, *given):
        real(result, *given)
        result.neuron_spikes[2][4] += 1

    monkeypatch.setattr(onnxruntime_engine, "_fill", faulty)
    first = verify(program, random=1).first_difference
    assert str(first).startswith("onnxruntime: random, layer layers.2, neuron_spikes of neuron 4: ")


def test_without_a_compiler_the_c_is_said_not_to_be_run(program, monkeypatch):
    monkeypatch.setattr(engines, "compiler", lambda: None)
    found = verify(program, random=1)
    assert found.equal and found.engines[-2].absent == engines.NO_COMPILER
    assert (found.engines[-2].recordings, found.engines[-2].values) == (0, 0)


@needs_compiler
def test_c_that_is_refused_or_fails_is_told(program, monkeypatch):
    real = c99.write_source
    monkeypatch.setattr(c99, "write_source", lambda *given: replace(real(*given), source="no C"))
    with pytest.raises(
        SimulationError, match=r"^program tiny_pool.aggressive_int4: .*refuses the exported C: "
    ):
        verify(program, random=1)
    monkeypatch.setattr(c99, "write_source", real)
    monkeypatch.setattr(compiled_c, "_MAIN", compiled_c._MAIN.replace("!= 0) return 2", "== 0) return 2"))
    with pytest.raises(SimulationError, match=r"its compiled C ended with 2 and wrote 0 bytes of "):
        verify(program, random=1)


# The inputs


def test_the_made_inputs_reach_the_ends():
    program = one_neuron()
    made = inputs.adversarial_counts(program, np.random.default_rng(0)).reshape(8, -1)
    assert not made[0].any() and (made[1] == 1).all() and (made[2] == 255).all()
    assert [row.tolist() for row in made[3:6]] == [
        [255, 0, 255, 0, 255], [255, 0, 0, 0, 0], [0, 0, 0, 0, 255],
    ]  # fmt: skip
    assert made[6].tolist() == [1, 2, 3, 4, 5]
    assert verify(program).ties > 0


# The command


def typed(monkeypatch, capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main_module.main(list(words))
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_command_prints_a_table_or_json(program, tmp_path, monkeypatch, capsys):
    path = str(tmp_path / "p.onnx")
    save_program(path, program)
    code, out, err = typed(monkeypatch, capsys, "verify", path)
    assert code == 0, err
    assert "numba, wide" in out and "Recordings: 8 random, 8 adversarial, 2 ties. In them " in out
    code, out, _ = typed(monkeypatch, capsys, "verify", path, "--json", "--random", "1", "--seed", "3")
    facts = json.loads(out)
    assert code == 0 and facts["schema"] == "sastdeploy.verification/1" and facts["equal"] is True
    assert facts["inputs"]["random"] == 1 and facts["engines"][0]["difference"] is None


def test_the_command_ends_with_5_and_the_first_difference(program, tmp_path, monkeypatch, capsys):
    path = str(tmp_path / "p.onnx")
    save_program(path, program)
    real = onnxruntime_engine.build_model
    monkeypatch.setattr(onnxruntime_engine, "build_model", lambda program: real(wrong(program)))
    code, out, err = typed(monkeypatch, capsys, "verify", path)
    first = verify(load_program(path)).first_difference
    assert code == 5 and "differs" in out
    assert err.splitlines()[-1] == (
        f"Error: {path}: {first}. Do not deploy it; please report this with the program's file."
    )


# The differential fuzzer


def test_random_programs_are_counted(tmp_path):
    counts, number = equal.compare(None, 6, 1, tmp_path)
    assert counts["programs"] == 6 == counts["drawn"] + counts["compiled"] and counts["differing"] == 0
    assert number == 6 - (compiled_c.compiler() is None) and not list(tmp_path.iterdir())


def test_a_random_program_that_differs_is_kept(tmp_path, monkeypatch, capsys):
    real = onnxruntime_engine.build_model
    monkeypatch.setattr(onnxruntime_engine, "build_model", lambda program: real(wrong(program)))
    counts, _ = equal.compare(None, 2, 1, tmp_path)
    assert counts["differing"] == len(list(tmp_path.iterdir())) == 2
    assert "onnxruntime: " in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["tests.equal", "--programs", "1", "--out", str(tmp_path)])
    assert equal.main() == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 of 1 programs equal on ")
