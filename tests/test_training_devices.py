"""Training on another device than the CPU, tested without a GPU: `second_device` stands in for one.

What only a GPU and nccl can show stays untested: speed, memory, rounding, repeatability, torch's optimiser for many
tensors at once.
"""

import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from sastdeploy.cli import main as main_module
from sastdeploy.cli import train_command
from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.training import distributed, loop, run
from sastdeploy.training.devices import CPU, device_of, exact_products
from sastdeploy.training.distributed import Group, backend, group_from, processes
from sastdeploy.training.run import TrainingRun
from sastdeploy.training.settings import TrainingSettings, kernels_for
from tests.second_device import SECOND, SecondDevice, SecondTensor
from tests.small_networks import CONV, DENSE, POOL, checkpoint_of, labelled

# Torch says so of every tensor on `meta`; the numbers are copied, or a resumed run would not end with the same bits.
pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")

CASES = {
    "baseline": (DENSE, {}),
    "sast": (DENSE, {"method": "sast", "rho": 0.3}),
    "asam": (DENSE, {"method": "asam", "rho": 0.5}),
    "random": (DENSE, {"method": "random", "rho": 0.2}),
    "hard": (DENSE, {"method": "sast", "rho": 0.3, "forward": "hard"}),
    "quantized": (DENSE, {"quantize_bits": 4, "quantize_epochs": 1, "weight_decay": 0.1}),
    "conv": (CONV, {"method": "sast", "rho": 0.3}),
    "pool": (POOL, {"method": "sast", "rho": 0.3}),
}
GPU_0, GPU_1 = torch.device("cuda", 0), torch.device("cuda", 1)


@pytest.fixture
def second(monkeypatch):
    """A group of one on the second device."""
    monkeypatch.setattr(
        torch, "inference_mode", torch.no_grad
    )  # where a tensor made in Python cannot be viewed
    with SecondDevice():
        yield Group(device=SECOND)


def fit(out, case, group, **options):
    architecture, changes = CASES[case]
    run = TrainingRun(
        labelled(architecture, 20),
        labelled(architecture, 11, seed=1),
        architecture,
        checkpoint_of(architecture).preprocessing,
        TrainingSettings(**{"epochs": 2, "batch_size": 9, "kernels": "torch", **changes}),
        out,
    )
    return loop.train(run, group=group, **options)


class Stop(Exception):
    pass


def interrupt(out, case, group):
    def stop(record):
        raise Stop

    with pytest.raises(Stop):
        fit(out, case, group, report=stop)


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from tensors(part)


def test_the_stand_in_refuses_tensors_of_the_cpu(second):
    here, there = torch.ones(2, 2), torch.ones(2, 2, device=SECOND)
    assert isinstance(there, SecondTensor) and (here.device, there.device) == (CPU, SECOND)
    for mix in (torch.add, torch.mul, torch.nn.functional.linear, torch.nn.functional.mse_loss):
        for pair in ((here, there), (there, here)):
            with pytest.raises(RuntimeError, match="expected all tensors on one device, found the CPU's too"):
                mix(*pair)
    with pytest.raises(RuntimeError, match="expected all tensors on one device"):
        torch.cat([here, there])
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    assert torch.equal((there + there).cpu(), here + here) and float(there.sum() * torch.tensor(2.0)) == 8.0


@pytest.mark.parametrize("case", CASES)
def test_another_device_trains_the_same_network(second, tmp_path, monkeypatch, case):
    used = []
    make = run.adam

    def seen(network, weight_decay):
        used.append(network)
        return make(network, weight_decay)

    monkeypatch.setattr(run, "adam", seen)
    there, here = (fit(tmp_path / f"{g.device.type}.pt", case, g) for g in (second, Group()))
    network, _ = used
    kept = [*network.parameters(), *network.buffers(), *(p.grad for p in network.parameters())]
    assert {t.device for t in kept} == {SECOND} and all(isinstance(t, SecondTensor) for t in kept)
    for name, value in here.parameters.items():
        assert np.array_equal(there.parameters[name], value), name
    assert there.training == here.training and there.training["kernels"] == "torch"
    assert (there.provenance["device"], here.provenance["device"]) == ("meta", "cpu")
    read = torch.load(tmp_path / "meta.pt", weights_only=True)
    assert {t.device for t in tensors(read)} == {CPU}
    assert checkpoint_hash(load_checkpoint(tmp_path / "meta.pt")) == checkpoint_hash(there)


def test_a_state_holds_tensors_of_the_cpu_and_resumes_on_its_kind_of_device_only(second, tmp_path):
    whole = fit(tmp_path / "whole.pt", "sast", second)
    interrupt(tmp_path / "a.pt", "sast", second)
    saved = list(tensors(torch.load(tmp_path / "a.pt.state", weights_only=True)))
    assert len(saved) > 20 and {t.device for t in saved} == {CPU}
    with pytest.raises(InputError) as caught:
        fit(tmp_path / "a.pt", "sast", Group(), resume=True)
    assert str(caught.value) == (
        f"{tmp_path}/a.pt.state: cannot be resumed, device was meta and is now cpu. Repeat the first call's options."
    )
    assert checkpoint_hash(fit(tmp_path / "a.pt", "sast", second, resume=True)) == checkpoint_hash(whole)


def test_a_state_that_names_no_device_is_of_the_cpu(second, tmp_path):
    whole = fit(tmp_path / "whole.pt", "sast", Group())
    interrupt(tmp_path / "a.pt", "sast", Group())
    state = torch.load(tmp_path / "a.pt.state", weights_only=True)
    assert state["identity"].pop("device") == "cpu"
    torch.save(state, tmp_path / "a.pt.state")
    with pytest.raises(
        InputError, match=r"cannot be resumed, device was cpu and is now meta\. Repeat the first"
    ):
        fit(tmp_path / "a.pt", "sast", second, resume=True)
    assert checkpoint_hash(fit(tmp_path / "a.pt", "sast", Group(), resume=True)) == checkpoint_hash(whole)


def test_kernels_follow_the_device_and_fused_ones_are_refused_elsewhere(second, tmp_path):
    assert [kernels_for("cpu", asked) for asked in (None, "fused", "torch")] == ["fused", "fused", "torch"]
    assert [kernels_for("cuda:1", asked) for asked in (None, "torch")] == ["packed", "torch"]
    assert [kernels_for("cuda:1", asked, False) for asked in (None, "torch")] == ["torch", "torch"]
    with pytest.raises(InputError) as caught:
        preprocessing = checkpoint_of().preprocessing
        run = TrainingRun(labelled(), labelled(), DENSE, preprocessing, TrainingSettings(), tmp_path / "a.pt")
        loop.train(run, group=second)
    assert str(caught.value) == (
        "kernels fused: compute on the CPU only, the device is meta. Allowed there: packed, its default, or torch. "
        "Leave --kernels out, or train with --device cpu."
    )


def test_convolutions_on_a_gpu_would_neither_round_to_tf32_nor_vary_while_training(tmp_path):
    def flags():
        return torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32

    before, seen = flags(), []
    fit(tmp_path / "a.pt", "conv", Group(), report=lambda record: seen.append(flags()))
    assert seen == [(True, False)] * 2 and flags() == before


def give_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


RUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def test_words_name_devices(monkeypatch):
    give_gpus(monkeypatch, 2)
    assert device_of("cpu") == CPU and device_of("cuda") == device_of("cuda:0") == GPU_0
    assert device_of("cuda:1") == device_of("cuda", local_rank=1) == GPU_1
    assert group_from({}, "cuda:1") == Group(0, 1, GPU_1)
    assert group_from(RUN, "cuda") == Group(1, 2, GPU_1) and group_from(RUN) == Group(1, 2, CPU)


@pytest.mark.parametrize(("gpus", "environment", "options", "message"), [
    (2, {}, "--device gpu", "device 'gpu': unknown. Allowed: cpu, cuda, or cuda:N with the number of a GPU."),
    (2, {}, "--device auto", "device 'auto': unknown. Allowed: cpu, cuda, or cuda:N with the number of a GPU."),
    (2, {}, "--device cuda:", "device 'cuda:': unknown. Allowed: cpu, cuda, or cuda:N with the number of a GPU."),
    (2, {}, "--device cuda:-1", "device 'cuda:-1': unknown. Allowed: cpu, cuda, or cuda:N with the number of a GPU."),
    (0, {}, "--device cuda", f"device cuda: is not there, torch {torch.__version__} sees no GPU. Allowed here: cpu. Install a build of torch for your GPU, or leave --device out."),
    (0, {}, "--device cuda:1", f"device cuda:1: is not there, torch {torch.__version__} sees no GPU. Allowed here: cpu. Install a build of torch for your GPU, or leave --device out."),
    (2, {}, "--device cuda:2", "device cuda:2: is not there, torch sees GPUs: 2. Allowed: cpu, cuda:0 to cuda:1."),
    (1, RUN, "--device cuda", "device cuda:1: is not there, torch sees GPUs: 1. Allowed: cpu, cuda:0 to cuda:0. Start at most 1 processes on this machine."),
    (2, RUN, "--device cuda:0", "device cuda:0: is one GPU for several processes. Allowed under torchrun: cpu, or cuda, with which every process takes the GPU of its LOCAL_RANK."),
    (2, {**RUN, "LOCAL_RANK": ""}, "--device cuda", "environment: LOCAL_RANK is not set, must be a whole number from 0 to 1. Start with 'torchrun --nproc-per-node N -m sastdeploy train ...', or unset WORLD_SIZE to train in one process."),
    (2, {}, "--device cuda --kernels fused", "kernels fused: compute on the CPU only, the device is cuda. Allowed there: packed, its default, or torch. Leave --kernels out, or train with --device cpu."),
])  # fmt: skip
def test_the_command_line_refuses(monkeypatch, capsys, gpus, environment, options, message):
    give_gpus(monkeypatch, gpus)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        main_module.main(["train", "--dataset", "nmnist-sim", "--data", "none", *options.split()])
    assert stop.value.code == 3
    assert capsys.readouterr().err == f"Error: {message}\n"


def test_the_command_line_hands_the_device_and_its_kernels_on(monkeypatch):
    from sastdeploy.cli import options

    give_gpus(monkeypatch, 2)
    asked = []

    def stop(runs, *, group, **others):
        asked.append((group, runs[0].settings.kernels))
        raise InputError("enough.")

    monkeypatch.setattr("sastdeploy.fit_all", stop)
    monkeypatch.setattr(options, "load_data", lambda *arguments, **others: labelled())
    monkeypatch.setattr(options, "note_simulated", lambda *arguments: None)
    for words in ("", "--device cuda", "--device cuda:1 --kernels torch", "--kernels torch"):
        with pytest.raises(SystemExit):
            main_module.main(["train", "--dataset", "nmnist-sim", *words.split()])
    assert asked == [
        (Group(0, 1, CPU), "fused"), (Group(0, 1, GPU_0), "packed"), (Group(0, 1, GPU_1), "torch"), (Group(0, 1, CPU), "torch"),
    ]  # fmt: skip


def test_gpus_are_joined_by_nccl_each_process_bound_to_its_own_and_the_cpu_by_gloo(monkeypatch):
    assert (backend(GPU_1), backend(CPU)) == ("nccl", "gloo")
    give_gpus(monkeypatch, 2)
    joined = []

    def stop(kind, **options):
        joined.append((kind, options["rank"], options["world_size"], options["device_id"]))
        raise Stop

    monkeypatch.setattr(distributed.dist, "init_process_group", stop)
    for name, value in RUN.items():
        monkeypatch.setenv(name, value)
    for device in ("cuda", "cpu"):
        with pytest.raises(Stop), processes(device):
            pass
    assert joined == [("nccl", 1, 2, GPU_1), ("gloo", 1, 2, None)]


def test_what_processes_exchange_lies_on_their_device(monkeypatch):
    exchanged = []

    def stop(*given):
        exchanged.extend(given)
        raise Stop

    for operation in ("all_reduce", "all_gather"):
        monkeypatch.setattr(distributed.dist, operation, stop)
    group, network = Group(0, 2, SECOND), torch.nn.Linear(2, 3, device=SECOND)
    for attempt in (
        lambda: group.sum_gradients(network, network.weight.sum()),
        lambda: group.sum_counts([3, 4]),
        lambda: group.mismatched_ranks(b"x"),
    ):
        with pytest.raises(Stop):
            attempt()
    gradients, counts, digests, digest = exchanged
    assert {t.device for t in (gradients, counts, *digests, digest)} == {SECOND}


def test_threads_beyond_the_cores_are_told_and_never_asked_of_numba(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)
    monkeypatch.setattr(numba, "set_num_threads", lambda count: asked.append(("numba", count)))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: asked.append(("torch", count)))
    train_command._use_threads(4)
    assert capsys.readouterr().err == ""
    train_command._use_threads(9)
    assert capsys.readouterr().err == (
        "threads 9: more than this machine's cores, which is slower; torch uses 9, the compiled kernels 4.\n"
    )
    assert asked == [("numba", 4), ("torch", 4), ("numba", 4), ("torch", 9)]


TF32 = """
import torch
from sastdeploy.training.devices import exact_products
PLACE = "tf32"
matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
before = matmul.fp32_precision, conv.fp32_precision
with exact_products():
    assert (matmul.fp32_precision, conv.fp32_precision) == ("ieee", "ieee")
    assert torch.get_float32_matmul_precision() == "highest" and torch.backends.cudnn.deterministic
assert (matmul.fp32_precision, conv.fp32_precision) == before and not torch.backends.cudnn.deterministic
"""


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="an older torch")
@pytest.mark.parametrize("place", ["backends.cuda.matmul.fp32_precision", "backends.fp32_precision"])
def test_tf32_that_the_caller_chose_by_the_newer_interface_is_set_aside(place):
    """In a process of its own: torch refuses the older interface from then on."""
    done = subprocess.run(
        [sys.executable, "-c", TF32.replace("PLACE", f"torch.{place}")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_tf32_that_the_caller_chose_by_the_older_interface_is_set_aside(precision):
    torch.set_float32_matmul_precision(precision)
    try:
        with exact_products():
            assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")
