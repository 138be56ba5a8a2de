"""The exported Verilog gives the reference engine's integers under Icarus: membranes, spikes, scores, class, bit by bit."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, programs
from small_networks import CONV, DENSE, POOL, checkpoint_of
from tiny_programs import one_neuron

from sastdeploy import InputError, SimulationError, compile, export_verilog, save_program, verify
from sastdeploy.cli import main as main_module
from sastdeploy.exchange.verilog import export as export_module
from sastdeploy.exchange.verilog import layers as layers_module
from sastdeploy.exchange.verilog import source as verilog
from sastdeploy.exchange.verilog.source import write_verilog
from sastdeploy.program.check import check_program
from sastdeploy.program.fixedpoint import Rounding
from sastdeploy.program.layers.each import largest_of_channels
from sastdeploy.program.records import DenseLif, RecurrentLif, SynapticCurrent
from sastdeploy.simulator import engine
from sastdeploy.verification import engines, simulated_verilog
from sastdeploy.verification.simulated_verilog import SimulatedVerilog
from sastdeploy.verification.verify import first_difference

ICARUS = simulated_verilog.simulator()
PROGRAMS = max(31, int(os.environ.get("SASTDEPLOY_PROGRAMS", "250")) // 8)
needs_icarus = pytest.mark.skipif(ICARUS is None, reason="not installed: iverilog, vvp")
needs_verilator = pytest.mark.skipif(shutil.which("verilator") is None, reason="not installed: verilator")
needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="not installed: yosys")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


@pytest.fixture(scope="module")
def program():
    return compile(checkpoint_of(POOL), "aggressive_int4").program


def made(folder, target):
    return subprocess.run(["make", "-s", "-C", folder, target], capture_output=True, text=True)


def difference(program, frames):
    """Return the first integer in which the simulated core differs from the reference; None where it is equal."""
    core = SimulatedVerilog(program, write_verilog(program, "net"), ICARUS)
    try:
        names = tuple(layer.name for layer in program.layers if layer.lif is not None)
        result = core.run(program, frames, names)
        expected = engine.run(program, frames, engine="reference", trace=names)
        row = engines.Engine("verilog", core.run, simulated_verilog.FIELDS)
        return first_difference(row, "random", 0, expected, result)
    finally:
        core.close()


def held_by_the_core(drawn):
    """Return the program without synaptic currents, recurrent weights, further inputs, decays per channel, numbers of each neuron, several spikes in a step, starts and floors, which the core has not."""

    def plain(layer):
        if layer.lif is None:
            return layer
        lif = replace(
            layer.lif,
            current=None,
            leak_multiplier=int(np.max(layer.lif.leak_multiplier)),
            max_spikes=1,
            reset="zero" if layer.lif.reset == "refractory" else layer.lif.reset,
            bias=largest_of_channels(layer.lif.bias),
            threshold=largest_of_channels(layer.lif.threshold),
            start=None,
            floor=None,
        )
        if isinstance(layer, RecurrentLif):
            return DenseLif(layer.name, layer.weight, layer.weight_bits, lif)
        return replace(layer, lif=lif, further=())

    drawn = replace(drawn, layers=tuple(plain(layer) for layer in drawn.layers))
    check_program(drawn)
    return drawn


@needs_icarus
def test_random_programs_of_every_kind_are_equal():
    kinds, choices, compared = set(), set(), 0

    @settings(
        max_examples=2 * PROGRAMS, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def draw(data):
        nonlocal compared
        drawn = data.draw(programs(largest_side=5, most_layers=3))
        if drawn.readout.further or any(x.source is not None or x.kind == "delay" for x in drawn.layers):
            return
        drawn = held_by_the_core(drawn)
        frames = data.draw(frames_for(drawn, most=2))
        if drawn.readout.reads != "counts" or write_verilog(drawn, "net").clocks > 6_000:
            return
        assert difference(drawn, frames) is None
        compared += 1
        kinds.update(layer.kind for layer in drawn.layers)
        for layer in drawn.layers:
            if layer.lif is not None:
                lif = layer.lif
                choices.update(
                    (lif.reset, lif.spike_test, lif.overflow.value, lif.leak_rounding.value, lif.reset_delay)
                )

    draw()
    assert compared > PROGRAMS // 3
    assert kinds >= {"dense", "conv"}, kinds
    assert choices >= {
        "subtract",
        "zero",
        "none",
        ">",
        ">=",
        "saturate",
        "wrap",
        "floor",
        "toward_zero",
        "nearest",
        0,
        1,
    }


@needs_icarus
@needs_make
@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda architecture: architecture.name)
def test_make_check_replays_the_recordings(architecture, tmp_path):
    own = compile(checkpoint_of(architecture), "loihi_int8").program
    exported = export_verilog(own, tmp_path / "v", name="net")
    done = made(exported.folder, "check")
    assert done.returncode == 0, done.stderr
    # Two clocks of reset come before the recordings; nothing lies between them.
    assert done.stdout == f"{exported.recordings * exported.clocks + 2} clocks\n"
    assert export_verilog(own, tmp_path / "v", name="net") == exported
    results = exported.folder / "expected.txt"
    results.write_text(
        results.read_text().replace("predicted 0", "predicted 1").replace("predicted 2", "predicted 0")
    )
    assert made(exported.folder, "check").returncode != 0


@needs_icarus
@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("held >= threshold", "held > threshold", "spike"),
        ("update > HIGHEST ? HIGHEST", "update > HIGHEST ? LOWEST", "membrane"),
        ("gained + half", "gained", "membrane"),
        ("RESET == 1 && fired", "RESET == 0 && fired", "membrane"),
        ("leaking + LEAK_HALF", "leaking + 1", "membrane"),
        ("total * multiplier", "sum * multiplier", "scores"),
        ("is_best = score == 0 ||", "is_best = score != 0 ||", "predicted"),
        ("first ? {STATE_BITS{1'b0}} : kept", "{STATE_BITS{1'b0}}", "membrane"),
    ],
)
def test_a_change_of_the_verilog_is_seen_by_verify(monkeypatch, old, new, what):
    real = verilog.write_verilog

    def faulty(program, name):
        source = real(program, name)
        assert any(old in text for text in source.files.values())
        return replace(source, files={file: text.replace(old, new) for file, text in source.files.items()})

    monkeypatch.setattr(verilog, "write_verilog", faulty)
    found = verify(one_neuron())
    assert tuple(proof.engine for proof in found.engines if proof.difference) == ("verilog",)
    assert found.first_difference.what == what


@needs_icarus
def test_verify_runs_it_and_leaves_it_out_where_it_would_take_long(program, monkeypatch):
    proof = verify(program, random=1).engines[-1]
    assert (proof.engine, proof.absent, proof.recordings) == ("verilog", None, 11)
    assert proof.values == 11 * (6 * (3 * 8 * 8 + 6) * 2 + 3)
    short = verify(program, random=1, verilog_clocks=18_000).engines[-1]
    assert short.absent == "not run: a recording takes 18,221 clocks (--verilog-clocks: 18,000)"
    assert (short.recordings, short.values) == (0, 0)
    monkeypatch.setattr(engines, "simulator", lambda: None)
    assert verify(program, random=1).engines[-1].absent == engines.NO_ICARUS


@needs_icarus
def test_verilog_that_is_refused_or_fails_is_told(monkeypatch):
    real = verilog.write_verilog

    def changed(change):
        def write(program, name):
            source = real(program, name)
            return replace(source, files={**source.files, "bench.v": change(source.files["bench.v"])})

        return write

    monkeypatch.setattr(verilog, "write_verilog", changed(lambda text: "no Verilog"))
    with pytest.raises(SimulationError, match=r"^program tiny.test: .*refuses the exported Verilog: "):
        verify(one_neuron(), random=1)
    monkeypatch.setattr(
        verilog, "write_verilog", changed(lambda text: text.replace("predicted %0d", "best %0d"))
    )
    with pytest.raises(
        SimulationError,
        match=r"its Verilog ended with 0 and wrote no results as they should be \('best 0' where",
    ):
        verify(one_neuron(), random=1)


@needs_verilator
@needs_make
@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda architecture: architecture.name)
def test_verilator_finds_nothing(architecture, tmp_path):
    exported = export_verilog(compile(checkpoint_of(architecture), "loihi_int8").program, tmp_path / "v")
    done = made(exported.folder, "lint")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    core = exported.folder / f"{exported.name}_core.v"
    core.write_text(core.read_text().replace("assign in_ready = state == FILL;", ""))
    assert made(exported.folder, "lint").returncode != 0


@needs_yosys
@needs_make
def test_yosys_sizes_it(tmp_path):
    exported = export_verilog(one_neuron(), tmp_path / "v")
    for target, lut in (("size-ice40", "SB_LUT4"), ("size-ecp5", "LUT4")):
        done = made(exported.folder, target)
        assert done.returncode == 0 and lut in done.stdout, done.stderr
    # What make added is no reason to refuse the folder.
    assert export_verilog(one_neuron(), tmp_path / "v") == exported


# What is refused


def test_a_layer_that_the_core_does_not_hold_is_refused_by_name(program, tmp_path, monkeypatch):
    monkeypatch.delitem(layers_module._GEOMETRIES, "sum_pool")
    with pytest.raises(InputError) as error:
        export_verilog(program, tmp_path / "v")
    assert str(error.value) == (
        "layer layers.1: a sum_pool layer is nothing the Verilog core holds. Allowed: dense, conv, sum_pool. "
        "Export it with --to c."
    )
    assert not (tmp_path / "v").exists()
    monkeypatch.setattr(engines, "simulator", lambda: "iverilog")
    absent = verify(program, random=1).engines[-1].absent
    assert absent == f"not run: {error.value}"


def test_neurons_and_readouts_that_the_core_has_not_are_refused_by_name():
    current = SynapticCurrent(3, 2, Rounding.FLOOR)
    with pytest.raises(InputError) as error:
        write_verilog(one_neuron(current=current), "net")
    assert (
        str(error.value)
        == "layer fc: the Verilog core has no current other than None. Export it with --to c."
    )
    own = one_neuron()
    with pytest.raises(InputError) as error:
        write_verilog(replace(own, readout=replace(own.readout, reads="last")), "net")
    assert (
        str(error.value)
        == "layer readout: the Verilog core has no reads other than counts. Export it with --to c."
    )


def test_what_is_too_large_and_wrong_names_are_refused(program, tmp_path, monkeypatch):
    with pytest.raises(InputError) as error:
        export_verilog(program, tmp_path / "v", name="1")
    assert str(error.value) == (
        "name '1': is no name for Verilog. Allowed: 1 to 48 letters, digits and _, a letter first. "
        "Choose another with --name."
    )
    monkeypatch.setattr(export_module, "MAX_TRACED", 3_000)
    with pytest.raises(InputError) as error:
        export_verilog(program, tmp_path / "v", np.zeros((3, 6, 1, 8, 8), np.uint8))
    assert str(error.value) == (
        "program tiny_pool.aggressive_int4: 3 recordings make 4,464 values. Allowed: up to 3,000. Use --limit 2 or less."
    )
    monkeypatch.setattr(export_module, "MAX_WEIGHTS", 300)
    with pytest.raises(InputError) as error:
        export_verilog(program, tmp_path / "v")
    assert str(error.value) == (
        "program tiny_pool.aggressive_int4: it has 327 weights. Allowed: up to 300 in a Verilog core. Compile a smaller network."
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    monkeypatch.undo()
    with pytest.raises(
        InputError, match=r"holds 'notes.txt', which is no part of an export of net; nothing was written"
    ):
        export_verilog(program, tmp_path / "mine", name="net", force=True)


def test_the_command(program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_program("p.onnx", program)

    def typed(*words):
        with pytest.raises(SystemExit) as stop:
            main_module.main(["export", "p.onnx", "--to", "verilog", *words])
        return stop.value.code, *capsys.readouterr()

    code, out, err = typed("--out", "v", "--name", "net")
    assert (code, err) == (0, "")
    assert out.startswith("net: 18,221 clocks for a recording. ROM: ") and "Next: make -C v check" in out
    facts = json.loads(typed("--out", "v", "--name", "net", "--json")[1])
    assert facts["schema"] == "sastdeploy.verilog_export/1" and facts["clocks"] == 18_221
    assert facts["rom_bits"] == 327 * 4 + (3 + 6) * (21 + 16) + 2 * (21 + 32)
    readme = (tmp_path / "v" / "README.md").read_text()
    assert "| clocks per recording | 18,221 |" in readme and "@" not in readme
