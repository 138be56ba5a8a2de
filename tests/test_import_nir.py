"""NIR files: what is read, what is refused, and what the command prints."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("h5py", reason="NIR files are HDF5")

from nir_files import cuba, f32, lif, one_neuron, write, written_by

from sastdeploy import (
    CompileError,
    Framing,
    InputError,
    LabelledFrames,
    compile,
    from_nir,
    load_checkpoint,
    load_network,
    load_profile,
    save_network,
    simulate,
)
from sastdeploy._files import own_process
from sastdeploy.cli.main import cli
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.exchange.evaluation import evaluate_network
from sastdeploy.exchange.nir import read
from sastdeploy.exchange.nir.read import read_nir
from tests.nir_files import run


@pytest.mark.parametrize(
    ("dialect", "neuron", "message"),
    [
        ("nir", lif(tau=f32(5e-5)), "n: decay 1 - dt / tau = -1, outside (0, 1]: dt = 0.0001 s, tau = 5e-05 s (nir). Give the dt "
         "that the network was trained with (--dt), or its dialect."),
        ("nir", lif(v_reset=f32(1.5)), "n: a threshold of -0.5 above the reset; it must be positive."),
        ("nir", {"type": "CubaLIF"}, "n: a CubaLIF without 'tau_syn'."),
        ("nir", cuba(tau_syn=f32(5e-5)), "n: decay 1 - dt / tau_syn = -1, outside [0, 1]: dt = 0.0001 s, tau_syn = 5e-05 s (nir). "
         "Give the dt that the network was trained with (--dt), or its dialect."),
        ("nir", {"type": "Wave"}, "n: a node of kind Wave, which no engine computes."),
        ("nir", {"type": "LIF", "tau": f32(1.0)}, "n: a LIF without 'v_threshold'."),
    ],
)  # fmt: skip
def test_what_no_engine_computes_is_named(tmp_path, dialect, neuron, message):
    path = one_neuron(tmp_path / "one.nir", neuron)
    with pytest.raises(CompileError) as error:
        from_nir(path, dialect=dialect)
    assert str(error.value) == f"{path}: {message}"


def test_all_reasons_are_told(tmp_path):
    nodes = {
        "a": {"type": "Input", "shape": [2]}, "cuba": {"type": "CubaLI"}, "late": {"type": "Sigmoid"},
        "b": {"type": "Output", "shape": [2]},
    }  # fmt: skip
    with pytest.raises(CompileError) as error:
        from_nir(write(tmp_path / "x.nir", nodes), dialect="nir")
    assert len(error.value.reasons) == 2 and "late: a node of kind Sigmoid" in error.value.reasons[1]


def test_branches_and_loops_are_named(tmp_path):
    ends = {"a": {"type": "Input", "shape": [1]}, "b": {"type": "Output", "shape": [1]}}
    nodes = {**ends, "n": lif(), "m": lif()}
    for edges, words in (
        ([("a", "n"), ("n", "m"), ("m", "n")], ["m: a loop through 2 layers of neurons (m -> n -> m)"]),
        ([("a", "n"), ("n", "x")], ["an edge names 'x'"]),
        ([("a", "n")], ["n: leads nowhere; the output 'b' is not reached."]),
    ):
        with pytest.raises(CompileError) as error:
            from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir")
        for word in words:
            assert word in str(error.value)


def test_a_dialect_is_recognised_where_it_is_certain_and_asked_for_elsewhere(tmp_path):
    assert from_nir(written_by("snntorch1.0.0", tmp_path)).semantics["dialect"]["name"] == "snntorch"
    assert from_nir(written_by("snntorch0.9.4", tmp_path)).semantics["dialect"]["name"] == "snntorch"
    assert from_nir(written_by("spikingjelly", tmp_path)).semantics["dialect"]["name"] == "spikingjelly"
    with pytest.raises(
        InputError,
        match=r"does not say which framework wrote it, .* Name its dialect \(--dialect\): snntorch, ",
    ):
        from_nir(written_by("norse", tmp_path))
    with pytest.raises(InputError, match=r"dialect 'snntorhc': unknown\. Did you mean 'snntorch'"):
        from_nir(written_by("norse", tmp_path), dialect="snntorhc")


def test_files_of_frameworks(tmp_path):
    """Decays and gains are those that the networks were made with, not what float32 left of them."""

    def alphas(network):
        return [node.alpha for node in network.graph.nodes if node.kind == "lif"]

    assert alphas(from_nir(written_by("snntorch1.0.0", tmp_path))) == [0.9, 0.8]
    assert alphas(from_nir(written_by("snntorch0.9.4", tmp_path))) == [0.9, 0.8]
    assert alphas(from_nir(written_by("norse", tmp_path), dialect="norse")) == [0.9, 1.0]
    network = from_nir(written_by("spikingjelly", tmp_path))
    assert alphas(network) == [1 - 1 / 3, 1.0]
    assert [node.kind for node in network.graph.nodes] == [
        "input",
        "conv2d",
        "lif",
        "avg_pool",
        "dense",
        "lif",
        "counts",
    ]
    assert network.graph.input.shape == (2, 8, 8)


def test_a_file_reads_back_equal_and_compiles(tmp_path):
    network = from_nir(written_by("spikingjelly", tmp_path), framing=Framing(time_bins=4, clip=3))
    save_network(tmp_path / "n.pt", network)
    with pytest.raises(InputError, match=r"n\.pt: exists"):
        save_network(tmp_path / "n.pt", replace(network, provenance={}), force=False)
    again = load_network(tmp_path / "n.pt")
    assert again.graph == network.graph and again.semantics == network.semantics
    with pytest.raises(CompileError, match=r"reset 'zero'; loihi_int8 does 'subtract' \(neuron.reset\)"):
        compile(again, "loihi_int8")
    compilation = compile(again, "loihi_int8", neuron="profile")
    assert compilation.program.provenance["semantics"]["dialect"]["name"] == "spikingjelly"
    assert any("reset: trained with 'zero'" in warning for warning in compilation.report.warnings)


def test_nested_graphs_any_names_and_edges_in_any_order(tmp_path):
    inner = {"in": {"type": "Input", "shape": [1]}, "n": lif(), "out": {"type": "Output", "shape": [1]}}
    nodes = {
        "the end": {"type": "Output", "shape": [1]}, "block 1": {"nodes": inner}, "ä.b": {"type": "Scale", "scale": 4.0},
        "x": {"type": "Input", "shape": [1, 1]},
    }  # fmt: skip
    edges = [("block 1", "the end"), ("ä.b", "block 1"), ("x", "ä.b")]
    network = from_nir(write(tmp_path / "x.nir", nodes, edges), dialect="nir", framing=Framing(time_bins=2))
    assert run(network, [1, 0]) == ([1, 0], [0.0, 0.0])


@pytest.mark.parametrize("size", [(1, 1), (1, 2)])
def test_a_kernel_of_one_row_is_two_dimensional(tmp_path, size):
    """As many rows as channels: that is no batch of signals, as in front of a Conv1d."""
    conv = {
        "type": "Conv2d",
        "weight": np.ones((2, 2, *size)),
        "stride": 1,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
    }
    nodes = {
        "i": {"type": "Input", "shape": [2, 2, 5]}, "c": conv, "n": lif(), "o": {"type": "Output", "shape": [2, 2, 6 - size[1]]}
    }  # fmt: skip
    network = from_nir(write(tmp_path / "c.nir", nodes), dialect="nir")
    assert network.graph.nodes[0].shape == (2, 2, 5) and len(network.classes) == 4 * (6 - size[1])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("shape", [[2, 5, 5], [1, 2, 5, 5], [8, 2, 5, 5]])
@pytest.mark.parametrize("padding", ["same", "valid", 1, [1, 0]])
@pytest.mark.parametrize(("dilation", "groups", "size"), [(1, 1, 3), (2, 1, 2), (1, 2, 2)])
def test_convolutions_are_torchs(tmp_path, shape, padding, dilation, groups, size):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    weight = rng.integers(-4, 5, (4, 2 // groups, size, size)).astype(np.float32)
    bias = rng.integers(-4, 5, 4).astype(np.float32)
    conv = {
        "type": "Conv2d", "weight": weight, "bias": bias, "stride": 1, "padding": padding, "dilation": [dilation] * 2, "groups": groups,
    }  # fmt: skip
    nodes = {
        "i": {"type": "Input", "shape": shape}, "c": conv, "n": lif(tau=f32(1e30), r=f32(1e34), v_threshold=f32(1e9)),
        "o": {"type": "Output"},
    }  # fmt: skip
    network = from_nir(write(tmp_path / "c.nir", nodes), dialect="nir", framing=Framing(time_bins=1))
    counts = rng.integers(0, 4, (1, 1, 2, 5, 5))
    padded = padding if isinstance(padding, str) else tuple(np.broadcast_to(padding, 2).tolist())
    with torch.no_grad():
        wanted = torch.nn.functional.conv2d(
            torch.tensor(counts[0], dtype=torch.float64), torch.tensor(weight, dtype=torch.float64),
            torch.tensor(bias, dtype=torch.float64), 1, padded, dilation, groups,
        )  # fmt: skip
    membranes = interpret(network.graph, counts).membranes[0][0, 0]
    np.testing.assert_allclose(membranes, wanted[0].numpy(), rtol=1e-9)


def test_parameters_of_every_shape_are_one_network(tmp_path):
    first = None
    for shape in ((), (1,), (3,), (1, 3)):

        def full(value, shape=shape):
            return np.full(shape, value, np.float32)

        nodes = {
            "i": {"type": "Input", "shape": [2]}, "w": {"type": "Linear", "weight": np.ones((3, 2), np.float32)},
            "n": lif(tau=full(2e-4), r=full(1), v_threshold=full(1), v_leak=full(0), v_reset=full(0)),
            "o": {"type": "Output", "shape": [3]},
        }  # fmt: skip
        graph = from_nir(write(tmp_path / "s.nir", nodes, version="1.0.4"), dialect="nir").graph
        first = first or graph
        assert graph == first


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "x.nir"
    path.write_bytes(b"no hdf5 at all")
    with pytest.raises(
        InputError, match=r"x.nir: is no valid NIR file \(.*\). Write it again, with nir.write."
    ):
        read_nir(path)
    good = (written_by("spikingjelly", tmp_path)).read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match="is no valid NIR file"):
        read_nir(path)
    import h5py

    for link in (h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/node")):
        write(path, {"a": {"type": "Input", "shape": [1]}})
        with h5py.File(path, "a") as file:
            file["node/nodes/b"] = link
        with pytest.raises(InputError, match="'b' is a link"):
            read_nir(path)


@pytest.mark.parametrize(
    ("test", "reset", "delay"), [(">", "subtract", 1), (">", "zero", 1), (">=", "zero", 0), (">", "none", 0)]
)
def test_every_engine_obeys_the_dialect_and_scores_are_counts(tmp_path, test, reset, delay):
    path = written_by("spikingjelly", tmp_path)
    network = from_nir(
        path, dialect="snntorch", reset=reset, reset_delay=delay, framing=Framing(time_bins=6, clip=4)
    )
    lifs = [
        replace(n, spike_test=test, threshold=n.threshold * 0.2) if n.kind == "lif" else n
        for n in network.graph.nodes
    ]
    network = replace(network, graph=network.graph.replace(tuple(lifs)))
    profile = replace(load_profile("loihi_int8"), spike_test=test, reset=reset, reset_delay=delay)
    program = compile(network, profile).program
    counts = np.random.default_rng(0).poisson(1.0, (5, 6, 2, 8, 8)).astype(np.uint8)
    results = [
        simulate(program, counts, engine=engine, trace=["_4"])
        for engine in ("reference", "numba", "onnxruntime")
    ]
    for result in results[1:]:
        assert np.array_equal(result.scores, results[0].scores)
        assert np.array_equal(result.traces["_4"].membranes, results[0].traces["_4"].membranes)
    assert np.array_equal(results[0].scores, results[0].traces["_4"].spikes.sum(1))
    assert results[0].scores.any()


@pytest.mark.parametrize(
    ("options", "own", "words"),
    [
        (("--window", "40"), ("duration", 40_000, None), "in 10 time bins, events within 40 ms; the network"),
        (("--window", "40", "--binning", "window"), ("window", 40_000, None), "events within 40 ms, bins of the window; the"),
        (("--binning", "events", "--events-per-bin", "900"), ("events", None, 900), "in 10 time bins, bins of 900 events; the"),
    ],
)  # fmt: skip
def test_recordings_are_divided_into_bins_as_the_options_say(options, own, words, tmp_path):
    path, out = written_by("norse", tmp_path), tmp_path / "n.pt"
    call = ["import", str(path), "-o", str(out), "--dialect", "norse", *options]
    result = CliRunner().invoke(cli, call, catch_exceptions=False)
    assert words in result.output
    bins = load_network(out).preprocessing
    assert (bins.binning, bins.window_us, bins.events_per_bin) == own


def test_a_number_of_events_belongs_to_bins_of_events(tmp_path):
    path, out = written_by("norse", tmp_path), tmp_path / "n.pt"
    call = ["import", str(path), "-o", str(out), "--dialect", "norse", "--events-per-bin", "900"]
    with pytest.raises(InputError, match="binning 'duration': takes no number of events per bin"):
        CliRunner().invoke(cli, call, catch_exceptions=False)
    assert not out.exists()


def test_the_command_prints_what_is_taken_for_granted(tmp_path):
    path, out = written_by("norse", tmp_path), tmp_path / "n.pt"
    words = ["import", str(path), "-o", str(out), "--dialect", "norse", "--time-bins", "5"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert (
        "Dialect: name norse, spike test >, reset zero, reset delay 0, dt 1e-06, dt if 1.0, decay euler,"
        in result.output
    )
    assert "1: alpha = 1 - dt / tau = 0.9, gain = 0.1." in result.output
    assert (
        "Recordings: not stated, frames 1x1x8 (P, H, W) in 5 time bins; the network sees min(count, 127) / 1. 3 classes."
        in result.output
    )
    before = out.stat()
    again = CliRunner().invoke(cli, words, catch_exceptions=False)
    left = f"{out} was there already, equal byte for byte, and is left as it is."
    assert again.output == result.output.replace(f"Wrote {out}.", left)
    assert (out.stat().st_ino, out.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    differing = (
        r"exists, and is not what would be written now\. Choose another name, or replace it with --force"
    )
    with pytest.raises(InputError, match=differing):
        CliRunner().invoke(cli, [*words[:-1], "6"], catch_exceptions=False)
    assert out.stat().st_ino == before.st_ino
    shown = json.loads(
        CliRunner().invoke(cli, ["inspect", str(out), "--json"], catch_exceptions=False).output
    )
    assert shown["semantics"]["dialect"]["reset"] == "zero" and shown["nodes"][2]["alpha"] == 0.9
    with pytest.raises(InputError, match="is an imported network, which was not trained here"):
        load_checkpoint(out)
    result = CliRunner().invoke(cli, ["evaluate", str(out)])
    assert (
        result.exit_code == 2
        and "does not state its recordings. Name a data set with --dataset." in result.output
    )


def test_a_network_is_evaluated_with_its_own_spikes(tmp_path):
    network = from_nir(one_neuron(tmp_path / "one.nir", lif()), dialect="nir", framing=Framing(time_bins=2))
    counts = np.array([[3, 3], [0, 0]], np.uint8).reshape(2, 2, 1, 1, 1)
    frames = LabelledFrames.from_dense(counts, [0, 0], ("0",))
    answer = evaluate_network(network, frames)
    assert (answer.recordings, answer.accuracy, answer.rates) == (2, 1.0, {"w.lif": 0.5})
    with pytest.raises(InputError, match="evaluate: recordings of 2 classes do not fit the network's 1"):
        evaluate_network(network, LabelledFrames.from_dense(counts, [0, 1], ("0", "1")))


@pytest.mark.parametrize(("place", "value"), [(25, 1), (48, 255)])
def test_a_file_on_which_hdf5_never_ends_is_refused(tmp_path, monkeypatch, place, value):
    monkeypatch.setattr(own_process, "MAX_SECONDS", 4.0)
    monkeypatch.setattr(own_process, "WAITING", 100)  # A busy machine gives it less than a tenth of the time.
    path = one_neuron(tmp_path / "a.nir", lif())
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL") + place] = value  # of the heap that holds texts
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        from_nir(path, dialect="nir")
    assert str(caught.value) == (
        f"{path}: is damaged (reading it did not end within 4 s of processor time). Write it again, with nir.write."
    )


def test_a_file_on_which_hdf5_fails_is_refused(tmp_path, monkeypatch):
    path = one_neuron(tmp_path / "a.nir", lif())
    monkeypatch.setattr(read.sys, "executable", "/bin/false")
    assert from_nir(
        path, dialect="nir"
    ).graph.nodes  # a process that merely refuses leaves the word to the reading here
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(read.sys, "executable", str(killed))
    with pytest.raises(InputError, match=r"is damaged \(the HDF5 library fails on it\)\. Write it again"):
        from_nir(path, dialect="nir")
