"""A sample of the checkpoints evaluated again by the plain definitions: the page's section, from confirmed.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sastdeploy.errors import InputError
from sastdeploy.experiments.tables import NONE, markdown

TITLE = "## A sample again by the plain definitions\n"
MAKE = "`python benchmarks/paper/confirm.py --data FOLDER --work FOLDER`"


def confirmed(path: Path) -> str:
    """Return the section; without the file, how it is made.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return f"{TITLE}\nNot made yet: {MAKE}.\n"
    try:
        return _section(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable result of a second evaluation ({error!r}). Make it anew: {MAKE}."
        ) from error


def _section(record: dict[str, Any]) -> str:
    rows = record["checkpoints"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return "\n".join([
        TITLE,
        f"Made by `{record['command']}` at commit {str(record['commit'])[:12]} ({versions}). By rule, not by hand: of each experiment below "
        "seed 0 of the baseline and of the SAST point with the highest mean validation accuracy, every checkpoint by its hash. Evaluated again "
        "are trained networks; that training itself gives the same by the plain definition is `definition`'s question.\n",
        _records(rows), _floats(rows), _programs(rows),
        markdown(
            ["experiment, point", "numbers of the record given again", "smooth: predictions that differ", "largest difference of a score",
             "hard: predictions that differ", "largest difference of a score", "programs: integers that differ"],
            [_row(row) for row in rows],
        ),
    ])  # fmt: skip


def _records(rows: list[dict[str, Any]]) -> str:
    numbers, wrong = sum(row["numbers_of_record"] for row in rows), [
        f"{_name(row)}, {said}" for row in rows for said in row["not_reproduced"]
    ]  # fmt: skip
    return (
        f"The records. The evaluation that made them, on all test recordings, gives {numbers - len(wrong)} of {numbers} numbers again exactly "
        f"(accuracies, mean and largest kSynOps, the data's hash).{_listed(wrong)}\n"
    )


def _floats(rows: list[dict[str, Any]]) -> str:
    parts = [(row, name, part) for row in rows for name, part in row["float"].items()]
    whole = [(row, name, part) for row, name, part in parts if "accuracy" in part]
    other = [
        f"{_name(row)}, {name}: {100 * part['accuracy']:.2f} %, recorded {100 * part['accuracy_in_record']:.2f} %"
        for row, name, part in whole
        if part["accuracy"] != part["accuracy_in_record"]
    ]
    return (
        "The float network. Plain torch in float64 on dense frames beside the fast evaluation in float32: "
        f"{sum(part['predictions_that_differ'] for _, _, part in parts):,} of {sum(part['recordings'] for _, _, part in parts):,} predictions differ. "
        f"Where it saw all test recordings, it gives {len(whole) - len(other)} of {len(whole)} recorded accuracies exactly.{_listed(other)}\n"
    )


def _programs(rows: list[dict[str, Any]]) -> str:
    parts = [part for row in rows for part in row["programs"].values()]
    return (
        f"The integer programs. The reference engine beside the fast one, {len(parts)} programs: "
        f"{sum(part['numbers_that_differ'] for part in parts):,} of {sum(part['numbers'] for part in parts):,} integers differ "
        "(scores, predictions, spikes, operations, overflows).\n"
    )


def _row(row: dict[str, Any]) -> list[str]:
    cells = [
        _name(row),
        f"{row['numbers_of_record'] - len(row['not_reproduced'])} of {row['numbers_of_record']}",
    ]
    for name in ("smooth", "hard"):
        part = row["float"][name]
        cells += [
            f"{part['predictions_that_differ']} of {part['recordings']:,}",
            f"{part['largest_difference']:.1g} (largest score {part['largest_score']:.1f})",
        ]
    programs = [
        f"`{profile}` {part['numbers_that_differ']} of {part['numbers']:,} ({part['recordings']:,} recordings)"
        for profile, part in row["programs"].items()
    ]
    return [*cells, "; ".join(programs) or NONE]


def _name(row: dict[str, Any]) -> str:
    return f"`{row['experiment']}`, {row['point']}"


def _listed(said: list[str]) -> str:
    return f" Otherwise: {'; '.join(said)}." if said else ""
