"""The rules by which the page of results makes claims: each is made to fail once."""

import importlib
import json
import re

import pytest
import synthetic_records as synthetic

from sastdeploy.experiments.figures import draw
from sastdeploy.experiments.report import section
from sastdeploy.experiments.results import aggregate
from sastdeploy.experiments.selection import choose
from sastdeploy.experiments.spec import load_experiment
from tests.test_sweeps_report import (
    EXPERIMENTS,
    GESTURES,
    TABLE_1,
    TABLE_2,
    TABLE_3,
    assembled,
    claim_rows,
    page_of,
    written,
)

assert assembled  # The fixture.


def test_the_first_lines_sort_the_claims_by_their_verdicts(assembled):
    summary, verdicts = importlib.import_module("summary"), importlib.import_module("verdicts")
    claims, overhead = importlib.import_module("claims"), importlib.import_module("overhead")
    claim = verdicts.Claim
    ones = (
        "Table 1",
        "lowers the gap",
        "`t`",
        "rho 0.2, 2 times the gradients",
        "30 to 2",
        "3.0 to 1.0",
        "-2",
    )
    four = ("Table 4", "lowers kSynOps", "`t`", "rho 0.2, 2 times the gradients", "r_ops 0.7", "9 to 8", "-1")
    rows = [
        claim(*ones, verdicts.SHOWN),
        claim(*four, verdicts.SHOWN, "loihi_int8"), claim(*four, verdicts.SHOWN, "aggressive_int4"),
        claim("Contraction", "gamma-hat < 1", "`t`", "", "< 1", "8.4 on 2 checkpoints", "-", verdicts.OPPOSITE),
        claim("Contraction", "gamma-hat < 1", "`u`", "", "< 1", "8.5 on 3 checkpoints", "-", verdicts.OPPOSITE),
        *(claim(*ones, verdict) for verdict in (
            verdicts.HOLDS_0, verdicts.EQUAL, verdicts.ONE_SEED, verdicts.NOT_LEARNT, verdicts.RADII, verdicts.REFUSED, verdicts.NOT_RUN)),
        claim("Contraction", "gamma-hat < 1", "`t`", "", "< 1", "-", "-", "not run"),
        claim("Contraction", "lowers gamma-hat", "`t`", "", "< 1", "-", "-", verdicts.NOT_RUN),
        overhead._memory({"fc_0p40m": overhead.Peak(396.0, 398.0, 1.005)}),
        overhead._memory({"fc_0p40m": overhead.Peak(2.0, 4.0, 2.0)}),
        overhead._seconds({"fc_0p40m": overhead.Step(0.008, 0.02, 2.5, 2.4, 3)}),
    ]  # fmt: skip
    lines = summary.summary(claims.Claims(tuple(rows), ("left out",))).splitlines()
    assert lines[0].startswith("A line names an experiment") and lines[1] == ""
    told = "  - `t` (rho 0.2, 2 times the gradients). Table 1: lowers the gap (3.0 to 1.0; paper: 30 to 2)"
    assert lines[2:-4] == [
        "- **Holds here: the same direction is shown**",
        f"{told}; Table 4: lowers kSynOps (`loihi_int8` 9 to 8; paper: r_ops 0.7; `aggressive_int4` 9 to 8; paper: r_ops 0.7).",
        "- **Does not hold here: the opposite is shown**",
        "  - Contraction: gamma-hat < 1 (paper: < 1). `t` 8.4 on 2 checkpoints; `u` 8.5 on 3 checkpoints.",
        "- **Not shown, the interval holds 0**", f"{told}.",
        "- **Not shown, equal to three decimals**", f"{told}.",
        "- **Not shown, one seed**", f"{told}.",
        "- **Not shown, a network has not learnt**", "  - `t` (rho 0.2, 2 times the gradients). Table 1: lowers the gap.",
        "- **Not shown, radii differ**", f"{told}.",
        "- **Not shown, refused by the hardware**", f"{told}.",
        "- **Measured, without an interval**",
        "  - Overhead: peak memory (of the whole process, Python and its libraries included) (paper: no increase). `benchmarks/speed/TRAINING_MEMORY.json` "
        "`fc_0p40m` 396.0 to 398.0 MiB, ratio 1.0050; `benchmarks/speed/TRAINING_MEMORY.json` `fc_0p40m` 2.0 to 4.0 MiB, ratio 2.0000.",
        "  - Overhead: wall-clock of a training step (paper: 2.1 and 1.8 (gestures) times a baseline step). `benchmarks/speed/results/` "
        "`fc_0p40m` 8.0 to 20.0 ms, ratio of medians 2.50 (of minima 2.40, 3 turns).",
        "- **Not run**",
    ]  # fmt: skip
    assert lines[-4:] == [
        "  - Contraction. `t`.",
        "  - `t` (rho 0.2, 2 times the gradients). Table 1: lowers the gap.",
        "- **Not tested, and why**",
        "  - left out",
    ]
    with pytest.raises(ValueError, match="verdicts of no kind"):
        summary.summary(claims.Claims((claim(*ones, "perhaps"),), ()))
    shown = summary.summary(claims.Claims((claim(*ones, verdicts.SHOWN),), ()))
    assert "Not run" not in shown and "Not tested" not in shown


def test_the_first_lines_have_our_figures_and_the_papers(assembled, tmp_path):
    def made(trial):
        better = trial.method == "sast"
        found = synthetic.record(trial, 0.9, 0.8 + 0.05 * better)
        return found | {"gradient_evaluations": 100 * (1 + better)}

    claim_rows(assembled, tmp_path, "table2", TABLE_2.replace("SEEDS", "[0, 1]"), made)
    line = (
        "- **Holds here: the same direction is shown**\n  - `table2` (`nmnist-sim`, `conv_0p42m`, rho 0.3, 2 times the gradients). "
        "Table 2: lowers the gap (10.00 to 5.00; paper: 7.77 to 1.44), raises hard-spike accuracy (80.0 to 85.0; paper: 90.9 to 97.3).\n"
    )
    assert line in page_of(assembled, tmp_path)


@pytest.mark.parametrize(
    ("baseline", "sast", "gap", "hard"),
    [
        (0.9, 0.3, "not shown: has not learnt (smooth spikes below 40 %)", "the opposite is shown"),
        (0.3, 0.9, "not shown: has not learnt (smooth spikes below 40 %)", "shown here too"),
        (0.3, 0.2, *["not shown: has not learnt (smooth spikes below 40 %)"] * 2),
        (0.9, 0.8, "the opposite is shown", "the opposite is shown"),
    ],
)
def test_no_claim_on_the_gap_of_a_network_that_has_not_learnt(assembled, tmp_path, baseline, sast, gap, hard):
    def made(trial, tested=False):
        smooth = sast if trial.method == "sast" else baseline
        figures = (smooth, smooth - 0.02 - 0.03 * (trial.method == "sast"))
        return synthetic.tested(trial, *figures) if tested else synthetic.record(trial, *figures)

    verdicts = {"Table 3: lowers the gap": gap, "Table 3: raises hard-spike accuracy": hard}
    rows = claim_rows(assembled, tmp_path, "table3-scaled", TABLE_3, made)
    read_after_choice(tmp_path, made)
    text = page_of(assembled, tmp_path)
    lines = [line for line in text.splitlines() if line.startswith("| Table 3") and "`table3-scaled`" in line]
    assert {line.split(" | ")[0][2:]: line.rpartition(" | ")[2][:-2] for line in lines} == verdicts
    # The same rule where nothing is chosen.
    rows = claim_rows(assembled, tmp_path, "table2", TABLE_2.replace("SEEDS", "[0, 1]"), made)
    assert [row.rpartition(" | ")[2][:-2] for row in rows("Table 2")] == [gap, hard]


def read_after_choice(folder, made, name="table3-scaled", data_hash="h"):
    """Make the choice and write what the test recordings say of the chosen."""
    experiment, records = load_experiment(folder / f"{name}.yaml"), folder / "r"
    trials = {trial.address(data_hash): trial for trial in experiment.trials}
    choice = choose(experiment, trials, records)
    for candidate in choice["candidates"]:
        if candidate["point"] in choice["chosen"]:
            for address in candidate["addresses"]:
                synthetic.write(records, f"{address}.test", made(trials[address], tested=True))
    return aggregate(experiment, trials, records)


def chosen(trial, tested=False):
    """SAST of radius 0.3 is chosen."""
    hard = 0.8 + 0.01 * (trial.rho == 0.3)
    if tested:
        return synthetic.tested(trial, hard + 0.01, hard)
    found = synthetic.record(trial, hard + 0.01, hard)
    seconds = {"training": 50.0 + 5 * trial.seed, "training_cpu": 40.0 * (1 + (trial.method == "sast"))}
    return found | {"seconds": seconds, "gradient_evaluations": 1200 * (1 + (trial.method == "sast"))}


def test_compute_is_shown_of_every_candidate_with_the_papers_table_3(assembled, tmp_path):
    claim_rows(assembled, tmp_path, "table3-scaled", TABLE_3, chosen)
    text = section(read_after_choice(tmp_path, chosen))
    part = text.partition("### Compute of every candidate\n")[2].partition("\n###")[0]
    assert "CPU seconds are the fairer of the two times" in part
    assert (
        "wall-clock seconds 52.5 ± 3.5; wall-clock seconds, over the first row's 1.00." in part
        and "| method baseline, epochs 4 | yes | 1,200 ± 0 | 1.00 | 40.0 ± 0.0 | 1.00 | 100, 65.7, 30.3 |"
        in part
        and "| method sast, rho 0.1, epochs 2 | no | 2,400 ± 0 | 2.00 | 80.0 ± 0.0 | 2.00 | - |" in part
        and "| method sast, rho 0.3, epochs 2 | yes | 2,400 ± 0 | 2.00 | 80.0 ± 0.0 | 2.00 | 48, 93.9, 3.6 |"
        in part
    )
    assert "| gradient evaluations |" not in text.partition("### Compute")[0]


def test_equal_compute_on_gestures_is_held_against_the_papers_gestures(assembled, tmp_path):
    file = TABLE_3.replace("table3-scaled", "table3-gestures").replace("nmnist-sim", "dvsgesture-sim")
    claim_rows(assembled, tmp_path, "table3-gestures", file, chosen)
    read_after_choice(tmp_path, chosen, "table3-gestures")
    text = page_of(assembled, tmp_path)
    for what, paper in (("raises hard-spike accuracy", "28.0 to 57.8"), ("lowers the gap", "50.4 to 12.5")):
        row = next(line for line in text.splitlines() if line.startswith(f"| Table 3: {what} | `table3-gestures`"))  # fmt: skip
        assert row.split(" | ")[2] == paper
    # An experiment without a file has no row.
    assert "`table3-again`" not in text


def test_experiments_at_equal_compute_come_in_order(assembled):
    order = [e.name for e in assembled.experiments(EXPERIMENTS) if e.name.startswith("table3")]
    assert order == [name for name in importlib.import_module("claims").EQUAL_COMPUTE if name in order]


CONTRACTING = GESTURES + "measures: [contraction]\n"


@pytest.mark.parametrize(
    ("gamma", "below", "tighter"),
    [
        (lambda t: 8.457 - 1e-9 * (t.method == "sast"), "the opposite is shown", "not shown: equal to three decimals"),
        (lambda t: 8.457 - 0.5 * (t.method == "sast"), "the opposite is shown", "shown here too"),
        (lambda t: 0.9 + 0.05 * (t.method == "sast"), "shown here too", "the opposite is shown"),
    ],
)  # fmt: skip
def test_contraction_is_claimed_on_gestures_too(assembled, tmp_path, gamma, below, tighter):
    def made(trial):
        return synthetic.record(trial, 0.9, 0.8, {"contraction": synthetic.contraction(gamma(trial))})

    rows = claim_rows(assembled, tmp_path, "table1-gestures", CONTRACTING, made)
    found = [row.rpartition(" | ")[2][:-2] for row in rows("Contraction")]
    assert found == [below, tighter, "not shown: equal to three decimals"]
    assert "on 4 checkpoints" in rows("Contraction")[0] and "`table1-gestures`" in rows("Contraction")[0]
    assert not rows("Figure 2a")


def test_what_was_not_tested_comes_from_the_trials(assembled, tmp_path):
    file = TABLE_2.replace("SEEDS", "[0, 1]")
    made = lambda trial: synthetic.record(trial, 0.9, 0.8) | {"versions": {"torch": "2.13.0+cpu"}}  # noqa: E731
    claim_rows(assembled, tmp_path, "table2", file, made)
    text = page_of(assembled, tmp_path)
    assert text.count("The real recordings of N-MNIST: they were not at hand, so what is said of `nmnist-sim` is of simulated ones") == 2  # fmt: skip
    # Four trainings of 60 CPU seconds.
    assert (
        "5 seeds everywhere (2 in `table2`), and the paper's epochs and training recordings where a section says fewer. All 4 trainings together took "
        "0.1 CPU hours, the longest 1.0 minutes, none of them on a GPU."
    ) in text
    assert "Of convolutions: spike rates and the tail, margins, contraction, section 4's bounds, calibration at deployment, corrupted recordings;" in text  # fmt: skip
    # Of real recordings nothing is called simulated; a measured convolution is not called unmeasured; another torch is told.
    file = file.replace("nmnist-sim", "nmnist") + "measures: [activity]\n"
    claim_rows(assembled, tmp_path, "table2", file, lambda trial: synthetic.record(trial, 0.9, 0.8, {"activity": synthetic.activity()}))  # fmt: skip
    text = page_of(assembled, tmp_path)
    assert "The real recordings" not in text and "`nmnist`, `conv_0p42m`, rho 0.3" in text
    assert "Of convolutions: margins, contraction," in text
    assert "0 of them by a torch that knows no GPU" in text
    # Dense networks alone, five seeds and every trial there: nothing of convolutions, nothing of seeds.
    (tmp_path / "table2.yaml").unlink()
    file = TABLE_1.replace("[0, 1]", "[0, 1, 2, 3, 4]")
    claim_rows(assembled, tmp_path, "table1", file, lambda t: made(t) if t.rho < 0.2 else None)
    text = page_of(assembled, tmp_path)
    assert "Of convolutions" not in text and "seeds everywhere" not in text
    assert "Trials without a record: 5 of `table1`." in text


SHARED = """
name: table1
title: "Table 1"
dataset: nmnist-sim
seeds: [0, 1]
fixed: {epochs: 2}
grid:
  - {method: baseline}
  - {method: sast, rho: 0.3}
measures: [margins]
"""


def shared(tmp_path, made):
    (tmp_path / "table1.yaml").write_text(SHARED, "utf-8")
    experiment = load_experiment(tmp_path / "table1.yaml")
    return aggregate(experiment, written(experiment, tmp_path / "r", made), tmp_path / "r")


def robust(trial):
    """The baseline's corruption was measured too, of one seed afterwards."""
    measures = {"margins": synthetic.margins()}
    if trial.method == "baseline":
        measures["robustness"] = synthetic.robustness(0.8)
    late = {"measure_commits": {"robustness": "c"}} if trial.method == "baseline" and trial.seed else {}
    return synthetic.record(trial, 0.9, 0.8, measures) | late


def test_a_section_has_the_measures_that_its_experiment_asks_for(tmp_path):
    results = shared(tmp_path, robust)
    text = section(results)
    assert "### Margins" in text and "### Corrupted" not in text
    assert {picture.file for picture in draw(results, tmp_path)} == {"table1-points.svg", "table1-margins.svg"}  # fmt: skip
    assert "Measured besides accuracy: margins. Not measured in this experiment: spike rates and the tail," in text  # fmt: skip


def test_readings_of_the_test_recordings_are_told_as_the_records_have_them(tmp_path):
    text = section(shared(tmp_path, robust))
    assert (
        "The accuracies on test recordings were taken once per trial, after its training (4 trials); no epoch, radius or factor was chosen by them. "
        "Test recordings were read again, of the same networks, for corrupted recordings (2 trials). Of these, measured after the record was written: "
        "corrupted recordings (1 trials). That test recordings wait for a choice is enforced in experiments with `select_by` alone (Table 3)."
    ) in text
    text = section(shared(tmp_path, lambda trial: synthetic.record(trial, 0.9, 0.8)))
    assert "read again" not in text and "after the record was written" not in text


def test_a_measure_of_a_part_of_the_recordings_says_so(tmp_path):
    file = SHARED.replace("[margins]", "[margins, bounds, calibration, robustness]")
    (tmp_path / "table1.yaml").write_text(file, "utf-8")
    experiment = load_experiment(tmp_path / "table1.yaml")

    def text_of(recordings):
        def made(trial):
            found = synthetic.record(trial, 0.9, 0.8, {
                "margins": synthetic.margins(), "bounds": synthetic.bounds(), "calibration": synthetic.calibration(0.9, 0.8),
                "robustness": synthetic.robustness(0.8),
            })  # fmt: skip
            found["test"]["recordings"] = recordings
            return found

        return section(aggregate(experiment, written(experiment, tmp_path / "r", made), tmp_path / "r"))

    text = text_of(10_000)
    assert "### Corrupted recordings\n\nOn 500 of the 10,000 test recordings, classes in proportion, so `clean` differs from the accuracies" in text  # fmt: skip
    assert "### Margins (validation recordings)\n\nOn 500 validation recordings (at most 2,000, classes in proportion;" in text  # fmt: skip
    assert "what needs gradients on 128 of them." in text
    assert "\n\nAt most 2,000 validation recordings, classes in proportion; every accuracy on test recordings" in text  # fmt: skip
    assert "### Corrupted recordings\n\nOn all 500 test recordings.\n" in text_of(500)


def test_margins_by_layer_are_in_the_table_and_in_the_figure(tmp_path):
    results = shared(tmp_path, robust)
    assert results.points[0].samples["near, hard, layers.1"].values == (pytest.approx(9.6),) * 2
    draw(results, tmp_path)
    drawn = (tmp_path / "table1-margins.svg").read_text("utf-8")
    one = draw_alone(tmp_path)
    assert len(drawn) > 2 * len(one)


def draw_alone(folder):
    """Return a figure of margins with one panel."""
    from sastdeploy.report.figures import margin_histograms

    margin_histograms({"": {"one": synthetic.margins()["hard"]}}, folder / "one.svg", "title")
    return (folder / "one.svg").read_text("utf-8")


def test_links_within_the_page_lead_to_its_headings():
    text = (EXPERIMENTS.parent / "RESULTS.md").read_text("utf-8")
    headings = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")]
    places = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]*)\)", text)
    assert len(links) >= 2 and set(links) <= places
    assert json.dumps(sorted(set(links))).count("corrupt") == 2
