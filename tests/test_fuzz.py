"""Mutated inputs for every reader: each is accepted, or refused as the user is told; and the fuzzer sees planted faults."""

import copy
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sastdeploy.compiler import profiles
from sastdeploy.errors import InputError
from tests.fuzz.mutation import EXTREMES, mutated_tree
from tests.fuzz.run import fuzz, replay
from tests.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[1]
INPUTS = "40"
"""Per target: about a minute for all together."""


def test_every_reader_accepts_or_refuses_mutated_inputs(tmp_path):
    command = [sys.executable, "-m", "tests.fuzz", "all", "--inputs", INPUTS, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a valid input is refused" not in done.stderr
    counts = {line.split()[0]: line.split()[2] for line in done.stdout.splitlines()[1:]}
    assert counts == dict.fromkeys(TARGETS, INPUTS)
    assert not list(tmp_path.iterdir())


def test_a_fault_in_a_reader_is_found_and_can_be_replayed(tmp_path, monkeypatch, capsys):
    real = profiles.load_strict_yaml
    valid = [real(path) for path in profiles.builtin_profiles().values()]

    def faulty(path):
        content = real(path)
        if content not in valid:
            raise KeyError("no such key")
        return content

    monkeypatch.setattr(profiles, "load_strict_yaml", faulty)
    target = TARGETS["profile"]
    tally = fuzz(target, tmp_path, inputs=40)
    places = [place for place in tally.findings if place.startswith("KeyError compiler/profiles.py:")]
    assert places and tally.count == 40 and tally.accepted + tally.refused < 40
    path = tally.findings[places[0]]
    shown = f"profile: {places[0]}\n  python -m tests.fuzz profile --replay {path}\n"
    assert path.parent == tmp_path and shown in capsys.readouterr().out
    with pytest.raises(KeyError, match="no such key"):
        replay(target, path)


def _planted(read):
    return Target("planted", lambda folder: [b"valid"], lambda rng, content, other: b"mutated", read)


def test_a_reader_that_does_not_end_is_found(tmp_path):
    def read(folder, content):
        while content == b"mutated":
            try:
                sum(range(1000))
            except Exception:  # a reader's own net does not catch the end of its time
                raise InputError("x") from None

    tally = fuzz(_planted(read), tmp_path, inputs=2, slow_s=0.2)
    assert [key.split()[0] for key in tally.findings] == ["slow"] and tally.count == 2


def test_a_reader_that_takes_much_memory_is_found(tmp_path):
    def read(folder, content):
        bytearray(b"x" * (256 << 20 if content == b"mutated" else 1))
        raise InputError("x")

    # What this process held before hides an allocation below its largest.
    tally = fuzz(_planted(read), tmp_path, inputs=1, growth=1 << 20)
    assert list(tally.findings) == ["memory"] or tally.refused == 1


def test_a_mutation_depends_on_its_seed_alone():
    before = copy.deepcopy(EXTREMES)
    tree = {"a": [1, {"b": 2}], "c": {}}
    trees = [mutated_tree(random.Random(seed), tree) for seed in range(2000)]
    assert repr(before) == repr(EXTREMES)
    assert repr(trees) == repr([mutated_tree(random.Random(seed), tree) for seed in range(2000)])
