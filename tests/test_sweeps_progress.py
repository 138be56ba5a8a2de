"""Where trials stand, the time left, and what the terminal shows."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic_records as synthetic
from rich.console import Console

from sastdeploy.errors import InputError
from sastdeploy.experiments import progress
from sastdeploy.experiments.display import SweepDisplay, duration
from sastdeploy.experiments.progress import Epochs, Logs, State, Watch, finished, seconds_left
from sastdeploy.experiments.spec import Trial

BASE = Trial("nmnist-sim", epochs=10)
SAST = replace(BASE, method="sast", rho=0.3)


def state(trial, count, seconds=0.0, done=False, hard=None, address="a"):
    name = "done" if done else "begun" if count else "waiting"
    return State(address, trial, name, Epochs(count, seconds, hard))


def write_log(work, address, seconds):
    log = work / address / "ckpt.pt.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"seconds": s, "hard_accuracy": 0.5 + i / 10} for i, s in enumerate(seconds)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return log


def write_record(records, address, trial, seconds):
    content = synthetic.record(trial, 0.75, 0.75)
    synthetic.write(records, address, content | {"seconds": {"training": seconds, "training_cpu": seconds}})


def test_time_left_by_hand():
    # Nothing measured: nothing said.
    assert seconds_left([state(BASE, 0)], 2) is None
    # 2 s an epoch, 6 epochs left of one and 10 of its other seed, shared by two: 16 s; the longer one alone needs 20 s.
    one, other = state(BASE, 4, 8.0), state(replace(BASE, seed=1), 0)
    assert seconds_left([one, other], 1) == 32
    assert seconds_left([one, other], 2) == 20
    # A point without epochs takes the pace of its method (5 s), not of all.
    near = state(replace(SAST, rho=0.5), 0)
    assert seconds_left([one, state(SAST, 10, 50.0, done=True), near], 1) == 12 + 50
    # ... and where its method has none either, the mean of all.
    assert seconds_left([one, near], 1) == 12 + 20
    assert seconds_left([state(BASE, 10, 20.0, done=True)], 2) == 0


def test_a_log_is_read_again_only_when_it_changed(tmp_path, monkeypatch):
    reads, real = [], progress._epochs
    monkeypatch.setattr(progress, "_epochs", lambda log: reads.append(log) or real(log))
    logs = Logs(tmp_path)
    assert logs.read("a") == Epochs()
    write_log(tmp_path, "a", [1.0, 2.0])
    assert logs.read("a") == logs.read("a") == Epochs(2, 3.0, 0.6)
    assert len(reads) == 1
    write_log(tmp_path, "a", [1.0, 2.0, 4.0])
    assert logs.read("a") == Epochs(3, 7.0, 0.7) and len(reads) == 2


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"seconds": 1.0}\n',
        "[1]\n",
        '{"seconds": NaN, "hard_accuracy": 0}\n',
        '{"seconds": 1, "hard_accuracy": "x"}\n',
    ],
)
def test_a_damaged_log_is_named(tmp_path, content):
    log = write_log(tmp_path, "a", [1.0])
    log.write_text(content, "utf-8")
    with pytest.raises(
        InputError,
        match=r"ckpt.pt.jsonl: line 1: (is no valid JSON|expected an epoch's) .*train the trial anew",
    ):
        Logs(tmp_path).read("a")


def test_a_watch_judges_by_records_logs_and_what_it_is_told(tmp_path):
    work, records = tmp_path / "work", tmp_path / "records"
    trials = {name: replace(BASE, seed=i) for i, name in enumerate("abcd")}
    assert finished(records) == set()
    write_record(records, "a", trials["a"], 40.0)
    (records / ".b.json.x.json").write_text("{", "utf-8")  # a write that was interrupted
    write_log(work, "b", [1.0])
    watch = Watch(trials, work, records)
    assert finished(records) == {"a"}
    assert [(s.state, s.epochs) for s in watch.states()] == [
        ("done", Epochs(10, 40.0, 0.75)), ("begun", Epochs(1, 1.0, 0.5)), ("waiting", Epochs()), ("waiting", Epochs()),
    ]  # fmt: skip
    write_log(work, "b", [1.0, 1.0])
    watch.read({"b"})
    watch.note("c", Epochs(3, 6.0, 0.9))
    write_record(records, "d", trials["d"], 20.0)
    assert [(s.state, s.epochs.count) for s in watch.states()] == [
        ("done", 10),
        ("begun", 2),
        ("begun", 3),
        ("done", 10),
    ]
    write_record(records, "b", trials["b"], 9.0)
    (records / "b.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"b\.json: is no valid JSON"):
        watch.states()


def shown(terminal, height=20):
    text, now = io.StringIO(), [0.0]
    console = Console(
        file=text, force_terminal=terminal, width=120, height=height, markup=False, highlight=False
    )
    return text, now, SweepDisplay("small", ("method", "rho"), console, lambda: now[0])


def test_a_terminal_shows_the_running_trials():
    text, now, display = shown(True)
    states = [
        state(BASE, 10, 20.0, done=True), state(SAST, 4, 8.0, hard=0.9123, address="b"), state(replace(SAST, seed=1), 0, address="c"),
    ]  # fmt: skip
    with display:
        now[0] = 65.0
        display.update(states, {"b"}, 1)
        display.say("a word that stays")
    out = text.getvalue()
    assert "method sast, rho 0.3" in out and "4/10" in out and "91.23" in out and "a word that stays" in out
    assert (
        "small: 1 of 3 trials done, 1 running, 1 waiting; 14 of 30 epochs; elapsed 0:01:05, left about 0:00:32"
        in out
    )


def test_a_small_terminal_says_how_many_it_leaves_out():
    text, _, display = shown(True, height=8)
    states = [state(replace(SAST, seed=i), 1, 1.0, address=str(i)) for i in range(9)]
    with display:
        display.update(states, {str(i) for i in range(9)}, 9)
    assert "and 6 more" in text.getvalue()


def test_without_a_terminal_there_are_few_plain_lines():
    text, now, display = shown(False)
    with display:
        for second in range(61):
            now[0] = float(second)
            display.update([state(BASE, 0)], set(), 1)
    lines = text.getvalue().splitlines()
    assert len(lines) == 3 and "\x1b" not in text.getvalue()
    assert (
        lines[0]
        == "small: 0 of 1 trials done, 0 running, 1 waiting; 0 of 10 epochs; elapsed 0:00:00, left about -"
    )


def test_a_trial_with_a_record_that_is_measured_counts_as_running_alone():
    text, _, display = shown(False)
    with display:
        display.update([state(BASE, 10, 20.0, done=True, address="a")], {"a"}, 1)
    assert "small: 0 of 1 trials done, 1 running, 0 waiting; 10 of 10 epochs;" in text.getvalue()


def test_durations():
    assert [duration(s) for s in (None, 0.4, 3723)] == ["-", "0:00:00", "1:02:03"]


def test_a_missing_folder_of_work_is_no_error(tmp_path):
    (only,) = Watch({"a": BASE}, Path(tmp_path / "none"), tmp_path / "none").states()
    assert only.state == "waiting"
