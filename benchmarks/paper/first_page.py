"""The first part of RESULTS.md: the paper's claims, and the map of the gap section by section."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from calibrated import calibration
from claims import claims, claims_table
from findings import network, precision, rivals, sast, scale
from integers import integers
from mechanism import mechanism
from names import LARGE, about, missing, recordings
from summary import summary
from tail import tail

from sastdeploy.experiments.results import Results


def first_page(found: dict[str, Results | None], overhead: Sequence[list[str]]) -> str:
    """Return the part. Every sentence says what the records show, or that they do not show it.

    Args:
        found: by experiment its results, None where none of its trials has a record.
        overhead: rows of the table of claims about what SAST costs.
    """
    rows = claims(found, overhead)
    trials = [
        trial for results in found.values() if results is not None for trial in results.experiment.trials
    ]
    parts = [
        "## What holds, what does not, what could not be tested\n",
        'The paper\'s claims against these records, by direction; every difference with its interval is in the table further down. "Shown" means that a 95 % interval over seeds '
        "(Student's t, paired by seed where two points are compared) excludes the other case; intervals are not corrected for their number, so a few of "
        f"them err. SAST's radius rho is the one that validation chose among those that an experiment has.\n\n{summary(rows)}",
        "## The map of the gap\n",
        "What to do about a gap, step by step, is told in [ADVICE.md](ADVICE.md). The gap is the accuracy with the smooth spikes of training less the accuracy "
        f"with the hard spikes of deployment, same weights, in points; large means more than {LARGE:g} point. Frame values are min(count, clip) / divisor, so "
        f"clip / divisor is the largest frame value; `sastdeploy train` and `sastdeploy analyse` print both. {recordings(trials)}\n",
    ]
    steps: tuple[tuple[str, str, Callable[[Results], str]], ...] = (
        ("The size of the frame values", "map-scale", scale),
        ("Calibration at deployment, without training", "map-scale", lambda _: calibration(found)),
        ("What SAST does at each input scale", "map-scale", sast),
        ("Rivals at equal compute", "map-rivals", rivals),
        ("What else matters", "map-network", network),
        (
            "What 8 and 4 bits cost on top of hard spikes",
            "map-scale",
            lambda results: f"{precision(results)}\n{integers(found)}",
        ),
    )
    for number, (heading, name, said) in enumerate(steps, 1):
        results = found.get(name)
        body = missing(name) if results is None else f"{about(results)}\n\n{said(results)}"
        parts.append(f"### {number}. {heading}\n\n{body}")
        if results is not None and results.done < len(results.experiment.trials):
            parts.append(f"(From {results.done} of {len(results.experiment.trials)} trials of `{name}`.)\n")
    parts += [
        f"### The surrogate's tail and the gap\n\n{tail(found)}",
        f"### Mechanism\n\n{mechanism(found)}",
        f"## The paper's claims and these records\n\n{claims_table(rows, found)}",
    ]
    return "\n".join(parts)
