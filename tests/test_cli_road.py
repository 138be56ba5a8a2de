"""The whole road through the command line, in processes of its own: make, train, evaluate, compile, simulate."""

import json
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sastdeploy.networks.checkpoint import load_checkpoint
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from tests.interrupts import heed_interrupts

TRAIN = "train --dataset nmnist-sim --arch 'my net.yaml' --method sast --rho 0.1 --epochs 40 --batch-size 32 --seed 3 --threads 1 --threshold 0.2"
QUICK = TRAIN.replace("--epochs 40", "--epochs 1")
NETWORK = "name: road\nlayers:\n  - {kind: conv, channels: 4, kernel: 5, stride: 3, padding: 1}\n  - {kind: dense, neurons: 12}\n"


def call(folder, line, **options):
    return subprocess.run([sys.executable, "-m", "sastdeploy", *shlex.split(line)], cwd=folder, capture_output=True,
                          text=True, timeout=300, **options)  # fmt: skip


def succeed(folder, line):
    done = call(folder, line)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """A folder in which the five commands were typed, with what each printed as JSON."""
    folder = tmp_path_factory.mktemp("road")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SASTDEPLOY_DATA", str(folder / "data"))
        make_nmnist_sim(folder / "data", train=160, test=40, seed=4, processes=1)
        (folder / "my net.yaml").write_text(NETWORK)
        printed = {
            "train": succeed(folder, f"{TRAIN} --out ckpt.pt --json"),
            "evaluate": succeed(folder, "evaluate ckpt.pt --json"),
            "compile": succeed(folder, "compile ckpt.pt --profile loihi_int8 --json"),
            "simulate": succeed(folder, "simulate --dataset nmnist-sim --json"),
        }
        yield folder, {name: json.loads(text) for name, text in printed.items()}


def test_the_simulated_accuracy_is_over_the_recordings_that_evaluate_saw(road):
    _, printed = road
    assert printed["simulate"]["recordings"] == printed["evaluate"]["recordings"] == 40


def test_the_checkpoint_holds_what_the_command_said(road):
    folder, printed = road
    checkpoint = load_checkpoint(folder / "ckpt.pt")
    assert checkpoint.training["selected"] == printed["train"]["selected"]
    assert "--arch 'my net.yaml' --method sast --rho 0.1" in checkpoint.provenance["command"]
    assert [layer.kind for layer in checkpoint.architecture.layers] == ["conv", "dense"]


def test_compiling_again_gives_the_same_bytes(road):
    folder, _ = road
    first = (folder / "ckpt.loihi_int8.onnx").read_bytes()
    succeed(folder, "compile ckpt.pt --profile loihi_int8 --out again.onnx")
    again = (folder / "again.onnx").read_bytes()
    (folder / "again.onnx").unlink()
    assert again == first


def test_three_engines_print_the_same_figures(road):
    folder, printed = road
    for engine in ("reference", "onnxruntime"):
        other = json.loads(
            succeed(folder, f"simulate ckpt.loihi_int8.onnx --dataset nmnist-sim --engine {engine} --json")
        )
        for part in ("accuracy", "confusion", "ksynops", "layers"):
            assert other[part] == printed["simulate"][part], part


def test_one_recording_answers_as_in_the_set(road):
    folder, _ = road
    recording = sorted((folder / "data" / "nmnist-sim" / "Test").glob("*/*.bin"))[0]
    answer = json.loads(succeed(folder, f"simulate --recording {recording} --json"))
    assert answer["predicted_index"] == int(np.argmax(list(answer["scores"].values())))
    assert answer["predicted"] == str(answer["predicted_index"])


def test_the_next_command_that_train_prints_can_be_pasted(road):
    folder, _ = road
    printed = succeed(folder, f"{QUICK} --out 'my net é.pt'").splitlines()[-1]
    assert printed == "Next: sastdeploy compile 'my net é.pt' --profile loihi_int8"
    succeed(folder, printed.removeprefix("Next: sastdeploy "))


def test_weights_of_few_bits_are_sent_on_to_a_profile_of_few(road):
    folder, _ = road
    printed = succeed(folder, f"{QUICK} --quantize-bits 4 --quantize-epochs 1 --out few.pt").splitlines()[-1]
    assert printed == "Next: sastdeploy compile few.pt --profile aggressive_int4"
    assert "rounded again" not in succeed(folder, printed.removeprefix("Next: sastdeploy "))


def test_a_network_that_never_spikes_is_not_sent_on_to_the_compiler(road):
    folder, _ = road
    printed = succeed(
        folder, f"{QUICK.replace('--threshold 0.2', '--threshold 1e6')} --out silent.pt"
    ).splitlines()
    assert printed[-1].startswith("silent.pt: epoch 1 of 1")


@pytest.mark.parametrize("signal_sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_training_resumes_to_the_same_bits(road, signal_sent):
    folder, _ = road
    out = f"stopped{int(signal_sent)}.pt"
    log = folder / f"{out}.jsonl"
    with subprocess.Popen([sys.executable, "-m", "sastdeploy", *shlex.split(f"{TRAIN} --out {out}")], cwd=folder,
                          stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                          preexec_fn=heed_interrupts) as running:  # fmt: skip
        give_up = time.monotonic() + 120
        while not log.exists() and running.poll() is None and time.monotonic() < give_up:
            time.sleep(0.005)
        running.send_signal(signal_sent)
        _, errors = running.communicate(timeout=60)
    assert not (folder / out).exists(), "the run finished before the signal came"
    if signal_sent == signal.SIGINT:
        assert running.returncode == 130
        assert "Interrupted." in errors and "Traceback" not in errors
    again = call(folder, f"{TRAIN} --out {out}")
    assert again.returncode == 3
    assert (
        f"{out}.state: an interrupted run is there. Go on with --resume, or start anew with --force."
        in again.stderr
    )
    succeed(folder, f"{TRAIN} --out {out} --resume")
    whole, resumed = load_checkpoint(folder / "ckpt.pt"), load_checkpoint(folder / out)
    assert whole.training == resumed.training
    for name, value in whole.parameters.items():
        np.testing.assert_array_equal(
            value.view(np.int32), resumed.parameters[name].view(np.int32), err_msg=name
        )
    assert not (folder / f"{out}.state").exists()


def test_of_two_programs_that_fit_none_is_guessed(road):
    folder, _ = road
    succeed(folder, "compile ckpt.pt --profile aggressive_int4")
    done = call(folder, "simulate --dataset nmnist-sim --limit 5")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "ckpt.aggressive_int4.onnx" in done.stderr and "ckpt.loihi_int8.onnx" in done.stderr
    (folder / "ckpt.aggressive_int4.onnx").unlink()
