"""The quickstart: whole, resumable, and careful with folders."""

import json
import shutil
from dataclasses import replace

import pytest

from sastdeploy._files.locks import alone
from sastdeploy.cli.quickstart_tables import print_next, print_small_values, print_summary
from sastdeploy.errors import InputError
from sastdeploy.networks.checkpoint import load_checkpoint, save_checkpoint
from sastdeploy.quickstart import (
    METHODS,
    PROFILES,
    QuickstartSettings,
    SmallValuesSettings,
    run,
)
from tests.command_line import cli

TINY = QuickstartSettings(train=60, test=20, epochs=1)
VALUES = SmallValuesSettings(train=80, test=20, epochs=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder, the summary of the first comparison, and that of both."""
    out, first = tmp_path_factory.mktemp("quickstart") / "out", []
    summary = run(out, TINY, VALUES, first=first.append)
    return out, first[0], summary


def test_it_makes_four_programs_and_says_where_everything_came_from(made):
    out, _, summary = made
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
    for picture in ("recording.png", "accuracy.png", "small-values/accuracy.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")


def test_a_second_run_repeats_no_training_and_gives_the_same_figures(made, monkeypatch):
    out, _, summary = made

    monkeypatch.setattr("sastdeploy.training.loop.run_epoch", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr("sastdeploy.experiments.runner.start", lambda *_, **__: pytest.fail("trained again"))
    again = run(out, TINY, VALUES)
    assert again["table_4"] == summary["table_4"] and again["float"] == summary["float"]


def test_the_second_comparison_has_small_values_and_as_many_gradients(made):
    out, first, summary = made
    assert "small_values" not in first and {key: summary[key] for key in first} == first
    kept = [load_checkpoint(path) for path in (out / "small-values" / "work").glob("*/ckpt.pt")]
    for method, epochs, rho in (("baseline", 4, 0.0), ("sast", 2, 0.3)):
        (checkpoint,) = (c for c in kept if c.training["method"] == method)
        training = checkpoint.training
        assert (training["method"], training["epochs"], training["rho"]) == (method, epochs, rho)
        assert checkpoint.preprocessing.divisor == 255.0
    assert set(summary["small_values"]["float"]) == set(METHODS)


def test_an_interrupted_second_run_keeps_the_second_comparison(made):
    out, _, summary = made
    with pytest.raises(KeyboardInterrupt):
        run(out, TINY, VALUES, first=lambda summary: (_ for _ in ()).throw(KeyboardInterrupt))
    kept = json.loads((out / "summary.json").read_text())["small_values"]
    assert kept["float"] == summary["small_values"]["float"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_prints_tables_or_one_object(made, capsys, monkeypatch, options):
    out, _, summary = made
    monkeypatch.setattr("sastdeploy.quickstart.SMALL", TINY)
    monkeypatch.setattr("sastdeploy.quickstart.SMALL_VALUES", VALUES)
    code, text, err = cli(capsys, "quickstart", "--small", "--out", out, *options)
    assert code == 0 and "-- train both on small values, side by side: baseline 4 epochs, SAST 2" in err
    if options:
        assert json.loads(text)["small_values"]["float"] == summary["small_values"]["float"]
    else:
        assert text.index("Table 4's form") < text.index("Frames with small values") < text.index("Next:")


def test_the_second_table_says_what_counts_are_divided_by(made, capsys):
    print_small_values(made[2])
    text = capsys.readouterr().out
    assert (
        "(counts divided by 255, as 8-bit images are), as many gradients: baseline 4 epochs, SAST 2"
        in " ".join(text.split())
    )
    assert text.count("\n baseline ") == text.count("\n sast ") == 1


def test_the_table_has_four_rows_and_three_next_commands(made, capsys):
    out, _, summary = made
    print_summary(summary)
    print_next(summary, out)
    text = capsys.readouterr().out
    assert (
        text.count("baseline") == 3 and text.count("loihi_int8") == 2 and text.count("aggressive_int4") == 2
    )
    assert (
        len([line for line in text.split("Next:\n")[1].splitlines() if line.startswith("  sastdeploy ")]) == 3
    )


def test_another_quickstart_or_other_files_are_not_touched(made, tmp_path):
    out, *_ = made
    with pytest.raises(InputError) as caught:
        run(out, replace(TINY, seed=1), VALUES)
    assert str(caught.value) == (
        f"{out}: holds a quickstart of other settings. Choose another --out, or replace it with --force."
    )
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"exists and holds no quickstart. Choose another folder with --out"):
        run(tmp_path, TINY, VALUES)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_two_quickstarts_are_never_at_work_in_one_folder(tmp_path, monkeypatch):
    with alone(tmp_path / "out", ""), pytest.raises(InputError) as caught:
        run(tmp_path / "out", TINY, VALUES, force=True)
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: another quickstart is at work there. Wait for its end, or choose another folder with --out."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("force", [False, True])
def test_what_a_killed_write_of_its_settings_left_is_no_hindrance(tmp_path, monkeypatch, force):
    monkeypatch.setattr("sastdeploy.quickstart._first", lambda *_: pytest.fail("begun"))
    left = tmp_path / ".settings.json.a1b2c3d4.json"
    left.write_text("half")
    with pytest.raises(pytest.fail.Exception, match="begun"):
        run(tmp_path, TINY, VALUES, force=force)
    assert not left.exists() and (tmp_path / "settings.json").exists()


@pytest.mark.parametrize("content", ['{"editor.fontSize": 12}', "[1]", "// no JSON"])
def test_force_takes_no_folder_that_is_no_quickstarts(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"exists and holds no quickstart. Choose another folder with --out"):
        run(tmp_path, TINY, VALUES, force=True)
    assert (tmp_path / "mine.txt").read_text() == "mine" and (
        tmp_path / "settings.json"
    ).read_text() == content


@pytest.fixture
def copied(made, tmp_path):
    """Return a copy of what was made, which a test may change."""
    return shutil.copytree(made[0], tmp_path / "copy")


class Stop(Exception):
    pass


def stop(summary):
    raise Stop


def test_force_removes_what_a_quickstart_made_and_nothing_else(copied):
    (copied / "mine.txt").write_text("mine")
    (copied / "small-values" / "mine.txt").write_text("lost: the folder is the quickstart's")
    with pytest.raises(Stop):
        run(copied, replace(TINY, seed=1), VALUES, force=True, first=stop)
    assert (copied / "mine.txt").read_text() == "mine"
    assert sorted(p.name for p in (copied / "small-values").iterdir()) == ["settings.json"]
    assert load_checkpoint(copied / "sast.pt").training["seed"] == 1


def test_a_checkpoint_of_the_second_comparison_that_is_gone_is_trained_again(made, copied):
    shutil.rmtree(copied / "small-values" / "work")
    again = run(copied, TINY, VALUES)
    assert again["small_values"]["float"] == made[2]["small_values"]["float"]


@pytest.mark.parametrize("name", ["baseline.pt", "small-values/work/*/ckpt.pt"])
def test_another_checkpoint_or_a_damaged_one_is_refused_and_what_to_do(copied, name):
    (path, *_) = copied.glob(name)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(InputError) as damaged:
        run(copied, TINY, VALUES)
    checkpoint = load_checkpoint(copied / "sast.pt")
    save_checkpoint(path, replace(checkpoint, training=checkpoint.training | {"seed": 5}), force=True)
    with pytest.raises(InputError) as other:
        run(copied, TINY, VALUES)
    for error in (damaged, other):
        assert str(error.value).startswith(f"{path}: ")
        assert str(error.value).endswith(" To begin this quickstart again: --force.")
