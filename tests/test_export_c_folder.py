"""The folder of exported C: what is in it, what it never replaces, and the command that writes it."""

import json
import os
import re
import subprocess
from dataclasses import replace

import pytest
from small_networks import POOL, checkpoint_of

from sastdeploy import InputError, compile, export_c, load_program, save_program
from sastdeploy.cli import main as main_module
from sastdeploy.exchange.c99 import export as export_module
from sastdeploy.exchange.names import default_name
from tests.c_compiler import GCC, SANITIZED, STRICT, needs_gcc, needs_make

# The folder


@pytest.fixture(scope="module")
def program():
    return compile(checkpoint_of(POOL), "aggressive_int4").program


@needs_gcc
@needs_make
def test_make_check_runs_the_example_against_the_simulator(program, tmp_path):
    names = ('a "quoted" \\ name?', "Zürich */ 7")
    exported = export_c(replace(program, name="x */ int y; /*", classes=names), tmp_path / "out")
    assert exported.name == "x_int_y" and exported.recordings == 3
    assert sorted(path.name for path in exported.folder.iterdir()) == sorted(exported.files)
    lines = (exported.folder / "expected.txt").read_text("utf-8").splitlines()
    assert len(lines) == 3 and all(line.split(":")[0][2:] in names for line in lines)
    flags = f"CFLAGS={' '.join([*STRICT, *SANITIZED])}"
    make = ["make", "-C", exported.folder, f"CC={GCC}", flags]
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([*make, "check", "size"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    # What make added is no reason to refuse; another result of the simulator is one to fail.
    export_c(replace(program, name="x */ int y; /*", classes=names), tmp_path / "out")
    (exported.folder / "expected.txt").write_text("\n".join(lines[:2]) + "\n", "utf-8")
    done = subprocess.run([*make, "check"], capture_output=True, text=True, env=environment)
    assert done.returncode != 0 and "expected.txt" in done.stdout + done.stderr
    cut = subprocess.run([exported.folder / "example"], input=b"\0", capture_output=True, env=environment)
    assert (cut.returncode, cut.stderr) == (
        1, b"stdin: the last recording is cut; it has 6 bins of 64 bytes.\n",
    )  # fmt: skip


def test_the_same_program_gives_the_same_bytes(program, tmp_path):
    one, two = (export_c(program, tmp_path / name) for name in ("one", "two"))
    assert all((one.folder / file).read_bytes() == (two.folder / file).read_bytes() for file in one.files)
    times = [(one.folder / file).stat().st_mtime_ns for file in one.files]
    assert export_c(program, one.folder, force=True) == one
    assert times == [(one.folder / file).stat().st_mtime_ns for file in one.files]


def test_a_folder_with_anything_else_is_never_touched(program, tmp_path):
    name = "tiny_pool_aggressive_int4"
    for folder, wrong in ((tmp_path / "mine", "notes.txt"), (tmp_path / "other", "other.c")):
        folder.mkdir()
        (folder / wrong).write_text("mine")
        with pytest.raises(InputError) as error:
            export_c(program, folder, force=True)
        assert str(error.value) == (
            f"{folder}: holds '{wrong}', which is no part of an export of {name}; nothing was written. "
            "Choose a new folder with --out DIR."
        )
        assert [path.name for path in folder.iterdir()] == [wrong]
        with pytest.raises(InputError, match="leads through a folder that does not exist"):
            export_c(program, tmp_path / "typo" / ".." / folder.name, force=True)
        assert [path.name for path in folder.iterdir()] == [wrong]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as error:
        export_c(program, tmp_path / "file", force=True)
    assert str(error.value) == f"{tmp_path / 'file'}: is a file. Choose a folder with --out DIR."


def test_another_export_is_replaced_only_by_force(program, tmp_path):
    export_c(program, tmp_path / "out")
    changed = replace(program, classes=("yes", "no"))
    with pytest.raises(InputError) as error:
        export_c(changed, tmp_path / "out")
    assert str(error.value) == (
        f"{tmp_path / 'out'}: holds another export. Choose another folder with --out, or replace it with --force."
    )
    assert '"yes"' not in (tmp_path / "out" / "main.c").read_text()
    export_c(changed, tmp_path / "out", force=True)
    assert '"yes"' in (tmp_path / "out" / "main.c").read_text()


def test_a_failure_leaves_nothing(program, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sastdeploy._files.atomic._sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space"))
    )
    with pytest.raises(InputError, match="cannot be written"):
        export_c(program, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("fc_0p40m.loihi_int8", "fc_0p40m_loihi_int8"),
        ("8bit", "network_8bit"),
        ("main", "network_main"),
        ("String", "network_String"),
        ("Zürich", "Z_rich"),
        ("网络", "network"),
        ("_x__y_", "x_y"),
        ("a" * 100, "a" * 48),
    ],
)
def test_a_programs_name_becomes_an_identifier(name, identifier):
    assert default_name(name, export_module._TAKEN) == identifier


@pytest.mark.parametrize("name", ["", "8bit", "_x", "a b", "a" * 49, "é"])
def test_a_name_that_is_none_is_refused(program, tmp_path, name):
    with pytest.raises(InputError) as error:
        export_c(program, tmp_path / "out", name=name)
    shown = {"é": "_"}.get(name, name[:48])
    assert str(error.value) == (
        f"name '{shown}': is no name for C. Allowed: 1 to 48 letters, digits and _, a letter first. "
        "Choose another with --name."
    )


@pytest.mark.parametrize("name", ["Main", "Makefile"])
def test_a_name_whose_files_are_others_is_refused(program, tmp_path, name):
    with pytest.raises(InputError) as error:
        export_c(program, tmp_path / "out", name=name)
    assert str(error.value) == (
        f"name '{name}': {name.lower()}.c or {name.lower()}.h would get into the way of another file. "
        "Choose another name with --name."
    )
    assert not (tmp_path / "out").exists()


def test_a_program_too_large_for_a_compiler_is_refused(program, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "MAX_TABLE_BYTES", 100)
    with pytest.raises(InputError) as error:
        export_c(program, tmp_path / "out")
    assert str(error.value) == (
        "program tiny_pool.aggressive_int4: its weights take 163 bytes. Allowed: up to 100 in C source. "
        "Compile a smaller network, or one of fewer bits."
    )


def test_an_invalid_program_is_refused(program, tmp_path):
    with pytest.raises(InputError, match=r"^program: there are 1 classes. Allowed: 2"):
        export_c(replace(program, classes=("one",)), tmp_path / "out")


def test_frames_too_large_to_write_beside_leave_no_recordings(program, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "CHECK_BYTES", 6 * 64 - 1)
    exported = export_c(program, tmp_path / "out")
    assert exported.recordings == 0 and (tmp_path / "out" / "recordings.bin").read_bytes() == b""
    assert (tmp_path / "out" / "expected.txt").read_bytes() == b""


# The command


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys, program):
    """Return a function that types a command beside ``program.onnx`` and returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    save_program("program.onnx", program)

    def type_(*words):
        with pytest.raises(SystemExit) as stop:
            main_module.main(list(words))
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return type_


def test_the_command_tells_flash_and_ram(typed, program, tmp_path):
    code, out, err = typed("export", "program.onnx", "--to", "c", "--out", "my c", "--name", "net")
    assert (code, err) == (0, "")
    exported = export_c(load_program("program.onnx"), "my c", name="net")
    assert (exported.table_bytes, exported.state_bytes, exported.shared_bytes) == (175, 656, 396)
    assert (
        "Flash: 175 bytes of constant tables. RAM: 656 bytes of state, 396 of them sums that layers share."
        in out
    )
    assert "Next: make -C 'my c' check" in out
    assert re.search(r"layers.1 +sum_pool +- +0 +48 *\n", out), out
    readme = (tmp_path / "my c" / "README.md").read_text()
    assert "| constant tables (flash) | 175 |" in readme and "| 656 |" in readme and "@" not in readme


def test_the_command_prints_json(typed):
    code, out, _ = typed("export", "program.onnx", "--to", "c", "--out", "c", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["schema"] == "sastdeploy.c_export/1" and facts["folder"] == "c"
    assert facts["name"] == "tiny_pool_aggressive_int4" and facts["table_bytes"] == 175
    assert [layer["weights"] for layer in facts["layers"]] == ["INT4", None, "INT4", "INT4"]
    assert sum(layer["table_bytes"] for layer in facts["layers"]) == facts["table_bytes"]


def test_what_is_typed_wrongly_is_told(typed, tmp_path):
    code, out, err = typed("export", "program.onnx", "--to", "vhdl", "--out", "c")
    assert (code, out) == (2, "") and "Invalid value for '--to': 'vhdl' is not" in err
    code, _, err = typed("export", "program.onnx", "--to", "c")
    assert code == 2 and "Missing option '--out'" in err
    (tmp_path / "text.onnx").write_text("no program")
    for name in ("missing.onnx", "text.onnx"):
        code, out, err = typed("export", name, "--to", "c", "--out", "c")
        assert (code, out) == (3, "") and err.startswith(f"Error: {name}: ")
    assert not (tmp_path / "c").exists()
