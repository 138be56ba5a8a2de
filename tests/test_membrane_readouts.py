"""Readouts of membranes: LI, CubaLI and I neurons, whose scores are membranes at the last step or their largest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from program_strategies import membranes, silent
from tiny_programs import counts, one_neuron, tiny_program

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import cuba, f32, lif, write, written_by

from sastdeploy import (
    CompileError,
    Framing,
    InputError,
    LabelledFrames,
    compile,
    export_vectors,
    from_nir,
    load_network,
    save_network,
)
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Integrator, Membranes
from sastdeploy.exchange.evaluation import evaluate_network
from sastdeploy.program.check import check_program
from sastdeploy.program.counting import footprint_bytes
from sastdeploy.program.fixedpoint import Rounding
from sastdeploy.program.records import SumPool, SynapticCurrent
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from tests.neuron_checks import assert_every_engine_agrees, assert_program_refused, profile, two_layers

CURRENTS = SynapticCurrent(3000, 12, Rounding.NEAREST), SynapticCurrent(5, 3, Rounding.TOWARD_ZERO)


def one_membrane(reads):
    program = one_neuron()
    return replace(program, layers=(silent(program.layers[0]),), readout=membranes(1, reads), classes=("0",))


# I + bias = 4, 17, -1, -1, -1 for counts 1, 4, 0, 0, 0; leak 5/8: 4 | 2+17 -> 15 * | 9-1 = 8 | 5-1 = 4 | 2-1 = 1
@pytest.mark.parametrize(("reads", "score"), [("last", 1), ("max", 15)])
def test_one_membrane_by_hand(reads, score):
    result = reference.run(one_membrane(reads), counts(1, 4, 0, 0, 0), trace=("fc",))
    assert result.traces["fc"].membranes.reshape(-1).tolist() == [4, 15, 8, 4, 1]
    assert result.scores.tolist() == [[score]] and not result.spikes.any()


def test_a_largest_membrane_may_be_negative():
    # I + bias = -1 at every step: -1 | -5>>3 = -1, -2 | -10>>3 = -2, -3 | -2-1 = -3 | -3
    result = reference.run(one_membrane("max"), counts(0, 0, 0, 0, 0))
    assert result.scores.tolist() == [[-1]]


@pytest.mark.parametrize("reads", ["last", "max"])
@pytest.mark.parametrize("ends", ["conv", "fc"])
def test_every_engine_gives_the_same_integers(tmp_path, reads, ends):
    layers = two_layers({"current": CURRENTS[0]}, {"current": CURRENTS[1]}).layers[
        : 1 if ends == "conv" else 2
    ]
    outputs = 150 if ends == "conv" else 3
    program = tiny_program(
        (*layers[:-1], silent(layers[-1])), membranes(outputs, reads), (1, 5, 6), time_bins=6, classes=outputs
    )
    _, read = assert_every_engine_agrees(program, tmp_path, version=3, spikes=-1)
    assert read.readout.reads == reads
    export_vectors(program, tmp_path / "v")
    assert f"the scores are the membranes of {ends} at" in (tmp_path / "v" / "README.md").read_text()


def test_only_the_largest_membranes_are_kept_beside_the_neurons():
    sizes = {reads: footprint_bytes(one_membrane(reads)) for reads in ("last", "max")}
    assert sizes["max"]["state"] == sizes["last"]["state"] + 1
    assert sizes["last"]["weights"] == 1 and sizes["last"]["state"] == 1


def test_readouts_that_read_otherwise_are_refused():
    good = one_membrane("last")
    check_program(good)
    silence = "Allowed: reset 'none', spike test '>' and thresholds at the membrane's upper end."
    identity = "Allowed: the identity, multiplier 1, shift 0, bias 0, no pool and no further input, as membranes are scores themselves."
    for program, message in (
        (
            replace(good, layers=one_neuron().layers),
            f"layer 'fc': its membranes are read as scores and its neurons can spike. {silence}",
        ),
        (
            replace(good, readout=replace(good.readout, reads="mean")),
            "readout 'readout': reads is 'mean'. Allowed: counts, last, max.",
        ),
        (
            replace(good, readout=replace(good.readout, bias=np.array([1], np.int32))),
            f"readout 'readout': reads 'last' through a weight, gain, bias, pool or further input. {identity}",
        ),
    ):
        assert_program_refused(program, message)
    with pytest.raises(InputError, match="a sum pool is the last layer"):
        check_program(replace(good, layers=(*good.layers, SumPool("p", 1))))


def li(**changes):
    return {"type": "LI", "tau": f32(2e-4), "r": f32(1.0), "v_leak": f32(0), **changes}


def cuba_li(**changes):
    fields = cuba(**changes)
    return {
        "type": "CubaLI",
        **{k: v for k, v in fields.items() if k not in ("type", "v_threshold", "v_reset")},
    }


def read_file(path, *last, weight=1.0):
    """Write a neuron that spikes where 2 enters, and neurons behind it of which the last are read."""
    nodes = {
        "i": {"type": "Input", "shape": np.array([1])}, "w": {"type": "Linear", "weight": f32([2.0])},
        "n": lif(v_threshold=f32(1)), "v": {"type": "Linear", "weight": f32([weight])},
    }  # fmt: skip
    nodes |= {f"r{k}": node for k, node in enumerate(last)}
    return write(path, {**nodes, "o": {"type": "Output", "shape": np.array([1])}})


# Spikes 1, 1, 0, 0 of weight 8. What is read, with dt = 1e-4 (norse 1e-6, rockpool 1e-3).
READ = {
    # v += (x - v) / 2: 4, 6, 3, 1.5
    "LI": ("nir", li(), 1.5, 6.0),
    # v += r dt x: 8, 16, 16, 16
    "I": ("nir", {"type": "I", "r": f32(1e4)}, 16.0, 16.0),
    # i 4, 6, 3, 1.5; v 2, 4, 3.5, 2.5
    "CubaLI": ("nir", cuba_li(), 2.5, 4.0),
    # The leak's end is reached from below: v += (x + 4 - v) / 2: 6, 9, 6.5, 5.25
    "LI with v_leak": ("nir", li(v_leak=f32(4)), 5.25, 9.0),
    # exp(-1 / tau) = 1/2 and x / 2
    "sinabs' ExpLeak": ("sinabs", li(tau=1 / np.log(2)), 1.5, 6.0),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_membranes_by_hand_from_files(tmp_path, case):
    dialect, node, last, largest = READ[case]
    path = read_file(tmp_path / "r.nir", node, weight=8.0)
    if dialect == "sinabs":
        path = write(tmp_path / "r.nir", {
            "i": {"type": "Input", "shape": np.array([1])}, "w": {"type": "Linear", "weight": f32([2.0])},
            "n": {"type": "IF", "r": f32(1), "v_threshold": f32(1.5)}, "v": {"type": "Linear", "weight": f32([8.0])}, "r0": node,
            "o": {"type": "Output", "shape": np.array([1])},
        })  # fmt: skip
    shown = np.array([2, 2, 0, 0]).reshape(1, 4, 1, 1, 1)
    if dialect == "sinabs":
        shown = np.array([1, 1, 0, 0]).reshape(shown.shape)
    for reads, score in (("last", last), ("max", largest)):
        network = from_nir(
            path, dialect=dialect, readout=reads, spikes_per_step="one", framing=Framing(time_bins=4)
        )
        outputs = interpret(network.graph, shown)
        if dialect == "sinabs":
            # 2 leaves 2 - 1.5 = 0.5, 2.5 leaves 1, and 1 is below the threshold.
            assert outputs.spikes[0].reshape(-1).tolist() == [1, 1, 0, 0]
        assert outputs.scores[0, 0] == pytest.approx(score, abs=1e-9)
    assert isinstance(network.graph.nodes[-2], Integrator) and isinstance(network.graph.nodes[-1], Membranes)


def test_a_network_that_is_read_compiles_and_evaluates(tmp_path):
    network = from_nir(
        read_file(tmp_path / "r.nir", cuba_li(), weight=8.0), dialect="nir", framing=Framing(time_bins=4)
    )
    save_network(tmp_path / "n.pt", network)
    network = load_network(tmp_path / "n.pt")
    compilation = compile(network, profile(spike_test=">", reset="zero", reset_delay=0))
    result = reference.run(
        compilation.program, Frames.from_dense(np.array([2, 2, 0, 0]).reshape(1, 4, 1, 1, 1))
    )
    assert result.scores.tolist() == [[int(2.5 * 2**16)]]
    report = compilation.report
    assert [layer.kind for layer in report.layers] == ["dense", "dense", "readout"]
    assert (report.warnings, report.layers[-1].largest_ksynops) == ((), 0.0)
    assert compilation.program.readout.fraction_bits == 16
    frames = LabelledFrames.from_dense(np.array([2, 2, 0, 0], np.uint8).reshape(1, 4, 1, 1, 1), [0], ("0",))
    assert evaluate_network(network, frames).rates == {"w.lif": 0.5}


def test_what_is_read_is_printed_and_misplaced_readouts_are_named(tmp_path):
    path, out = read_file(tmp_path / "r.nir", li()), str(tmp_path / "n.pt")
    call = ["import", str(path), "-o", out, "--dialect", "nir", "--readout", "max"]
    done = CliRunner().invoke(cli, call, catch_exceptions=False)
    assert (
        "r0: alpha = 1 - dt / tau = 0.5, gain = 0.5; its membranes are the scores: their largest over time."
        in done.output
    )
    with pytest.raises(CompileError) as error:
        from_nir(read_file(tmp_path / "b.nir", li(), lif()), dialect="nir")
    assert str(error.value).endswith(
        "r1: follows v.li, which sends no spikes; membranes are read at the end."
    )
    with pytest.raises(
        CompileError, match=r"readout 'max': the network ends in v\.lif, not in neurons whose membranes"
    ):
        from_nir(read_file(tmp_path / "c.nir", lif()), dialect="nir", readout="max")
    with pytest.raises(InputError, match=r"^readout 'mean': unknown\. Allowed: last, max\.$"):
        from_nir(path, dialect="nir", readout="mean")


@pytest.mark.parametrize("reads", ["last", "max"])
def test_a_network_of_norse_scores_as_norse_does(tmp_path, reads):
    """File, spikes and membranes that Norse 1.1.0 (LIFBoxCell, LIBoxCell) wrote, in float64."""
    path = written_by("norse_li", tmp_path)
    network = from_nir(path, dialect="norse", readout=reads, framing=Framing(time_bins=12))
    with np.load(Path(__file__).parent / "fixtures" / "nir" / "norse_li.npz") as own:
        outputs = interpret(network.graph, own["input"][:, :, None, None])
        spikes, membranes = own["spikes"], own["membranes"]
    assert np.array_equal(outputs.spikes[0].reshape(spikes.shape), spikes)
    wanted = membranes[:, -1] if reads == "last" else membranes.max(1)
    np.testing.assert_allclose(outputs.scores, wanted, atol=1e-6)
