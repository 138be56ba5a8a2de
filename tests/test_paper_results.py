"""The paper's experiments: what assemble.py writes from records, and that hand-written pages quote it."""

import json
import re
import shutil
from pathlib import Path

import pytest
import synthetic_records as synthetic

from benchmarks.paper import assemble, other_records, quoted, tail
from sastdeploy._files.strict_yaml import load_strict_yaml
from sastdeploy.errors import InputError
from sastdeploy.experiments.spec import Trial, load_experiment

HOME = Path(__file__).resolve().parents[1]
PAPER = HOME / "benchmarks" / "paper"
MAP = """name: map-scale
title: Map
dataset: nmnist-sim
seeds: [0, 1]
fixed: {epochs: 2}
grid:
  - {method: baseline, divisor_factor: [1.0, 15.0]}
  - {method: sast, rho: 0.3, divisor_factor: [1.0, 15.0]}
profiles: [loihi_int8]
measures: [activity, calibration]
compare_within: [divisor_factor]
published: {"method baseline": [96, 65.5, 30.5]}
"""
WAITING = """name: waiting
title: Waiting
dataset: nmnist-sim
seeds: [0]
grid: [{method: baseline}]
"""


@pytest.fixture(scope="module")
def committed():
    return json.loads((PAPER / "results.json").read_text("utf-8"))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two experiments, one of them with made-up records."""
    paper = tmp_path / "paper"
    paper.mkdir()
    (paper / "data.json").write_text('{"nmnist-sim, 10 bins": "d"}', "utf-8")
    (paper / "map-scale.yaml").write_text(MAP, "utf-8")
    (paper / "waiting.yaml").write_text(WAITING, "utf-8")
    for trial in load_experiment(paper / "map-scale.yaml").trials:
        gap = 0.02 * (trial.divisor_factor > 1) - 0.005 * trial.seed * (trial.method == "sast")
        measures = {
            "activity": synthetic.activity(trial.divisor_factor + trial.seed),
            "calibration": synthetic.calibration(0.9, 0.9 - gap, 0.01),
        }
        record = synthetic.record(trial, 0.9, 0.9 - gap, measures)
        synthetic.write(paper / "records", trial.address("d"), record)
    return paper


def assembled(folder, canvas):
    canvas.mkdir()
    return assemble.assemble(folder, folder / "records", HOME / "benchmarks", canvas)


def test_results_by_hand(folder, tmp_path):
    files = assembled(folder, tmp_path / "one")
    results = json.loads(files["results.json"])
    assert results["trainings"]["count"] == 8
    point = results["experiments"]["map-scale"]["points"]["method sast, rho 0.3, divisor_factor 15"]
    assert point["figures"]["gap"]["by_seed"] == {"0": 2.0, "1": 1.5}
    # Differences of 0 and -0.5: mean -0.25, half width 12.7062 * 0.35355 / sqrt(2) = 3.17655.
    assert point["less_reference"]["gap"]["mean"] == -0.25
    assert point["less_reference"]["gap"]["interval"] == [-3.42655, 2.92655]
    # The baseline's gap there is 2 points with both seeds; at 1 there is none, so no share of it.
    assert point["figures"]["gap closed"]["by_seed"] == {"0": 0.0, "1": 25.0}
    assert (
        quoted._shown(point, "gap closed", "range 0", "here") == "12 (-146 to 171)"
    )  # 12.7062 * 17.678 / sqrt(2)
    well = results["experiments"]["map-scale"]["points"]["method sast, rho 0.3"]
    assert "gap closed" not in well["figures"]
    # Against the baseline at a largest frame value of 1, which has no gap: -2 and -1.5 of hard, -1 and -0.5 of calibrated.
    assert point["less_well_scaled"]["hard"]["by_seed"] == {"0": -2.0, "1": -1.5}
    assert point["less_well_scaled"]["calibrated"]["by_seed"] == {"0": -1.0, "1": -0.5}
    assert point["over_reference"]["loihi_int8 kSynOps"] == 1.0
    baseline = results["experiments"]["map-scale"]["points"]["method baseline"]
    assert baseline["published"] == [96.0, 65.5, 30.5] and "less_well_scaled" in baseline
    # An experiment without a record stands there, with its points.
    waiting = results["experiments"]["waiting"]
    assert (waiting["trials_done"], waiting["trials"]) == (0, 1)
    assert waiting["settings"]["number of seeds"] == 1
    assert waiting["points"] == {"baseline, as described": {"seeds": [], "settings": waiting["settings"]}}
    assert set(files) == {
        "results.json",
        "tables/map-scale.csv",
        "tables/trainings.csv",
        "figures/map-scale-points.svg",
        "figures/map-tail.svg",
    }
    head, *rows = files["tables/trainings.csv"].decode().splitlines()
    assert head == "experiment,trainings,processor minutes,mean,longest"
    assert rows == ["map-scale,8,8.0,1.0,1.0"]
    assert files == assembled(folder, tmp_path / "other")


def test_differences_from_the_baseline_of_an_experiment_whose_reference_is_another_method(folder, tmp_path):
    path = folder / "map-scale.yaml"
    lines = MAP.splitlines(keepends=True)
    lines[6], lines[7] = lines[7], lines[6]  # SAST first
    path.write_text("".join(line for line in lines if not line.startswith("compare_within")), "utf-8")
    results = json.loads(assembled(folder, tmp_path / "canvas")["results.json"])
    points = results["experiments"]["map-scale"]["points"]
    # The first baseline has 90 % of hard spikes, SAST at 1/15 88 and 88.5: differences -2 and -1.5.
    point = points["method sast, rho 0.3, divisor_factor 15"]
    assert point["less_baseline"]["hard"]["by_seed"] == {"0": -2.0, "1": -1.5}
    assert (
        quoted._shown(point, "hard", "base", "here") == "-1.75 (-4.93 to +1.43)"
    )  # 12.7062 * 0.35355 / sqrt(2)
    # To SAST at 1 (90 and 90.5 %): 0 and -0.5, so t is -1 and p 1/2; -2 and -2.5, so t is -9 and p 2/pi atan(1/9), twice; -2 and -2, no p.
    ps = {name: quoted._shown(each, "hard", "p", "here") for name, each in points.items()}
    assert ps == {
        "method baseline": "0.500",
        "method baseline, divisor_factor 15": "0.141",
        "method sast, rho 0.3": "-",
        "method sast, rho 0.3, divisor_factor 15": "-",
    }
    assert points["method baseline"]["less_baseline"] == {}
    assert quoted._shown(points["method baseline"], "hard", "base", "here") == "-"


def test_the_check_names_what_differs_and_what_nothing_gives(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(assemble, "HERE", folder)
    for name in ("TRAINING_MEMORY.json", "results"):
        (folder.parent / "speed").mkdir(exist_ok=True)
        source, target = HOME / "benchmarks" / "speed" / name, folder.parent / "speed" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["assemble.py", *words])
        assemble.main()

    call()
    assert "wrote tables/map-scale.csv" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        call("--check")
    assert stop.value.code == 0
    (folder / "tables" / "old.csv").write_text("x", "utf-8")
    page = folder / "results.json"
    page.write_text(page.read_text("utf-8").replace('"mean": -0.25', '"mean": -0.26'), "utf-8")
    with pytest.raises(SystemExit) as stop:
        call("--check")
    assert (
        stop.value.code
        == "not what the records give: results.json, tables/old.csv; run python benchmarks/paper/assemble.py."
    )
    call()
    assert (
        "removed tables/old.csv" in capsys.readouterr().out and not (folder / "tables" / "old.csv").exists()
    )


def test_tail_and_gap_by_hand():
    trainings = [tail.Training(15.0, t, g, True) for t, g in ((1.0, 0.5), (2.0, 3.0), (3.0, 2.0))]
    correlations = tail.correlations([*trainings, tail.Training(1.0, 9.0, 9.0, False)])
    assert correlations["all"] == {
        "trainings": 3, "rank correlation": pytest.approx(0.5), "gaps above 1 point": 2, "lowest tail with one": 2.0,
        "highest tail without one": 1.0,
    }  # fmt: skip
    assert list(correlations["within a largest frame value"]) == ["1/15"]


def test_damaged_measurements_elsewhere_are_named(tmp_path):
    with pytest.raises(InputError, match=r"TRAINING_MEMORY\.json: no readable measurement of fc_0p40m and"):
        other_records.cost(tmp_path)
    assert other_records.confirmation(tmp_path / "confirmed.json") == {}
    (tmp_path / "confirmed.json").write_text("{}", "utf-8")
    with pytest.raises(InputError, match=r"confirmed\.json: no readable result of a second evaluation"):
        other_records.confirmation(tmp_path / "confirmed.json")


def test_networks_that_were_trained_twice_are_held_against_their_records(tmp_path):
    records, earlier = tmp_path / "records", tmp_path / "earlier"
    assert other_records.trained_twice(earlier, records) == {}
    for address, method, first, second in (("a", "baseline", 0.6, 0.63), ("b", "sast", 0.9, 0.89)):
        trial = Trial(
            "nmnist-sim", method=method, rho=0.3 * (method == "sast"), epochs=2, profiles=("loihi_int8",)
        )
        address = 16 * address
        measures = {"overflows": synthetic.overflows(1, trial.profiles)}
        synthetic.write(earlier, address, {"address": address} | synthetic.record(trial, 0.95, first))
        synthetic.write(
            records, address, {"address": address} | synthetic.record(trial, 0.95, second, measures)
        )
    answer = other_records.trained_twice(earlier, records)
    # 3 points higher and 1 lower.
    assert (answer["networks"], answer["repeated"], answer["surrogate, largest"]) == (2, 0, 0.0)
    assert answer["hard, largest"] == pytest.approx(3.0)
    assert answer["methods"]["baseline, rho 0"] == pytest.approx({"networks": 1, "hard, lower": -3.0})
    assert answer["methods"]["sast, rho 0.3"] == pytest.approx({"networks": 1, "hard, lower": 1.0})
    # A measure that only the record has does not count; one number does.
    first, second = (folder / f"{16 * 'a'}.json" for folder in (earlier, records))
    first.write_text(second.read_text())
    assert other_records.trained_twice(earlier, records)["repeated"] == 1
    record = json.loads(first.read_text())
    del record["measures"]
    first.write_text(json.dumps(record))
    answer = other_records.trained_twice(earlier, records)
    assert answer["repeated"] == 1 and "hard, lower" not in answer["methods"]["baseline, rho 0"]
    assert answer["hard, largest"] == pytest.approx(1.0)
    record["validation"]["epoch"] += 1
    first.write_text(json.dumps(record))
    assert other_records.trained_twice(earlier, records)["repeated"] == 0
    second.unlink()
    with pytest.raises(InputError, match=r"aaaa\.json"):
        other_records.trained_twice(earlier, records)


def test_every_experiment_of_the_folder_is_in_the_results(committed):
    names = {experiment.name for experiment in assemble.experiments(PAPER)}
    assert len(names) > 18 and set(committed["experiments"]) == names
    for name, experiment in committed["experiments"].items():
        assert (PAPER / "tables" / f"{name}.csv").exists() == bool(experiment["trials_done"])


def test_every_committed_record_is_in_the_results(committed):
    trained = {path.name for path in (PAPER / "records").glob("*.json") if path.name.count(".") == 1}
    assert committed["trainings"]["count"] == len(trained)


RESULTS = {
    "experiments": {
        "e": {
            "points": {
                "a": {
                    "seeds": [0, 1],
                    "figures": {
                        "hard": {"mean": 90.126, "deviation": 1.5, "interval": [80.0, 99.0], "by_seed": {"0": 89.0, "1": 91.0}}
                    },
                    "less_reference": {"hard": {"mean": 1.0, "deviation": 0.1, "interval": [0.5, 1.5], "by_seed": {}}},
                    "over_reference": {"hard": 0.98765},
                },
                "b": {"seeds": []},
            }
        }
    },
    "cost": {"ratio": 2.0014, "turns": 1234},
}  # fmt: skip
ENTRY = {
    "given": {"the paper": ["65.7"]},
    "quotes": [
        {"experiment": "e", "cells": "{hard} | {hard | less 1} |", "rows": {"| one | ": "a", "| two | ": "b"}},
        {"text": "by {2:hard | mean 1} ({1:seeds} seeds: {2:hard | by seed}; {2:hard | ratio})", "at": ["experiments / e / points / b", "experiments / e / points / a"]},
        {"text": "{ratio} in {turns}", "at": "cost"},
    ],
}  # fmt: skip
PAGE = """| one | 90.13 ± 1.50 | +1.0 (+0.5 to +1.5) |
| two | - | - |
by 90.1 (0 seeds: 89.0; 91.0; 0.988), 2.00 in 1,234, the paper 65.7
"""


def test_a_page_that_quotes_the_results_has_no_fault():
    assert quoted.faults(PAGE, ENTRY, RESULTS) == []


@pytest.mark.parametrize(("old", "new", "fault"), [
    ("90.13", "90.12", "not in the page: | one | 90.13 ± 1.50 | +1.0 (+0.5 to +1.5) |"),
    ("| two | - | - |", "| two | 1 | - |", "not in the page: | two | - | - |"),
    ("0 seeds", "1 seeds", "not in the page: by 90.1 (0 seeds: 89.0; 91.0; 0.988)"),
    ("65.7", "65.8", "no record gives 65.8"),
])  # fmt: skip
def test_a_number_that_the_results_do_not_give_is_a_fault(old, new, fault):
    assert fault in quoted.faults(PAGE.replace(old, new), ENTRY, RESULTS)


def test_results_that_change_make_a_fault_and_are_put_into_the_page():
    results = json.loads(json.dumps(RESULTS))
    results["experiments"]["e"]["points"]["b"] = RESULTS["experiments"]["e"]["points"]["a"]
    results["cost"]["ratio"] = 3.0
    assert len(quoted.faults(PAGE, ENTRY, results)) >= 3
    page = quoted.updated(PAGE, ENTRY, results)
    assert "| two | 90.13 ± 1.50 | +1.0 (+0.5 to +1.5) |" in page and "3.00 in 1,234" in page
    assert quoted.faults(page, ENTRY, results) == []
    assert quoted.updated(page, ENTRY, RESULTS) == PAGE
    with pytest.raises(
        InputError, match=r"stands in the page 0 times, whatever its figures, and not once: 3\.00 in"
    ):
        quoted.updated(page.replace(" in 1,234", ""), ENTRY, results)


def test_a_quote_of_what_there_is_not_is_refused():
    for change, text in (
        ({"at": "experiments / f"}, "'experiments / f': results.json has no 'f' there."),
        ({"text": "{harrd}", "at": "experiments / e / points / a"}, "no figure 'harrd'."),
    ):
        with pytest.raises(InputError, match=text):
            quoted.quotes([{"text": "{turns}", **change}], RESULTS)


def test_a_number_is_given_where_it_stands_and_in_its_section_only():
    entry = {
        "quotes": [],
        "given": {"the paper": ["65.7 of 12"], "a setting": ["at 1/15"]},
        "section": "Here",
    }
    page = "# 1\n\n## Here\n\n1. 65.7 of 12 at 1/15, INT8, `a 9`, [x](b9.md)\n\n## 2. There\n\n99\n"
    assert quoted.faults(page, entry, RESULTS) == []
    for old, new, number in (("of 12", "of 13", "13"), ("1/15", "1/16", "16"), ("INT8", "8 bits", "8")):
        assert f"no record gives {number}" in quoted.faults(page.replace(old, new), entry, RESULTS)
    assert quoted.faults(page.replace("at 1/15", ""), entry, RESULTS) == [
        "given, but not in the page: at 1/15"
    ]


@pytest.mark.parametrize(("old", "new"), [
    ("(231 of `table1`", "(14 of `table1`"),
    ("2 of the 58 settings", "40 of the 58 settings"),
    ("It makes 2 % fewer", "It makes 20 % fewer"),
    ("at most 3,992 kSynOps", "at most 9,999 kSynOps"),
    ("all 21 networks", "all 99 networks"),
    ("to close: it is 0.1 points", "to close: it is 0.4 points"),
    ("at most 114 more", "at most 900 more"),
    ("are 38 points", "are 4 points"),
    ("after 22,366 ± 8,972 gradients", "after 80,000 ± 8,972 gradients"),
    ("One state within 0.15", "One state within 0.04"),
    ("54,001 / 5,999", "54,001 / 6,999"),
    ("198 test recordings", "188 test recordings"),
    ("with 66 validation", "with 67 validation"),
    ("84,400 gradients", "84,500 gradients"),
    ("is 2,820 steps", "is 2,830 steps"),
    ("42,200 and 20,256 steps", "42,200 and 20,356 steps"),
    ("all digits, 200 epochs", "all digits, 100 epochs"),
    ("| 60 and 32, 1/33, 5 |", "| 60 and 32, 1/33, 6 |"),
    ("has 8 to 60 epochs", "has 9 to 60 epochs"),
    ("accuracy below 40 %", "accuracy below 50 %"),
    ("three decimals, 0.5 + 25 / pi", "three decimals, 0.5 + 35 / pi"),
])  # fmt: skip
def test_a_claim_of_the_results_pages_cannot_change_unnoticed(committed, old, new):
    pages = {name: (PAPER / name).read_text("utf-8") for name in ("RESULTS.md", "SHORT.md")}
    ((name, page),) = ((name, page) for name, page in pages.items() if old in page)
    assert page.count(old) == 1
    entry = load_strict_yaml(PAPER / "quoted.yaml")[f"benchmarks/paper/{name}"]
    assert quoted.faults(page.replace(old, new), entry, committed)


def test_the_readmes_seeds_cannot_change_unnoticed(committed):
    page = (PAPER.parents[1] / "README.md").read_text("utf-8")
    entry = load_strict_yaml(PAPER / "quoted.yaml")["README.md"]
    assert "; five seeds, as" in page and quoted.faults(
        page.replace("; five seeds, as", "; 15 seeds, as"), entry, committed
    )


def test_the_committed_pages_quote_the_committed_results(committed):
    for name, entry in load_strict_yaml(PAPER / "quoted.yaml").items():
        page = (HOME / name).read_text("utf-8")
        assert quoted.faults(page, entry, committed) == []


def test_the_committed_pages_are_short_and_their_links_lead_somewhere():
    for name, most in (("RESULTS.md", 300), ("SHORT.md", 100), ("ADVICE.md", 80)):
        page = (PAPER / name).read_text("utf-8")
        assert len(page.splitlines()) <= most
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link]
        assert links and all((PAPER / link).exists() for link in links), links
