"""The command that a command names as the next one can be pasted, and works."""

import shlex

import numpy as np
import pytest

from sastdeploy import Framing, load_network, save_checkpoint, save_network
from sastdeploy.cli.arguments import pasted
from sastdeploy.compiler.passes import check_neurons
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.framing import network_of
from tests.command_line import cli
from tests.small_networks import checkpoint_of


def network(alpha=0.5, test=">=", reset="subtract", delay=1):
    one = np.ones(1)
    parts = [
        p.Linear("fc", np.eye(3), None),
        p.Neurons("lif", alpha * one, one, 0 * one, one, test, reset, delay),
    ]
    return network_of("net", parts, (3,), Framing(time_bins=2))


def test_paths_that_begin_with_a_dash_are_no_options():
    assert [pasted(path) for path in ("-dash.pt", "a b.pt", "net.pt", "-a b/c.pt")] == [
        "./-dash.pt", "'a b.pt'", "net.pt", "'./-a b/c.pt'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("neuron", "options"),
    [
        ({}, []),
        ({"test": ">", "reset": "zero", "delay": 0}, ["--profile", "cortex_m"]),
        ({"test": ">", "delay": 0}, ["--profile", "cortex_m"]),
    ],
)
def test_import_names_options_that_compile_takes(neuron, options, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_network("net.pt", network(**neuron))
    assert check_neurons.accepting(load_network("net.pt").graph) == options
    assert cli(capsys, "compile", "net.pt", *options)[0] == 0


def test_neurons_that_no_profile_has_are_sent_to_the_reasons(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    save_network("net.pt", network())
    monkeypatch.setattr(check_neurons, "lacking", lambda graph, profile: ["no."])
    assert check_neurons.accepting(load_network("net.pt").graph) == ["--all-profiles"]
    assert cli(capsys, "compile", "net.pt", "--all-profiles")[0] == 0


def test_the_line_of_import_works(tmp_path, capsys, monkeypatch):
    pytest.importorskip("h5py", reason="NIR files are HDF5")
    from tests.nir_files import written_by

    monkeypatch.chdir(tmp_path)
    for dialect in ("norse", "snntorch1.0.0", "spikingjelly"):
        path = written_by(dialect, tmp_path)
        code, out, _ = cli(
            capsys, "import", path, "--dialect", dialect.rstrip("1.0"), "-o", "./-net.pt", "--force"
        )
        head, line = out.splitlines()[-1].split(": ")
        assert code == 0 and head == "Next" and line.startswith("sastdeploy compile ./-net.pt")
        assert cli(capsys, *shlex.split(line)[1:], "--force")[0] == 0, line


def test_compile_names_its_own_program(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint("net.pt", checkpoint_of())
    code, out, _ = cli(capsys, "compile", "net.pt", "--out=-net.onnx")
    assert code == 0 and out.splitlines()[-1] == "Next: sastdeploy simulate ./-net.onnx --dataset nmnist-sim"
