"""Checks that neurons of every kind pass: one meaning in every engine and in the graph, and refusals word by word."""

from dataclasses import replace

import numpy as np
import pytest

from sastdeploy import (
    ImportedNetwork,
    InputError,
    Preprocessing,
    load_profile,
    load_program,
    save_program,
    verify,
)
from sastdeploy.compiler.ir.graph import Graph
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes import Counts, Dense, Input, Lif
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.program.check import check_program
from sastdeploy.program.file import MANIFEST_KEY, format_version, program_hash
from sastdeploy.program.fixedpoint import Overflow, QFormat
from sastdeploy.program.records import ConvLif, DenseLif
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import reference
from tests.tiny_programs import one_neuron, tiny_lif, tiny_program, tiny_readout

AGAIN = "Compile the checkpoint again, or mend the tool that wrote the program."


def profile(**changes):
    """Return a profile whose membranes hold 64ths exactly, with synaptic currents."""
    base = replace(load_profile("loihi_int8"), scale="power_of_two", membrane=QFormat(8, 16))
    return replace(base, **{"synaptic_current": True, **changes})


def network(current_alpha=0.5, alpha=0.5, steps=5):
    """Return two layers of neurons whose weights are 64ths."""
    rng = np.random.default_rng(4)
    weights = rng.integers(-60, 120, (6, 8)) / 64, rng.integers(-60, 120, (3, 6)) / 64
    nodes = [Input("input", (1, 2, 4), steps, 3, 1.0)]
    for number, weight in enumerate(weights):
        ones = np.ones(len(weight))
        nodes.append(Dense(f"{number}", weight, 0.25 * ones))
        nodes.append(Lif(f"{number}.lif", alpha, ones, current_alpha=current_alpha))
    graph = Graph("cuba", (*nodes, Counts("readout", np.eye(3), np.zeros(3))))
    return ImportedNetwork(graph, Preprocessing((4, 2, 1), (4, 2), steps, 3, 3.0), ("a", "b", "c"))


def two_layers(conv, dense, outputs=3):
    """Return a convolution and a dense layer with these changes of their neurons, in more positions than one vector holds."""
    rng = np.random.default_rng(2)
    neurons = tiny_lif(
        5, **{"membrane": QFormat(8, 8), "threshold": np.full(5, 300, np.int32), "multiplier": np.arange(9, 14, dtype=np.int32), **conv}
    )  # fmt: skip
    first = ConvLif("conv", rng.integers(-7, 8, (5, 1, 3, 3)).astype(np.int8), 4, (1, 1), (1, 1), neurons)
    neurons = tiny_lif(
        outputs, **{"multiplier": np.full(outputs, 1, np.int32), "overflow": Overflow.WRAP, **dense}
    )
    second = DenseLif("fc", rng.integers(-7, 8, (outputs, 5 * 30)).astype(np.int8), 4, neurons)
    return tiny_program([first, second], tiny_readout(outputs), (1, 5, 6), time_bins=6)


def codes(*values):
    """Return numbers of neurons as programs hold them."""
    return np.array(values, np.int32)


def assert_every_engine_agrees(program, folder, version, spikes=0, overflows=-1):
    """Compare all engines on a program; return what was compared, and the program read from its file, which is the same.

    Args:
        version: of the program's file. spikes, overflows: more than these occur.
    """
    own = program.preprocessing
    shown = Frames.from_dense(np.full((2, own.time_bins, *own.frame_shape), 3))
    compared = verify(program, {"own": shown}, random=8)
    assert compared.equal, compared.first_difference
    assert compared.spikes > spikes and compared.overflows > overflows
    assert {proof.engine for proof in compared.engines if proof.absent} <= {"verilog", "c"}
    save_program(folder / "p.onnx", program)
    again = load_program(folder / "p.onnx")
    assert program_hash(again) == program_hash(program)
    assert format_version(program) == version and format_version(one_neuron()) == 1
    return compared, again


def assert_edited_manifest_refused(program, folder, old, new, message="damaged"):
    """A program's file whose manifest says ``new`` where it said ``old``, once, is refused with this pattern."""
    import onnx

    save_program(folder / "p.onnx", program)
    model = onnx.load(folder / "p.onnx")
    (entry,) = (entry for entry in model.metadata_props if entry.key == MANIFEST_KEY)
    assert entry.value.count(old) == 1
    entry.value = entry.value.replace(old, new)
    (folder / "p.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=message):
        load_program(folder / "p.onnx")


def assert_program_refused(program, message):
    with pytest.raises(InputError) as error:
        check_program(program)
    assert str(error.value) == f"{message} {AGAIN}"


def assert_neurons_refused(network, field, value, message):
    """A network whose every neuron has this value in a field of its node is refused with this message."""
    with pytest.raises(InputError) as error:
        replace(network, graph=network.graph.map({Lif: lambda node: replace(node, **{field: value})}))
    assert str(error.value) == message


def assert_graph_and_program_agree(own, program, names=("0", "1"), steps=5, spikes=50):
    """On counts of the layers' inputs, in a membrane of 16 fractional bits; and the graph's text gives the graph."""
    shown = np.random.default_rng(0).integers(0, 4, (6, steps, 1, 2, 4))
    meant = interpret(own.graph, shown)
    computed = reference.run(program, Frames.from_dense(shown), trace=names)
    for name, sent, membranes in zip(names, meant.spikes, meant.membranes):
        assert np.array_equal(computed.traces[name].spikes, sent.reshape(6, steps, -1))
        assert np.array_equal(computed.traces[name].membranes, membranes.reshape(6, steps, -1) * 2**16)
    assert computed.spikes.sum() > spikes
    assert parse_graph(*print_graph(own.graph)) == own.graph
