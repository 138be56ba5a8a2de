"""From trials' records to figures over seeds, tables, CSV, pictures and a report."""

import csv
import io
import json
from pathlib import Path

import pytest
import synthetic_records as synthetic

from sastdeploy.errors import InputError
from sastdeploy.experiments.figures import draw, embed
from sastdeploy.experiments.report import report
from sastdeploy.experiments.results import aggregate
from sastdeploy.experiments.selection import choose
from sastdeploy.experiments.spec import load_experiment
from sastdeploy.experiments.tables import csv_text, signed, tables
from sastdeploy.statistics import Sample, interval, rank_correlation

FILE = """
name: small
title: "Small"
dataset: nmnist-sim
seeds: [0, 1]
fixed: {epochs: 2, limit: 60}
grid:
  - {method: baseline, divisor_factor: [1.0, 7.0, 33.0]}
  - {method: sast, rho: 0.3, divisor_factor: [1.0, 7.0, 33.0]}
profiles: [loihi_int8]
measures: [activity, margins, contraction, bounds, calibration, robustness, overflows]
compare_within: [divisor_factor]
"""
MEASURES = "measures: [activity, margins, contraction, bounds, calibration, robustness, overflows]\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(FILE, "utf-8")
    return path


def written(experiment, records, made):
    """Write a record per trial, as ``made`` gives it (None: none); return the trials by address."""
    trials = {trial.address("h"): trial for trial in experiment.trials}
    for address, trial in trials.items():
        content = made(trial)
        if content is not None:
            synthetic.write(records, address, content)
    return trials


def plain(trial, **more):
    """Hard spikes: the baseline loses nothing at 1, 10 points at 7 and 33; SAST one point less, two for seed 1."""
    gap = 0.0 if trial.divisor_factor == 1.0 else 0.1
    gap -= 0.01 * (1 + trial.seed) * (trial.method == "sast") * (gap > 0)
    return synthetic.record(trial, 0.9, 0.9 - gap, **more)


def table(results, title):
    """Return the rows of the one table whose title begins so, as dictionaries by column."""
    (matching,) = [each for each in tables(results) if each.title.startswith(title)]
    return {row[0]: dict(zip(matching.header, row)) for row in matching.rows}


def test_the_table_by_hand(file, tmp_path):
    experiment = load_experiment(file)
    results = aggregate(experiment, written(experiment, tmp_path / "r", plain), tmp_path / "r")
    rows = table(results, "Accuracy")
    # Differences of the gap at 7: -1 and -2 points: mean -1.5, deviation 0.7071, half width 12.7062 * 0.7071 / sqrt(2) = 6.3531.
    assert rows["method sast, rho 0.3, divisor_factor 7"] == {
        "point": "method sast, rho 0.3, divisor_factor 7", "seeds": "2", "surrogate, %": "90.00 ± 0.00", "hard, %": "81.50 ± 0.71",
        "gap, points": "8.50 ± 0.71", "hard less reference (95 %)": "+1.50 (-4.85 to +7.85)",
        "gap less reference (95 %)": "-1.50 (-7.85 to +4.85)", "validation hard, %": "81.50 ± 0.71", "gradient evaluations": "200",
        "CPU seconds of training": "60",
    }  # fmt: skip
    baseline = rows["method baseline, divisor_factor 7"]
    assert (baseline["hard, %"], baseline["gap less reference (95 %)"]) == ("80.00 ± 0.00", "-")
    # kSynOps 100 and 110, the same for both methods.
    programs = table(results, "Integer programs")["method sast, rho 0.3, divisor_factor 7"]
    assert programs["loihi_int8 kSynOps"] == "105.0 ± 7.1" and programs["loihi_int8 r_ops"] == "1.000"
    assert programs["loihi_int8 architecture's maximum kSynOps"] == "4,000"
    assert programs["loihi_int8 less float hard (95 %)"] == "-1.00 (-1.00 to -1.00)"
    assert [each.title for each in tables(results)] == ["Accuracy", "Integer programs", "By seed"]
    assert table(results, "By seed")["method baseline"] == {"point": "method baseline", "figure": "gap", "seed 0": "0.00", "seed 1": "0.00"}  # fmt: skip


def test_the_report_tells_what_its_tables_are_made_of(file, tmp_path):
    file.write_text(FILE + 'notes: ["A note."]\npublished: {"method baseline": [96, 65.7, 30.3]}\n', "utf-8")
    experiment = load_experiment(file)
    results = aggregate(experiment, written(experiment, tmp_path / "r", plain), tmp_path / "r")
    text = report(results)
    for line in (
        "# Small", "- experiment: `small`, 12 of 12 trials, commits 0123456789ab", "- test recordings: 1,000",
        "- data: `nmnist-sim`, 60 training recordings, 2 epochs", "- reference: the first point with the same divisor_factor",
        "- test recordings read: 12 trials", "A note.", "## Accuracy",
    ):  # fmt: skip
        assert f"{line}\n" in text
    assert table(results, "Accuracy")["method baseline"]["published"] == "96, 65.7, 30.3"
    # Nobody's repository and nobody's paper.
    assert not [word for word in ("paper", "benchmarks", "Figure", "Table", "Reduced") if word in text]


def test_what_rounds_to_zero_has_a_plus():
    assert signed(-0.004, (-1.005, 0.0), 2) == "+0.00 (-1.00 to +0.00)"


def test_published_figures_of_no_stated_scale_are_levels_of_the_figure_over_scales(file, tmp_path):
    """matplotlib writes text as comments of the glyphs, so the legend can be read in the file."""
    file.write_text(
        FILE + 'published: {"method sast, rho 0.3": [97, 94.7, 2.3], "method baseline": [96]}\n', "utf-8"
    )
    experiment = load_experiment(file)
    results = aggregate(experiment, written(experiment, tmp_path / "r", plain), tmp_path / "r")
    draw(results, tmp_path / "figures")
    text = (tmp_path / "figures" / "small-scale.svg").read_text("utf-8")
    assert text.count("published, sast, rho 0.3") == 1 and "published, baseline" not in text
    assert text.count("published, surrogate spikes") == 2 and text.count("published, hard spikes") == 1


def test_points_beyond_one_figure_of_corruption_show_hard_spikes_alone(file, tmp_path):
    def drawn(text):
        file.write_text(text, "utf-8")
        experiment, records = load_experiment(file), tmp_path / str(len(text))
        measured = {"robustness": synthetic.robustness(0.8, experiment.trials[0].profiles)}
        trials = written(experiment, records, lambda trial: plain(trial, measures=measured))
        draw(aggregate(experiment, trials, records), records)
        return (records / "small-robustness.svg").read_text("utf-8")

    many = drawn(FILE)
    assert "Hard-spike accuracy under corruption" in many and "surrogate" not in many
    assert [many.count(f"<!-- factor {factor} -->") for factor in (1, 7, 33)] == [2, 2, 2]
    assert "under corruption and precision" in drawn(FILE.replace("[1.0, 7.0, 33.0]", "[1.0, 7.0]"))


def test_the_older_name_of_published_figures_is_read(file):
    file.write_text(FILE + 'paper: {"method baseline": [96, 65.7, 30.3]}\n', "utf-8")
    assert load_experiment(file).published == {"method baseline": [96, 65.7, 30.3]}


def test_the_csv_by_hand(file, tmp_path):
    experiment = load_experiment(file)
    results = aggregate(experiment, written(experiment, tmp_path / "r", plain), tmp_path / "r")
    rows = list(csv.DictReader(io.StringIO(csv_text(results))))
    assert len(rows) == sum(len(point.samples) for point in results.points)
    (row,) = [
        r for r in rows if (r["point"], r["figure"]) == ("method sast, rho 0.3, divisor_factor 7", "gap")
    ]
    assert row == {
        "point": "method sast, rho 0.3, divisor_factor 7", "chosen": "", "figure": "gap", "seeds": "2", "mean": "8.5", "deviation": "0.707107",
        "low": "2.1469", "high": "14.8531", "reference": "method baseline, divisor_factor 7", "pairs": "2", "difference": "-1.5",
        "difference low": "-7.8531", "difference high": "4.8531",
    }  # fmt: skip
    (row,) = [r for r in rows if (r["point"], r["figure"]) == ("method baseline", "gap")]
    assert (row["mean"], row["reference"], row["pairs"], row["difference"]) == ("0", "", "", "")


def test_one_seed_has_no_interval_and_no_record_is_an_error(file, tmp_path):
    experiment = load_experiment(file)
    with pytest.raises(InputError, match="no trial has a record for these recordings yet"):
        aggregate(experiment, {t.address("h"): t for t in experiment.trials}, tmp_path / "r")
    trials = written(
        experiment, tmp_path / "r", lambda t: plain(t) if t.seed == 0 and t.divisor_factor == 7 else None
    )
    results = aggregate(experiment, trials, tmp_path / "r")
    row = table(results, "Accuracy")["method sast, rho 0.3, divisor_factor 7"]
    assert (row["seeds"], row["hard, %"], row["gap, points"]) == ("1", "81.00", "9.00")
    assert "gap less reference (95 %)" not in row
    assert results.points[1].differences["gap"].interval is None
    assert ",gap,1,9,,,," in csv_text(results)


def test_a_damaged_record_is_named(file, tmp_path):
    experiment = load_experiment(file)
    trials = written(experiment, tmp_path / "r", plain)
    path = tmp_path / "r" / f"{next(iter(trials))}.json"
    path.write_text("{", "utf-8")
    with pytest.raises(InputError, match="is no valid JSON") as caught:
        aggregate(experiment, trials, tmp_path / "r")
    assert str(path) in str(caught.value)


def test_a_refused_program_is_a_result(file, tmp_path):
    experiment = load_experiment(file)
    trials = written(
        experiment, tmp_path / "r",
        lambda t: plain(t, refused=("loihi_int8",) if t.divisor_factor == 33 and (t.method == "sast" or t.seed) else ()),
    )  # fmt: skip
    results = aggregate(experiment, trials, tmp_path / "r")
    rows = table(results, "Integer programs")
    assert rows["method baseline, divisor_factor 33"]["loihi_int8, %"] == "79.00; refused (1 of 2)"
    assert rows["method sast, rho 0.3, divisor_factor 33"]["loihi_int8, %"] == "refused (2 of 2)"
    assert results.points[5].refused == {"loihi_int8": ("sums too wide", "sums too wide")}
    assert results.to_dict()["points"][5]["refused"] == {"loihi_int8": 2}


def test_ratios_are_over_the_seeds_that_both_points_have(file, tmp_path):
    experiment = load_experiment(file)
    trials = written(
        experiment, tmp_path / "r", lambda t: plain(t) if t.method == "baseline" or t.seed else None
    )
    sast = aggregate(experiment, trials, tmp_path / "r").point("method sast, rho 0.3")
    # Seed 1 alone: 110 over 110, not over the baseline's mean of 105.
    assert sast.seeds == (1,) and sast.ratios["loihi_int8 kSynOps"] == 1.0


def all_measures(trial):
    surrogate, hard = 0.9, 0.9 - 0.001 * (1 + trial.seed) * trial.divisor_factor
    if trial.divisor_factor == 7 and trial.seed == 1:
        return synthetic.record(trial, surrogate, hard)
    return synthetic.record(trial, surrogate, hard, {
        "activity": synthetic.activity(trial.divisor_factor), "margins": synthetic.margins(), "contraction": synthetic.contraction(),
        "calibration": synthetic.calibration(surrogate, hard, 0.002, 0.5), "overflows": synthetic.overflows(2, trial.profiles), "robustness": synthetic.robustness(hard, trial.profiles),
    })  # fmt: skip


def test_measures_where_there_are_any(file, tmp_path):
    experiment = load_experiment(file)
    results = aggregate(experiment, written(experiment, tmp_path / "r", all_measures), tmp_path / "r")
    activity = table(results, "Spike rates")["method baseline, divisor_factor 7"]
    assert tuple(activity.values())[1:] == ("20.0 / 0.0", "10.0 / 0.0", "7.00", "3.50", "25.00", "12.50")
    margins = table(results, "Margins")["method baseline"]
    assert margins["within ±0.2 of the threshold, hard spikes, all layers, %"] == "4.80 ± 0.00"
    assert (margins["hard, layers.0, %"], margins["surrogate, layers.1, %"]) == ("2.40 ± 0.00", "9.60 ± 0.00")
    contraction = table(results, "Contraction")["method baseline"]
    assert (contraction["gamma-hat (maximum)"], contraction["its 99 %"]) == ("8.457 ± 0.000", "4.000 ± 0.000")
    calibration = table(results, "Thresholds or input scaled")["method baseline"]
    assert calibration["threshold factors, by seed"] == "0.5, 0.5"
    assert (
        table(results, "Surrogate spikes at other slopes")["method baseline"]["k = 25, %"] == "90.00 ± 0.00"
    )
    corrupted = {each.title: each for each in tables(results) if each.title.startswith("Corrupted")}
    assert list(corrupted) == [f"Corrupted test recordings: {point.label}" for point in results.points]
    first = corrupted["Corrupted test recordings: method baseline"]
    assert dict(zip(first.header, first.rows[-1]))["hard, %"] == "79.85 ± 0.07"
    samples = results.points[0].samples
    assert samples["recovered"].values == (pytest.approx(0.2), pytest.approx(0.2))
    assert samples["left"].values == (pytest.approx(-0.1), pytest.approx(0.0))
    # Seed 1 at 7 has no measures: one value there.
    assert (
        len(results.points[1].samples["tail"].values) == 1
        and len(results.points[1].samples["gap"].values) == 2
    )
    assert results.recordings() == {name: [500] for name in ("activity", "margins", "contraction", "robustness")} | {"test": [1000], "overflows": [1000]}  # fmt: skip


def test_the_same_records_give_the_same_bytes(file, tmp_path):
    made = []
    for name in ("one", "other"):
        experiment = load_experiment(file)
        results = aggregate(experiment, written(experiment, tmp_path / "r", all_measures), tmp_path / "r")
        drawn = draw(results, tmp_path / name)
        made.append((
            report(results, embed(drawn, Path("figures"), Path("page.md"))), json.dumps(results.to_dict()), csv_text(results),
            {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()},
        ))  # fmt: skip
    assert made[0] == made[1]
    assert (
        set(made[0][3]) == {"small-scale.svg", "small-robustness.svg"}
        and "(figures/small-scale.svg)" in made[0][0]
    )


def test_every_kind_of_figure(file, tmp_path):
    for old, new, kinds in (
        ("divisor_factor: [1.0, 7.0, 33.0]", "divisor_factor: [1.0, 7.0]", {"points", "robustness"}),
        (", divisor_factor: [1.0, 7.0, 33.0]", "", {"points", "margins", "bars", "robustness"}),
    ):
        text = FILE.replace(old, new)
        file.write_text(
            text
            if "points" in kinds and len(kinds) == 1
            else text.replace("compare_within: [divisor_factor]\n", ""),
            "utf-8",
        )
        experiment = load_experiment(file)
        folder = tmp_path / f"r{len(kinds)}"
        drawn = draw(
            aggregate(experiment, written(experiment, folder, all_measures), folder), tmp_path / "figures"
        )
        assert {picture.file for picture in drawn} == {f"small-{kind}.svg" for kind in kinds}


def test_compare_within_names_a_setting_that_varies(file):
    for name, text in (
        ("rhoo", "'rhoo' is no setting"),
        (
            "alpha",
            "compare_within names 'alpha', in which no two points differ. Allowed: method, rho, divisor_factor.",
        ),
    ):
        file.write_text(
            FILE.replace("compare_within: [divisor_factor]", f"compare_within: [{name}]"), "utf-8"
        )
        with pytest.raises(InputError) as caught:
            load_experiment(file)
        assert text in str(caught.value)  # fmt: skip


def test_the_report_of_a_choice(file, tmp_path):
    file.write_text(
        FILE.replace(MEASURES, "")
        .replace("compare_within", "select_by: [divisor_factor]\ncompare_within")
        .replace("divisor_factor: [1.0, 7.0, 33.0]", "divisor_factor: [1.0, 7.0]"),
        "utf-8",
    )
    experiment, records = load_experiment(file), tmp_path / "r"
    trials = written(experiment, records, plain)
    results = aggregate(experiment, trials, records)
    assert "one point per divisor_factor: not made yet\n" in report(results)
    assert "test recordings read: 0 trials" in report(results)
    assert table(results, "By seed")["method baseline"]["figure"] == "validation hard"
    choice = choose(experiment, trials, records)
    chosen = [a for c in choice["candidates"] if c["point"] in choice["chosen"] for a in c["addresses"]]
    for address in chosen:
        synthetic.write(records, f"{address}.test", synthetic.tested(trials[address], 0.9, 0.8))
    results = aggregate(experiment, trials, records)
    assert choice["chosen"] == ["method baseline", "method sast, rho 0.3, divisor_factor 7"]
    assert (
        "one point per divisor_factor: method baseline; method sast, rho 0.3, divisor_factor 7\n"
        in report(results)
    )
    assert "test recordings read: 4 trials" in report(results)
    assert [point.chosen for point in results.points] == [True, False, False, True]
    compute = table(results, "Compute of every candidate")
    assert compute["method sast, rho 0.3"]["chosen"] == "no"
    assert compute["method sast, rho 0.3"]["gradient evaluations, over the reference's"] == "1.00"
    assert results.to_dict()["choice"]["chosen"] == choice["chosen"]
    # A test record of a trial that was not chosen is counted.
    other = next(address for address in trials if address not in chosen)
    synthetic.write(records, f"{other}.test", synthetic.tested(trials[other], 0.9, 0.8))
    assert "test recordings read: 5 trials" in report(aggregate(experiment, trials, records))


def test_readings_of_the_test_recordings_are_counted_as_the_records_have_them(file, tmp_path):
    def made(trial):
        late = {"measure_commits": {"robustness": "c"}} if trial.seed else {}
        return plain(trial, measures={"robustness": synthetic.robustness(0.8, trial.profiles)}) | late

    experiment = load_experiment(file)
    text = report(aggregate(experiment, written(experiment, tmp_path / "r", made), tmp_path / "r"))
    assert "- test recordings read again for robustness: 12 trials\n" in text
    assert "- measured after the record was written: robustness, 6 trials\n" in text


def test_samples_by_hand():
    sample = Sample((0, 1, 2), (1.0, 2.0, 3.0))
    assert (sample.mean, sample.deviation) == (2.0, 1.0)
    assert sample.interval == (pytest.approx(2 - 4.30265 / 3**0.5), pytest.approx(2 + 4.30265 / 3**0.5))
    assert sample.paired_difference(Sample((1, 2, 5), (1.0, 1.0, 9.0))) == Sample((1, 2), (1.0, 2.0))
    assert interval([1.0]) is None and interval([2.0] * 30) == (2.0, 2.0)
    assert sample.paired_difference(Sample((7,), (1.0,))) is None and Sample((0,), (1.0,)).deviation is None
    assert rank_correlation([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)
    # Ties share their mean rank: ranks 0.5, 0.5, 2 against 0, 1, 2 have 1.5 / sqrt(1.5 * 2).
    assert rank_correlation([1, 1, 3], [1, 2, 3]) == pytest.approx(1.5 / 3**0.5)
    assert rank_correlation([1, 2], [1, 2]) is None and rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_bounds_by_hand(file, tmp_path):
    file.write_text(
        FILE.replace("[1.0, 7.0, 33.0]", "[1.0]").replace("compare_within: [divisor_factor]\n", "")
    )
    experiment = load_experiment(file)

    def made(trial):
        if trial.method == "baseline":
            return plain(
                trial, measures={"bounds": synthetic.bounds(17.0 + trial.seed, 4000.0 * 10**trial.seed)}
            )
        empty = synthetic.bounds(over=None, ratio=None)
        empty["states"]["layers"] = [{"norm_ratio": None}]
        empty["lipschitz"] |= {"largest_found": 0.0, "log10_bound_over_found": None}
        empty["convergence"] |= {"beta_at_least": 0.0, "largest_learning_rate": None}
        return plain(trial, measures={"bounds": empty})

    results = aggregate(experiment, written(experiment, tmp_path / "r", made), tmp_path / "r")
    rows = table(results, "Bounds beside measured values")
    # log10 of 4000 and 40,000: 3.602 and 4.602; a factor of 10^6 more at the default rho; 1e-3 over 2.5e-7: 3.602.
    assert tuple(rows["method baseline"].values())[1:] == (
        "2", "8.457 ± 0.000", "5.00 ± 0.00", "20.00 ± 0.00", "3.00 ± 0.00", "17.00 ± 0.00", "17.50 ± 0.71", "6.00 ± 0.00", "4.10 ± 0.71",
        "10.10 ± 0.71", "3.60 ± 0.00",
    )  # fmt: skip
    assert tuple(rows["method sast, rho 0.3"].values())[1:] == (
        "2",
        "8.457 ± 0.000",
        "-",
        "20.00 ± 0.00",
        *("-",) * 7,
    )


def test_published_figures_of_an_experiment_of_one_method_are_named_by_it(file, tmp_path):
    lines = [line for line in FILE.splitlines() if "sast" not in line]
    file.write_text("\n".join(lines) + '\npublished: {"method baseline": [96, 65.7, 30.3]}\n', "utf-8")
    experiment = load_experiment(file)
    draw(
        aggregate(experiment, written(experiment, tmp_path / "r", plain), tmp_path / "r"),
        tmp_path / "figures",
    )
    assert "published, baseline" in (tmp_path / "figures" / "small-scale.svg").read_text("utf-8")
