"""The grid of robustness against precision as tables on the terminal."""

from __future__ import annotations

from typing import Any

from sastdeploy.cli.terminal import print_table
from sastdeploy.report.robustness_figures import answers_of


def print_records(records: list[dict[str, Any]], title: str) -> None:
    """Print accuracies with their intervals, then what each corruption costs, as tables on stdout."""
    names, profiles = list(answers_of(records[0])), list(records[0]["programs"])
    print_table(
        ("corruption", "events", *(f"{name}, %" for name in names), *(f"{p}, kSynOps" for p in profiles)),
        [
            (
                record["corruption"],
                f"{record['events']:,.0f}",
                *(_with_interval(answer) for answer in answers_of(record).values()),
                *(f"{record['programs'][profile]['ksynops']:,.1f}" for profile in profiles),
            )
            for record in records
        ],
        title=f"{title}: accuracy and its 95 % interval",
    )
    print_table(
        ("corruption", *names),
        [
            (
                record["corruption"],
                *(_with_interval(answer["loss"]) for answer in answers_of(record).values()),
            )
            for record in records[1:]
        ],
        title="points lost against clean, with the 95 % interval of the paired differences",
    )


def _with_interval(figure: dict[str, float]) -> str:
    return f"{100 * figure['value']:.2f} ({100 * figure['low']:.2f} to {100 * figure['high']:.2f})"
