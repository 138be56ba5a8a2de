"""A pack of networks against single runs: the same minibatches, records and checkpoints, values within float32 rounding."""

import json
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._dynamo.exc import InternalTorchDynamoError
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from benchmarks.speed import gpu
from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.training import loop
from sastdeploy.training.distributed import ALONE
from sastdeploy.training.fit import fit_all
from sastdeploy.training.inference import frame_values
from sastdeploy.training.packed.data import PackedData, packed_data, padded_batches
from sastdeploy.training.packed.loop import Pack, train_pack
from sastdeploy.training.packed.step import Captured, _aside
from sastdeploy.training.run import TrainingRun, begin
from sastdeploy.training.settings import TrainingSettings
from tests.small_networks import CONV, DENSE, POOL, checkpoint_of, labelled

CPU = torch.device("cpu")
CASES = {
    "baseline": (DENSE, {}),
    "sast": (DENSE, {"method": "sast", "rho": 0.3}),
    "asam": (DENSE, {"method": "asam", "rho": 0.5}),
    "hard": (DENSE, {"method": "sast", "rho": 0.3, "forward": "hard"}),
    "slopes": (DENSE, {"slope_end": 5.0, "weight_decay": 0.1}),
    "alive": (DENSE, {"init": "alive"}),
    "conv": (CONV, {"method": "sast", "rho": 0.3}),
    "pool": (POOL, {"method": "sast", "rho": 0.3}),
}


def run_of(out, architecture=DENSE, seed=0, divisor=1.0, normalisation="fixed", data_seed=0, **settings):
    preprocessing = checkpoint_of(architecture).preprocessing
    return TrainingRun(
        labelled(architecture, 20, seed=data_seed),
        labelled(architecture, 11, seed=1),
        architecture,
        replace(preprocessing, divisor=preprocessing.divisor * divisor, normalisation=normalisation),
        TrainingSettings(**{"epochs": 2, "batch_size": 9, "kernels": "packed", "seed": seed, **settings}),
        out,
    )


def alone(run, out):
    """The definition: the same run by itself, in plain torch."""
    return loop.train(replace(run, settings=replace(run.settings, kernels="torch"), out=out))


def check_equal(packed, single):
    for name, value in single.parameters.items():
        assert np.allclose(packed.parameters[name], value, rtol=1e-4, atol=2e-5), name
    ours, theirs = packed.training["selected"], single.training["selected"]
    assert {k: v for k, v in ours.items() if k != "packed"}.keys() == theirs.keys()
    for key, value in theirs.items():
        assert ours[key] == (
            value if isinstance(value, list) else pytest.approx(value, rel=1e-4, abs=1e-6)
        ), key


@pytest.mark.parametrize("case", CASES)
def test_each_network_of_a_pack_is_the_one_of_a_single_run(tmp_path, case):
    architecture, changes = CASES[case]
    theta = replace(architecture, neuron=replace(architecture.neuron, threshold=0.5, slope=10.0))
    runs = [
        run_of(tmp_path / "a.pt", architecture, **changes),
        run_of(tmp_path / "b.pt", theta, seed=3, divisor=1.5, data_seed=4, **changes),
        run_of(tmp_path / "c.pt", architecture, seed=1, normalisation="sample_max", **changes),
    ]
    for packed, run in zip(train_pack(runs), runs):
        check_equal(packed, alone(run, tmp_path / "single.pt"))
        (tmp_path / "single.pt").unlink()
        (tmp_path / "single.pt.jsonl").unlink()
        assert checkpoint_hash(load_checkpoint(run.out)) == checkpoint_hash(packed)
        lines = [json.loads(line) for line in run.log_path.read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [0, 1] and {line["packed"] for line in lines} == {3}
        assert not run.state_path.exists()


def test_methods_of_as_many_gradients_share_a_pack_and_others_do_not(tmp_path):
    runs = [
        run_of(tmp_path / "a.pt"),
        run_of(tmp_path / "b.pt", method="sast", rho=0.3),
        run_of(tmp_path / "c.pt", method="asam", rho=0.5, seed=2),
        run_of(tmp_path / "d.pt", method="random", rho=0.2),
    ]
    sizes = {}
    train_pack(runs, report=lambda which, record: sizes.update({which: record["packed"]}))
    assert sizes == {0: 2, 1: 2, 2: 2, 3: 2}
    check_equal(load_checkpoint(tmp_path / "a.pt"), alone(runs[0], tmp_path / "single-a.pt"))
    check_equal(load_checkpoint(tmp_path / "c.pt"), alone(runs[2], tmp_path / "single-c.pt"))


def test_a_random_direction_has_the_length_rho_and_is_drawn_from_the_seed(tmp_path):
    moved = [run_of(tmp_path / f"{i}.pt", method="random", rho=0.2, seed=i // 2) for i in range(4)]
    a, b, c, d = train_pack(moved)
    assert all(np.array_equal(a.parameters[n], b.parameters[n]) for n in a.parameters)
    assert all(np.array_equal(c.parameters[n], d.parameters[n]) for n in c.parameters)
    still = run_of(tmp_path / "still.pt", method="random", rho=0.0)
    (zero,) = train_pack([still])
    plain = alone(run_of(tmp_path / "x.pt"), tmp_path / "plain.pt")
    assert all(np.allclose(zero.parameters[n], plain.parameters[n], atol=2e-5) for n in plain.parameters)
    assert not np.allclose(a.parameters["layers.0.weight"], zero.parameters["layers.0.weight"], atol=2e-5)


def test_a_pack_that_was_interrupted_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("sastdeploy.training.packed.loop._BETWEEN_STATES", 0.0)

    def runs(folder):
        folder.mkdir()
        return [run_of(folder / f"{i}.pt", seed=i, method="sast", rho=0.3, epochs=3) for i in range(2)]

    whole = train_pack(runs(tmp_path / "whole"))
    interrupted = runs(tmp_path / "broken")

    class Stop(Exception):
        pass

    def stop(which, record):
        if (which, record["epoch"]) == (1, 1):
            raise Stop

    with pytest.raises(Stop):
        train_pack(interrupted, report=stop)
    assert all(run.state_path.exists() for run in interrupted)
    with pytest.raises(InputError, match="an interrupted run is there"):
        train_pack(interrupted)
    for resumed, expected in zip(train_pack(interrupted, resume=True), whole):
        assert checkpoint_hash(resumed) == checkpoint_hash(expected)


def test_a_network_that_turns_non_finite_does_not_stop_its_neighbours(tmp_path, monkeypatch):
    runs = [run_of(tmp_path / f"{i}.pt", seed=i) for i in range(3)]
    original = Pack.epoch_of

    def poisoned(self, epoch):
        if epoch == 1:
            self.stack.parameters["learnable.layers_0_weight"][1] = float("nan")
        return original(self, epoch)

    monkeypatch.setattr(Pack, "epoch_of", poisoned)
    with pytest.raises(InputError) as caught:
        train_pack(runs)
    assert str(caught.value) == (
        f"{tmp_path}/1.pt: epoch 1: the loss is nan. Lower the learning rate (now 0.0005) or rho. "
        "(1 of 3 networks; the others are written.)"
    )
    assert not (tmp_path / "1.pt").exists()
    for which in (0, 2):
        check_equal(
            load_checkpoint(tmp_path / f"{which}.pt"), alone(runs[which], tmp_path / f"single{which}.pt")
        )


def pack_of(tmp_path, architecture=DENSE, **settings):
    runs = [run_of(tmp_path / f"{i}.pt", architecture, seed=i, **settings) for i in range(2)]
    pack = Pack([begin(run, False, ALONE, CPU, print) for run in runs], CPU, lambda text: None)
    pack._fill(0, [25.0, 25.0], [1e-3, 1e-3])
    return pack


@pytest.mark.parametrize("method", ["baseline", "sast", "asam"])
def test_nothing_of_a_step_leaves_the_device(tmp_path, method):
    """A CUDA graph cannot hold what does; fake tensors have no numbers to give away."""
    pack = pack_of(tmp_path, method=method, rho=0.0 if method == "baseline" else 0.3)
    with FakeTensorMode(allow_non_fake_inputs=True):
        pack._step()
        pack.validation._step()
    real = type(pack)._gradient

    def leaking(which, parameters):
        gradient, loss = real(pack, which, parameters)
        float(loss.sum())
        return gradient, loss

    pack._gradient = leaking
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(DataDependentOutputException):
        pack._step()


@pytest.mark.parametrize("architecture", [DENSE, CONV])
@pytest.mark.parametrize("forward", ["surrogate", "hard"])
def test_the_compiler_takes_each_part_of_a_step_as_one_graph(tmp_path, monkeypatch, architecture, forward):
    spiking = replace(architecture, neuron=replace(architecture.neuron, threshold=0.05))
    settings = {"forward": forward, "method": "sast", "rho": 0.3}
    plain, traced = pack_of(tmp_path, spiking, **settings), pack_of(tmp_path, spiking, **settings)
    before = {name: value.clone() for name, value in plain.stack.parameters.items()}
    compile = partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(
        torch, "compile", lambda function, dynamic, options: compile(function, dynamic=dynamic)
    )
    said = []
    traced._compile(changed_by(traced), said.append)
    assert said == [] and traced.buffers.step.item() == 0
    for pack in (plain, traced):
        pack._step()
        pack._step()
    assert torch.allclose(traced.buffers.losses, plain.buffers.losses)
    for name, value in plain.stack.parameters.items():
        assert (value - before[name]).abs().max() > 1e-4, name
        assert torch.allclose(traced.stack.parameters[name], value, rtol=1e-5, atol=1e-7), name


def changed_by(pack):
    return [*pack.stack.tensors(), pack.buffers.step, pack.buffers.losses, pack.buffers.norms]


def test_a_step_that_does_not_compile_runs_as_it_is_and_says_so(tmp_path, monkeypatch):
    pack, said = pack_of(tmp_path), []
    functions, before = pack._functions, [tensor.clone() for tensor in changed_by(pack)]

    def fails(function, dynamic, options):
        def run(*arguments):
            pack.buffers.norms.add_(1)
            raise InternalTorchDynamoError("No C compiler.\n\nMore.")

        return run

    monkeypatch.setattr(torch, "compile", fails)
    pack._compile(changed_by(pack), said.append)
    assert said == [
        "torch.compile fails here, so steps run uncompiled, which is slower: InternalTorchDynamoError: No C compiler."
    ]
    assert pack._functions is functions
    assert all(torch.equal(tensor, value) for tensor, value in zip(changed_by(pack), before))


class Graphs:
    """In place of CUDA's streams and graphs: says on which device a graph is captured, and replays what it holds."""

    def __init__(self, monkeypatch):
        self.on, self.captured, self.replays = None, [], 0
        for name in ("Stream", "stream", "current_stream", "CUDAGraph", "graph", "device"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        _aside.cache_clear()

    @contextmanager
    def device(self, device):
        before, self.on = self.on, device
        yield
        self.on = before

    @contextmanager
    def stream(self, stream):
        yield

    @contextmanager
    def graph(self, graph, pool, stream):
        self.captured.append((self.on, stream))
        yield

    def Stream(self, device):
        return SimpleNamespace(device=device, wait_stream=lambda other: None)

    current_stream = Stream

    def CUDAGraph(self):
        return self

    def replay(self):
        self.replays += 1


@pytest.mark.parametrize("steps", [1, 2])
def test_a_step_is_rehearsed_and_captured_on_its_device_and_undone(monkeypatch, steps):
    graphs, device, other = Graphs(monkeypatch), torch.device("cuda", 1), torch.device("cuda", 0)
    number, seen = torch.zeros(1, dtype=torch.int64), []

    def step():
        # As a table of an epoch's few steps is read: beyond its end a GPU stops the process.
        seen.append((int(torch.arange(steps).index_select(0, number)), graphs.on))
        number.add_(1)

    captured = Captured(step, [number], device)
    assert seen == [(0, device)] * 4 and number.item() == 0
    captured.run()
    assert graphs.replays == 1
    for on in (device, other):
        Captured(step, [number], on)
    # A stream for each device, whichever comes first, and one only: torch keeps working memory for each.
    ones, twos, threes = graphs.captured
    assert [ones[0], twos[0], threes[0]] == [s.device for _, s in graphs.captured] == [device, device, other]
    assert ones[1] is twos[1]
    _aside.cache_clear()


def test_weight_decay_follows_the_learning_rate(tmp_path):
    """In every epoch; the checkpoint of an early one would not tell."""
    run = run_of(tmp_path / "pack.pt", epochs=4, weight_decay=200.0)
    train_pack([run])
    alone(run, tmp_path / "one.pt")
    packed, single = (
        [json.loads(line)["loss"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("pack.pt.jsonl", "one.pt.jsonl")
    )
    assert packed == pytest.approx(single, rel=1e-6)


@pytest.mark.parametrize(("kept", "name"), [
    ("parameters", "parameter"), ("means", "mean of the gradients"), ("squares", "mean of their squares"),
])  # fmt: skip
def test_a_network_that_is_no_longer_finite_leaves_its_neighbours(tmp_path, monkeypatch, kept, name):
    epoch_of = Pack.epoch_of

    def overflowing(self, epoch):
        records = epoch_of(self, epoch)
        next(iter(getattr(self.stack, kept).values()))[0].fill_(torch.inf)
        return records

    monkeypatch.setattr(Pack, "epoch_of", overflowing)
    with pytest.raises(
        InputError, match=rf"a\.pt: epoch 0: a {name} is no longer finite\. Lower the .* \(1 of 2 networks"
    ):
        train_pack([run_of(tmp_path / "a.pt"), run_of(tmp_path / "b.pt", seed=1)])
    assert load_checkpoint(tmp_path / "b.pt") and not (tmp_path / "a.pt").exists()


@pytest.mark.parametrize("hidden", [False, True])
def test_packs_that_do_not_fit_into_memory_are_halved(tmp_path, monkeypatch, hidden):
    make, sizes, said = Pack.__init__, [], []

    def init(self, standings, device, say):
        sizes.append(len(standings))
        if len(standings) > 1 or standings[0].run.settings.seed == 2:
            error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nMore.")
            if hidden:
                raise RuntimeError("operation failed due to a previous error during capture") from error
            raise error
        make(self, standings, device, say)

    monkeypatch.setattr(Pack, "__init__", init)
    with pytest.raises(InputError) as caught:
        train_pack([run_of(tmp_path / f"{i}.pt", seed=i) for i in range(3)], say=said.append)
    assert str(caught.value) == (
        f"{tmp_path}/2.pt: a step does not fit into the memory of cpu (CUDA out of memory. Tried to allocate 9.00 GiB.) "
        "Choose a smaller batch (--batch-size). (1 of 3 networks; the others are written.)"
    )
    assert sizes == [3, 1, 2, 1, 1] and said[0] == (
        "3 networks at once do not fit into the memory of cpu; 1 and 2 are tried."
    )
    assert load_checkpoint(tmp_path / "0.pt") and load_checkpoint(tmp_path / "1.pt")


def test_frames_that_stay_with_the_host_give_the_same_bits(tmp_path, monkeypatch):
    here = train_pack([run_of(tmp_path / f"{i}.pt", seed=i, method="sast", rho=0.3) for i in range(2)])
    monkeypatch.setattr(PackedData, "resident", False)
    runs = [run_of(tmp_path / f"hosted{i}.pt", seed=i, method="sast", rho=0.3) for i in range(2)]
    for resident, hosted in zip(here, train_pack(runs)):
        assert checkpoint_hash(resident) == checkpoint_hash(hosted)


@pytest.mark.parametrize("normalisation", ["fixed", "sample_max"])
def test_frame_values_have_the_bits_of_single_runs(normalisation):
    parts = [labelled(DENSE, 7), labelled(DENSE, 5, seed=2)]
    preprocessing = replace(checkpoint_of(DENSE).preprocessing, divisor=7.3, normalisation=normalisation)
    data = packed_data([parts[0], parts[1], parts[0]], [preprocessing] * 3, CPU)
    assert len(data.counts) == 12 and data.first.tolist() == [0, 7, 0]
    chosen = torch.tensor([[6, 0], [4, 1], [2, 2]])
    values = data.values(data.take(chosen + data.first[:, None]), chosen + data.first[:, None])
    for m, part in enumerate((parts[0], parts[1], parts[0])):
        assert torch.equal(values[m], frame_values(part.frames, chosen[m].numpy(), preprocessing))
        assert data.labels_of(chosen + data.first[:, None])[m].tolist() == part.labels[chosen[m]].tolist()


def test_padding_weighs_nothing():
    chosen, weights = padded_batches(np.array([4, 2, 0, 1, 3]), 3)
    assert chosen.tolist() == [[4, 2, 0], [1, 3, 4]]
    assert weights.tolist() == [[np.float32(1 / 3)] * 3, [0.5, 0.5, 0.0]]


def test_what_a_pack_refuses(tmp_path):
    run = run_of(tmp_path / "a.pt")
    with pytest.raises(InputError, match="two runs write the same checkpoint"):
        fit_all([run, run])
    with pytest.raises(InputError) as caught:
        train_pack([run_of(tmp_path / "a.pt", quantize_bits=4, quantize_epochs=1)])
    assert str(caught.value) == (
        "kernels packed: train in one process, and take no quantize_bits. Choose torch, or leave --kernels out."
    )


def test_the_gpu_script_measures_and_compares():
    """On the CPU and in small: what it prints has the right parts."""
    line = gpu.milliseconds("fc_0p40m", "sast", 2, ALONE, 1, 16)
    assert (line["networks"], line["steps"]) == (2, 1)
    assert line["ms_per_step"] > 0 and line["ms_per_validation_batch"] > 0
    equal = gpu.equality("fc_0p40m", "sast", ALONE, 20)
    assert equal["same_bits"] and equal["equal"] and 0 <= equal["largest_difference"] < 1e-5 < equal["moved"]
