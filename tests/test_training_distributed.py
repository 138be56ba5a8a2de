"""One training on several processes: against a single one, against itself, and when a process fails."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sastdeploy.errors import InputError, SastdeployError
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.training import distributed, loop
from sastdeploy.training.distributed import ALONE, Group, group_from, processes
from sastdeploy.training.epoch import FIRST, batches, run_epoch
from sastdeploy.training.inference import network_inputs
from sastdeploy.training.networks import SpikingNetwork
from sastdeploy.training.optimiser import adam
from sastdeploy.training.run import TrainingRun
from sastdeploy.training.settings import TrainingSettings
from sastdeploy.training.sharpness import plain_gradient
from tests.small_networks import CONV, DENSE, checkpoint_of, labelled

COUNT, BATCH = 37, 9
"""Shares of 4 and 5 recordings, and in each epoch's last minibatch of 0 and 1."""
CASES = {
    "baseline": (DENSE, {}),
    "sast": (DENSE, {"method": "sast", "rho": 0.3}),
    "asam": (DENSE, {"method": "asam", "rho": 0.5}),
    "random": (DENSE, {"method": "random", "rho": 0.2}),
    "hard": (DENSE, {"method": "sast", "rho": 0.3, "forward": "hard"}),
    "quantized": (DENSE, {"quantize_bits": 4, "quantize_epochs": 2, "weight_decay": 0.1}),
    "conv": (CONV, {"method": "sast", "rho": 0.3}),
}
GRADIENTS, PARAMETERS = 1e-6, 1e-5
"""Largest differences from a single process: of one step's gradient, relative to its largest number; of parameters
after 3 epochs at a learning rate of 1e-3."""


def fit(out, case, group=ALONE, **options):
    architecture, changes = CASES[case]
    changes = {"epochs": 3, "batch_size": BATCH, **changes, **options.pop("changes", {})}
    run = TrainingRun(
        labelled(architecture, COUNT),
        labelled(architecture, 11, seed=1),
        architecture,
        checkpoint_of(architecture).preprocessing,
        TrainingSettings(**changes),
        out,
    )
    return loop.train(run, group=group, **options)


def one_step(case, group=ALONE):
    """Return the gradients with which the first step of a training with a single minibatch moves."""
    architecture, changes = CASES[case]
    network = SpikingNetwork(architecture)
    network.initialise(torch.Generator().manual_seed(0))
    settings = TrainingSettings(epochs=2, batch_size=COUNT, **changes)
    data, preprocessing = labelled(architecture, COUNT), checkpoint_of(architecture).preprocessing
    run_epoch(0, network, adam(network, 0.0), data, preprocessing, settings, group)
    return {name: p.grad.numpy() for name, p in network.named_parameters()}


def disagree(group, folder):
    """Give every process something else and return what is said."""
    messages = []
    network = SpikingNetwork(DENSE)
    network.initialise(torch.Generator().manual_seed(group.rank))
    for attempt in (
        lambda: fit(folder / "x.pt", "sast", group, changes={"seed": group.rank}),
        lambda: loop._check_equal(group, {}, network, loop.Progress(4)),
    ):
        try:
            attempt()
        except Exception as error:
            messages.append([type(error).__name__, str(error)])
    return messages


CASES_PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from sastdeploy.training.distributed import processes
from tests.test_training_distributed import disagree, fit, one_step
folder = Path(sys.argv[1])
with processes() as group:
    for case in sys.argv[2:]:
        np.savez(folder / f"{case}-{group.rank}.npz", **one_step(case, group))
        for turn in (1, 2):
            fit(folder / f"{case}-{turn}.pt", case, group)
    (folder / f"said-{group.rank}.json").write_text(json.dumps(disagree(group, folder)))
"""


def start(processes, *arguments, folder, **environment):
    """Run something under torchrun; nothing here may take long, so a hang ends in an error."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONPATH": here,
        **environment,
    }
    return subprocess.run([*line, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=500)  # fmt: skip


def run_cases(folder, processes, *cases):
    (folder / "program.py").write_text(CASES_PROGRAM)
    done = start(processes, "program.py", folder, *cases, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder in which two processes trained every case twice."""
    return run_cases(tmp_path_factory.mktemp("two"), 2, *CASES)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_step_and_end_as_one_within_float32_rounding(two, tmp_path, case):
    expected = one_step(case)
    shared = [np.load(two / f"{case}-{rank}.npz") for rank in (0, 1)]
    largest = max(np.abs(value).max() for value in expected.values())
    for name, value in expected.items():
        assert np.array_equal(shared[0][name], shared[1][name]), name
        assert np.abs(shared[0][name] - value).max() <= GRADIENTS * largest, name
    one, both = fit(tmp_path / "one.pt", case), load_checkpoint(two / f"{case}-1.pt")
    for name, value in one.parameters.items():
        assert np.abs(both.parameters[name] - value).max() <= PARAMETERS, name
    for key, value in one.training["selected"].items():
        expected_value = value if key == "silent_layers" else pytest.approx(value, rel=1e-4)
        assert both.training["selected"][key] == expected_value, key
    assert (one.provenance["processes"], both.provenance["processes"]) == (1, 2)


@pytest.mark.slow
def test_two_processes_repeat_each_other_bit_for_bit(two):
    for case in CASES:
        first, second = (checkpoint_hash(load_checkpoint(two / f"{case}-{turn}.pt")) for turn in (1, 2))
        assert first == second, case
    assert not list(two.glob("*.state")) and not list(two.glob(".*"))


@pytest.mark.slow
def test_processes_that_were_given_different_things_or_drift_apart_stop(two):
    messages = [json.loads((two / f"said-{rank}.json").read_text()) for rank in (0, 1)]
    assert messages[0] == messages[1] == [
        ["InputError", "ranks [1]: have other settings, data or a state of another epoch than rank 0. "
         "Give every process the same options and the same files."],
        ["SastdeployError", "epoch 4: ranks [1] hold other parameters than rank 0. Run all processes on one kind of "
         "machine with the same number of threads; --resume goes on from the last epoch that agreed."],
    ]  # fmt: skip
    assert not (two / "x.pt").exists()


@pytest.mark.slow
def test_three_processes_repeat_each_other_bit_for_bit(tmp_path):
    folder = run_cases(tmp_path, 3, "sast")
    first, second = (checkpoint_hash(load_checkpoint(folder / f"sast-{turn}.pt")) for turn in (1, 2))
    assert first == second


BROKEN_PROGRAM = """
import os, signal, sys
from sastdeploy.errors import InputError
from sastdeploy.training import loop
from sastdeploy.training.distributed import processes
from tests.test_training_distributed import fit
out, ill = sys.argv[1:]
with processes() as group:
    predict, calls = loop.predict, []
    def failing(*arguments):
        calls.append(0)
        if len(calls) == 3:
            raise InputError("recording 7: is damaged.")
        return predict(*arguments)
    if ill == "fails" and group.rank == 1:
        loop.predict = failing
    def report(record):
        if ill == "killed" and record["epoch"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    fit(out, "sast", group, resume=True, report=report)
"""


@pytest.mark.slow
def test_a_failing_and_a_killed_process_end_all_and_the_run_resumes_with_the_same_bits(two, tmp_path):
    (tmp_path / "program.py").write_text(BROKEN_PROGRAM)
    out = tmp_path / "a.pt"
    failed = start(2, "program.py", out, "fails", folder=tmp_path)
    assert failed.returncode != 0 and "rank 1 of 2: recording 7: is damaged." in failed.stderr
    assert len((tmp_path / "a.pt.jsonl").read_text().splitlines()) == 1
    killed = start(2, "program.py", out, "killed", folder=tmp_path)
    assert killed.returncode != 0
    assert len((tmp_path / "a.pt.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "a.pt.state").exists() and not out.exists()
    with pytest.raises(
        InputError, match=r"cannot be resumed, processes was 2 and is now 1\. Repeat the first"
    ):
        fit(out, "sast", resume=True)
    resumed = start(2, "program.py", out, "well", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert checkpoint_hash(load_checkpoint(out)) == checkpoint_hash(load_checkpoint(two / "sast-1.pt"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "a.pt.jsonl", "program.py"]


@pytest.mark.slow
def test_the_command_line_trains_under_torchrun_and_speaks_once(tmp_path):
    from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim

    make_nmnist_sim(tmp_path / "data", train=40, test=10, seed=4, processes=1)
    (tmp_path / "net.yaml").write_text("name: tiny\nlayers:\n  - {kind: dense, neurons: 8}\n")
    line = "-m sastdeploy train --dataset nmnist-sim --arch net.yaml --method sast --epochs 1 --batch-size 9 --json"
    done = start(2, *line.split(), folder=tmp_path, SASTDEPLOY_DATA=str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert done.stderr.count("recordings; frame value") == 1
    checkpoint = load_checkpoint(tmp_path / record["checkpoint"])
    assert checkpoint.provenance["processes"] == 2 and checkpoint.training["selected"] == record["selected"]


def test_alone_nothing_changes_in_bits():
    network = SpikingNetwork(DENSE)
    network.initialise(torch.Generator().manual_seed(0))
    data, preprocessing = labelled(DENSE, COUNT), checkpoint_of().preprocessing
    (chosen,) = batches(COUNT, COUNT, 0, FIRST, 0)
    scores = network(network_inputs(network, data.frames, preprocessing)(chosen))
    loss = F.cross_entropy(scores, torch.from_numpy(data.labels[chosen]))
    loss.backward()
    expected = {name: p.grad.numpy() for name, p in network.named_parameters()}
    for name, value in one_step("baseline").items():
        assert np.array_equal(value, expected[name])
    assert plain_gradient(network, lambda: network.value("readout.bias").sum() + 2.0) == pytest.approx(
        2.0 + float(network.value("readout.bias").detach().sum())
    )
    assert ALONE.sum_counts([3, 4]) == [3, 4] and ALONE.mismatched_ranks(b"x") == []


@given(st.integers(0, 1000), st.integers(1, 40))
def test_shares_are_contiguous_whole_and_even(count, size):
    shares = [np.arange(count)[Group(rank, size).share(count)] for rank in range(size)]
    assert np.array_equal(np.concatenate(shares), np.arange(count))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


RUN = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def test_the_group_comes_from_torchruns_variables():
    assert group_from(RUN) == Group(1, 2)
    assert group_from({}) == group_from({"RANK": "5"}) == group_from({"WORLD_SIZE": "1"}) == ALONE


@pytest.mark.parametrize(("changes", "message"), [
    ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', must be a whole number from 1 to 1048576."),
    ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0', must be a whole number from 1 to 1048576."),
    ({"RANK": "2"}, "RANK is '2', must be a whole number from 0 to 1."),
    ({"RANK": "-1"}, "RANK is '-1', must be a whole number from 0 to 1."),
    ({"RANK": ""}, "RANK is not set, must be a whole number from 0 to 1."),
    ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set, must be the first process's machine."),
    ({"MASTER_PORT": "99999"}, "MASTER_PORT is '99999', must be a whole number from 1 to 65535."),
])  # fmt: skip
def test_a_senseless_environment_is_refused(changes, message):
    with pytest.raises(InputError) as caught:
        group_from({**RUN, **changes})
    assert str(caught.value) == (
        f"environment: {message} Start with 'torchrun --nproc-per-node N -m sastdeploy train ...', "
        f"or unset WORLD_SIZE to train in one process."
    )


def test_lost_and_unreachable_processes_are_said_without_a_traceback(monkeypatch):
    def lost(*arguments, **options):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(distributed.dist, "all_reduce", lost)
    with pytest.raises(
        SastdeployError, match="lost the other processes of this training: one of them has ended"
    ):
        Group(0, 2).sum_counts([1])
    monkeypatch.setattr(distributed.dist, "init_process_group", lost)
    for name, value in RUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SastdeployError) as caught, processes():
        pass
    assert str(caught.value) == (
        "rank 1 of 2: cannot reach the other processes at localhost:29500. "
        "Start all of them with torchrun, on machines that reach each other."
    )


def test_more_processes_than_a_batch_has_recordings_are_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        fit(tmp_path / "a.pt", "sast", Group(0, 10))
    assert str(caught.value) == (
        "batch_size 9: smaller than the number of processes, 10. Start fewer processes or choose a larger batch."
    )


def test_states_of_other_versions_are_refused(tmp_path):
    class Stop(Exception):
        pass

    def stop(record):
        raise Stop

    with pytest.raises(Stop):
        fit(tmp_path / "a.pt", "sast", report=stop)
    state = torch.load(tmp_path / "a.pt.state", weights_only=True)
    assert state["identity"].pop("processes") == 1
    torch.save(state, tmp_path / "a.pt.state")
    with pytest.raises(
        InputError,
        match=r"cannot be resumed, processes was None and is now 1. Repeat the first call's options",
    ):
        fit(tmp_path / "a.pt", "sast", resume=True)
    torch.save({**state, "format_version": 3}, tmp_path / "a.pt.state")
    with pytest.raises(
        InputError, match=r"is no training state of this version. Remove it, or start anew with --force"
    ):
        fit(tmp_path / "a.pt", "sast", resume=True)
