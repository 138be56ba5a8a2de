"""The simulate command: which program, which data, what it prints and writes, how it refuses."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_programs import tiny_lif, tiny_program, tiny_readout
from without_jit import JIT_ONLY

import sastdeploy
from sastdeploy._files import atomic
from sastdeploy.cli import main as main_module
from sastdeploy.cli.options import load_data_for_program
from sastdeploy.cli.simulate_command import _say_early, without
from sastdeploy.cli.simulation_tables import print_speed
from sastdeploy.errors import InputError
from sastdeploy.program.file import save_program
from sastdeploy.program.fixedpoint import QFormat
from sastdeploy.program.records import DenseLif
from sastdeploy.recordings.preprocessing import Preprocessing
from sastdeploy.recordings.splits import load_dataset
from sastdeploy.simulator import engine, onnxruntime_engine
from sastdeploy.simulator.engine import COMPILING_AGAIN
from sastdeploy.simulator.metrics import speed as rates
from sastdeploy.simulator.result import empty_result
from sastdeploy.simulator.simulate import (
    MAX_TRACE_BYTES,
    EarlyAnswer,
    choose_program,
    early_answer,
    simulate_dataset,
)
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

PACKAGE = Path(sastdeploy.__file__).parent


def digits_program(seed=0, dataset="nmnist-sim", frame=(2, 34, 34), classes=10):
    """Return a random program on N-MNIST's frames with some spikes in every layer."""
    rng = np.random.default_rng(seed)
    sizes = (int(np.prod(frame)), 12, 8)
    layers = [
        DenseLif(
            f"fc{k + 1}",
            np.clip(np.rint(rng.normal(4, 30, (after, before))), -127, 127).astype(np.int8),
            8,
            tiny_lif(
                after,
                multiplier=np.full(after, 20000, np.int32),
                shift=np.full(after, 16, np.int32),
                threshold=np.full(after, 16, np.int32),
                membrane=QFormat(8, 8),
            ),
        )
        for k, (before, after) in enumerate(pairwise(sizes))
    ]
    weight = rng.integers(-127, 128, (classes, sizes[-1])).astype(np.int8)
    readout = tiny_readout(sizes[-1], classes, weight=weight, weight_bits=8)
    return tiny_program(layers, readout, frame, 10, 2, dataset, classes)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_nmnist_sim(folder, train=20, test=30, seed=1, processes=1)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SASTDEPLOY_DATA", str(root))
    save_program("net.onnx", digits_program())
    return tmp_path


def simulate(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main_module.main(["simulate", *arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def recording_of(root):
    return sorted((root / "nmnist-sim").glob("Test/*/*.bin"))[0]


def test_json_is_one_object_with_every_figure(here, capsys):
    code, out, err = simulate(capsys, "--dataset", "nmnist-sim", "--json", "--threads", "2")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["schema"] == "sastdeploy.simulation/1"
    assert summary["recordings"] == 30
    assert np.sum(summary["confusion"]) == 30
    assert summary["provenance"]["threads"] == 2
    assert len(summary["provenance"]["program_hash"]) == 64
    assert "program: net.onnx, the only one here that fits" in err


def test_engines_agree_on_the_data_set(here, capsys):
    summaries = []
    for name in engine.ENGINES:
        code, out, err = simulate(capsys, "net.onnx", "--engine", name, "--limit", "10", "--json")
        assert code == 0, err
        summary = json.loads(out)
        assert summary["provenance"].pop("engine") == name
        summary["provenance"].pop("threads")
        summary.pop("speed")
        summaries.append(summary)
    assert summaries[0] == summaries[1] == summaries[2]
    assert summaries[0]["ksynops"]["all"]["mean"] > 0


def test_tables_show_the_same_numbers(here, capsys):
    _, out, _ = simulate(capsys, "net.onnx", "--json")
    summary = json.loads(out)
    code, out, _ = simulate(capsys, "net.onnx")
    assert code == 0
    assert f"{summary['accuracy']['correct']} of 30" in out
    total = summary["ksynops"]["all"]
    assert f"{total['mean']:,.2f} / {total['maximum']:,.0f}" in out
    for word in ("accuracy", "silent", "always firing", "true \\ predicted", "sequences per second"):
        assert word in out


def test_few_recordings_are_done_before_the_kernels_are_loaded(here, capsys):
    for limit, name in (("8", "reference"), ("9", "numba")):
        _, out, _ = simulate(capsys, "net.onnx", "--limit", limit, "--json")
        assert json.loads(out)["provenance"]["engine"] == name
    script = (
        "import sys; from sastdeploy.cli.main import main\ntry: main(sys.argv[1:])\n"
        "except SystemExit: print(sorted({'torch', 'numba'} & set(sys.modules)))"
    )
    call = [sys.executable, "-c", script, "simulate", "net.onnx"]
    recording = str(recording_of(Path(os.environ["SASTDEPLOY_DATA"])))
    for few in (["--recording", recording], ["--limit", "8"]):
        done = subprocess.run([*call, *few], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_first_recordings_are_answered_before_the_kernels_are_loaded(here, capsys, root):
    code, out, err = simulate(capsys, "net.onnx")
    assert code == 0
    frames = load_dataset("nmnist-sim", "test", root=root)
    full = engine.run(digits_program(), frames.frames, engine="numba")
    correct = int((full.predicted[:8] == frames.labels[:8]).sum())
    ksynops = full.synops[:8].sum() / 8 / 1000
    line = (
        f"first 8 recordings: {correct} correct, {ksynops:,.1f} kSynOps each "
        "(plain engine, same integers); loading compiled kernels\n"
    )
    assert line in err and "first" not in out
    assert full.synops[:8].sum() > 0
    # Few recordings have their result at once, and JSON is for machines.
    for quiet in (["--limit", "8"], ["--json"], ["--engine", "numba"]):
        assert "first 8" not in simulate(capsys, "net.onnx", *quiet)[2]


def test_an_early_answer_is_the_same_integers_and_costs_little(monkeypatch, root):
    program, frames = digits_program(), load_dataset("nmnist-sim", "test", root=root)
    full = engine.run(program, frames.frames, engine="numba")
    work = (2312 * 12 + 12 * 8) * 10
    for most, count in ((8 * work, 8), (8 * work - 1, 7), (work, 1)):
        monkeypatch.setattr("sastdeploy.simulator.simulate.EARLY_WORK", most)
        answer = early_answer(program, frames)
        correct = int((full.predicted[:count] == frames.labels[:count]).sum())
        assert answer == EarlyAnswer(count, correct, full.synops[:count].sum() / count)
    monkeypatch.setattr("sastdeploy.simulator.simulate.EARLY_WORK", work - 1)
    assert early_answer(program, frames) is None


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (EarlyAnswer(1, 0, 1234567.0), "first recording: 0 correct, 1,234.6 kSynOps each"),
        (EarlyAnswer(8, 7, 371200.0), "first 8 recordings: 7 correct, 371.2 kSynOps each"),
    ],
)
def test_an_early_answer_is_one_line(capsys, answer, text):
    _say_early(answer)
    assert capsys.readouterr() == ("", f"{text} (plain engine, same integers); loading compiled kernels\n")


def test_kernels_are_loaded_without_packages_that_they_do_not_call(here):
    script = (
        "import sys; from sastdeploy.cli.main import main\ntry: main(sys.argv[1:])\n"
        "except SystemExit: print(sorted({'cffi', 'numba', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "simulate", "net.onnx", "--json"], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "['numba']", done.stderr


def test_hidden_packages_come_back(monkeypatch):
    monkeypatch.delitem(sys.modules, "this_is_hidden", raising=False)
    here = sys.modules["json"]
    with without("this_is_hidden", "json"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("this_is_hidden")
        assert importlib.import_module("json") is here
    assert "this_is_hidden" not in sys.modules and sys.modules["json"] is here


def test_speed_is_told_against_the_recordings_own_time(here, capsys):
    _, out, _ = simulate(capsys, "net.onnx", "--json", "--threads", "1")
    speed = json.loads(out)["speed"]
    # The simulated recordings last 0.3 s each.
    assert speed["real_time_factor"] * speed["seconds"] == pytest.approx(30 * 0.3, rel=0.05)
    assert set(speed["stages"]) == {"input", "fc1", "fc2", "tally", "readout"}
    assert 0 < sum(speed["stages"].values()) <= speed["seconds"]
    assert "times as fast as recorded" in simulate(capsys, "net.onnx")[1]


def test_profile_run_shows_every_part(here, capsys):
    code, out, _ = simulate(capsys, "net.onnx", "--profile-run", "--limit", "2")
    assert code == 0
    for part in ("us per recording", "fc1", "fc2", "tally", "readout"):
        assert part in out
    code, _, err = simulate(capsys, "net.onnx", "--profile-run", "--engine", "reference")
    assert code == 2 and "--profile-run times the layers of engine numba; leave out --engine." in err


def test_profile_run_of_one_recording_shows_its_layers(here, root, capsys):
    (recording,) = sorted((root / "nmnist-sim" / "Test" / "0").glob("*.bin"))[:1]
    code, out, _ = simulate(capsys, "net.onnx", "--recording", str(recording), "--profile-run")
    assert code == 0 and "(numba, " in out
    table = out[out.index("us per recording") :]
    assert re.findall(r"(?m)^ (\w+) +[\d.]", table) == ["input", "fc1", "fc2", "tally", "readout"]


def test_compiling_is_told_only_while_kernels_are_compiled(monkeypatch):
    from numba.core import event

    remarks = []
    with engine.notice_of_compiling(lambda: remarks.append("slow load"), seconds=0.0):
        time.sleep(0.05)
    assert remarks == []
    with engine.notice_of_compiling(lambda: remarks.append("compiled"), seconds=0.0):
        for _ in range(3):
            with event.trigger_event("numba:compile"):
                time.sleep(0.02)
    assert remarks == ["compiled"]


def test_the_runtime_starts_no_more_threads_than_there_are_cores(here, capsys, monkeypatch):
    asked = []
    start = onnxruntime_engine._session
    monkeypatch.setattr(
        onnxruntime_engine,
        "_session",
        lambda program, threads: asked.append(threads) or start(program, threads),
    )
    code, out, err = simulate(
        capsys, "net.onnx", "--engine", "onnxruntime", "--threads", "10000", "--limit", "2", "--json"
    )
    cores = engine.usable_cores()
    assert f"threads 10000: {cores} used, one for each usable core; the result is the same.\n" in err
    assert code == 0 and asked == [engine.usable_cores()]
    assert json.loads(out)["provenance"]["threads"] == engine.usable_cores()


def test_the_one_program_that_fits_is_taken(here, capsys):
    save_program("gestures.onnx", digits_program(1, "dvsgesture-sim", (2, 48, 48), 11))
    Path("junk.onnx").write_bytes(b"no model")
    code, _, err = simulate(capsys, "--dataset", "nmnist-sim", "--limit", "2", "--json")
    assert code == 0
    assert "program: net.onnx, the only one here that fits" in err
    assert "passed over junk.onnx" in err


def test_of_several_programs_that_fit_none_is_guessed(here, capsys):
    save_program("newer.onnx", digits_program(2))
    code, out, err = simulate(capsys, "--dataset", "nmnist-sim")
    assert (code, out) == (3, "")
    assert err == (
        f"Error: {Path.cwd()}: more than one compiled program that fits nmnist-sim: net.onnx, newer.onnx. "
        "Name one (sastdeploy simulate PROGRAM ...).\n"
    )


def test_half_written_files_and_editors_marks_are_no_programs(here, capsys):
    shutil.copy("net.onnx", ".net.onnx.x1y2.onnx")
    os.symlink("nowhere", ".#net.onnx")
    os.symlink("nowhere", "gone.onnx")
    messages = []
    assert choose_program(here, "nmnist-sim", say=messages.append) == here / "net.onnx" and messages == []


@pytest.mark.parametrize(
    ("training", "seed"), [({"seed": 3}, 3), ({"seed": -1}, 0), ({"seed": True}, 0), ([], 0), (None, 0)]
)
def test_recordings_are_drawn_as_evaluate_draws_them(here, root, training, seed):
    program = replace(digits_program(), provenance={} if training is None else {"training": training})
    for split, limit in (("test", 12), ("validation", None)):
        expected, others = (
            load_dataset("nmnist-sim", split, root=root, limit=limit, seed=s) for s in (seed, seed + 1)
        )
        taken = simulate_dataset(program, "nmnist-sim", split=split, limit=limit, root=root).labelled
        assert taken.names == expected.names != others.names


def test_no_program_says_how_to_make_one(here, capsys):
    Path("net.onnx").unlink()
    code, out, err = simulate(capsys, "--dataset", "nmnist-sim")
    assert (code, out) == (3, "")
    assert err == (
        f"Error: {Path.cwd()}: no compiled program that fits nmnist-sim. Name one (sastdeploy simulate PROGRAM ...), "
        "or make one: 'sastdeploy train --dataset nmnist-sim --out ckpt.pt', "
        "then 'sastdeploy compile ckpt.pt --profile loihi_int8'.\n"
    )


def test_programs_for_other_data_are_named(here):
    with pytest.raises(
        InputError, match=r"that fits dvsgesture-sim \(net\.onnx: for other data\)\. Name one"
    ):
        choose_program(here, "dvsgesture-sim")
    with pytest.raises(InputError, match=r"that fits the recording \(net\.onnx: for other data\)"):
        choose_program(here, None, (128, 128, 2))


def test_a_program_of_other_frames_is_refused(here, capsys):
    code, _, err = simulate(capsys, "net.onnx", "--dataset", "dvsgesture-sim")
    assert code == 3
    assert err == (
        "Error: program tiny.test: takes 34x34x2 sensors in 34x34 frames and 10 classes, but dvsgesture-sim has "
        "128x128x2 sensors in 48x48 frames and 11 classes. Use a program compiled for dvsgesture-sim, "
        "or --dataset nmnist-sim.\n"
    )


def test_a_missing_data_set_is_exit_3_with_three_ways(here, capsys, tmp_path):
    code, out, err = simulate(capsys, "net.onnx", "--data", str(tmp_path / "nothing"))
    assert (code, out) == (3, "")
    assert "Three ways to get it: (1)" in err


def test_simulated_training_on_the_real_set_is_said(here, capsys, root, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "nmnist").symlink_to(root / "nmnist-sim")
    code, _, err = simulate(
        capsys, "net.onnx", "--dataset", "nmnist", "--data", "d", "--json", "--limit", "2"
    )
    assert code == 0, err
    assert (
        "trained on the simulated recordings of nmnist-sim, simulated on the real recordings of nmnist" in err
    )
    assert "these files were made by the simulator, they are not the real nmnist" in err


def test_one_recording_gives_its_class(here, capsys, root):
    code, out, err = simulate(capsys, "--recording", str(recording_of(root)), "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["schema"] == "sastdeploy.recording/1"
    best = max(answer["scores"].values())
    assert answer["predicted"] == next(name for name, score in answer["scores"].items() if score == best)
    assert set(answer["spikes"]) == {"fc1", "fc2"}
    assert answer["synops"]["total"] == sum(answer["synops"]["sources"].values()) > 0
    code, out, _ = simulate(capsys, "net.onnx", "--recording", str(recording_of(root)))
    assert code == 0
    assert f"{recording_of(root)}: {answer['predicted']} ({answer['events']:,} events" in out


@pytest.mark.parametrize("engine_name", engine.ENGINES)
def test_one_recordings_speed_is_told_as_a_data_sets(here, capsys, root, engine_name):
    path = str(recording_of(root))
    call = ("net.onnx", "--recording", path, "--engine", engine_name, "--threads", "1")
    answer = json.loads(simulate(capsys, *call, "--json")[1])
    speed = answer["speed"]
    # The simulated recordings last 0.3 s each.
    assert speed["real_time_factor"] * speed["seconds"] == pytest.approx(0.3, rel=0.05)
    assert speed["sequences_per_second"] * speed["seconds"] == pytest.approx(1)
    assert speed["gsynops_per_second"] * speed["seconds"] * 1e9 == pytest.approx(answer["synops"]["total"])
    last = simulate(capsys, *call)[1].splitlines()[-1]
    form = r"[\d,.e+]+ sequences per second, [\d.e-]+ GSynOp/s, [\d,.e+]+ times as fast as recorded \((\w+), 1 threads\)"
    assert re.fullmatch(form, last)[1] == engine_name
    assert re.fullmatch(form, simulate(capsys, "net.onnx", *call[3:])[1].splitlines()[-1])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "2 sequences per second, 2e-06 GSynOp/s, 0.6 times as fast as recorded"),
        (1e-4, "10,000 sequences per second, 0.01 GSynOp/s, 3,000 times as fast as recorded"),
    ],
)
def test_slow_runs_are_told_with_two_digits(capsys, seconds, text):
    result = replace(empty_result(digits_program(), 1), engine="numba", seconds=seconds)
    result.synops[0, 0] = 1000
    print_speed({"speed": rates(result, 0.3), "provenance": {"engine": "numba", "threads": 1}})
    assert capsys.readouterr().out == f"{text} (numba, 1 threads)\n"


def test_recordings_refuse_data_set_options(here, capsys):
    code, _, err = simulate(capsys, "net.onnx", "--recording", "a.bin", "--limit", "3")
    assert code == 2
    assert "--limit and --skip-bad choose recordings of a data set" in err


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "gone.bin: cannot be read (No such file or directory)"), (b"123", "gone.bin")],
)
def test_a_bad_recording_is_exit_3(here, capsys, content, text):
    if content:
        Path("gone.bin").write_bytes(content)
    code, out, err = simulate(capsys, "net.onnx", "--recording", "gone.bin", "--json")
    assert (code, out) == (3, "")
    assert text in err


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


def test_a_damaged_program_is_exit_3(here, capsys):
    Path("bad.onnx").write_bytes(Path("net.onnx").read_bytes()[:-40])
    code, out, err = simulate(capsys, "bad.onnx")
    assert (code, out) == (3, "")
    assert err.startswith("Error: bad.onnx: ")


def test_other_time_bins_come_from_the_program(here, capsys):
    program = digits_program()
    sensor = program.preprocessing
    fewer = replace(program, preprocessing=Preprocessing((34, 34, 2), (34, 34), 4, sensor.c_clip, 2.0))
    save_program("four.onnx", fewer)
    code, out, err = simulate(capsys, "four.onnx", "--limit", "3", "--json")
    assert code == 0, err
    most = json.loads(out)["ksynops"]["all"]["maximum"]
    assert most == (2312 * 12 + 12 * 8 + 8 * 10) * 4 / 1000


def test_simulate_never_imports_torch(here, root):
    script = (
        "import sys; from sastdeploy.cli.main import main\n"
        f"try: main(['simulate', 'net.onnx', '--recording', {str(recording_of(root))!r}])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "sys.exit('imported torch' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=here)
    assert done.returncode == 0, done.stderr


@JIT_ONLY
def test_a_read_only_install_without_a_home_gives_the_same_result_and_says_what_it_costs(
    here, capsys, tmp_path
):
    """The package where nothing may be written, the user's folders below a file: as root permissions do not bind, but nothing lies below a file."""
    installed = tmp_path / "installed" / "sastdeploy"
    shutil.copytree(PACKAGE, installed, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(installed.rglob("*"))
    (tmp_path / "file").write_text("", "utf-8")
    nowhere = str(tmp_path / "file" / "home")
    folders = [path for path in (installed, *before) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA")
    environment = {**os.environ, **dict.fromkeys(names, nowhere), "PYTHONPATH": str(installed.parent)}
    environment.pop("NUMBA_CACHE_DIR", None)
    call = [sys.executable, "-B", "-W", "error", "-m", "sastdeploy", "simulate", "net.onnx", "--json"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, cwd=here, env=environment)
        assert sorted(installed.rglob("*")) == before
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "compiling" in line]
    place = Path(nowhere) / "sastdeploy" / "kernels"
    assert line == COMPILING_AGAIN.format(place)
    answer, expected = json.loads(done.stdout), json.loads(simulate(capsys, "net.onnx", "--json")[1])
    assert (answer.pop("speed"), expected.pop("speed")) and answer == expected
    assert answer["provenance"]["engine"] == "numba"


def test_every_command_draws_a_programs_recordings_with_its_trainings_seed(root):
    """What verify and export read of a data set is what simulate reads."""
    program = replace(digits_program(), provenance={"training": {"seed": 3}})
    name, drawn = load_data_for_program(program, "nmnist-sim", "test", str(root), 5)
    simulated = simulate_dataset(program, "nmnist-sim", split="test", root=root, limit=5)
    assert name == "nmnist-sim"
    assert drawn.names == simulated.labelled.names
    other = load_dataset("nmnist-sim", "test", root=root, limit=5, time_bins=drawn.frames.time_bins)
    assert other.names != drawn.names
