"""The exported C gives the reference engine's integers: membranes, spikes, scores, operations, overflows, bit by bit."""

import os
import re
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from program_strategies import frames_for, frames_from_dense, programs
from small_networks import CONV, DENSE, POOL, checkpoint_of
from tiny_programs import one_neuron, tiny_lif, tiny_program, tiny_readout

from sastdeploy import compile
from sastdeploy.exchange.c99.source import write_source
from sastdeploy.program.fixedpoint import QFormat, Rounding
from sastdeploy.program.records import DenseLif, FurtherDense
from sastdeploy.simulator import engine
from tests.c_compiler import GCC, SANITIZED, STRICT, needs_gcc

PROGRAMS = max(5, int(os.environ.get("SASTDEPLOY_PROGRAMS", "250")) // 10)


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
    wide = {"membrane": QFormat(12, 12), "leak_multiplier": 1500, "leak_shift": 11}
    skip = (FurtherDense(0, np.array([[3]], np.int8)), FurtherDense(1, np.array([[-2]], np.int8)))
    last = DenseLif("last", np.array([[5]], np.int8), 4, tiny_lif(), further=skip)
    for name, program in {
        "longest": tiny_program([layer], tiny_readout(), time_bins=1000, c_clip=127),
        "tie": tiny_program([layer], tie),
        "toward_zero": tiny_program(
            [replace(layer, lif=tiny_lif(**wide, leak_rounding=Rounding.TOWARD_ZERO))], tiny_readout()
        ),
        "further": tiny_program([layer, last], tiny_readout()),
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
        "spike = v > threshold", "spike = v >= threshold", "top / 2", "(uint8_t)(state->", "INPUTS", "add1_1(",
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
