"""The simulate command's result folder and traces: what they hold, and what they never replace."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sastdeploy._files import atomic
from sastdeploy.program.file import save_program
from sastdeploy.simulator.simulate import MAX_TRACE_BYTES
from tests.digits import beside_program, digits_program, simulate, small_digits


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("data"))


@pytest.fixture
def here(tmp_path, monkeypatch, root):
    return beside_program(tmp_path, monkeypatch, root)


def test_out_holds_summary_and_arrays_and_is_replaced_whole(here, capsys):
    for limit in ("5", "7"):
        code, out, err = simulate(
            capsys, "net.onnx", "--limit", limit, "--out", "res", "--trace", "fc2", "--json", "--force"
        )
        assert code == 0, err
        assert json.loads(Path("res/summary.json").read_text("utf-8")) == json.loads(out)
        with np.load("res/recordings.npz", allow_pickle=False) as arrays:
            assert arrays["scores"].shape == (int(limit), 10)
            assert len(arrays["labels"]) == len(arrays["names"]) == int(limit)
            assert arrays["neuron_spikes.fc1"].shape == (12,)
        with np.load("res/trace.fc2.npz", allow_pickle=False) as trace:
            assert trace["membrane"].shape == trace["spikes"].shape == (int(limit), 10, 8)
    assert sorted(p.name for p in here.iterdir()) == ["net.onnx", "res"]


def test_out_replaces_the_same_runs_result_alone_and_keeps_its_traces(here, capsys):
    run = ("net.onnx", "--limit", "3", "--out", "res")
    assert simulate(capsys, *run, "--trace", "fc1")[0] == 0
    before = Path("res/trace.fc1.npz").read_bytes()
    assert simulate(capsys, *run)[0] == 0
    assert simulate(capsys, *run, "--trace", "fc2")[0] == 0
    assert Path("res/trace.fc1.npz").read_bytes() == before
    assert sorted(p.name for p in Path("res").iterdir()) == [
        "recordings.npz", "summary.json", "trace.fc1.npz", "trace.fc2.npz",
    ]  # fmt: skip
    save_program("other.onnx", digits_program(1))
    message = "Error: res: holds the result of another run. Choose another folder with --out, or replace it with --force.\n"
    for other in (
        ("other.onnx", "--limit", "3"),
        ("net.onnx", "--limit", "4"),
        ("net.onnx", "--limit", "3", "--split", "validation"),
    ):
        assert simulate(capsys, *other, "--out", "res") == (3, "", message)
    assert Path("res/trace.fc1.npz").read_bytes() == before
    assert simulate(capsys, "other.onnx", "--limit", "3", "--out", "res", "--force")[0] == 0
    assert sorted(p.name for p in Path("res").iterdir()) == ["recordings.npz", "summary.json"]


def test_several_traces_and_none_replaces_anothers(here, capsys):
    run = ("net.onnx", "--limit", "2", "--trace", "fc1", "--trace", "fc2", "--trace", "fc1")
    for _ in range(2):
        code, out, err = simulate(capsys, *run)
        assert code == 0 and "wrote trace.fc1.npz\nwrote trace.fc2.npz\n" in err
    before = Path("trace.fc1.npz").read_bytes()
    code, out, err = simulate(capsys, "net.onnx", "--limit", "3", "--trace", "fc1")
    assert code == 3 and "accuracy" in out
    assert err.endswith(
        "Error: trace.fc1.npz: exists, and is not what would be written now. Choose another name, or replace it with --force.\n"
    )
    assert Path("trace.fc1.npz").read_bytes() == before
    assert simulate(capsys, "net.onnx", "--limit", "3", "--trace", "fc1", "--force")[0] == 0
    assert Path("trace.fc1.npz").read_bytes() != before


def test_a_fifo_among_the_programs_is_passed_over(here, capsys):
    os.mkfifo("a.onnx")
    Path("._b.onnx").write_bytes(b"\0\5\x16\7")
    code, _, err = simulate(capsys, "--limit", "1")
    assert code == 0 and f"passed over a.onnx: {here / 'a.onnx'}: is not a regular file." in err


def test_a_trace_without_out_lands_here(here, capsys):
    code, _, err = simulate(capsys, "net.onnx", "--limit", "3", "--trace", "fc1")
    assert code == 0
    assert "wrote trace.fc1.npz" in err
    assert Path("trace.fc1.npz").exists()


def test_out_never_touches_foreign_files(here, capsys):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    code, _, err = simulate(capsys, "net.onnx", "--out", "mine")
    assert code == 3
    assert err == (
        "Error: mine: holds 'thesis.txt', which is no simulation result; nothing was written. "
        "Choose a new folder with --out DIR.\n"
    )
    assert [p.name for p in Path("mine").iterdir()] == ["thesis.txt"]
    code, _, err = simulate(capsys, "net.onnx", "--out", "net.onnx")
    assert (code, err) == (3, "Error: net.onnx: is a file. Choose a folder for the result with --out DIR.\n")
    code, _, err = simulate(capsys, "net.onnx", "--out", "typo/../mine")
    assert code == 3 and err == (
        "Error: typo/../mine: leads through a folder that does not exist, to something that does. "
        "Name it without that folder.\n"
    )
    assert [p.name for p in Path("mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_the_earlier_result(here, capsys, monkeypatch, failure):
    assert simulate(capsys, "net.onnx", "--limit", "3", "--out", "res")[0] == 0
    before = Path("res/summary.json").read_bytes()

    def stop(*_, **__):
        raise failure

    monkeypatch.setattr(atomic, "_swap", stop)
    code, out, err = simulate(capsys, "net.onnx", "--limit", "4", "--out", "res", "--force")
    assert code == (130 if failure is KeyboardInterrupt else 3), err
    assert out == ""
    assert Path("res/summary.json").read_bytes() == before
    assert sorted(p.name for p in here.iterdir()) == ["net.onnx", "res"]


def test_wrong_trace_is_refused_before_any_data_is_read(here, capsys):
    code, _, err = simulate(capsys, "net.onnx", "--trace", "fc3", "--data", "nowhere")
    assert code == 3
    assert err == "Error: trace 'fc3': not a layer with membranes. Did you mean 'fc2'? Allowed: fc1, fc2.\n"


def test_a_trace_that_would_fill_memory_is_refused(here, capsys, monkeypatch):
    monkeypatch.setattr("sastdeploy.simulator.simulate.MAX_TRACE_BYTES", 1200)
    assert MAX_TRACE_BYTES > 1 << 30
    code, _, err = simulate(capsys, "net.onnx", "--trace", "fc1")
    assert code == 3
    # 12 outputs, 10 steps, 5 bytes: 600 bytes a recording
    assert err.endswith("Error: trace 'fc1': 30 recordings would take 0.0 GB. Use --limit 2 or less.\n")
