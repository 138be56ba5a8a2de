"""What a simulation found, as tables on stdout."""

from __future__ import annotations

from typing import Any

import click

from sastdeploy.cli.terminal import print_table


def print_recording(name: str, answer: dict[str, Any]) -> None:
    """Print what a program says of one recording: one answer, or one per labelled gesture."""
    if answer.get("gestures"):
        _print_gestures(name, answer)
    else:
        _print_answer(name, answer)
    print_speed(answer)


def _print_answer(name: str, answer: dict[str, Any]) -> None:
    """Print the class, scores and operations of one recording."""
    click.echo(f"{name}: {answer['predicted']} ({answer['events']:,} events, program {answer['program']})")
    print_table(("class", "score"), sorted(answer["scores"].items(), key=lambda item: -item[1]))
    sources = answer["synops"]["sources"]
    print_table(
        ("source", "spikes", "SynOps"),
        [(source, answer["spikes"].get(source), ops) for source, ops in sources.items()],
    )
    click.echo(
        f"SynOps: {answer['synops']['total']:,} ({answer['synops']['event_weighted']:,} event-weighted, "
        f"{answer['synops']['nonzero_weights']:,} without zero weights)"
    )


def _print_gestures(name: str, answer: dict[str, Any]) -> None:
    """Print one row per labelled gesture of a recording."""
    rows = [
        (part["start_us"] / 1e6, part["stop_us"] / 1e6, part["label"], part["predicted"],
         "yes" if part["correct"] else "no", part["events"], part["synops"]["total"])
        for part in answer["gestures"]
    ]  # fmt: skip
    print_table(("from, s", "to, s", "label", "predicted", "correct", "events", "SynOps"), rows)
    click.echo(
        f"{name}: {answer['correct']} of {len(rows)} labelled gestures correct (program {answer['program']})"
    )


def print_summary(summary: dict[str, Any]) -> None:
    """Print a run's summary as tables on stdout."""
    right, ops = summary["accuracy"], summary["ksynops"]
    click.echo(
        f"{summary['program']} on {summary['dataset']} ({summary['split']}, {summary['recordings']:,} recordings)"
    )
    click.echo(
        f"accuracy {right['value']:.2%} (95 % interval {right['low']:.2%} to {right['high']:.2%}; "
        f"{right['correct']:,} of {right['total']:,})"
    )
    kinds = (
        ("all", "kSynOps"),
        ("event_weighted", "event-weighted"),
        ("nonzero_weights", "without zero weights"),
    )
    rows = [(row["source"], row["target"], *(_of(row[kind]) for kind, _ in kinds)) for row in ops["sources"]]
    rows.append(("total", "", *(_of(ops[kind]) for kind, _ in kinds)))
    print_table(("spikes of", "into", *(f"{title}, mean / maximum" for _, title in kinds)), rows)
    print_table(
        (
            "layer",
            "kind",
            "outputs",
            "spikes",
            "rate",
            "silent",
            "always firing",
            "below format",
            "above format",
        ),
        [
            (
                row["name"],
                row["kind"],
                row["outputs"],
                row["spikes_per_recording"],
                row["spike_rate"],
                row["silent"],
                row["always_firing"],
                row["overflow_low"],
                row["overflow_high"],
            )
            for row in summary["layers"]
        ],
    )
    classes = summary["classes"]
    print_table(
        ("true \\ predicted", *classes), [(name, *row) for name, row in zip(classes, summary["confusion"])]
    )
    _print_definitions(summary)
    if summary["energy"]:
        click.echo(
            f"energy {summary['energy']['total_pj'] / 1000:,.4g} nJ per recording, from the profile's figures"
        )
    print_speed(summary)


def _print_definitions(summary: dict[str, Any]) -> None:
    """Print NeuroBench's metrics, and operations beside those of other definitions, per recording."""
    own, others = summary["neurobench"], summary["synops_by_definition"]
    operations = own["synaptic_operations"]
    updates = own["membrane_updates"]
    print_table(
        ("NeuroBench's metrics", "per recording"),
        [
            ("footprint, bytes", f"{own['footprint_bytes']:,}"),
            ("connection sparsity", f"{own['connection_sparsity']:.4f}"),
            ("activation sparsity", f"{own['activation_sparsity']:.4f}"),
            ("effective ACs", f"{operations['effective_acs']:,.1f}"),
            ("effective MACs", f"{operations['effective_macs']:,.1f}"),
            ("dense operations", f"{operations['dense']:,.1f}"),
            ("membrane updates", f"at most {own['membranes_times_steps']:,}" if updates is None else f"{updates:,.1f}"),
        ],
    )  # fmt: skip
    click.echo(
        f"synaptic operations as sinabs counts them: {others['sinabs']:,.1f} per recording; as NeuroBench does: "
        f"{others['neurobench']:,.1f}"
    )


def print_speed(answer: dict[str, Any]) -> None:
    """Print the rates of a run."""
    speed, how = answer["speed"], answer["provenance"]
    factor = speed["real_time_factor"]
    click.echo(
        f"{_rate(speed['sequences_per_second'])} recordings per second, {speed['gsynops_per_second']:.3g} GSynOp/s"
        + (f", {_rate(factor)} times as fast as recorded" if factor else "")
        + f" ({how['engine']}, {how['threads']} thread{'s' if how['threads'] > 1 else ''})"
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def print_stages(stages: dict[str, float], recordings: int, operations: dict[str, float]) -> None:
    """Print the time of every part of a run and the operations per second of every layer.

    Args:
        stages: seconds of all recordings together, per part. operations: SynOps per recording into each layer.
    """
    whole = sum(stages.values())
    rows = []
    for name, seconds in stages.items():
        rate = operations[name] * recordings * 1e-9 / seconds if operations.get(name) and seconds else None
        rows.append((name, seconds * 1e6 / recordings, f"{seconds / whole:.1%}", rate))
    print_table(("part", "us per recording", "share", "GSynOp/s"), rows)


def _of(figure: dict[str, Any]) -> str:
    return f"{figure['mean']:,.2f} / {figure['maximum']:,.0f}"
