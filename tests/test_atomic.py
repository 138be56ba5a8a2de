"""A write happens whole or not at all."""

import os
import stat

import pytest

from sastdeploy._files import atomic
from sastdeploy.errors import InputError


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "result.json"
    atomic.write_text(target, "old")
    with pytest.raises(RuntimeError), atomic.replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_success_replaces_the_whole_file(tmp_path):
    target = tmp_path / "new" / "result.json"
    atomic.write_text(target, "long old content")
    atomic.write_text(target, "new")
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["result.json"]


def test_the_file_is_as_readable_as_any_other(tmp_path):
    atomic.write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_a_path_is_checked_without_making_anything(tmp_path, monkeypatch):
    atomic.check_writable(tmp_path / "new" / "deep" / "a.pt")
    monkeypatch.chdir(tmp_path)
    atomic.check_writable("a.pt")
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_text("x")
    for path, message in (
        ("", ".: is a folder. Name the file to write."),
        (tmp_path, f"{tmp_path}: is a folder. Name the file to write."),
        ("file/a.pt", "file/a.pt: cannot be written (Not a directory). Choose a folder you may write to."),
        (
            "a" * 300,
            f"{'a' * 300}: cannot be written (File name too long). Choose a folder you may write to.",
        ),
    ):
        with pytest.raises(InputError) as caught:
            atomic.check_writable(path)
        assert str(caught.value) == message


def test_a_folder_in_the_way_is_an_input_error(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken: cannot be replaced"):
        atomic.write_text(tmp_path / "taken", "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        atomic.write_text(tmp_path / "file" / "below", "x")


def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path, monkeypatch):
    target = tmp_path / "a"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a: cannot be written \(No space left on device\)"):
        atomic.write_text(target, "new")
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_a_removed_folder_is_gone_at_once_whatever_happens(tmp_path, monkeypatch):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a").write_text("x")

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(atomic.shutil, "rmtree", interrupted)
        atomic.remove_folder(folder)
    assert not folder.exists()
    folder.mkdir()
    atomic.remove_folder(folder)
    assert not folder.exists()
    before = os.listdir(tmp_path)
    with pytest.raises(InputError, match="set: cannot be removed"):
        atomic.remove_folder(folder)
    assert os.listdir(tmp_path) == before
