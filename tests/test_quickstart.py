"""The quickstart: whole, resumable, and careful with folders."""

import json

import pytest

from sastdeploy.cli.quickstart_tables import print_summary
from sastdeploy.errors import InputError
from sastdeploy.quickstart import METHODS, PROFILES, QuickstartSettings, run

TINY = QuickstartSettings(train=60, test=20, epochs=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("quickstart") / "out"
    return out, run(out, TINY)


def test_it_makes_four_programs_and_says_where_everything_came_from(made):
    out, summary = made
    assert [(row["profile"], row["method"]) for row in summary["table_4"]] == [
        (p, m) for p in PROFILES for m in METHODS
    ]
    assert summary["simulated"] is True and summary["schema"] == "sastdeploy.quickstart/1"
    assert json.loads((out / "summary.json").read_text()) == summary
    for row in summary["table_4"]:
        assert row["largest_ksynops"] == 3998.08 and 0 < row["ksynops"] < row["largest_ksynops"]
        assert row["accuracy"]["total"] == 20 and len(row["program_hash"]) == 64
        assert (row["r_ops"] == 1.0) or row["method"] == "sast"
    assert set(summary["float"]) == set(METHODS)
    for picture in ("recording.png", "accuracy.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")


def test_a_second_run_repeats_no_training_and_gives_the_same_figures(made, monkeypatch):
    out, summary = made

    monkeypatch.setattr("sastdeploy.fit", lambda *_, **__: pytest.fail("trained again"))
    again = run(out, TINY)
    assert again["table_4"] == summary["table_4"] and again["float"] == summary["float"]


def test_the_table_has_four_rows_and_three_next_commands(made, capsys):
    out, summary = made
    print_summary(summary, out)
    text = capsys.readouterr().out
    assert (
        text.count("baseline") == 3 and text.count("loihi_int8") == 2 and text.count("aggressive_int4") == 2
    )
    assert (
        len([line for line in text.split("Next:\n")[1].splitlines() if line.startswith("  sastdeploy ")]) == 3
    )


def test_another_quickstart_or_other_files_are_not_touched(made, tmp_path):
    out, _ = made
    with pytest.raises(InputError) as caught:
        run(out, TINY.with_seed(1))
    assert str(caught.value) == (
        f"{out}: holds a quickstart of other settings. Choose another --out, or replace it with --force."
    )
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"exists and holds no quickstart. Choose another folder with --out"):
        run(tmp_path, TINY)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
