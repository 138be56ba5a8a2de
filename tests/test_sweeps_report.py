"""From trials' records to tables, figures and the page of results."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import synthetic_records as synthetic

from sastdeploy.analysis import convergence as analysis_convergence
from sastdeploy.analysis import lipschitz as analysis_lipschitz
from sastdeploy.errors import InputError
from sastdeploy.experiments.figures import draw, embed, tail_and_gap
from sastdeploy.experiments.report import section
from sastdeploy.experiments.results import aggregate
from sastdeploy.experiments.selection import choose
from sastdeploy.experiments.spec import load_experiment
from sastdeploy.statistics import Sample, interval, rank_correlation

EXPERIMENTS = Path(__file__).parents[1] / "benchmarks" / "paper"

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
measures: [activity, margins, contraction, bounds, calibration, robustness]
compare_within: [divisor_factor]
"""
MEASURES = "measures: [activity, margins, contraction, bounds, calibration, robustness]\n"


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


def test_the_table_by_hand(file, tmp_path):
    experiment = load_experiment(file)
    trials = written(experiment, tmp_path / "r", plain)
    text = section(aggregate(experiment, trials, tmp_path / "r"))
    # Differences of the gap at 7: -1 and -2 points: mean -1.5, deviation 0.7071, half width 12.706 * 0.7071 / sqrt(2) = 6.353.
    assert (
        "| method sast, rho 0.3, divisor_factor 7 | 2 | 81.50 ± 0.71 | 8.50 ± 0.71 | +1.50 (-4.85 to +7.85) | -1.50 (-7.85 to +4.85) | 81.50 ± 0.71 |"
        in text
    )
    assert (
        "| method baseline, divisor_factor 7 | 2 | 80.00 ± 0.00 | 10.00 ± 0.00 | - | - | 80.00 ± 0.00 |"
        in text
    )
    assert (
        "The same in every row: smooth, % 90.00 ± 0.00; gradient evaluations 200; CPU seconds of training 60."
        in text
    )
    assert "12 of 12 trials." in text and "Reference: the first point with the same divisor_factor." in text
    assert (
        "simulated recordings instead of real ones; at most 2 epochs instead of 200; 60 training recordings; 2 seeds instead of 5."
        in text
    )
    assert "- method baseline: seed 0: 90.00 % hard, gap +0.00; seed 1: 90.00 % hard, gap +0.00" in text
    # kSynOps 100 and 110, the same for both methods.
    assert (
        "loihi_int8 kSynOps 105.0 ± 7.1" in text and "loihi_int8 architecture's maximum kSynOps 4,000" in text
    )
    assert "| 1.000 |" in text
    assert "### Corrupted" not in text and "### Spike rates" not in text
    assert (
        "Not measured in this experiment: spike rates and the tail, margins, contraction, section 4's bounds, calibration at deployment, corrupted recordings."
        in text
    )


def test_one_seed_has_no_interval_and_no_record_is_an_error(file, tmp_path):
    experiment = load_experiment(file)
    with pytest.raises(InputError, match="no trial has a record yet"):
        aggregate(experiment, {t.address("h"): t for t in experiment.trials}, tmp_path / "r")
    trials = written(
        experiment, tmp_path / "r", lambda t: plain(t) if t.seed == 0 and t.divisor_factor == 7 else None
    )
    results = aggregate(experiment, trials, tmp_path / "r")
    assert "| method sast, rho 0.3, divisor_factor 7 | 1 | 81.00 | 9.00 | 81.00 |" in section(results)
    assert results.points[1].differences["gap"].interval is None


def test_a_damaged_record_is_named(file, tmp_path):
    experiment = load_experiment(file)
    trials = written(experiment, tmp_path / "r", plain)
    path = tmp_path / "r" / f"{next(iter(trials))}.json"
    path.write_text("{", "utf-8")
    with pytest.raises(InputError, match="no readable record of a trial") as found:
        aggregate(experiment, trials, tmp_path / "r")
    assert str(path) in str(found.value)


def test_a_refused_program_is_a_result(file, tmp_path):
    experiment = load_experiment(file)
    trials = written(
        experiment, tmp_path / "r",
        lambda t: plain(t, refused=("loihi_int8",) if t.divisor_factor == 33 and (t.method == "sast" or t.seed) else ()),
    )  # fmt: skip
    results = aggregate(experiment, trials, tmp_path / "r")
    text = section(results)
    assert "| method baseline, divisor_factor 33 | 79.00; refused (1 of 2) |" in text
    assert "| method sast, rho 0.3, divisor_factor 33 | refused (2 of 2) |" in text
    assert results.points[5].refused == {"loihi_int8": ("sums too wide", "sums too wide")}
    assert results.to_dict()["points"][5]["refused"] == {"loihi_int8": 2}


def all_measures(trial):
    surrogate, hard = 0.9, 0.9 - 0.001 * (1 + trial.seed) * trial.divisor_factor
    if trial.divisor_factor == 7 and trial.seed == 1:
        return synthetic.record(trial, surrogate, hard)
    return synthetic.record(trial, surrogate, hard, {
        "activity": synthetic.activity(trial.divisor_factor), "margins": synthetic.margins(), "contraction": synthetic.contraction(),
        "calibration": synthetic.calibration(surrogate, hard, 0.002, 0.5), "robustness": synthetic.robustness(hard, trial.profiles),
    })  # fmt: skip


def test_measures_where_there_are_any(file, tmp_path):
    experiment = load_experiment(file)
    results = aggregate(experiment, written(experiment, tmp_path / "r", all_measures), tmp_path / "r")
    text = section(results)
    assert "smooth rate by layer, % 20.0 / 0.0; hard rate by layer, % 10.0 / 0.0" in text
    assert "| method baseline, divisor_factor 7 | 7.00 | 3.50 | 25.00 | 12.50 |" in text
    assert "| method baseline | 4.80 ± 0.00 | 2.40 ± 0.00 | 9.60 ± 0.00 | - | 4.80 ± 0.00 |" in text
    assert "| method baseline | 8.457 ± 0.000 | 0.520 ± 0.000 | 4.000 ± 0.000 | - | 8.000 ± 0.000 |" in text
    assert "threshold factors, by seed" in text and "0.5, 0.5" in text
    assert ("| drop:0.4 |" in text and "| k = 25, % " in text) or "k = 25, % 90.00" in text
    samples = results.points[0].samples
    assert samples["recovered"].values == (pytest.approx(0.2), pytest.approx(0.2))
    assert samples["left"].values == (pytest.approx(-0.1), pytest.approx(0.0))
    # Seed 1 at 7 has no measures: one value there.
    assert (
        len(results.points[1].samples["tail"].values) == 1
        and len(results.points[1].samples["gap"].values) == 2
    )


def test_the_same_records_give_the_same_bytes(file, tmp_path):
    made = []
    for name in ("one", "other"):
        experiment = load_experiment(file)
        results = aggregate(experiment, written(experiment, tmp_path / "r", all_measures), tmp_path / "r")
        drawn = draw(results, tmp_path / name)
        tail_and_gap([results], tmp_path / name / "tail.svg")
        made.append((
            section(results, embed(drawn, Path("figures"), Path("page.md"))), json.dumps(results.to_dict()),
            {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()},
        ))  # fmt: skip
    assert made[0] == made[1]
    assert (
        set(made[0][2]) == {"small-scale.svg", "small-robustness.svg", "tail.svg"}
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
        with pytest.raises(InputError) as found:
            load_experiment(file)
        assert text in str(found.value)  # fmt: skip


def test_the_report_of_a_choice(file, tmp_path):
    file.write_text(
        FILE.replace(MEASURES, "")
        .replace("compare_within", "select_by: [divisor_factor]\ncompare_within")
        .replace("divisor_factor: [1.0, 7.0, 33.0]", "divisor_factor: [1.0, 7.0]"),
        "utf-8",
    )
    experiment, records = load_experiment(file), tmp_path / "r"
    trials = written(experiment, records, plain)
    text = section(aggregate(experiment, trials, records))
    assert "the choice is not made yet, and no test recording was read." in text
    assert "- method baseline: seed 0: 90.00 % hard on validation" in text
    choice = choose(experiment, trials, records)
    chosen = [a for c in choice["candidates"] if c["point"] in choice["chosen"] for a in c["addresses"]]
    synthetic.write(records, f"{chosen[0]}.test", synthetic.tested(trials[chosen[0]], 0.9, 0.8))
    assert "for the 1 trials of the chosen points alone" in section(aggregate(experiment, trials, records))
    for address in chosen:
        synthetic.write(records, f"{address}.test", synthetic.tested(trials[address], 0.9, 0.8))
    results = aggregate(experiment, trials, records)
    text = section(results)
    assert choice["chosen"] == ["method baseline", "method sast, rho 0.3, divisor_factor 7"]
    assert "Test recordings were read for the 4 trials of the chosen points alone, once each" in text
    assert "| method sast, rho 0.3 | 2 | - | - | - |" in text
    assert [point.chosen for point in results.points] == [True, False, False, True]
    # A test record of a trial that was not chosen is told.
    other = next(address for address in trials if address not in chosen)
    synthetic.write(records, f"{other}.test", synthetic.tested(trials[other], 0.9, 0.8))
    assert "But test recordings were read for 1 trials that were not chosen." in section(
        aggregate(experiment, trials, records)
    )


def test_samples_by_hand():
    sample = Sample((0, 1, 2), (1.0, 2.0, 3.0))
    assert (sample.mean, sample.deviation) == (2.0, 1.0)
    assert sample.interval == (pytest.approx(2 - 4.303 / 3**0.5), pytest.approx(2 + 4.303 / 3**0.5))
    assert sample.paired_difference(Sample((1, 2, 5), (1.0, 1.0, 9.0))) == Sample((1, 2), (1.0, 2.0))
    assert interval([1.0]) is None and interval([2.0] * 30) == (2.0, 2.0)
    assert sample.paired_difference(Sample((7,), (1.0,))) is None and Sample((0,), (1.0,)).deviation is None
    assert rank_correlation([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)
    # Ties share their mean rank: ranks 0.5, 0.5, 2 against 0, 1, 2 have 1.5 / sqrt(1.5 * 2).
    assert rank_correlation([1, 1, 3], [1, 2, 3]) == pytest.approx(1.5 / 3**0.5)
    assert rank_correlation([1, 2], [1, 2]) is None and rank_correlation([1, 1, 1], [1, 2, 3]) is None


def bounded(file, records, made):
    """Return the section's part about bounds, from one baseline and one SAST point of two seeds each."""
    file.write_text(
        FILE.replace("[1.0, 7.0, 33.0]", "[1.0]").replace("compare_within: [divisor_factor]\n", "")
    )
    experiment = load_experiment(file)

    def record(trial):
        measure = made(trial)
        return plain(trial, measures=None if measure is None else {"bounds": measure})

    text = section(aggregate(experiment, written(experiment, records, record), records))
    assert text.count("### Section 4's bounds") <= 1
    return text.partition("### Section 4's bounds beside what is found (validation recordings)\n")[2]


def test_bounds_by_hand(file, tmp_path):
    text = bounded(file, tmp_path / "r", lambda t: synthetic.bounds(17.0 + t.seed, 4000.0 * 10**t.seed))
    # log10 of 4000 and 40,000: 3.602 and 4.602; a factor of 10^6 more at the paper's rho.
    middle = (
        "8.457 ± 0.000 | 5.00 ± 0.00 | 20.00 ± 0.00 | 3.00 ± 0.00 | 17.00 ± 0.00 | 17.50 ± 0.71 | 6.00 ± 0.00"
    )
    for label in ("method baseline", "method sast, rho 0.3"):
        assert f"| {label} | 2 | {middle} | 4.10 ± 0.71 | 10.10 ± 0.71 |" in text
    for sentence in (
        "- State bound (holds without gamma < 1, so never vacuous): 5 times the largest visited norm.",
        "- L_x: gamma < 1, which the theorem assumes, holds in 0 of 4 trials; elsewhere L_x is the finite sum. Vacuous in 4 of 4 trials: for one "
        "event it allows 10^17.0 to 10^18.0 times the whole range of the scores. It is 10^17.0 times the largest change found.",
        "- Equation (3)'s floor, own rho, from a lower bound of beta: vacuous in 4 of 4 trials, 4e+03 to 4e+04 times the largest squared gradient "
        "measured.",
        "- Equation (3)'s floor, the paper's rho, from a lower bound of beta: vacuous in 4 of 4 trials, 4e+09 to 4e+10 times",
        "- eta <= 1 / (4 beta), which equation (3) assumes, fails in 4 of 4 trials;",
    ):
        assert sentence in text
    # SAST alone has the measure, of one seed: one row, and nothing about the others.
    text = bounded(
        file, tmp_path / "one", lambda t: synthetic.bounds() if t.method == "sast" and t.seed else None
    )
    assert (
        "| method sast, rho 0.3 | 1 | 8.457 | 5.00 | 20.00 | 3.00 | 17.00 | 17.00 | 6.00 | 3.60 | 9.60 |"
        in text
    )
    assert "| method baseline | 1 |" not in text and "Vacuous in 1 of 1 trials" in text


def test_bounds_that_are_not_vacuous_or_have_nothing_to_compare_with_are_told(file, tmp_path):
    def made(trial):
        if trial.method == "baseline":
            return synthetic.bounds(over=-0.5, ratio=0.5)
        empty = synthetic.bounds(over=None, ratio=None)
        empty["states"]["layers"] = [{"norm_ratio": None}]
        empty["lipschitz"] |= {"largest_found": 0.0, "log10_bound_over_found": None}
        empty["convergence"] |= {"beta_at_least": 0.0, "largest_learning_rate": None}
        return empty

    text = bounded(file, tmp_path / "r", made)
    # log10 of 0.5 is -0.30; 1e6 times it is vacuous again.
    row = "| method baseline | 2 | 0.900 ± 0.000 | 5.00 ± 0.00 | 3.00 ± 0.00 | 17.00 ± 0.00 | -0.50 ± 0.00 | 6.00 ± 0.00 | -0.30 ± 0.00 | 5.70 ± 0.00 |"
    assert row in text
    assert "| method sast, rho 0.3 | 2 | 8.457 ± 0.000 | - | - | - | - | - | - | - |" in text
    for sentence in (
        "5 times the largest visited norm. In 2 of 4 trials no membrane moved.",
        "holds in 2 of 4 trials; elsewhere L_x is the finite sum. Vacuous in 0 of 4 trials. It is 10^17.0 times the largest change found. "
        "In 2 of 4 trials no change of the scores was found.",
        "own rho, from a lower bound of beta: vacuous in 0 of 4 trials. In 2 of 4 trials there is no gradient to compare with.",
        "the paper's rho, from a lower bound of beta: vacuous in 2 of 4 trials, 5e+05 times the largest squared gradient measured. In 2 of 4",
        "fails in 2 of 4 trials",
    ):
        assert sentence in text
    assert bounded(file, tmp_path / "none", lambda trial: None) == ""


@pytest.mark.parametrize(("over", "ratio"), [(0.0, 1.0), (-0.01, 0.99), (None, None)])
def test_vacuous_is_what_the_measure_calls_so(file, tmp_path, over, ratio):
    found = synthetic.bounds(over, ratio)
    text = bounded(file, tmp_path / "r", lambda trial: found if trial.method == "sast" else None)
    lipschitz = analysis_lipschitz._sentence(found["lipschitz"] | {"log10_one_event_over_diameter": over})
    floors = {"floor": 1.0, "floor_at_paper_rho": 1.0}
    convergence = analysis_convergence._sentence(found["convergence"] | floors)
    assert ("Vacuous: " in lipschitz) == ("Vacuous in 2 of 2" in text) == (over == 0.0)
    own = convergence.split("Floor for rho")[1]
    assert ("(vacuous" in own) == ("own rho, from a lower bound of beta: vacuous in 2 of 2" in text)


@pytest.fixture
def assembled(benchmark_script):
    return benchmark_script("paper/assemble.py")


def scale_file(folder):
    text = FILE.replace("name: small", "name: map-scale").replace("seeds: [0, 1]", "seeds: [0, 1, 2]")
    (folder / "map-scale.yaml").write_text(text, "utf-8")
    (folder / "data.json").write_text(json.dumps({"nmnist-sim, 10 bins": "h"}), "utf-8")
    return load_experiment(folder / "map-scale.yaml")


def page_of(assembled, folder):
    """Return the page of results."""
    target = folder / "RESULTS.md"
    return assembled.assemble(folder, folder / "r", target, folder / "figures", folder / "figures")[target]


def test_a_claim_is_made_only_where_the_records_show_it(assembled, tmp_path):
    experiment = scale_file(tmp_path)
    assert "Not run yet: `sastdeploy sweep run benchmarks/paper/map-scale.yaml`." in page_of(
        assembled, tmp_path
    )
    # At 7 a clear gap, at 33 one that varies so much over seeds that nothing is shown.
    gaps = {1.0: (0.001, 0.002, 0.003), 7.0: (0.10, 0.11, 0.12), 33.0: (0.0, 0.1, 0.3)}

    def made(trial):
        gap = gaps[trial.divisor_factor][trial.seed] + (0.05 if trial.method == "sast" else 0.0) * (
            trial.divisor_factor == 7
        )
        return synthetic.record(trial, 0.9, 0.9 - gap, {"activity": synthetic.activity(100 * gap + 1)})

    written(experiment, tmp_path / "r", made)
    text = page_of(assembled, tmp_path)
    assert (
        "The baseline's gap: shown to be above 1 point at 1/7; shown to be below 1 point at 1; neither is shown at 1/33."
        in text
    )
    assert "it becomes large between a largest frame value of 1 and 1/7" in text
    assert "Gap, SAST less baseline: shown to be higher at 1/7; no difference shown at 1, 1/33." in text
    assert "These records do not establish it" in text
    assert "No baseline point has this measure yet." in text
    assert (
        "The largest of a single training of the map is 30.0 points (`map-scale`, `baseline divisor_factor 33`, seed 2)."
        in text
    )
    assert text == page_of(assembled, tmp_path)


def test_networks_that_have_not_learnt_count_for_nothing(assembled, tmp_path):
    experiment = scale_file(tmp_path)

    def made(trial):
        surrogate = 0.1 if trial.divisor_factor == 33 else 0.9
        return synthetic.record(
            trial, surrogate, surrogate - 0.001 * trial.seed, {"activity": synthetic.activity(5 + trial.seed)}
        )

    written(experiment, tmp_path / "r", made)
    text = page_of(assembled, tmp_path)
    assert (
        "The baseline's gap: shown to be below 1 point at 1, 1/7. Training itself failed, with smooth spikes below 40 %, at: 1/33 (3 of 3 seeds)"
        in text
    )
    assert "Over the 12 trainings of sections 1, 4 and 5 that have learnt" in text


def test_the_page_is_checked_against_the_records(assembled, tmp_path, monkeypatch, capsys):
    written(scale_file(tmp_path), tmp_path / "r", plain)
    monkeypatch.setattr(assembled, "HERE", tmp_path)
    call = [
        "assemble.py",
        "--records",
        str(tmp_path / "r"),
        "--out",
        str(tmp_path / "R.md"),
        "--figures",
        str(tmp_path / "figures"),
    ]
    monkeypatch.setattr(sys, "argv", [*call, "--check"])
    with pytest.raises(SystemExit, match="differs from the committed records"):
        assembled.main()
    monkeypatch.setattr(sys, "argv", call)
    assembled.main()
    monkeypatch.setattr(sys, "argv", [*call, "--check"])
    with pytest.raises(SystemExit) as stop:
        assembled.main()
    assert stop.value.code == 0
    assert (tmp_path / "figures" / "map-scale-scale.svg").exists()
    # The page of advice is one of those that are checked.
    (tmp_path / "ADVICE.md").write_text("another", "utf-8")
    with pytest.raises(SystemExit, match=r"ADVICE\.md: differs from the committed records"):
        assembled.main()


def test_the_committed_experiments_give_a_page_without_any_record(assembled, tmp_path):
    found = {e.name: (e, None) for e in assembled.experiments(EXPERIMENTS)}
    text = assembled.page(found, {})
    assert all(f"benchmarks/paper/{name}.yaml" in text for name in found)


def claim_rows(assembled, folder, name, file, made):
    """Return the rows of the table of claims that begin with a text, from one experiment's records."""
    (folder / f"{name}.yaml").write_text(file, "utf-8")
    dataset = load_experiment(folder / f"{name}.yaml").trials[0].dataset
    (folder / "data.json").write_text(json.dumps({f"{dataset}, 10 bins": "h"}), "utf-8")
    written(load_experiment(folder / f"{name}.yaml"), folder / "r", made)
    lines = page_of(assembled, folder).partition("## The paper's claims")[2].splitlines()
    return lambda start: [line for line in lines if line.startswith(f"| {start}")]


TABLE_2 = """
name: table2
title: "Table 2"
dataset: nmnist-sim
seeds: SEEDS
fixed: {arch: conv_0p42m, epochs: 2, limit: 60}
grid:
  - {method: baseline}
  - {method: sast, rho: 0.3}
"""


def convolutional(trial):
    """SAST has 3 and 4 points more than the baseline, whose gap is 10 points."""
    return synthetic.record(trial, 0.9, 0.8 + (0.03 + 0.01 * trial.seed) * (trial.method == "sast"))


def test_table_2_of_one_seed_shows_nothing(assembled, tmp_path):
    rows = claim_rows(assembled, tmp_path, "table2", TABLE_2.replace("SEEDS", "[0]"), convolutional)
    about = "`table2`, `nmnist-sim`, `conv_0p42m`, rho 0.3, as many gradients"
    assert [row for row in rows("Table 2") if about in row] == [
        f"| Table 2: lowers the gap | {about} | 7.77 to 1.44 | 10.00 to 7.00 | -3.00 (no interval) | not shown: one seed |",
        f"| Table 2: raises hard-spike accuracy | {about} | 90.9 to 97.3 | 80.0 to 83.0 | +3.00 (no interval) | not shown: one seed |",
    ]
    # Two seeds: 3.5 points, deviation 0.7071, half width 12.706 * 0.5 = 6.353; still nothing shown, now by an interval.
    rows = claim_rows(assembled, tmp_path, "table2", TABLE_2.replace("SEEDS", "[0, 1]"), convolutional)
    assert [row.split(" | ", 3)[3] for row in rows("Table 2") if about in row] == [
        "10.00 to 6.50 | -3.50 (-9.85 to +2.85) | not shown: the interval holds 0 |",
        "80.0 to 83.5 | +3.50 (-2.85 to +9.85) | not shown: the interval holds 0 |",
    ]  # fmt: skip


def test_table_2_of_networks_that_have_not_learnt_shows_nothing(assembled, tmp_path):
    rows = claim_rows(
        assembled, tmp_path, "table2", TABLE_2.replace("SEEDS", "[0, 1]"),
        lambda trial: synthetic.record(trial, 0.3, 0.3 - 0.1 * (trial.method == "baseline")),
    )  # fmt: skip
    found = [row.split(" | ", 5)[5] for row in rows("Table 2") if "`table2`" in row]
    assert found == ["not shown: has not learnt (smooth spikes below 40 %) |"] * 2


def test_table_2_without_sast_is_not_run(assembled, tmp_path):
    rows = claim_rows(
        assembled, tmp_path, "table2", TABLE_2.replace("SEEDS", "[0]"),
        lambda trial: None if trial.method == "sast" else convolutional(trial),
    )  # fmt: skip
    found = [row.split(" | ", 3)[3] for row in rows("Table 2") if "`table2`" in row]
    assert found == ["- | - | not run, or no seed in common |"] * 2


TABLE_3 = """
name: table3-scaled
title: "Table 3"
dataset: nmnist-sim
seeds: [0, 1]
grid:
  - {method: baseline, epochs: 4}
  - {method: sast, rho: [0.1, 0.3], epochs: 2}
select_by: [method]
"""


def test_table_3_compares_what_validation_chose(assembled, tmp_path):
    def made(trial, tested=False):
        # SAST of radius 0.3 is better on validation; on test recordings it has 2 points less than the baseline, and no gap.
        hard = 0.8 + 0.01 * (trial.rho == 0.3) - 0.03 * (trial.method == "sast" and tested)
        smooth = hard + 0.01 * (trial.method == "baseline")
        return synthetic.tested(trial, smooth, hard) if tested else synthetic.record(trial, smooth, hard)

    rows = claim_rows(assembled, tmp_path, "table3-scaled", TABLE_3, made)
    assert [row.split(" | ", 3)[3] for row in rows("Table 3") if "scaled" in row] == [
        "- | - | not run, or no seed in common |"
    ] * 2
    experiment, records = load_experiment(tmp_path / "table3-scaled.yaml"), tmp_path / "r"
    trials = {trial.address("h"): trial for trial in experiment.trials}
    choice = choose(experiment, trials, records)
    for address in (
        a for c in choice["candidates"] if c["point"] in choice["chosen"] for a in c["addresses"]
    ):
        synthetic.write(records, f"{address}.test", made(trials[address], tested=True))
    text = page_of(assembled, tmp_path)
    about = "| `table3-scaled`, `nmnist-sim`, `fc_0p40m`, rho 0.3, 0.5 times the gradients |"
    for row in (
        f"| Table 3: raises hard-spike accuracy {about} 65.7 to 93.9 | 80.0 to 78.0 | -2.00 (-2.00 to -2.00) | the opposite is shown |",
        f"| Table 3: lowers the gap {about} 30.3 to 3.6 | 1.00 to 0.00 | -1.00 (-1.00 to -1.00) | shown here too |",
    ):
        assert row in text


TABLE_1 = """
name: table1
title: "Table 1"
dataset: nmnist-sim
seeds: [0, 1]
fixed: {epochs: 2}
grid:
  - {method: baseline}
  - {method: sast, rho: [0.1, 0.2]}
"""


def test_radii_that_show_opposite_directions_give_no_verdict(assembled, tmp_path):
    def made(trial, other=0.001):
        # The first radius has the higher validation accuracy and a gap larger by a point; the other's is smaller by ``other``.
        gap = 0.02 + {0.0: 0.0, 0.1: 0.01, 0.2: -other}[trial.rho]
        return synthetic.record(trial, 0.9 + 0.02 * (trial.rho == 0.1), 0.9 + 0.02 * (trial.rho == 0.1) - gap)

    rows = claim_rows(assembled, tmp_path, "table1", TABLE_1, made)
    assert [row for row in rows("Table 1: lowers the gap") if "`table1`" in row] == [
        "| Table 1: lowers the gap | `table1`, `nmnist-sim`, `fc_0p40m`, rho 0.1, as many gradients | 30.34 to 2.48 | 2.00 to 3.00 "
        "| +1.00 (+1.00 to +1.00); at rho 0.2 -0.10 (-0.10 to -0.10) | not shown: radii differ |"
    ]
    rows = claim_rows(assembled, tmp_path, "table1", TABLE_1, lambda trial: made(trial, 0.0))
    assert [row.split(" | ", 4)[4] for row in rows("Table 1: lowers the gap") if "`table1`" in row] == [
        "+1.00 (+1.00 to +1.00) | the opposite is shown |"
    ]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.0, 1.0), "seeds differ too much to tell"),  # 0.5 and half a width of 6.353
        ((0.0, 0.7), "no difference shown"),  # 4.447
        ((3.0, 3.1), "as predicted"),
        ((-3.0, -3.1), "the opposite"),
    ],
)
def test_an_intervention_tells_too_few_seeds_from_no_difference(assembled, values, verdict):
    mechanism = importlib.import_module("mechanism")
    assert mechanism.intervention("a", "b", Sample((0, 1), values), 1).verdict == verdict


GESTURES = """
name: table1-gestures
title: "Gestures"
dataset: dvsgesture-sim
seeds: [0, 1]
fixed: {epochs: 2}
grid:
  - {method: baseline}
  - {method: sast, rho: 0.4}
profiles: [loihi_int8, aggressive_int4]
"""


def test_table_4_on_gestures_by_hand(assembled, tmp_path):
    def made(trial):
        better = trial.method == "sast"
        found = synthetic.record(
            trial, 0.7, 0.5 + 0.1 * better, refused=("aggressive_int4",) if trial.seed and better else ()
        )
        for profile, program in found["programs"].items():
            if better and "refused" not in program:
                found["programs"][profile] = program | {"ksynops": program["ksynops"] - 84.0}
        return found

    rows = claim_rows(assembled, tmp_path, "table1-gestures", GESTURES, made)
    about = "`table1-gestures`, `dvsgesture-sim`, `fc_0p40m`, rho 0.4, as many gradients"
    # kSynOps 100 and 110 less 84: 21 of 105. At four bits one pair is left: 16 of 100.
    refused = "refused by the hardware: SAST 1 of 2"
    assert [row for row in rows("Table 4") if about in row] == [
        f"| Table 4: raises accuracy, `loihi_int8` | {about} | 25.3 to 47.6 | 49.0 to 59.0 | +10.00 (+10.00 to +10.00) | shown here too |",
        f"| Table 4: lowers kSynOps, `loihi_int8` | {about} | r_ops 0.050 | 105.0 to 21.0, r_ops 0.200 | -84.00 (-84.00 to -84.00) | shown here too |",
        f"| Table 4: raises accuracy, `aggressive_int4` | {about} | 26.0 to 43.8 | 49.0 to 59.0 | +10.00 (no interval); {refused} | not shown: one seed |",
        f"| Table 4: lowers kSynOps, `aggressive_int4` | {about} | r_ops 0.050 | 100.0 to 16.0, r_ops 0.160 | -84.00 (no interval); {refused} | not shown: one seed |",
    ]
    # Where no program is left, that is told, not called "not run".
    rows = claim_rows(
        assembled, tmp_path, "table1-gestures", GESTURES,
        lambda t: synthetic.record(t, 0.7, 0.5, refused=("loihi_int8",) if t.method == "baseline" else ()),
    )  # fmt: skip
    left = "- | refused by the hardware: baseline 2 of 2 | not shown: refused by the hardware |"
    found = [row.split(" | ", 3)[3] for row in rows("Table 4") if about in row and "loihi" in row]
    assert found == [left] * 2


def costs(folder, medians, peaks):
    """Write the measurements that `overhead` reads."""
    (folder / "speed" / "results").mkdir(parents=True, exist_ok=True)
    for name, median in medians.items():
        content = {
            "sast_over_baseline": {"min": median - 0.1, "median": median},
            "seconds": {"fused SAST": {"turns": 3, "median": 0.01 * median}, "fused baseline": {"median": 0.01}},
        }  # fmt: skip
        (folder / "speed" / "results" / f"training-{name}.json").write_text(json.dumps(content), "utf-8")
    content = [
        {"settings": {"arch": n}, "baseline": {"peak_mib": 1000.0}, "sast": {"peak_mib": 1000 * p}, "sast_over_baseline": {"peak_mib": p}}
        for n, p in peaks.items()
    ]  # fmt: skip
    (folder / "TRAINING_MEMORY.json").write_text(json.dumps(content), "utf-8")


@pytest.mark.parametrize(
    ("medians", "peaks", "seconds", "memory"),
    [
        ((1.9, 2.0), (0.9998, 1.0013), "within the paper's two figures", "no increase above 1 %"),
        ((1.9, 2.2), (0.9998, 1.02), "partly outside the paper's two figures", "increased for conv_0p42m"),
        ((2.3, 2.2), (1.5, 1.02), "above the paper's two figures", "increased for fc_0p40m, conv_0p42m"),
        ((1.3, 1.2), (0.5, 0.6), "below the paper's two figures", "no increase above 1 %"),
    ],
)
def test_what_sast_costs_comes_from_the_committed_measurements(
    assembled, tmp_path, medians, peaks, seconds, memory
):
    networks = ("fc_0p40m", "conv_0p42m")
    costs(tmp_path, dict(zip(networks, medians)), dict(zip(networks, peaks)))
    first, second = assembled.overhead(tmp_path)
    assert first.cells()[2:] == [
        "2.1 and 1.8 (gestures) times a baseline step",
        "; ".join(
            f"`{name}` 10.0 to {10 * median:.1f} ms, ratio of medians {median:.2f} (of minima {median - 0.1:.2f}, 3 turns)"
            for name, median in zip(networks, medians)
        ),
        "-",
        f"{seconds}; one machine, no interval",
    ]
    assert second.what == "peak memory (of the whole process, Python and its libraries included)"
    assert second.cells()[2:] == [
        "no increase",
        "; ".join(
            f"`{name}` 1,000.0 to {1000 * p:,.1f} MiB, ratio {p:.4f}" for name, p in zip(networks, peaks)
        ),
        "-",
        f"{memory}; medians of a few runs",
    ]


def test_a_missing_measurement_of_costs_is_named(assembled, tmp_path):
    costs(tmp_path, {"fc_0p40m": 1.9}, {"fc_0p40m": 1.0})
    with pytest.raises(InputError) as found:
        assembled.overhead(tmp_path)
    assert str(tmp_path / "speed" / "results" / "training-conv_0p42m.json") in str(found.value)
    # A network that the file of peaks lacks, and no such file.
    costs(tmp_path, {"conv_0p42m": 1.9}, {"fc_0p40m": 1.0})
    with pytest.raises(InputError, match=r"TRAINING_MEMORY\.json: .*conv_0p42m"):
        assembled.overhead(tmp_path)
    (tmp_path / "TRAINING_MEMORY.json").unlink()
    with pytest.raises(InputError, match=r"TRAINING_MEMORY\.json: no readable measurement"):
        assembled.overhead(tmp_path)


def test_the_page_has_the_committed_costs(assembled):
    text = assembled.page({}, {})
    rows = assembled.overhead(EXPERIMENTS.parent)
    assert len(rows) == 2 and all(f"| {' | '.join(row.cells())} |" in text for row in rows)
