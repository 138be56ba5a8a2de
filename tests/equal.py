"""``python -m tests.equal --seconds N``: random programs on every engine, all integers compared; prints how many were equal.

Half of the programs are drawn as such, half are random networks compiled for random hardware profiles. A program that
differs is written to ``--out`` with its first difference; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # as pytest's setting `pythonpath` does

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from profile_strategies import PROFILES, networks
from program_strategies import programs

from sastdeploy import CompileError, compile, save_program, verify
from sastdeploy.program.file import program_hash
from sastdeploy.program.records import Program

BATCH = 50
"""Programs that Hypothesis draws together."""


class _Enough(BaseException):
    """Time or number is reached; no `Exception`, which Hypothesis would take for a failure."""


def drawn_programs(seed: int, take: Callable[[str, Program | None], None]) -> None:
    """Call ``take`` with the origin and the program, None where a profile refuses its network, until it raises."""
    for batch in range(sys.maxsize):

        @hypothesis.seed(seed * 1_000_003 + batch)
        @settings(
            max_examples=BATCH, deadline=None, database=None, phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.data())
        def draw(data):
            if data.draw(st.booleans()):
                take("drawn", data.draw(programs()))
                return
            try:
                network, profile = data.draw(networks()), data.draw(PROFILES)
                program = compile(network, profile, neuron="profile").program
            except CompileError:
                program = None
            take("compiled", program)

        draw()


def compare(seconds: float | None, most: int | None, seed: int, out: Path) -> tuple[Counter, int]:
    """Return counts by word (programs by origin, recordings, integers, differing), and how many engines were run."""
    counts: Counter = Counter()
    seen: set[str] = set()
    engines = 0
    end = None if seconds is None else time.monotonic() + seconds

    def take(origin: str, program: Program | None) -> None:
        nonlocal engines
        if (end and time.monotonic() > end) or (most is not None and counts["programs"] >= most):
            raise _Enough
        if program is None:
            counts["refused"] += 1
            return
        digest = program_hash(program)
        if digest in seen:
            return
        seen.add(digest)
        # Without Verilog, whose simulation takes a thousand times as long; tests/test_export_verilog.py draws programs for it.
        found = verify(program, random=4, seed=len(seen), verilog_clocks=0)
        engines = sum(proof.absent is None for proof in found.engines)
        counts["programs"] += 1
        counts[origin] += 1
        counts["recordings"] += sum(found.inputs.values())
        counts["integers"] += sum(proof.values for proof in found.engines)
        if not found.equal:
            counts["differing"] += 1
            out.mkdir(parents=True, exist_ok=True)
            save_program(out / f"{digest[:16]}.onnx", program, force=True)
            print(f"{out / digest[:16]}.onnx: {found.first_difference}", flush=True)

    with suppress(_Enough):
        drawn_programs(seed, take)
    return counts, engines


def main() -> int:
    """Return 1 where a program differs."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.equal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, help="stop after this time (default: 60, without --programs)"
    )
    parser.add_argument("--programs", type=int, help="stop after so many programs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("build/equal"), help="folder of findings (default: build/equal)"
    )
    options = parser.parse_args()
    seconds = 60.0 if options.seconds is None and options.programs is None else options.seconds
    counts, engines = compare(seconds, options.programs, options.seed, options.out)
    print(
        f"{counts['programs'] - counts['differing']:,} of {counts['programs']:,} programs equal on {engines + 1} engines: "
        f"{counts['drawn']:,} drawn, {counts['compiled']:,} compiled ({counts['refused']:,} more refused by their profiles); "
        f"{counts['recordings']:,} recordings, {counts['integers']:,} integers"
    )
    return int(counts["differing"] > 0)


if __name__ == "__main__":
    sys.exit(main())
