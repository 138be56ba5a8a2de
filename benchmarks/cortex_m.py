"""Exported C on a Cortex-M4 that qemu simulates, beside float32 C of the same network: instructions and sizes.

    python benchmarks/cortex_m.py PROGRAM... --data DIR [--limit N]

Prints one JSON object. Both are built with the same flags and driver and take the same recordings, event by event; the integers must be the
simulator's. The float32 C holds the real values of the program's integers, for its floating-point unit and for software floats; it
is written for dense networks. qemu counts instructions, not cycles: what memory, branches and the pipeline cost is not in them.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sastdeploy import Frames, Program, export_c, load_dataset, load_program
from sastdeploy.program.file import program_hash
from sastdeploy.program.records import DenseLif, Readout

INTEGER = "-mcpu=cortex-m4 -mthumb"
HARD, SOFT = f"{INTEGER} -mfpu=fpv4-sp-d16 -mfloat-abi=hard", f"{INTEGER} -mfloat-abi=soft"
QEMU = "qemu-system-arm -M mps2-an386 -icount shift=6 -display none -monitor none -serial none -semihosting -kernel net.elf"
FLAGS = ("-Os", "-O2")
DIGITS = 9


def measured(folder: Path, processor: str, flags: str) -> dict[str, Any]:
    """Return sizes of ``net.c`` in bytes, and instructions per recording; lines of scores under ``lines``."""
    build = f"arm-none-eabi-gcc {processor} -std=c99 {flags}"
    for call in (
        f"{build} -c net.c -o net.o",
        f"{build} -nostartfiles -T cortex_m.ld -o net.elf cortex_m.c net.c",
    ):
        subprocess.run(shlex.split(call), cwd=folder, check=True)
    size = subprocess.run(
        ["arm-none-eabi-size", "-A", "net.o"], cwd=folder, capture_output=True, text=True, check=True
    )
    run = subprocess.run(shlex.split(QEMU), cwd=folder, capture_output=True, text=True, check=True)
    sections = [
        (line.split()[0], int(line.split()[1])) for line in size.stdout.splitlines()[2:] if line[:1] == "."
    ]
    return {
        "code": sum(n for name, n in sections if name.startswith(".text")),
        "constants": sum(n for name, n in sections if name.startswith(".rodata")),
        "data": sum(n for name, n in sections if name.startswith((".data", ".bss"))),
        "instructions": [int(n) for n in re.findall(r"(\d+) instructions", run.stderr)],
        "lines": run.stdout.splitlines(),
    }  # fmt: skip


def float_source(program: Program, header: str) -> tuple[str, str]:
    """Return header and source of a dense program in float32: weights in membrane LSBs, one float for each integer."""
    tables, adds, runs, fields = [], [], [], []
    layers = [layer for layer in program.layers if isinstance(layer, DenseLif)]
    assert len(layers) == len(program.layers) and all(
        layer.lif.reset == "subtract" and layer.lif.reset_delay for layer in layers
    )
    weighted: tuple[DenseLif | Readout, ...] = (*layers, program.readout)
    for i, layer in enumerate(weighted):
        part = layer.lif if isinstance(layer, DenseLif) else layer
        outputs = len(layer.weight)
        gain = part.multiplier / np.exp2(part.shift.astype(np.float64))
        tables.append(_table(f"weight{i}", (layer.weight * gain[:, None]).T))
        tables.append(_table(f"bias{i}", part.bias))
        fields += [f"float sum{i}[{outputs}];", f"float membrane{i}[{outputs}];"]
        adds.append(f"""static void add{i}(net_state *state, uint32_t input, float count)
{{
    const float *row = weight{i} + input * {outputs}u;
    uint32_t n;
    for (n = 0; n < {outputs}u; n++) state->sum{i}[n] += count * row[n];
}}""")
        if not isinstance(layer, DenseLif):
            continue
        lif = layer.lif
        tables.append(_table(f"threshold{i}", lif.threshold))
        leak = _number(int(lif.leak_multiplier) / 2.0**lif.leak_shift)
        runs.append(f"""static void run{i}(net_state *state)
{{
    uint32_t n;
    for (n = 0; n < {outputs}u; n++) {{
        const float u = state->membrane{i}[n], threshold = threshold{i}[n];
        const float v = {leak} * u + state->sum{i}[n] + bias{i}[n] - (u {lif.spike_test} threshold ? threshold : 0.0f);
        state->membrane{i}[n] = v;
        if (v {lif.spike_test} threshold) add{i + 1}(state, n, 1.0f);
    }}
}}""")
    last = len(layers)
    forward = "\n".join(
        (f"    memset(state->sum{i + 1}, 0, sizeof state->sum{i + 1});\n" if i + 1 < last else "") + f"    run{i}(state);"
        for i in range(last)
    )  # fmt: skip
    body = "\n".join(["uint32_t steps;", *fields])
    header = re.sub(
        r"(?s)typedef struct \{\n    (?!.*typedef struct).*?\} net_state;",
        f"typedef struct {{\n{body}\n}} net_state;",
        header,
    )
    source = f"""#include "net.h"
#include <string.h>
{chr(10).join((*tables, *adds, *runs))}
void net_reset(net_state *state) {{ memset(state, 0, sizeof *state); }}
int net_step(net_state *state, const net_event *events, uint32_t length)
{{
    uint32_t n;
    memset(state->sum0, 0, sizeof state->sum0);
    for (n = 0; n < length; n++)
        add0(state, events[n].index, (float)(events[n].count < NET_CLIP ? events[n].count : NET_CLIP));
{forward}
    state->steps++;
    return 0;
}}
void net_scores(const net_state *state, int32_t scores[NET_CLASSES])
{{
    uint32_t n;
    for (n = 0; n < NET_CLASSES; n++) scores[n] = (int32_t)(state->sum{last}[n] + (float)state->steps * bias{last}[n]);
}}
uint32_t net_predicted(const int32_t scores[NET_CLASSES])
{{
    uint32_t n, best = 0;
    for (n = 1; n < NET_CLASSES; n++) if (scores[n] > scores[best]) best = n;
    return best;
}}
"""
    return header, source


def _number(value: float) -> str:
    text = f"{value:.{DIGITS}g}"
    return f"{text if set(text) & set('.en') else text + '.0'}f"


def _table(name: str, values: np.ndarray) -> str:
    numbers = ",\n".join(map(_number, values.reshape(-1).tolist()))
    return f"static const float {name}[{values.size}] = {{\n{numbers}\n}};"


def compared(program: Program, frames: Frames, folder: Path) -> list[dict[str, Any]]:
    """Return one row for each form and flag."""
    exported = export_c(program, folder, frames, name="net")
    wanted = (folder / "expected.txt").read_text().splitlines()
    rows = []
    for flags in FLAGS:
        row = measured(folder, INTEGER, flags)
        if row.pop("lines") != wanted:
            raise SystemExit(f"{program.name}, {flags}: the processor's lines differ from the simulator's.")
        rows.append({"form": "integers", "flags": flags, "state": exported.state_bytes, **row})
    if not all(isinstance(layer, DenseLif) for layer in program.layers):
        return rows
    header, source = float_source(program, (folder / "net.h").read_text())
    (folder / "net.h").write_text(header)
    (folder / "net.c").write_text(source)
    state = 4 * (1 + sum(map(int, re.findall(r"float \w+\[(\d+)\];", header))))
    for form, processor in (("float32", HARD), ("float32, no unit", SOFT)):
        for flags in FLAGS:
            row = measured(folder, processor, flags)
            agreeing = [a.split(":")[0] == b.split(":")[0] for a, b in zip(row.pop("lines"), wanted)]
            rows.append({"form": form, "flags": flags, "state": state, **row, "same_class": sum(agreeing)})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--limit", type=int, default=3)
    options = parser.parse_args(arguments)
    tools = {
        tool: subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for tool in ("arm-none-eabi-gcc", "qemu-system-arm")
    }  # fmt: skip
    programs = []
    for path in options.programs:
        program = load_program(path)
        frames = load_dataset(program.dataset, "test", root=Path(options.data)).frames
        with tempfile.TemporaryDirectory() as folder:
            rows = compared(program, frames.select(slice(0, options.limit)), Path(folder) / "c")
        programs.append({"program": program.name, "hash": program_hash(program), "rows": rows})
    print(json.dumps({"tools": tools, "recordings": options.limit, "programs": programs}, indent=1))


if __name__ == "__main__":
    main()
