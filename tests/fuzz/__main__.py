"""``python -m tests.fuzz TARGET --seconds N [--seed S]``, ``all`` for every target in turn, or ``TARGET --replay FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.run import fuzz, limit_addresses, replay, valid_inputs
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Return 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=["all", *TARGETS])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together (default: 60)")
    parser.add_argument("--inputs", type=int, help="per target, instead of --seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path("build/fuzz"), help="folder of findings (default: build/fuzz)"
    )
    parser.add_argument("--replay", type=Path, help="read one finding's input again")
    options = parser.parse_args()
    targets = list(TARGETS.values()) if options.target == "all" else [TARGETS[options.target]]
    if options.replay:
        for target in targets:
            replay(target, options.replay)
        return 0
    for target in targets:
        valid_inputs(target)  # imports what it needs, before the limit is set
    limit_addresses()
    faults = 0
    print(
        f"{'target':14}{'seconds':>9}{'tried':>9}{'accepted':>10}{'refused':>9}{'findings':>10}", flush=True
    )
    for target in targets:
        share = options.seconds / len(targets)
        tally = fuzz(target, options.out, seed=options.seed, inputs=options.inputs, seconds=share)
        faults += len(tally.findings)
        counts = f"{tally.count:9}{tally.accepted:10}{tally.refused:9}{len(tally.findings):10}"
        print(f"{target.name:14}{tally.seconds:9.1f}{counts}", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
