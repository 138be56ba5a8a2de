"""Exported C on a Cortex-M4 that qemu simulates, beside float32 C of the same network: instructions and sizes.

    python benchmarks/cortex_m.py PROGRAM... --data DIR [--limit N]

Prints one JSON object. Both are built with the same flags and driver and take the same recordings, event by event; the integers must be the
simulator's. The float32 C holds the real values of the program's integers, for its floating-point unit and for software floats.
qemu counts instructions, not cycles: what memory, branches and the pipeline cost is not in them.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.float_c import float_source, has_float_form
from sastdeploy import Frames, Program, export_c, load_dataset, load_program
from sastdeploy.program.file import program_hash

INTEGER = "-mcpu=cortex-m4 -mthumb"
HARD, SOFT = f"{INTEGER} -mfpu=fpv4-sp-d16 -mfloat-abi=hard", f"{INTEGER} -mfloat-abi=soft"
QEMU = "qemu-system-arm -M mps2-an386 -icount shift=6 -display none -monitor none -serial none -semihosting -kernel net.elf"
FLAGS = ("-Os", "-O2")


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
    if not has_float_form(program):
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
