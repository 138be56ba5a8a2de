"""Hardware profiles of one's own: weights of 8 to 2 bits, a leak of three quarters of what Loihi resolves, and what they cost.

    python examples/own_profile.py CHECKPOINT [--data FOLDER] [--work FOLDER]

Writes a profile file for every weight width from 8 down to 2 bits, compiles the checkpoint for it, and simulates.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from sastdeploy import (
    CompileError,
    compile,
    load_checkpoint,
    load_dataset,
    load_profile,
    simulate,
    summarise,
)


def write_profile(folder: Path, bits: int) -> Path:
    """Write a variant of the built-in profile; every value names its source, as the format demands."""
    record = load_profile("loihi_int8").record
    record["name"] = f"mine_int{bits}"
    record["title"] = f"example: {bits}-bit weights, Q6.8 membrane, 9-bit leak"
    record["weights"]["bits"] = {"value": bits, "source": "this example's sweep"}
    record["membrane"]["format"] = {"value": "Q6.8", "source": "this example: two integer bits fewer"}
    record["leak"]["shift"] = {"value": 9, "source": "this example: three quarters of Loihi's 12 bits"}
    path = folder / f"{record['name']}.yaml"
    path.write_text(yaml.safe_dump(record, sort_keys=False), "utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("example-results"))
    parser.add_argument("--limit", type=int, default=1000)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    checkpoint = load_checkpoint(options.checkpoint)
    bins = checkpoint.preprocessing.time_bins
    test = load_dataset(checkpoint.dataset, "test", root=options.data, limit=options.limit, time_bins=bins)
    print(f"{'bits':>4}{'accuracy':>10}{'kSynOps':>10}{'bytes':>10}{'saturated':>11}")
    for bits in range(8, 1, -1):
        try:
            program = compile(checkpoint, write_profile(options.work, bits)).program
        except CompileError as error:
            print(f"{bits:4}  does not fit: {error}")
            continue
        figures = summarise(program, simulate(program, test), test.labels)
        saturated = sum(layer["overflow_low"] + layer["overflow_high"] for layer in figures["layers"])
        print(
            f"{bits:4}{figures['accuracy']['value']:10.2%}{figures['ksynops']['all']['mean']:10,.1f}"
            f"{figures['footprint_bytes']['total']:10,}{saturated:11,}"
        )


if __name__ == "__main__":
    main()
