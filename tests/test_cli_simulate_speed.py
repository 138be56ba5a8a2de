"""The simulate command's speed: early answers, what is compiled and imported, and what it tells of it."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from without_jit import JIT_ONLY

import sastdeploy
from sastdeploy.cli.simulate_command import _say_early, without
from sastdeploy.cli.simulation_tables import print_speed
from sastdeploy.recordings.splits import load_dataset
from sastdeploy.simulator import engine, onnxruntime_engine
from sastdeploy.simulator.engine import COMPILING_AGAIN
from sastdeploy.simulator.metrics import speed as rates
from sastdeploy.simulator.result import empty_result
from sastdeploy.simulator.simulate import EarlyAnswer, early_answer
from tests.digits import beside_program, digits_program, recording_of, simulate, small_digits

PACKAGE = Path(sastdeploy.__file__).parent


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_digits(tmp_path_factory.mktemp("data"))


@pytest.fixture
def here(tmp_path, monkeypatch, root):
    return beside_program(tmp_path, monkeypatch, root)


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
    form = r"[\d,.e+]+ recordings per second, [\d.e-]+ GSynOp/s, [\d,.e+]+ times as fast as recorded \((\w+), 1 thread\)"
    assert re.fullmatch(form, last)[1] == engine_name
    assert re.fullmatch(form, simulate(capsys, "net.onnx", *call[3:])[1].splitlines()[-1])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "2 recordings per second, 2e-06 GSynOp/s, 0.6 times as fast as recorded"),
        (1e-4, "10,000 recordings per second, 0.01 GSynOp/s, 3,000 times as fast as recorded"),
    ],
)
def test_slow_runs_are_told_with_two_digits(capsys, seconds, text):
    result = replace(empty_result(digits_program(), 1), engine="numba", seconds=seconds)
    result.synops[0, 0] = 1000
    print_speed({"speed": rates(result, 0.3), "provenance": {"engine": "numba", "threads": 1}})
    assert capsys.readouterr().out == f"{text} (numba, 1 thread)\n"


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
