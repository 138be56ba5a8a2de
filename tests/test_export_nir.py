"""A program's NIR file: read back by our own import it sends the program's spikes, and what differs is counted."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from small_networks import CONV, DENSE, POOL, checkpoint_of
from tiny_programs import one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy import Framing, InputError, compile, export_nir, from_nir, save_program
from sastdeploy.cli import main as main_module
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.program.fixedpoint import QFormat, Rounding
from sastdeploy.program.records import ConvLif, DenseLif, SumPool, SynapticCurrent
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine


def exact(channels, **changes):
    """Return neurons of which nothing is rounded and nothing overflows: gain 2, leak 1, biases, wide membranes."""
    ones = np.ones(channels, np.int32)
    values = {
        "multiplier": 2 * ones, "shift": 0 * ones, "bias": np.arange(channels, dtype=np.int32) - 1, "threshold": 9 * ones,
        "leak_multiplier": 1, "leak_shift": 0, "membrane": QFormat(20, 2),
    }  # fmt: skip
    return tiny_lif(channels, **{**values, **changes})


def exact_program(**changes):
    rng = np.random.default_rng(8)

    def weights(*shape):
        return rng.integers(-4, 6, shape).astype(np.int8)

    layers = [
        ConvLif("conv", weights(3, 2, 3, 3), 4, (1, 2), (1, 0), exact(3, **changes)),
        SumPool("pool", (2, 1)),
        DenseLif("fc", weights(5, 18), 4, exact(5, **changes)),
    ]
    return tiny_program(layers, tiny_readout(inputs=5, classes=3, weight=weights(3, 5)), (2, 6, 5), classes=3)


def counts_for(program, count=4):
    shape = (count, program.preprocessing.time_bins, *program.preprocessing.frame_shape)
    return np.random.default_rng(1).integers(0, 9, shape).astype(np.uint8)


def read_back(program, path):
    own = program.preprocessing
    framing = Framing(time_bins=own.time_bins, clip=own.c_clip, classes=program.classes)
    return from_nir(path, framing=framing)


@pytest.mark.parametrize("spike_test", [">=", ">"])
@pytest.mark.parametrize(
    ("reset", "delay"),
    [("subtract", 1), ("subtract", 0), ("zero", 1), ("zero", 0), ("none", 0), ("refractory", 1)],
)
def test_where_nothing_is_rounded_every_spike_and_membrane_is_equal(spike_test, reset, delay, tmp_path):
    program = exact_program(spike_test=spike_test, reset=reset, reset_delay=delay)
    counts = counts_for(program)
    exported = export_nir(program, tmp_path / "p.nir", counts)
    assert (exported.recordings, exported.differing) == (4, 0) and exported.spikes > 50
    network = read_back(program, exported.path)
    assert network.semantics["dialect"]["spike_test"] == spike_test
    result = engine.run(program, Frames.from_dense(counts), engine="reference", trace=("conv", "fc"))
    read = interpret(network.graph, counts)
    for name, spikes, membranes in zip(("conv", "fc"), read.spikes, read.membranes):
        trace = result.traces[name]
        assert (spikes.reshape(trace.spikes.shape) == trace.spikes).all()
        assert (membranes.reshape(trace.membranes.shape) * 4 == trace.membranes).all()


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda architecture: architecture.name)
@pytest.mark.parametrize("profile", ["loihi_int8", "aggressive_int4"])
def test_what_differs_is_counted(architecture, profile, tmp_path):
    program = compile(checkpoint_of(architecture), profile).program
    counts = counts_for(program)
    exported = export_nir(program, tmp_path / "p.nir", counts)
    read = interpret(read_back(program, exported.path).graph, counts)
    names = [layer.name for layer in program.layers if layer.lif is not None]
    result = engine.run(program, Frames.from_dense(counts), engine="reference", trace=names)
    differing = spikes = 0
    for name, theirs in zip(names, read.spikes):
        ours = result.traces[name].spikes
        differing += int((theirs.reshape(ours.shape) != ours).sum())
        spikes += int(ours.sum())
    assert (exported.spikes, exported.differing) == (spikes, differing) and differing < spikes / 4
    # Weights that were compiled are those of the file, to the integer.
    again = compile(read_back(program, exported.path), profile, neuron="profile").program
    assert (again.layers[0].weight == program.layers[0].weight).all()


def test_a_fault_in_the_file_is_counted(tmp_path, monkeypatch):
    from sastdeploy.exchange.nir import export as export_module

    real = export_module._real
    monkeypatch.setattr(export_module, "_real", lambda *given: real(*given) * 1.5)
    assert export_nir(exact_program(), tmp_path / "p.nir", counts_for(exact_program())).differing > 0


def test_the_metadata_say_what_the_floats_do_not(tmp_path):
    program = exact_program()
    exported = export_nir(program, tmp_path / "p.nir")
    with h5py.File(exported.path) as file:
        own = json.loads(file["node/metadata/sastdeploy"][()])
        assert sorted(file["node/nodes"]) == sorted([
            "input", "conv", "conv.lif", "pool", "fc.flatten", "fc", "fc.lif", "readout", "output",
        ])  # fmt: skip
        assert file["node/nodes/conv.lif/type"][()] == b"IF" and file["node/nodes/conv.lif/r"].shape == (
            3,
            6,
            2,
        )
    assert (own["spike_test"], own["reset"], own["reset_delay"]) == (">=", "subtract", 1)
    assert own["layers"][0]["membrane"] == "Q20.2" and own["lost"] == list(exported.lost)
    assert exported.lost[0] == (
        "conv: membranes rounded to 0.25 (leak floor, weighted sum half up), saturate beyond Q20.2"
    )
    # The same program gives the same bytes.
    again = export_nir(program, tmp_path / "q.nir")
    assert again.path.read_bytes() == exported.path.read_bytes()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            one_neuron(current=SynapticCurrent(3, 2, Rounding.FLOOR)),
            "layer fc: has a synaptic current; NIR is written for neurons without one only. Export it with --to c.",
        ),
        (
            one_neuron(leak_multiplier=0),
            "layer fc: its membranes keep nothing (leak 0), which no time constant says. Export it with --to c.",
        ),
        (
            replace(
                exact_program(),
                layers=(
                    *exact_program().layers[:2],
                    replace(exact_program().layers[2], lif=exact(5, reset="zero")),
                ),
            ),
            "layer fc: reset is zero, and subtract in conv; all neurons of a NIR file share it. Export the program with --to c.",
        ),
    ],
)
def test_what_nir_does_not_say_is_refused_by_name(program, message, tmp_path):
    with pytest.raises(InputError) as error:
        export_nir(program, tmp_path / "p.nir")
    assert str(error.value) == message and not list(tmp_path.iterdir())


def test_wrong_metadata_are_refused(tmp_path):
    path = export_nir(exact_program(), tmp_path / "p.nir").path
    for content, message in (
        (
            {"spike_test": "<", "reset": "zero", "reset_delay": 1},
            r"its metadata say spike_test = .*Allowed: >=, >\.",
        ),
        ({"spike_test": ">", "reset": "zero", "reset_delay": True}, r"its metadata say reset_delay = "),
        ([], r"is no valid NIR file"),
    ):
        with h5py.File(path, "r+") as file:
            del file["node/metadata/sastdeploy"]
            file["node/metadata"].create_dataset("sastdeploy", data=json.dumps(content))
        with pytest.raises(InputError, match=message):
            from_nir(path)
    assert (
        from_nir(export_nir(exact_program(), path, force=True).path, reset="none").semantics["dialect"][
            "reset"
        ]
        == "none"
    )


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_program("p.onnx", exact_program())

    def typed(*words):
        with pytest.raises(SystemExit) as stop:
            main_module.main(list(words))
        return stop.value.code, *capsys.readouterr()

    code, out, err = typed("export", "p.onnx", "--to", "nir", "--out", "p.nir")
    assert (code, err) == (0, "") and " 0 are added or missing in float64." in out
    assert out.startswith("lost: conv: membranes rounded to 0.25 ")
    facts = json.loads(typed("export", "p.onnx", "--to", "nir", "--out", "p.nir", "--json")[1])
    assert facts["schema"] == "sastdeploy.nir_export/1" and facts["nodes"] == 9 and facts["path"] == "p.nir"
    code, out, err = typed("import", "p.nir", "-o", "net.pt")
    assert code == 0 and "name sastdeploy" in out, err
    save_program("q.onnx", exact_program(reset="none"))
    code, _, err = typed("export", "q.onnx", "--to", "nir", "--out", "p.nir")
    assert code == 3 and err.startswith("Error: p.nir: ") and "--force" in err
