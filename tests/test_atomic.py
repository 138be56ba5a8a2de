"""A write happens whole or not at all."""

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress

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
    with pytest.raises(InputError, match=r"taken: is a folder\. Name the file to write."):
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


def test_a_symbolic_links_target_is_what_is_written(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept" / "file")
    for content in ("made", "replaced"):
        atomic.write_text(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "kept" / "file").read_text() == content


def test_a_fifo_is_written_through_and_without_a_reader_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match=r"fifo: cannot be written \(No such device or address\)"):
        atomic.write_text(tmp_path / "fifo", "x")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "fifo").read_text()))
    reader.start()
    for _ in range(100):
        with suppress(InputError):
            atomic.write_text(tmp_path / "fifo", "x" * 200_000)
            break
        time.sleep(0.05)
    reader.join(10)
    assert received == ["x" * 200_000] and stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_a_device_is_written_through_and_stays_a_device(tmp_path):
    with pytest.raises(InputError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        atomic.write_text("/dev/full", "x")
    atomic.write_text("/dev/null", "x")
    assert all(stat.S_ISCHR(os.stat(path).st_mode) for path in ("/dev/full", "/dev/null"))
    with pytest.raises(InputError, match=r"/dev/null: is not a regular file\. Name"):
        atomic.check_regular("/dev/null")


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("s")
        with pytest.raises(InputError, match=r"s: is neither a file nor a stream\. Name"):
            atomic.write_text("s", "x")


def test_own_output_is_written_in_its_place(tmp_path):
    program = (
        "import sys; from sastdeploy._files import atomic; sys.stdout.write('before '); "
        "atomic.write_text('/dev/stdout', 'between '); print('after')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before between after\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "before between after\n"


@pytest.mark.parametrize("links", [True, False])
def test_without_force_only_an_equal_file_may_be_there(tmp_path, monkeypatch, links):
    if not links:

        def refused(*_):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", refused)
    atomic.write_text(tmp_path / "a", "one", force=False)
    before = (tmp_path / "a").stat()
    atomic.write_text(tmp_path / "a", "one", force=False)
    with pytest.raises(InputError) as caught:
        atomic.write_text(tmp_path / "a", "two", force=False)
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: exists, and is not what would be written now. Choose another name, or replace it with --force."
    )
    after = (tmp_path / "a").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    atomic.write_text(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "two" and os.listdir(tmp_path) == ["a"]


def test_an_input_is_never_the_output_under_whatever_name(tmp_path):
    (tmp_path / "in").write_text("x")
    (tmp_path / "link").symlink_to("in")
    os.link(tmp_path / "in", tmp_path / "twin")
    for name in ("in", "link", "twin"):
        with pytest.raises(InputError, match=f"{name}: is itself what this command reads"):
            atomic.check_writable(tmp_path / name, inputs=[tmp_path / "none", tmp_path / "in"])


def test_files_for_which_there_is_no_room_are_told_of_their_folder(tmp_path):
    with pytest.raises(InputError) as error, atomic.adding_files(tmp_path / "figures"):
        raise OSError(28, "No space left on device")
    assert str(error.value) == (
        f"{tmp_path / 'figures'}: cannot be written (No space left on device). Make room there and where temporary files lie (TMPDIR)."
    )
    assert not (tmp_path / "figures").exists()


def test_a_file_of_a_folder_that_is_read_is_never_the_output(tmp_path):
    (tmp_path / "set" / "a").mkdir(parents=True)
    recording = tmp_path / "set" / "a" / "1.bin"
    recording.write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    for path in (recording, tmp_path / "link" / "a" / "1.bin"):
        with pytest.raises(InputError) as error:
            atomic.check_writable(path, inputs=[tmp_path / "link"])
        assert str(error.value) == (
            f"{path}: is a file of {tmp_path / 'link'}, which this command reads. Choose another name for the output."
        )
    atomic.check_writable(tmp_path / "set" / "a" / "2.bin", inputs=[tmp_path / "set"])
    itself = pytest.raises(InputError, match=r"1\.bin: is itself what this command reads")
    with itself, atomic.adding_files(tmp_path / "set" / "a", inputs=[recording]) as fresh:
        (fresh / "1.bin").write_text("y")
        (fresh / "0.bin").write_text("y")
    assert recording.read_text() == "x"


def test_what_a_path_leads_to_through_a_missing_folder_is_never_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.txt").write_text("years")
    detour = tmp_path / "typo" / ".." / "there"
    message = "there: leads through a folder that does not exist, to something that does. Name it without that folder."
    with pytest.raises(InputError, match=message), atomic.replacing_folder(detour):
        pytest.fail("nothing is made")
    with pytest.raises(InputError, match=message), atomic.adding_files(detour):
        pytest.fail("nothing is made")
    for path in (detour / "thesis.txt", tmp_path / "typo" / ".." / "there" / ".." / "there" / "thesis.txt"):
        with pytest.raises(InputError, match=r"thesis\.txt: leads through a folder that does not exist"):
            atomic.write_text(path, "new")
        with pytest.raises(InputError, match=r"thesis\.txt: leads through a folder that does not exist"):
            atomic.check_writable(path)
    assert (tmp_path / "there" / "thesis.txt").read_text() == "years"
    # What is new may be named so, and links are followed as the system follows them.
    atomic.write_text(detour / "new.txt", "x")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    atomic.write_text(tmp_path / "link" / ".." / "there" / "thesis.txt", "done")
    assert (
        sorted(os.listdir(tmp_path / "there")) == ["new.txt", "thesis.txt"]
        and not (tmp_path / "typo").exists()
    )


def test_a_name_near_the_longest_can_be_written(tmp_path):
    for name in ("n" * 255, "n." + "s" * 253, "ü" * 127):
        atomic.write_text(tmp_path / name, "x")
    assert len(os.listdir(tmp_path)) == 3


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "deep" / "result"

    def write(content, **options):
        with atomic.replacing_folder(folder, **options) as fresh:
            (fresh / "a").write_text(content)
            if content == "bad":
                raise RuntimeError

    with pytest.raises(RuntimeError):
        write("bad")
    assert os.listdir(folder.parent) == []
    write("old")
    with pytest.raises(RuntimeError):
        write("bad")
    write("late", force=False)
    assert (folder / "a").read_text() == "old" and os.listdir(folder.parent) == ["result"]
    write("new")
    assert (folder / "a").read_text() == "new" and os.listdir(folder.parent) == ["result"]
    (tmp_path / "link").symlink_to(folder)
    folder = tmp_path / "link"
    write("linked")
    assert folder.is_symlink() and (tmp_path / "deep" / "result" / "a").read_text() == "linked"


def test_what_the_system_refuses_a_folder_is_the_callers_error_where_it_gives_one(tmp_path):
    (tmp_path / "file").write_text("x")

    def failure(error):
        return InputError(f"no frames: {error.strerror}")

    for place, reason in (
        (tmp_path / "file" / "below", "File exists"),
        (tmp_path / "file", "Not a directory"),
    ):
        with (
            pytest.raises(InputError) as caught,
            atomic.replacing_folder(place, force=False, failure=failure) as fresh,
        ):
            (fresh / "a").write_text("x")
        assert str(caught.value) == f"no frames: {reason}"
    with (
        pytest.raises(InputError, match=r"^no frames: No space"),
        atomic.replacing_folder(tmp_path / "b", failure=failure),
    ):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "x"


def test_small_files_that_can_be_made_again_do_not_wait_for_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    atomic.write_bytes(tmp_path / "a", b"x", sync=False)
    assert synced == []
    atomic.write_bytes(tmp_path / "a", b"y")
    assert len(synced) == 1 and (tmp_path / "a").read_bytes() == b"y"


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("when", [1, 2])
def test_an_interruption_while_a_folder_is_replaced_leaves_one_of_the_two(
    tmp_path, monkeypatch, exchange, when
):
    """Ctrl-C at the return of a rename, which has been done by then."""
    folder = tmp_path / "result"
    with atomic.replacing_folder(folder) as fresh:
        (fresh / "a").write_text("old")
    renames, rename = [], type(folder).rename

    def interrupted(self, target):
        rename(self, target)
        renames.append(target)
        if len(renames) == when:
            raise KeyboardInterrupt

    if not exchange:
        monkeypatch.setattr(atomic, "_exchanged", lambda *_: False)
    monkeypatch.setattr(type(folder), "rename", interrupted)
    with suppress(KeyboardInterrupt), atomic.replacing_folder(folder) as fresh:
        (fresh / "a").write_text("new")
    monkeypatch.undo()
    assert (folder / "a").read_text() == ("new" if exchange or when == 2 else "old")
    assert os.listdir(tmp_path) == ["result"]
    assert exchange is (not renames)  # where the system exchanges two folders, there is no moment without one


def test_remnants_of_killed_writes_are_those_of_this_target_alone(tmp_path):
    target = tmp_path / "set.json"
    own = [".set.json.a1b2c3d4.json", ".set.json.old.abcd_123", ".set.json.abcdefgh"]
    others = [
        ".set.json.lock",
        ".set.json.a1b2c3d4.txt",
        ".set.a1b2c3d4.json",
        "set.json.a1b2c3d4.json",
        ".set.json.a1b2c3d4e.json",
    ]
    for name in (own[0], *others):
        (tmp_path / name).write_text("x")
    for name in own[1:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "deep").write_text("x")
    assert sorted(path.name for path in atomic.remnants(target)) == sorted(own)
    atomic.remove_remnants(target)
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    assert atomic.remnants(tmp_path / ("n" * 49)) == [] and atomic.remnants(tmp_path / "none" / "a") == []
    with suppress(KeyboardInterrupt), atomic.replacing(target) as temporary:
        assert atomic.remnants(target) == [temporary]
        raise KeyboardInterrupt
