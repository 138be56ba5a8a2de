"""Profiles of real chips: their leak, limits and cores are obeyed, and what does not fit is refused with all reasons."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from small_networks import CONV, DENSE, POOL, checkpoint_of, labelled

from sastdeploy import CompileError, InputError, compile, load_profile, save_checkpoint, simulate, verify
from sastdeploy.analysis.profile_fits import profile_fits
from sastdeploy.cli.compile_command import command
from sastdeploy.cli.profiles_command import command as profiles_command
from sastdeploy.compiler.profiles import Cores, builtin_profiles
from sastdeploy.networks.architecture import Architecture, Conv, Dense, Neuron, Readout

LOIHI = load_profile("loihi_int8")


def cores(count, neurons=None, memory=None, fan_in=None, split=True, rounding="none"):
    each = (None if value is None else (value,) * count for value in (neurons, memory))
    return replace(LOIHI, cores=Cores(count, *each, fan_in, split, rounding))


def used(compilation):
    return [(core.core, core.layers, core.neurons, core.memory_bytes) for core in compilation.report.cores]


def reasons(checkpoint, profile):
    with pytest.raises(CompileError) as error:
        compile(checkpoint, profile)
    return [reason.partition(" [pass")[0] for reason in error.value.reasons]


# The leak


@pytest.mark.parametrize(
    ("form", "alpha", "multiplier"),
    [("none", 0.9, 256), ("shift", 0.9, 224), ("shift", 0.5, 128), ("shift", 0.999, 255), ("multiplier", 0.9, 230)],
)  # fmt: skip
def test_the_leak_is_what_the_hardware_can_do(form, alpha, multiplier):
    architecture = Architecture("one", (1, 1, 1), (Dense(1),), Readout(), 2, Neuron(alpha=alpha))
    profile = replace(LOIHI, leak_form=form, leak_shift=8)
    lif = compile(checkpoint_of(architecture), profile).program.layers[0].lif
    assert (lif.leak_multiplier, lif.leak_shift) == (multiplier, 8)


def test_no_leak_is_warned_of():
    warnings = compile(checkpoint_of(DENSE), replace(LOIHI, leak_form="none")).report.warnings
    assert any("rounds to 1, so the membrane never leaks" in warning for warning in warnings)


# Limits


def test_every_limit_of_a_chip_is_checked_and_all_reasons_are_told():
    limits = dict.fromkeys(LOIHI.limits) | {
        "inputs": 161,
        "outputs": 2,
        "channels": 4,
        "kernel": 2,
        "count": 2,
    }
    told = reasons(checkpoint_of(CONV), replace(LOIHI, limits=limits))
    more = "Use a smaller network, or a profile of a larger chip."
    assert told == [
        f"input: 162 inputs; loihi_int8 allows 161 (limits.inputs). {more}",
        f"input: 3 events per input and step (c_clip); loihi_int8 allows 2 (limits.count). {more}",
        f"layers.0: 3 rows or columns of its kernel; loihi_int8 allows 2 (limits.kernel). {more}",
        f"layers.1: 3 rows or columns of its kernel; loihi_int8 allows 2 (limits.kernel). {more}",
        f"layers.1: 5 channels; loihi_int8 allows 4 (limits.channels). {more}",
        f"readout: 3 rows or columns of its kernel; loihi_int8 allows 2 (limits.kernel). {more}",
        f"readout: 3 outputs; loihi_int8 allows 2 (limits.outputs). {more}",
    ]
    edge = {"inputs": 162, "outputs": 3, "channels": 5, "kernel": 3, "count": 3}
    compile(checkpoint_of(CONV), replace(LOIHI, limits=dict.fromkeys(LOIHI.limits) | edge))


# Cores


def test_split_layers_fill_core_after_core():
    # 12 neurons of 32 inputs, 8 of 12, 3 of 8.
    assert used(compile(checkpoint_of(DENSE), cores(3, neurons=10))) == [
        (0, ("layers.0",), 10, 320), (1, ("layers.0", "layers.1"), 10, 64 + 96), (2, ("readout",), 3, 24),
    ]  # fmt: skip
    assert used(compile(checkpoint_of(DENSE), cores(8, memory=100)))[:2] == [
        (0, ("layers.0",), 3, 96), (1, ("layers.0",), 3, 96),
    ]  # fmt: skip
    assert used(compile(checkpoint_of(DENSE), LOIHI)) == []


def test_kernels_are_shared_by_the_positions_of_a_channel():
    # 4 channels of 5 x 5 with kernels of 18 weights.
    first = used(compile(checkpoint_of(CONV), cores(9, neurons=30)))[:2]
    assert first == [(0, ("layers.0",), 30, 2 * 18), (1, ("layers.0",), 30, 2 * 18)]


def test_what_does_not_fit_split_cores_is_refused():
    assert reasons(checkpoint_of(DENSE), cores(2, neurons=10)) == [
        "readout: the 2 cores of loihi_int8 are full with 20 neurons placed and 3 left (cores). Use a smaller network, or fewer "
        "bits."
    ]
    assert reasons(checkpoint_of(DENSE), cores(2, memory=31, fan_in=11)) == [
        "layers.0: 32 sources per neuron; a core of loihi_int8 takes 11 (cores.fan_in). Use a smaller layer before it, or a "
        "convolution.",
        "layers.1: 12 sources per neuron; a core of loihi_int8 takes 11 (cores.fan_in). Use a smaller layer before it, or a "
        "convolution.",
        "layers.0: one neuron needs 32 bytes of weights; a core of loihi_int8 has 31 (cores.memory_bytes). Use a smaller kernel or "
        "fan-in, or fewer bits.",
    ]


def test_layers_with_a_core_each_are_moved_until_all_fit():
    # The readout fits any core; the first fit alone would take the only one that holds the first layer.
    profile = replace(LOIHI, cores=Cores(3, (12, 8, 3), None, None, False, "none"))
    assert used(compile(checkpoint_of(DENSE), profile)) == [
        (0, ("layers.0",), 12, 384), (1, ("layers.1",), 8, 96), (2, ("readout",), 3, 24),
    ]  # fmt: skip
    turned = replace(LOIHI, cores=Cores(3, (3, 8, 12), None, None, False, "none"))
    assert [core.layers for core in compile(checkpoint_of(DENSE), turned).report.cores] == [
        ("readout",), ("layers.1",), ("layers.0",),
    ]  # fmt: skip


def test_what_does_not_fit_cores_of_one_layer_is_refused():
    assert reasons(checkpoint_of(DENSE), cores(2, split=False)) == [
        "readout: every core of loihi_int8 that could hold it holds another layer; 2 cores, one layer each (cores.split). Use "
        "fewer layers."
    ]
    # 5 x 5 positions take 8 x 8, and 9 kernel positions 16.
    told = reasons(
        checkpoint_of(CONV), cores(9, neurons=255, memory=127, split=False, rounding="power_of_two")
    )
    assert told[0] == (
        "layers.0: takes 256 neurons and 128 bytes of one core (rounded up to powers of two); the largest cores of loihi_int8 have "
        "255 neurons and 127 bytes (cores). Use fewer channels, a smaller map, or stride."
    )


# The built-in chips


def test_the_chips_are_what_their_sources_say():
    chips = {name: load_profile(name) for name in builtin_profiles()}
    loihi, speck = chips["loihi1"], chips["speck"]
    assert (loihi.membrane.bits, loihi.reset, loihi.reset_delay, loihi.spike_test) == (24, "zero", 0, ">")
    assert loihi.cores == Cores(128, (1024,) * 128, (131072,) * 128, 4096, True, "none")
    assert speck.leak_form == "none" and not speck.cores.split
    assert sum(speck.cores.neurons) == 320 << 10 and sum(speck.cores.memory_bytes) == 272 << 10
    assert [chips[f"xylo_{kind}"].limits["neurons"] for kind in ("a2", "a3", "imu")] == [1000, 992, 496]
    assert all(chip.leak_form == "shift" for name, chip in chips.items() if name.startswith("xylo"))
    measured = {
        name for name, chip in chips.items() if chip.record["energy"]["synop_pj"]["value"] is not None
    }
    assert measured == {"loihi1", "loihi_int8"}
    assert all(chips[name].differs for name in ("loihi1", "loihi2", "xylo_a2", "speck", "spinnaker2"))


@pytest.mark.parametrize("name", ["loihi1", "speck", "xylo_a3"])
def test_all_engines_obey_a_chips_neuron(name):
    network = Architecture("small", (1, 4, 4), (Conv(3, 3, 1, 1), Dense(6)), Readout(), 3)
    found = verify(compile(checkpoint_of(network), name).program, random=2)
    assert found.equal and found.spikes > 0


def test_a_profile_with_a_wrong_number_of_cores_is_refused(tmp_path):
    text = builtin_profiles()["speck"].read_text("utf-8")
    path = tmp_path / "p.yaml"
    path.write_text(text.replace("value: [65536, 65536,", "value: [65536,", 1), "utf-8")
    with pytest.raises(InputError, match="neurons has 8 numbers for 9 cores; give one, or one for each"):
        load_profile(path)


def test_profiles_of_before_give_the_record_of_before():
    assert set(LOIHI.record["limits"]) == {"neurons", "fan_in", "fan_out", "memory_bytes"}
    assert set(LOIHI.record["leak"]) == {"shift", "rounding"} and not {"cores", "differs"} & set(LOIHI.record)
    assert "cores" not in compile(checkpoint_of(DENSE), LOIHI).program.costs


# All profiles at once


def test_a_table_of_all_profiles_gives_what_each_alone_gives():
    checkpoint, data = checkpoint_of(POOL), labelled(POOL, 12)
    fits = {fit.profile: fit for fit in profile_fits(checkpoint, map(load_profile, builtin_profiles()), data)}
    assert list(fits) == list(builtin_profiles())
    assert fits["xylo_a2"].reasons and fits["xylo_a2"].accuracy is None
    program = compile(checkpoint, "loihi1").program
    result = simulate(program, data)
    one = fits["loihi1"]
    assert one.accuracy == np.mean(result.predicted == data.labels) and one.cores == 1
    assert one.ksynops == pytest.approx(result.synops.sum() / 12 / 1000) and one.energy_pj > 0
    assert fits["speck"].energy_pj is None and fits["speck"].cores == 3


def test_the_command_prints_the_table_cores_and_differences(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "c.pt", checkpoint_of(DENSE))

    def run(*words):
        return CliRunner().invoke(command, ["c.pt", *words])

    shown = run("--all-profiles").output
    assert "first reason" in shown and "input: 32 inputs; xylo_a2 allows 16 (limits.inputs)." in shown
    record = json.loads(run("--all-profiles", "--json").output)
    assert record["schema"] == "sastdeploy.profile_fits/1" and record["profiles"][0]["fits"] is True
    names = [fit["profile"] for fit in record["profiles"]]
    assert names == list(builtin_profiles())
    mine = builtin_profiles()["loihi1"].read_text("utf-8").replace("name: loihi1\n", "name: mine\n")
    (tmp_path / "mine.yaml").write_text(mine, "utf-8")
    for profile, all_names in (("mine.yaml", ["mine", *names]), ("loihi1", names)):
        record = json.loads(run("--all-profiles", "--profile", profile, "--json").output)
        assert [fit["profile"] for fit in record["profiles"]] == all_names
    assert not list(tmp_path.glob("*.onnx"))
    assert "layers.0, layers.1, readout  23 (2 % of 1,024)" in " ".join(
        run("--profile", "loihi1").output.split(" ")
    ).replace("   ", "  ")
    for words, message in (
        (("--all-profiles", "--out", "x"), "--all-profiles writes no program"),
        (("--dataset", "nmnist-sim"), "--dataset and --limit are for --all-profiles"),
        (("--all-profiles", "--limit", "2"), "--limit chooses recordings of a data set"),
    ):
        result = run(*words)
        assert result.exit_code == 2 and message in result.output
    shown = CliRunner().invoke(profiles_command, ["show", "loihi1"]).output
    assert "cores.neurons" in shown and "Differs: The synaptic current u decays too" in shown
