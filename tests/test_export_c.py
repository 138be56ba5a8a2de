"""The exported C gives the reference engine's integers: membranes, spikes, scores, operations, overflows, bit by bit."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, frames_from_dense, programs
from small_networks import CONV, DENSE, POOL, checkpoint_of
from tiny_programs import one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy import InputError, compile, export_c, load_program, save_program
from sastdeploy.cli import main as main_module
from sastdeploy.exchange.c99 import export as export_module
from sastdeploy.exchange.c99.source import write_source
from sastdeploy.exchange.names import default_name
from sastdeploy.program.records import DenseLif
from sastdeploy.simulator import engine

GCC = shutil.which("gcc")
PROGRAMS = max(5, int(os.environ.get("SASTDEPLOY_PROGRAMS", "250")) // 10)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZED = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
needs_gcc = pytest.mark.skipif(GCC is None, reason="no gcc: the C source cannot be compiled")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make")

HARNESS = """
#define @NAME@_COUNT
#define @NAME@_TRACE(layer, neuron, membrane, spike) trace(layer, neuron, membrane, spike)
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
static int silent;
static void trace(int32_t layer, uint32_t neuron, int32_t membrane, int32_t spike)
{
    const int32_t row[4] = {layer, (int32_t)neuron, membrane, spike};
    if (!silent) fwrite(row, sizeof row, 1, stdout);
}
#include "@name@.c"
#define LENGTH(array) (sizeof array / sizeof array[0])
static uint8_t counts[@NAME@_TIME_BINS][@NAME@_INPUTS];
static @name@_event events[@NAME@_TIME_BINS * @NAME@_INPUTS];
static @name@_state state, again, whole;
static void write(const int64_t *values, size_t length)
{
    fwrite(values, sizeof *values, length, stdout);
}
void run_@name@(FILE *recordings)
{
    int32_t scores[@NAME@_CLASSES], others[@NAME@_CLASSES];
    uint32_t lengths[@NAME@_TIME_BINS];
    int recording, failures;
    uint32_t t, n, length;
    int64_t value;
    for (recording = 0; recording < @recordings@; recording++) {
        if (fread(counts, sizeof counts, 1, recordings) != 1) abort();
        @name@_reset(&state);
        @name@_reset(&again);
        length = 0;
        failures = 0;
        for (t = 0; t < @NAME@_TIME_BINS; t++) {
            const uint32_t begin = length;
            for (n = 0; n < @NAME@_INPUTS; n++) {
                if (counts[t][n] > 0) {
                    events[length].index = (@index@)n;
                    events[length++].count = counts[t][n];
                }
            }
            lengths[t] = length - begin;
            silent = 0;
            failures += @name@_step_counts(&state, counts[t]) != 0;
            silent = 1;
            failures += @name@_step(&again, events + begin, lengths[t]) != 0;
            failures += memcmp(&state, &again, sizeof state) != 0;
        }
        failures += @name@_run(&whole, events, lengths, others) != 0;
        failures += memcmp(&state, &whole, sizeof state) != 0;
        @name@_scores(&state, scores);
        failures += memcmp(scores, others, sizeof scores) != 0;
        /* Nothing more is taken, and nothing changes. */
        failures += @name@_step(&state, events, 0) != -1 || @name@_step_counts(&state, counts[0]) != -1;
        failures += memcmp(&state, &whole, sizeof state) != 0;
        for (n = 0; n < @NAME@_CLASSES; n++) {
            value = scores[n];
            write(&value, 1);
        }
        value = @name@_predicted(scores);
        write(&value, 1);
        write(state.synops, LENGTH(state.synops));
        write(state.synops_events, LENGTH(state.synops_events));
        write(state.overflow_low, LENGTH(state.overflow_low));
        write(state.overflow_high, LENGTH(state.overflow_high));
        value = failures;
        write(&value, 1);
    }
}
"""


@dataclass(frozen=True)
class Case:
    name: str
    program: object
    frames: object

    def written(self):
        return write_source(self.program, self.name)


def folder_of(folder, cases, change=lambda text: text):
    """Write every case's source and harness, one main, and the recordings."""
    for case in cases:
        source = case.written()
        (folder / f"{case.name}.h").write_text(source.header)
        (folder / f"{case.name}.c").write_text(change(source.source))
        index = "uint16_t" if case.frames.inputs <= 65536 else "uint32_t"
        text = HARNESS.replace("@NAME@", case.name.upper()).replace("@name@", case.name)
        text = text.replace("@recordings@", str(len(case.frames))).replace("@index@", index)
        (folder / f"harness_{case.name}.c").write_text(text)
    declarations = "".join(f"void run_{case.name}(FILE *recordings);\n" for case in cases)
    calls = "".join(f"    run_{case.name}(stdin);\n" for case in cases)
    (folder / "cases.c").write_text(
        f"#include <stdio.h>\n{declarations}int main(void)\n{{\n{calls}    return 0;\n}}\n"
    )
    (folder / "recordings").write_bytes(b"".join(case.frames.dense().tobytes() for case in cases))
    return folder


def outputs(folder, cases, *flags):
    """Compile all cases in one call, run them, and return what they wrote."""
    files = [f"harness_{case.name}.c" for case in cases]
    call = [GCC, *STRICT, *flags, "-o", "cases", "cases.c", *files]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (folder / "recordings").open("rb") as recordings:
        done = subprocess.run(
            [folder / "cases"], stdin=recordings, capture_output=True, env={"ASAN_OPTIONS": "detect_leaks=0"}
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def expected(case):
    """Return the bytes that the harness writes for a case, from the reference engine."""
    layers = [(n, layer.name) for n, layer in enumerate(case.program.layers) if layer.lif is not None]
    result = engine.run(case.program, case.frames, engine="reference", trace=[name for _, name in layers])
    parts = []
    for n in range(len(case.frames)):
        for t in range(case.frames.time_bins):
            for number, name in layers:
                u, s = result.traces[name].membranes[n, t], result.traces[name].spikes[n, t]
                rows = np.stack([np.full(len(u), number), np.arange(len(u)), u, s], axis=1)
                parts.append(rows.astype(np.int32).tobytes())
        figures = (
            result.scores[n], result.predicted[n : n + 1], result.synops[n], result.synops_events[n],
            result.overflow_low[n], result.overflow_high[n], [0],
        )  # fmt: skip
        parts.append(np.concatenate(figures).astype(np.int64).tobytes())
    return b"".join(parts)


def differing(cases, wanted, output):
    """Return the names of the cases whose integers differ."""
    names, begin = [], 0
    for case, integers in zip(cases, wanted):
        if output[begin : begin + len(integers)] != integers:
            names.append(case.name)
        begin += len(integers)
    return names if begin == len(output) else [*names, "length"]


def hostile_frames(program, drawn):
    """Return the drawn recordings, one without events, and one of largest counts."""
    shape = (1, program.preprocessing.time_bins, *program.preprocessing.frame_shape)
    parts = (drawn.dense(), np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8))
    return frames_from_dense(np.concatenate(parts))


def random_cases():
    drawn = []

    @settings(
        max_examples=PROGRAMS, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def draw(data):
        program = data.draw(programs())
        frames = hostile_frames(program, data.draw(frames_for(program, most=1)))
        drawn.append(Case(f"random{len(drawn)}", program, frames))

    draw()
    return drawn


def compiled_cases():
    for architecture in (DENSE, CONV, POOL):
        for profile in ("loihi_int8", "aggressive_int4"):
            program = compile(checkpoint_of(architecture), profile).program
            shape = (2, program.preprocessing.time_bins, *program.preprocessing.frame_shape)
            drawn = frames_from_dense(np.random.default_rng(1).poisson(0.6, shape).astype(np.uint8))
            name = program.name.replace(".", "_")
            yield Case(name, program, hostile_frames(program, drawn))


def wide_program(inputs):
    """Return one neuron on so many inputs."""
    weight = np.random.default_rng(inputs).integers(-7, 8, (1, inputs)).astype(np.int8)
    return tiny_program([DenseLif("fc", weight, 4, tiny_lif())], tiny_readout(), (1, 1, inputs), time_bins=2)


def edge_cases():
    tie = tiny_readout(weight=np.zeros((2, 1), np.int8), bias=np.zeros(2, np.int32))
    layer = DenseLif("fc", np.array([[127]], np.int8), 8, tiny_lif())
    for name, program in {
        "longest": tiny_program([layer], tiny_readout(), time_bins=1000, c_clip=127),
        "tie": tiny_program([layer], tie),
        "most_16_bit_indices": wide_program(65536),
        "least_32_bit_indices": wide_program(65537),
    }.items():
        shape = (1, program.preprocessing.time_bins, *program.preprocessing.frame_shape)
        drawn = frames_from_dense(np.random.default_rng(2).integers(0, 3, shape).astype(np.uint8))
        yield Case(name, program, hostile_frames(program, drawn))


@pytest.fixture(scope="module")
def cases():
    return [*random_cases(), *compiled_cases(), *edge_cases()]


@pytest.fixture(scope="module")
def wanted(cases):
    return [expected(case) for case in cases]


@needs_gcc
@pytest.mark.parametrize("flags", [("-O2",), ("-Os",), SANITIZED], ids=["O2", "Os", "sanitized"])
def test_c_equals_the_reference(cases, wanted, flags, tmp_path):
    output = outputs(folder_of(tmp_path, cases), cases, *flags)
    assert differing(cases, wanted, output) == []


def test_the_cases_meet_every_form_of_the_c(cases):
    sources = [case.written() for case in cases]
    text = "".join(source.source for source in sources)
    for form in (
        "floor_shift32(", "floor_shift64(", "toward_zero32(", "toward_zero64(", "wrap(", "int4(",
        "(int32_t)(((uint32_t)1 <<", "(((int64_t)1 <<", "? threshold : 0)", "? 0 : leak)", "v -= threshold", "v = 0;",
        "spike = v > threshold", "spike = v >= threshold", "top / 2", "(uint8_t)(state->", "INPUTS",
    ):  # fmt: skip
        assert form in text, form
    headers = "".join(source.header for source in sources)
    for kind, what in [(k, "membrane") for k in ("int8_t", "int16_t", "int32_t")] + [
        (k, "sum") for k in ("int16_t", "int32_t", "uint8_t")
    ]:
        assert re.search(rf"\b{kind} {what}\d+\[", headers), (kind, what)


@needs_gcc
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("count * int4(weight0, first + n)", "int4(weight0, first + n)"),
        ("spike = v >= threshold", "spike = v > threshold"),
        ("v = 15;", "v = 14;"),
        ("(sum * 3 + 1, 1)", "(sum * 3, 1)"),
        ("? threshold : 0", "? 0 : 0"),
        ("~(~value >> places)", "-(-value >> places)"),
        ("COUNT(synops[0], 1)", "COUNT(synops[0], 2)"),
        ("scores[n] > scores[best]", "scores[n] < scores[best]"),
        ("count < SMALL_CLIP ? count : SMALL_CLIP", "count"),
    ],
)
def test_a_change_of_the_c_is_seen(tmp_path, old, new):
    recordings = np.random.default_rng(3).integers(0, 6, (40, 5, 1, 1, 1)).astype(np.uint8)
    case = Case("small", one_neuron(), frames_from_dense(recordings))
    assert old in case.written().source
    folder = folder_of(tmp_path, [case], lambda text: text.replace(old, new))
    assert differing([case], [expected(case)], outputs(folder, [case], "-O0")) == ["small"]


@needs_gcc
def test_wrong_events_are_refused_and_change_nothing(tmp_path):
    program = compile(checkpoint_of(DENSE), "loihi_int8").program
    source = write_source(program, "net")
    (tmp_path / "net.h").write_text(source.header)
    (tmp_path / "net.c").write_text(source.source)
    (tmp_path / "main.c").write_text(
        """
#include <stdio.h>
#include <string.h>
#include "net.h"
int main(void)
{
    static const net_event right[2] = {{3, 1}, {31, 200}}, beyond[2] = {{3, 1}, {32, 1}};
    static const net_event twice[2] = {{3, 1}, {3, 1}}, descending[2] = {{4, 1}, {3, 1}};
    static net_state state, before;
    int n;
    net_reset(&state);
    printf("%d", net_step(&state, right, 2));
    before = state;
    printf(" %d %d %d", net_step(&state, beyond, 2), net_step(&state, twice, 2), net_step(&state, descending, 2));
    printf(" %d", memcmp(&state, &before, sizeof state));
    for (n = 0; n < 5; n++) printf(" %d", net_step(&state, NULL, 0));
    printf(" %d\\n", net_step(&state, right, 2));
    return 0;
}
"""
    )
    call = [GCC, *STRICT, *SANITIZED, "main.c", "net.c", "-o", "net"]
    subprocess.run(call, cwd=tmp_path, check=True)
    done = subprocess.run(
        [tmp_path / "net"], capture_output=True, text=True, env={"ASAN_OPTIONS": "detect_leaks=0"}
    )
    assert done.stdout == "0 -1 -1 -1 0 0 0 0 0 0 -1\n", done.stderr


@needs_gcc
def test_the_stated_bytes_are_those_of_the_c(cases, tmp_path):
    lines = []
    for case in cases:
        source = case.written()
        (tmp_path / f"{case.name}.h").write_text(source.header)
        lines += [
            f'#include "{case.name}.h"',
            f"typedef char of_{case.name}[sizeof({case.name}_state) == {source.state.bytes} ? 1 : -1];",
        ]
        tables = re.findall(r"static const u?int(\d+)_t \w+\[(\d+)\] = {(.*?)}", source.source, re.DOTALL)
        assert sum(int(bits) // 8 * int(count) for bits, count, _ in tables) == source.table_bytes
        assert all(len(values.split(",")) == int(count) for _, count, values in tables)
    (tmp_path / "sizes.c").write_text("\n".join(lines) + "\n")
    subprocess.run([GCC, *STRICT, "-fsyntax-only", "sizes.c"], cwd=tmp_path, check=True)


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


def test_a_name_whose_files_are_others_is_refused(program, tmp_path):
    with pytest.raises(InputError) as error:
        export_c(program, tmp_path / "out", name="Main")
    assert (
        str(error.value) == "name 'Main': main.c or main.h is another file. Choose another name with --name."
    )
    assert not (tmp_path / "out").exists()


def test_a_program_too_large_for_a_compiler_is_refused(program, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "MOST_TABLE_BYTES", 100)
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
