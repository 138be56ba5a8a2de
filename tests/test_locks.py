"""Lock files: one process at a time, nobody stopped by a dead one or by a file system without locks."""

import errno
import subprocess
import sys

import filelock
import pytest

from sastdeploy._files.locks import alone, held
from sastdeploy.errors import InputError

HOLDER = """
import sys, time
from pathlib import Path
from sastdeploy._files.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_processes_lock_is_told_or_waited_for_and_ends_with_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(filelock.Timeout), held(tmp_path / "lock", wait=False):
            pass
        holder.kill()
    with held(tmp_path / "lock"):
        pass


def test_a_file_system_without_locks_holds_nobody_up(tmp_path, monkeypatch):
    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    done = []
    with held(tmp_path / "lock", wait=False), held(tmp_path / "lock", wait=False):
        done.append(True)
    assert done


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(OSError), held(tmp_path / "lock", wait=False):
        pass


def test_what_is_made_alone_is_nobody_elses_and_leaves_no_lock(tmp_path):
    place, beside = tmp_path / "new" / "set", tmp_path / "new" / ".set.lock"
    with alone(place, "is busy. Wait."):
        assert beside.exists()
        with (
            pytest.raises(InputError) as error,
            alone(tmp_path / "new" / ".." / "new" / "set", "is busy. Wait."),
        ):
            pytest.fail("two at once")
        assert str(error.value) == f"{tmp_path / 'new' / '..' / 'new' / 'set'}: is busy. Wait."
    assert not beside.exists()
    (tmp_path / "file").write_text("x")
    reason = r"deep/set: cannot be written \(Not a directory\)"
    with pytest.raises(InputError, match=reason), alone(tmp_path / "file" / "deep" / "set", ""):
        pass
