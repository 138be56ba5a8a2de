"""Sweeps and ``train --seeds`` whose networks are trained in packs, on the CPU; what a pack computes is tested in test_training_packed."""

import json
import re

import pytest

from sastdeploy.cli import main as main_module
from sastdeploy.networks.checkpoint import checkpoint_hash, load_checkpoint
from sastdeploy.synthesis.nmnist_sim import make_nmnist_sim
from sastdeploy.training.packed.loop import Pack

FILE = """
name: small
title: "Small, in packs"
dataset: nmnist-sim
seeds: [0]
fixed: {epochs: 2, limit: 60, kernels: KERNELS}
grid:
  - {method: baseline}
  - {method: sast, rho: [0.1, 0.3]}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_nmnist_sim(folder, train=120, test=30, seed=1, processes=1)
    return folder


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            main_module.main([str(a) for a in arguments])
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run


def records(folder):
    parts = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return {(r["trial"]["method"], r["trial"]["rho"], r["trial"]["seed"]): r for r in parts}


def test_a_sweep_in_packs_leaves_a_record_of_every_trial(call, root, tmp_path):
    (tmp_path / "packed.yaml").write_text(FILE.replace("KERNELS", "packed"))
    code, out, err = call(
        "sweep", "run", "packed.yaml", "--data", root, "--work", "work", "--records", "records", "--processes", "2",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert "3 trials have records in records" in out
    done = records(tmp_path / "records")
    assert sorted(done) == [("baseline", 0.0, 0), ("sast", 0.1, 0), ("sast", 0.3, 0)]
    for point, record in done.items():
        assert record["test"]["recordings"] == 30 and record["device"] == "cpu"
        log = (tmp_path / "work" / record["address"] / "ckpt.pt.jsonl").read_text().splitlines()
        assert {json.loads(line)["packed"] for line in log} == {1 if point[0] == "baseline" else 2}


def test_a_network_that_diverges_does_not_stop_the_others(call, root, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Pack, "problem", lambda pack, m, record: "the loss is nan." if pack.settings[m].rho == 0.3 else None
    )
    (tmp_path / "packed.yaml").write_text(FILE.replace("KERNELS", "packed"))
    run = (
        "sweep", "run", "packed.yaml", "--data", root, "--work", "work", "--records", "records", "--processes", "1", "--device", "cpu",
    )  # fmt: skip
    for networks in (3, 1):
        code, _, err = call(*run)
        assert code == 3
        assert re.search(
            rf"/ckpt\.pt: the loss is nan\. \(1 of {networks} networks; the others are written\.\)", err
        ), err
        assert sorted(records(tmp_path / "records")) == [("baseline", 0.0, 0), ("sast", 0.1, 0)]


def test_a_device_is_for_trials_in_packs(call, root, tmp_path):
    (tmp_path / "plain.yaml").write_text(FILE.replace("KERNELS", "fused"))
    code, _, err = call("sweep", "run", "plain.yaml", "--data", root, "--device", "cpu")
    assert code == 2
    assert (
        "--device: no trial of plain.yaml has 'kernels: packed'. Set it there under 'fixed', or leave --device out."
        in err
    )
    code, _, err = call(
        "sweep", "run", "plain.yaml", "--data", root, "--device", "cpu", "--scheduler", "tcp://h:1"
    )
    assert code == 2 and "--device is for this machine; leave it out with --scheduler." in err
    quantized = FILE.replace("KERNELS", "packed, quantize_bits: 4, quantize_epochs: 1")
    (tmp_path / "q.yaml").write_text(quantized)
    code, _, err = call("sweep", "run", "q.yaml", "--data", root, "--device", "cpu")
    assert code == 3
    assert (
        "q.yaml: kernels packed: train in one process, and take no quantize_bits. Choose torch, or leave --kernels out."
        in err
    )


@pytest.mark.parametrize("kernels", ["fused", "packed"])
def test_one_network_per_seed(call, root, tmp_path, kernels):
    train = (
        "train",
        "--dataset",
        "nmnist-sim",
        "--data",
        root,
        "--limit",
        "60",
        "--epochs",
        "2",
        "--threads",
        "1",
        "--threshold",
        "0.2",
    )
    code, out, err = call(*train, "--seeds", "0,5", "--out", "net.pt", "--kernels", kernels, "--json")
    assert code == 0, err
    trainings = json.loads(out)["trainings"]
    assert [(t["checkpoint"], t["seed"]) for t in trainings] == [
        ("net-s0.pt", 0),
        ("net-s5.pt", 5),
    ]
    code, out, err = call(*train, "--seed", "5", "--out", "alone.pt", "--kernels", kernels)
    assert code == 0, err
    if kernels == "fused":
        hashes = [checkpoint_hash(load_checkpoint(tmp_path / name)) for name in ("net-s5.pt", "alone.pt")]
        assert hashes[0] == hashes[1]
    (tmp_path / "net-s5.pt").unlink()
    (tmp_path / "net-s5.pt.jsonl").unlink()
    before = (tmp_path / "net-s0.pt").read_bytes()
    code, out, err = call(*train, "--seeds", "0,5", "--out", "net.pt", "--kernels", kernels, "--resume")
    assert code == 0, err
    assert out.count("validation accuracy") == 2 and "Next: sastdeploy compile net-s0.pt" in out
    assert (tmp_path / "net-s0.pt").read_bytes() == before
    code, _, err = call(*train, "--seeds", "0-1", "--out", "net.pt", "--kernels", kernels)
    assert code == 3 and "net-s0.pt: exists. Choose another name, or replace it with --force." in err


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("3-1", "'3-1' is no seed and no range of seeds. Give them as in 0-4 or 0,3,7."),
        ("", "'' is no seed and no range of seeds. Give them as in 0-4 or 0,3,7."),
        ("1,a", "'a' is no seed and no range of seeds. Give them as in 0-4 or 0,3,7."),
        ("0-2,1", "a seed stands twice. Leave one of them out."),
        ("0-99999999999", "more than 1,000 seeds."),
    ],
)
def test_seeds_that_are_none(call, seeds, message):
    code, _, err = call("train", "--dataset", "nmnist-sim", "--seeds", seeds)
    assert code == 2 and message in err
