"""What compiling prints: the porting report's figures, its warnings, and ``sastdeploy compile``."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from small_networks import CONV, DENSE, POOL, checkpoint_of

from sastdeploy.cli.compile_command import command
from sastdeploy.cli.inspect_command import command as inspect_command
from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.profiles import builtin_profiles, load_profile
from sastdeploy.errors import CompileError, InputError
from sastdeploy.networks.builtin import describe
from sastdeploy.networks.checkpoint import save_checkpoint
from sastdeploy.program.file import load_program, program_hash, save_program
from sastdeploy.program.fixedpoint import QFormat

LOIHI, SMALL = load_profile("loihi_int8"), load_profile("aggressive_int4")


def report_of(architecture=DENSE, profile=LOIHI, **changes):
    return compile(checkpoint_of(architecture, **changes), profile).program.costs


def test_the_report_is_in_the_program_as_plain_json():
    compilation = compile(checkpoint_of(CONV), LOIHI)
    program, report = compilation.program, compilation.report
    assert report.to_dict() == program.costs
    assert report.layers[0].scale == tuple(program.costs["layers"][0]["scale"])
    assert json.loads(json.dumps(program.costs, allow_nan=False)) == program.costs
    assert program.costs["schema"] == "sastdeploy.compilation/1"


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda a: a.name)
def test_sizes_agree_with_the_declared_networks(architecture):
    report = report_of(architecture, time_bins=6)
    facts = {fact.name: fact for fact in describe(architecture, 6)}
    for layer in report["layers"]:
        fact = facts[layer["name"]]
        assert layer["fan_in"] == fact.fan_in
        assert layer["fan_out"] == fact.fan_out[1]
        assert layer["kind"] == fact.kind
        if architecture is not POOL:  # a pool's sources count their synapses behind it
            assert layer["largest_ksynops"] == fact.largest_synops / 1000
    assert report["neurons"] == sum(f.neurons for f in facts.values() if f.kind in ("dense", "conv"))


def test_memory_is_packed():
    # DENSE: 32 x 12 + 12 x 8 + 8 x 3 = 504 weights.
    assert report_of(DENSE, LOIHI)["weight_bytes"] == 504
    assert report_of(DENSE, SMALL)["weight_bytes"] == 252
    assert [layer["weight_bytes"] for layer in report_of(DENSE, SMALL)["layers"]] == [192, 48, 12]


def test_signal_to_noise_by_hand():
    # Weights 1 and 0.5 in INT2 (codes -1 to 1, s = 1): 0.5 is a tie and goes to 0. Signal 1.25, noise 0.25: 10 log10 5.
    checkpoint = checkpoint_of(DENSE)
    readout = np.zeros((3, 8), np.float32)
    readout[0, :2] = 1.0, 0.5
    parameters = checkpoint.parameters | {"readout.weight": readout}
    report = report_of(DENSE, replace(LOIHI, weight_bits=2), parameters=parameters)
    assert report["layers"][2]["signal_to_noise_db"] == pytest.approx(10 * np.log10(5))
    assert report["layers"][2]["zero_weights"] == 23 / 24
    # Exact weights have no noise, which is no number.
    readout[0, 1] = 0.0
    assert report_of(DENSE, parameters=parameters)["layers"][2]["signal_to_noise_db"] is None


@pytest.mark.parametrize("bits", range(3, 9))
def test_every_further_bit_brings_about_six_decibels(bits):
    def noise(b):
        return report_of(DENSE, replace(LOIHI, weight_bits=b))["layers"][0]["signal_to_noise_db"]

    assert 2 < noise(bits) - noise(bits - 1) < 10


def test_leak_and_gain_errors_by_hand():
    # alpha 0.9 in 4 bits: 14/16 = 0.875, off by 0.025 / 0.9.
    architecture = replace(DENSE, neuron=replace(DENSE.neuron, alpha=0.9))
    report = report_of(architecture, SMALL)
    assert report["leak_relative_error"] == pytest.approx(0.025 / 0.9)
    assert [layer["leak_relative_error"] is None for layer in report["layers"]] == [False, False, True]
    assert all(layer["gain_relative_error"] <= 2**-14 for layer in report["layers"])
    assert report["warnings"] == [
        f"layers.{i}.lif: alpha 0.9 becomes 14/2^4 = 0.875; use a profile with a larger leak shift."
        for i in (0, 1)
    ]


@pytest.mark.parametrize(("alpha", "advice"), [
    (0.9, "14/2^4 = 0.875; SHIFTS leaks by shifts. Train with alpha 0.875 or 0.9375."),
    (0.3, "8/2^4 = 0.5; SHIFTS leaks by shifts. Train with alpha 0.5."),
    (0.99, "15/2^4 = 0.9375; SHIFTS leaks by shifts. Train with alpha 0.9375, or use a profile with a larger leak shift."),
    (0.875, None),
])  # fmt: skip
def test_a_leak_by_shifts_names_the_decays_that_are_exact(alpha, advice):
    # A larger shift has no decay between 0.875 and 0.9375, so it is no advice there.
    profile = replace(SMALL, name="SHIFTS", leak_form="shift")
    expected = [] if advice is None else [f"layers.{i}.lif: alpha {alpha} becomes {advice}" for i in (0, 1)]
    assert report_of(with_alpha(alpha), profile)["warnings"] == expected


def with_alpha(alpha):
    return replace(DENSE, neuron=replace(DENSE.neuron, alpha=alpha))


WARNINGS = {
    "test": (DENSE, {"spike_test": ">"}, "spike test: trained with '>=', loihi_int8 does '>'. "
             "The program follows the hardware; expect other spikes than in training."),
    "reset": (DENSE, {"reset": "zero"}, "reset: trained with 'subtract', loihi_int8 does 'zero'. "
              "The program follows the hardware; expect other spikes than in training."),
    "delay": (DENSE, {"reset_delay": 0}, "reset delay: trained with '1', loihi_int8 does '0'. "
              "The program follows the hardware; expect other spikes than in training."),
    "forgets": (with_alpha(0.001), {"leak_shift": 4},
                "layers.0.lif: alpha 0.001 rounds to 0 / 2^4, so the membrane forgets everything at each step."),
    "never leaks": (with_alpha(0.999), {"leak_shift": 4},
                    "layers.0.lif: alpha 0.999 rounds to 1, so the membrane never leaks."),
    "coarse": (DENSE, {"membrane": QFormat(8, 2)},
               "layers.0.lif: the smallest threshold is only 4 steps of Q8.2; membranes are coarse."),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS)
def test_what_a_porting_engineer_must_know_is_said(case):
    architecture, changes, warning = WARNINGS[case]
    profile = replace(LOIHI, **changes)
    assert warning in report_of(architecture, profile)["warnings"]
    assert report_of(DENSE, LOIHI)["warnings"] == []


@pytest.mark.parametrize(
    ("what", "value"), [("spike_test", ">"), ("reset", "zero"), ("reset", "none"), ("reset_delay", 0)]
)
def test_the_program_follows_the_hardware(what, value):
    program = compile(checkpoint_of(DENSE), replace(LOIHI, **{what: value})).program
    assert all(getattr(layer.lif, what) == value for layer in program.layers)


def test_a_gain_at_the_shifts_end_is_warned_of():
    weights = checkpoint_of(DENSE).parameters["layers.0.weight"] * np.float32(1e-13)
    report = report_of(DENSE, parameters=checkpoint_of(DENSE).parameters | {"layers.0.weight": weights})
    assert report["layers"][0]["gain_relative_error"] > 2**-10
    assert report["warnings"][0].startswith("layers.0: the integer gain is ")


@pytest.mark.parametrize("value", [1e-14, 1e-13, 1e-40])
def test_a_near_zero_channel_compiles_to_zero_and_is_warned_of(value):
    checkpoint = checkpoint_of(DENSE)
    checkpoint.parameters["layers.0.weight"][3] = value
    per_channel = replace(LOIHI, granularity="per_channel")
    program = compile(checkpoint, per_channel).program
    warning = "layers.0, channel 3: weights so small that the largest sum stays below half a step of Q8.8; compiled to 0."
    assert warning in program.costs["warnings"]
    layer = program.layers[0]
    largest = np.abs(layer.weight[3].astype(np.int64)).sum() * 3
    shift = int(layer.lif.shift[3])
    assert (largest * int(layer.lif.multiplier[3]) + (1 << shift >> 1)) >> shift == 0
    checkpoint.parameters["layers.0.weight"][3] = 0.0
    assert compile(checkpoint, per_channel).program.costs["warnings"] == []


def test_layers_that_never_spiked_in_validation_are_warned_of():
    training = checkpoint_of(DENSE).training
    silent = {**training, "selected": {"epoch": 0, "silent_layers": ["layers.0", "layers.1"]}}
    assert report_of(DENSE, training=silent)["warnings"] == [
        "layers.0, layers.1: not one hard spike on any recording, so nothing of the input passes. Train longer, with "
        "--init alive, a larger --init-scale, a lower --threshold or a smaller --divisor."
    ]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("ckpt") / "ckpt.pt"
    save_checkpoint(path, checkpoint_of(DENSE))
    return path


@pytest.fixture
def ckpt(stored, tmp_path):
    path = tmp_path / "ckpt.pt"
    path.write_bytes(stored.read_bytes())
    return path


def run(*arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, (SystemExit, InputError, CompileError)):
        raise result.exception
    return result


def test_compile_writes_beside_the_checkpoint_and_says_what_is_next(ckpt):
    result = run(ckpt)
    path = ckpt.with_name("ckpt.loihi_int8.onnx")
    assert load_program(path).name == "tiny_fc.loihi_int8"
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"Next: sastdeploy simulate {path} --dataset nmnist-sim"
    for word in (
        "layers.0",
        "readout",
        "SNR dB",
        "gain err.",
        "leak err.",
        "acc. bits",
        "fan-in",
        "fan-out",
        "max kSynOps",
    ):
        assert word in result.output


def test_compile_again_gives_the_same_bytes(ckpt):
    run(ckpt, "--profile", "aggressive_int4")
    path = ckpt.with_name("ckpt.aggressive_int4.onnx")
    first = path.read_bytes()
    run(ckpt, "--profile", "aggressive_int4")
    assert path.read_bytes() == first


def test_json_is_one_object_and_nothing_else(ckpt):
    result = run(ckpt, "--json", "--out", ckpt.with_name("p.onnx"))
    record = json.loads(result.stdout)
    assert record["schema"] == "sastdeploy.compilation/1"
    assert record["program"] == str(ckpt.with_name("p.onnx"))
    assert len(record["program_hash"]) == 64


def test_a_profile_of_ones_own_and_a_dump(ckpt, tmp_path):
    own = tmp_path / "own.yaml"
    text = builtin_profiles()["loihi_int8"].read_text("utf-8").replace("name: loihi_int8", "name: own")
    own.write_text(text.replace('{value: ">="', '{value: ">"'), "utf-8")
    result = run(ckpt, "--profile", own, "--dump-passes", tmp_path / "dump")
    assert "WARNING: spike test: trained with '>=', own does '>'." in result.stderr
    assert load_program(tmp_path / "ckpt.own.onnx").layers[0].lif.spike_test == ">"
    assert (tmp_path / "dump" / "07-check_limits.txt").exists()


def test_a_program_is_named_after_the_profiles_name_and_a_file_of_another_name_is_remarked(ckpt, tmp_path):
    own = tmp_path / "mychip.yaml"
    own.write_bytes(builtin_profiles()["aggressive_int4"].read_bytes())
    result = run(ckpt, "--profile", own)
    note = f"NOTE: the program is named after the line 'name: aggressive_int4' in {own}, not after the file."
    assert note in result.stderr.splitlines() and (tmp_path / "ckpt.aggressive_int4.onnx").exists()
    built_in = run(ckpt, "--profile", "aggressive_int4")
    assert "NOTE" not in built_in.stderr


def test_the_runtime_that_a_program_of_few_bits_needs_is_told(ckpt):
    sentence = "Weights of 2 to 4 bits are INT4 in the file: ONNX Runtime runs it from version 1.23 on."
    assert sentence in run(ckpt, "--profile", "aggressive_int4").stdout.splitlines()
    assert sentence not in run(ckpt).stdout


def test_an_equal_program_is_left_and_said(ckpt, tmp_path):
    path = tmp_path / "p.onnx"
    first = run(ckpt, "--out", path).stdout
    before = path.stat()
    (wrote,) = re.findall(rf"Wrote {path} \(hash \w{{16}}\)\.", first)
    left = f"{wrote[6:-1]} was there already, equal byte for byte, and is left as it is."
    assert run(ckpt, "--out", path).stdout == first.replace(wrote, left)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert run(ckpt, "--out", path, "--force").stdout == first


def test_nothing_but_the_same_program_and_dump_is_replaced_without_force(ckpt, tmp_path):
    words = "exists, and is not what would be written now. Choose another name, or replace it with --force."
    notes, dump = tmp_path / "notes.onnx", tmp_path / "dump"
    notes.write_text("mine")
    assert str(run(ckpt, "--out", notes).exception) == f"{notes}: {words}"
    assert notes.read_text() == "mine"
    assert run(ckpt, "--out", notes, "--force").exit_code == 0
    for _ in range(2):
        assert run(ckpt, "--out", notes, "--dump-passes", dump).exit_code == 0
    before = {path: path.read_bytes() for path in (notes, *dump.iterdir())}
    int4 = ("--profile", "aggressive_int4", "--out", notes)
    assert str(run(ckpt, *int4).exception) == f"{notes}: {words}"
    assert str(run(ckpt, *int4, "--dump-passes", dump).exception).endswith(words)
    assert {path: path.read_bytes() for path in (notes, *dump.iterdir())} == before
    assert run(ckpt, *int4, "--dump-passes", dump, "--force").exit_code == 0
    assert load_program(notes).layers[0].weight_bits == 4 and notes.read_bytes() != before[notes]
    assert str(run(ckpt, "--out", tmp_path / "n.onnx", "--dump-passes", notes).exception) == (
        f"{notes}: is no folder. Name one with --dump-passes."
    )
    both = run(ckpt, "--out", tmp_path / "n", "--dump-passes", tmp_path / "n")
    assert both.exit_code == 2 and f"the program would both be {tmp_path / 'n'}." in both.output
    assert not (tmp_path / "n").exists()


def test_an_input_is_not_replaced_by_force_either(ckpt, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(builtin_profiles()["loihi_int8"].read_text("utf-8"))
    before = ckpt.read_bytes(), own.read_bytes()
    for out in (ckpt, own):
        error = run(ckpt, "--profile", own, "--out", out, "--force").exception
        assert str(error) == f"{out}: is itself what this command reads. Choose another name for the output."
    assert (ckpt.read_bytes(), own.read_bytes()) == before


def test_a_refused_network_leaves_the_old_program(ckpt, tmp_path):
    run(ckpt)
    path = ckpt.with_name("ckpt.loihi_int8.onnx")
    before = path.read_bytes()
    narrow = tmp_path / "narrow.yaml"
    narrow.write_text(
        builtin_profiles()["loihi_int8"].read_text("utf-8").replace("{value: 24,", "{value: 8,"), "utf-8"
    )
    error = run(ckpt, "--profile", narrow).exception
    assert isinstance(error, CompileError) and error.exit_code == 4
    assert "loihi_int8's accumulator has 8." in str(error)
    assert path.read_bytes() == before


def test_what_is_missing_or_misspelt_is_said(ckpt, tmp_path):
    assert "cannot be read" in str(run(tmp_path / "none.pt").exception)
    assert "Did you mean 'loihi_int8'?" in str(run(ckpt, "--profile", "loihi_int").exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt.pt"]


def test_inspect_shows_of_a_program_what_compile_printed(ckpt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(command, [str(ckpt), "--out", "p.onnx"], catch_exceptions=False).output
    shown = CliRunner().invoke(inspect_command, ["p.onnx"], catch_exceptions=False)
    table = printed[: printed.index("Wrote p.onnx")]
    assert shown.exit_code == 0 and shown.output.startswith(table)
    assert f"Hash: {program_hash(load_program('p.onnx'))}" in shown.output
    record = json.loads(CliRunner().invoke(inspect_command, ["p.onnx", "--json"]).output)
    assert record["costs"] == load_program("p.onnx").costs and record["schema"] == "sastdeploy.program/1"
    for costs in ({}, {"layers": 3}, {"layers": [{}]}):
        save_program("bare.onnx", replace(load_program("p.onnx"), costs=costs), force=True)
        with pytest.raises(
            InputError,
            match=r"^bare\.onnx: holds no whole report of its compilation \(.*\)\. Compile the network again\.$",
        ):
            CliRunner().invoke(inspect_command, ["bare.onnx"], catch_exceptions=False, standalone_mode=False)
