"""The exported C on a Cortex-M4 that qemu simulates: the reference's lines and operations, counted instructions, the page's walk."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_networks import CONV, DENSE, POOL, checkpoint_of

from sastdeploy import InputError, compile, export_c, load_program, simulate
from sastdeploy.exchange.c99 import export as export_module
from sastdeploy.exchange.c99.tables import filled
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine

HOME = Path(__file__).resolve().parents[1]
TOOLS = ("make", "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
ABSENT = [tool for tool in TOOLS if shutil.which(tool) is None]
needs_tools = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}")
QEMU = "qemu-system-arm -M mps2-an386 -icount shift=6 -display none -monitor none -serial none -semihosting -kernel"


def counts_for(program, recordings=2):
    shape = (recordings, program.preprocessing.time_bins, *program.preprocessing.frame_shape)
    return np.random.default_rng(5).poisson(0.5, shape).astype(np.uint8)


def made(folder, target="check-cortex-m", **variables):
    call = ["make", "-s", "-C", folder, target, *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(call, capture_output=True, text=True)


@needs_tools
@pytest.mark.parametrize("profile", ["loihi_int8", "aggressive_int4"])
@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda architecture: architecture.name)
def test_the_processor_gives_the_references_scores_and_operations(architecture, profile, tmp_path):
    program = compile(checkpoint_of(architecture), profile).program
    frames = Frames.from_dense(counts_for(program))
    exported = export_c(program, tmp_path / "c", frames, name="net")
    done = made(exported.folder, ARM_CFLAGS="-Os -Wall -Wextra -Werror -pedantic -DNET_COUNT")
    assert done.returncode == 0, done.stderr
    result = engine.run(program, frames, engine="reference")
    assert done.stdout == "".join(
        f"{best} class{best}: {' '.join(map(str, scores))}\n"
        for best, scores in zip(result.predicted.tolist(), result.scores.tolist())
    )
    lines = re.findall(r"^(\d+) instructions, synops: (.*)$", done.stderr, re.MULTILINE)
    assert [list(map(int, synops.split())) for _, synops in lines] == result.synops.tolist()
    assert all(int(instructions) > synops.sum() for (instructions, _), synops in zip(lines, result.synops))


@needs_tools
def test_a_difference_a_missing_and_a_cut_file_are_seen(tmp_path):
    exported = export_c(compile(checkpoint_of(DENSE), "loihi_int8").program, tmp_path / "c", name="net")
    assert made(exported.folder).returncode == 0
    text = made(exported.folder, "size-cortex-m").stdout.split()
    assert (
        text[:3] == ["text", "data", "bss"]
        and int(text[6]) > exported.table_bytes
        and text[7:9] == ["0", "0"]
    )
    # What make added is no reason to refuse the folder.
    assert (
        export_c(compile(checkpoint_of(DENSE), "loihi_int8").program, tmp_path / "c", name="net") == exported
    )
    expected = exported.folder / "expected.txt"
    expected.write_text(expected.read_text().replace("class", "klass", 1))
    assert made(exported.folder).returncode != 0
    recordings = exported.folder / "recordings.bin"
    recordings.write_bytes(recordings.read_bytes()[:-40])
    done = subprocess.run(
        [*QEMU.split(), "cortex_m.elf"], cwd=exported.folder, capture_output=True, text=True
    )
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 2
    recordings.unlink()
    done = subprocess.run(
        [*QEMU.split(), "cortex_m.elf"], cwd=exported.folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "recordings.bin: cannot be opened.\n")


NET_H = """
#ifndef NET_H
#define NET_H
#include <stdint.h>
#define NET_INPUTS 1u
#define NET_CLASSES 2u
#define NET_TIME_BINS 1u
typedef struct { uint16_t index; uint8_t count; } net_event;
typedef struct { uint32_t steps; } net_state;
static void net_reset(net_state *state) { state->steps = 0; }
__attribute__((noinline)) static void net_step(net_state *state, const net_event *events, uint32_t length)
{
    (void)events;
    (void)length;
    __asm__ volatile(".rept NOPS\\n nop\\n .endr" ::: "memory");
    state->steps++;
}
static void net_scores(const net_state *state, int32_t *scores) { scores[0] = scores[1] = (int32_t)state->steps; }
static uint32_t net_predicted(const int32_t *scores) { return scores[1] > scores[0]; }
#endif
"""


@needs_tools
def test_the_counted_instructions_are_those_executed(tmp_path):
    """Two bodies that differ by a known number of instructions."""
    for file in ("cortex_m.c", "cortex_m.ld"):
        (tmp_path / file).write_text(
            filled(file, name="net", NAME="NET", classes='"a", "b"', index="uint16_t")
        )
    (tmp_path / "recordings.bin").write_bytes(b"\1")
    counted = []
    for nops in (8, 8 + 25_000):
        (tmp_path / "net.h").write_text(NET_H.replace("NOPS", str(nops)))
        build = (
            "arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -Os -nostartfiles -T cortex_m.ld cortex_m.c -o net.elf"
        )
        subprocess.run(build.split(), cwd=tmp_path, check=True)
        done = subprocess.run(
            [*QEMU.split(), "net.elf"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        counted.append(int(done.stderr.split()[0]))
    assert abs(counted[1] - counted[0] - 25_000) <= 2, counted
    assert counted[0] < 200


def test_own_recordings_stand_beside_the_source(tmp_path, monkeypatch):
    program = compile(checkpoint_of(POOL), "aggressive_int4").program
    counts = counts_for(program)
    exported = export_c(program, tmp_path / "c", counts)
    assert exported.recordings == 2
    assert (exported.folder / "recordings.bin").read_bytes() == counts.tobytes()
    lines = (exported.folder / "expected.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == simulate(program, counts).predicted.tolist()
    with pytest.raises(
        InputError, match=r"^frames: 1x8x8 in 5 bins, but program tiny_pool.aggressive_int4 takes "
    ):
        export_c(program, tmp_path / "d", counts[:, :5])
    monkeypatch.setattr(export_module, "MAX_RECORDING_BYTES", 500)
    with pytest.raises(InputError) as error:
        export_c(program, tmp_path / "d", counts)
    assert str(error.value) == (
        "program tiny_pool.aggressive_int4: 2 recordings take 768 bytes. Allowed: up to 500. Use --limit 1 or less."
    )


# docs/export.md


SMALLER = {"--train 600 --test 100": "--train 60 --test 20", "--epochs 6": "--epochs 1"}
PAGE = (HOME / "docs" / "export.md").read_text("utf-8")


@needs_tools
def test_every_command_of_the_walk_runs(tmp_path):
    (walk,) = re.findall(r"(?ms)^### From a checkpoint.*?^```text needs[^\n]*\n(.*?)^```$", PAGE)
    for full, small in SMALLER.items():
        assert full in walk
        walk = walk.replace(full, small)
    commands = [line.removeprefix("$ ") for line in walk.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 6
    environment = {
        **os.environ,
        "SASTDEPLOY_DATA": str(tmp_path / "data"),
        "PYTHONPATH": str(HOME),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for command in commands:
        words = shlex.split(command)
        if words[0] == "sastdeploy":
            words[:1] = [sys.executable, "-m", "sastdeploy"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    lines = done.stdout.splitlines()
    assert command.startswith("make ") and len(lines) == 3 and done.stderr.count(" instructions\n") == 3
    assert lines == (tmp_path / "network_m4" / "expected.txt").read_text().splitlines()


def test_the_tables_are_those_measured():
    """Sizes and instructions of the page are those of `benchmarks/CORTEX_M.json`."""
    import json

    record = json.loads((HOME / "benchmarks" / "CORTEX_M.json").read_text())
    for program in record["programs"]:
        for row in program["rows"]:
            mean = round(sum(row["instructions"]) / len(row["instructions"]))
            line = (
                f"| `{program['program']}` | {row['form']} | {row['flags']} | {row['code']:,} | {row['constants']:,} | "
                f"{row['state']:,} | {mean:,} |"
            )
            assert line in PAGE, line


@needs_tools
@pytest.mark.parametrize("architecture", [None, CONV, POOL], ids=["dense", "conv", "pooled"])
def test_the_comparison_runs(architecture, tmp_path):
    """The float32 C answers as the integers do on most recordings: it is the same network."""
    spec = importlib.util.spec_from_file_location("cortex_m", HOME / "benchmarks" / "cortex_m.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = HOME / "benchmarks" / "paper" / "small_table4" / "sast.loihi_int8.onnx"
    program = (
        compile(checkpoint_of(architecture), "loihi_int8").program
        if architecture
        else load_program(committed)
    )
    rows = module.compared(program, Frames.from_dense(counts_for(program, 3)), tmp_path / "c")
    forms = ["integers"] * 2
    if module.has_float_form(program):
        forms += ["float32"] * 2 + ["float32, no unit"] * 2
    assert [row["form"] for row in rows] == forms
    assert {row["same_class"] for row in rows[2:]} <= {3}
