"""Profiles: a source beside every value, and a file of one's own as good as a built-in one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sastdeploy.cli.profiles_command import command
from sastdeploy.compiler.profiles import builtin_profiles, load_profile, profile_path
from sastdeploy.errors import InputError
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding

LOIHI = builtin_profiles()["loihi_int8"]


def edited(folder: Path, before: str, after: str) -> str:
    """Return the path of loihi_int8's file with one passage replaced."""
    text = LOIHI.read_text("utf-8")
    assert before in text
    path = folder / "chip.yaml"
    path.write_text(text.replace(before, after, 1), "utf-8")
    return str(path)


def sourced(record, where=""):
    """Yield (key, value, source) of every leaf; a bare number yields a source of None."""
    for key, entry in record.items():
        if isinstance(entry, dict) and "value" not in entry:
            yield from sourced(entry, f"{where}{key}.")
        elif isinstance(entry, dict):
            yield f"{where}{key}", entry["value"], entry.get("source")
        elif key == "differs":
            assert all(isinstance(sentence, str) and sentence.endswith(".") for sentence in entry)
        elif not isinstance(entry, str):
            yield f"{where}{key}", entry, None


NAMES = [
    "aggressive_int4", "cortex_m", "ecp5_25", "ice40_up5k", "loihi1", "loihi2", "loihi_int8", "speck", "spinnaker2",
    "xylo_a2", "xylo_a3", "xylo_imu",
]  # fmt: skip


def test_these_profiles_come_with_sastdeploy():
    assert list(builtin_profiles()) == NAMES
    assert all(load_profile(name).name == name for name in builtin_profiles())


@pytest.mark.parametrize("name", builtin_profiles())
def test_every_value_of_a_builtin_profile_has_a_source(name):
    leaves = list(sourced(load_profile(name).record))
    assert len(leaves) >= 18 and len({key for key, _, _ in leaves}) == len(leaves)
    assert [key for key, _, source in leaves if not source or len(source) < 10] == []


def test_a_number_without_a_source_is_found():
    assert list(sourced({"weights": {"bits": 8}})) == [("weights.bits", 8, None)]


def test_the_profiles_are_the_papers():
    loihi, small = load_profile("loihi_int8"), load_profile("aggressive_int4")
    assert (loihi.weight_bits, loihi.membrane) == (8, QFormat(8, 8))
    assert (small.weight_bits, small.membrane) == (4, QFormat(4, 4))
    assert (loihi.leak_shift, loihi.leak_rounding) == (12, Rounding.TOWARD_ZERO)
    assert (small.leak_shift, small.leak_rounding) == (4, Rounding.FLOOR)
    for profile in (loihi, small):
        assert (profile.spike_test, profile.reset, profile.reset_delay) == (">=", "subtract", 1)
        assert profile.overflow is Overflow.SATURATE
    assert "It is Loihi-LIKE, not Loihi" in LOIHI.read_text("utf-8")


def test_a_file_of_ones_own_works_like_a_builtin_one(tmp_path):
    path = edited(tmp_path, "{value: 24,", "{value: 16,")
    assert load_profile(path).accumulator_bits == 16
    assert load_profile(path).membrane == load_profile("loihi_int8").membrane


def test_an_unknown_name_is_answered_with_the_likely_one():
    with pytest.raises(InputError) as caught:
        profile_path("loihi_int9")
    assert str(caught.value) == (
        f"profile 'loihi_int9': unknown. Did you mean 'loihi_int8'? Built in: {', '.join(NAMES)}; or name a YAML "
        "file ('sastdeploy profiles new' writes one to start from)."
    )


WRONG = {
    "unknown key": (
        "  bits: {value: 8,",
        "  bitz: {value: 8,",
        "2 errors:\n  key 'weights.bitz': unknown. Did you mean 'bits'? Allowed: bits, granularity, scale.\n  key 'weights.bits': missing.",
    ),
    "misspelt key beside all others": (
        "  scale:",
        "  scal: {value: any, source: here it is}\n  scale:",
        "key 'weights.scal': unknown. Did you mean 'scale'? Allowed: bits, granularity, scale.",
    ),
    "no source": ('{value: 8, source: "paper, section 5.1 and Table 4: INT8"}', "{value: 8}",
                  "key 'weights.bits.source': missing."),
    "empty source": ('source: "paper, section 5.1 and Table 4: INT8"', 'source: " "',
                     "key 'weights.bits.source': must not be empty, found ' '."),
    "bare number": ('{value: 8, source: "paper, section 5.1 and Table 4: INT8"}', "8",
                    """key 'weights.bits': write {value: 8, source: "where it is from"}, found 8."""),
    "an optional limit of nothing": ("limits:\n", "limits:\n  count: null\n",
                    """key 'limits.count': write {value: null, source: "where it is from"}, found null."""),
    "duplicate": ("name: loihi_int8", "name: loihi_int8\nname: other", "line 5: key 'name' stands twice. Keep one of them."),
    "text for number": ("{value: 8,", '{value: "8",', "key 'weights.bits.value': must be a whole number, found '8'."),
    "too many bits": ("{value: 8,", "{value: 9,",
                      "key 'weights.bits.value': must be at most 8, found 9."),
    "no such rounding": ("value: toward_zero", "value: towards_zero",
                         "key 'leak.rounding.value': must be 'floor', 'toward_zero' or 'nearest', found 'towards_zero'."),
    "no such format": ("value: Q8.8", "value: 8.8", "key 'membrane.format.value': must be text, found 8.8."),
    "membrane too wide": ("value: Q8.8", "value: Q20.8", "key 'membrane.format.value': Q20.8: not a supported format."),
    "a test that YAML reads": ('value: ">="', 'value: "=>"', "key 'neuron.spike_test.value': must be one of >=, >, or a list of some, each once, found '=>'."),
    "octal": ("{value: 24,", "{value: 024,", "024 would be read as an octal number; write it without the leading zero."),
    "negative limit": ("{value: 131072,", "{value: -1,",
                       "key 'limits.neurons.value': must be at least 1, found -1."),
    "infinite energy": ("{value: 23.6,", "{value: .inf,",
                        "key 'energy.synop_pj.value': must be at most 1000000000000, found inf."),
    "energy beyond a joule": ("{value: 23.6,", "{value: 1.0e+308,",
                              "key 'energy.synop_pj.value': must be at most 1000000000000, found 1e+308."),
    "reset unknown": ("reset: {value: subtract,", "reset: {value: half,",
                      "key 'neuron.reset.value': must be one of subtract, zero, none, refractory, or a list of some, each once, found 'half'."),
    "reset twice": ("reset: {value: subtract,", "reset: {value: [zero, zero],",
                    "key 'neuron.reset.value': must be one of subtract, zero, none, refractory, or a list of some, each once, found ['zero', 'zero']."),
    "digits of another script": ("format: {value: Q8.8", "format: {value: Q8.٨",
                                 "key 'membrane.format.value': "),
    "name with a slash": ("name: loihi_int8", "name: a/b", "key 'name': must be 1 to 64 letters, digits, _ or -, found 'a/b'."),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_by_key(tmp_path, case):
    before, after, message = WRONG[case]
    path = edited(tmp_path, before, after)
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty."),
        (b"\x80abc", "is not a text file (byte 0 is not UTF-8)."),
        (b"- 1\n", "expected keys and values, found list."),
        (b"a: [", "line 1: not valid YAML"),
    ],
)
def test_what_is_no_profile_is_refused(tmp_path, content, message):
    path = tmp_path / "chip.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_profile(str(path))
    assert message in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        name = str(path) if path.suffix else str(path / "..yaml")
        with pytest.raises(InputError, match="cannot be read"):
            load_profile(name)


def run(*arguments):
    result = CliRunner().invoke(command, arguments)
    if result.exception and not isinstance(result.exception, (SystemExit, InputError)):
        raise result.exception
    return result


def test_list_and_show_print_tables_and_json():
    assert "aggressive_int4" in run("list").output
    listed = json.loads(run("list", "--json").output)
    assert [p["name"] for p in listed["profiles"]] == NAMES
    shown = run("show", "loihi_int8").output
    assert "membrane.format" in shown and "paper, Table 4: Q8.8" in shown
    assert json.loads(run("show", "loihi_int8", "--json").output)["membrane"]["format"]["value"] == "Q8.8"


def test_new_writes_a_profile_that_check_accepts(tmp_path):
    path = str(tmp_path / "mine.yaml")
    assert run("new", "mine", "--from", "aggressive_int4", "--out", path).exit_code == 0
    assert load_profile(path).name == "mine"
    assert load_profile(path).membrane == QFormat(4, 4)
    assert run("check", path).output == f"{path}: valid. mine: INT4 weights, Q4.4 membrane.\n"
    assert json.loads(run("check", path, "--json").output)["valid"] is True


@pytest.mark.parametrize("name", ["123", "no", "010", "1e3"])
def test_a_new_profile_may_have_any_allowed_name(tmp_path, name):
    path = str(tmp_path / "p.yaml")
    run("new", name, "--out", path)
    assert load_profile(path).name == name


def test_new_never_replaces_a_file_unasked(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    result = run("new", "mine", "--out", str(path))
    assert str(result.exception) == (
        f"{path}: exists, and is not what would be written now. Choose another name, or replace it with --force."
    )
    assert path.read_text() == "mine"
    assert run("new", "mine", "--out", str(path), "--force").exit_code == 0
    assert load_profile(str(path)).name == "mine"


def test_new_leaves_an_equal_file_and_says_so(tmp_path):
    path = tmp_path / "mine.yaml"
    first = run("new", "mine", "--out", str(path)).output
    before = path.stat()
    again = run("new", "mine", "--out", str(path))
    assert again.exit_code == 0
    left = f"{path} was there already, equal byte for byte, and is left as it is.\n"
    assert again.output == left + first
    assert path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns == before.st_mtime_ns
    assert run("new", "mine", "--out", str(path), "--force").output == first


def test_new_refuses_a_name_that_is_no_file_name():
    assert str(run("new", "../x").exception) == (
        "profile '../x': a name has letters, digits, _ and -, at most 64."
    )
