"""Downloads from a server on this machine: whole, broken off and resumed, wrong bytes."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sastdeploy.errors import InputError
from sastdeploy.recordings.catalog import CATALOG, RemoteFile
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.download import fetch

CONTENT = bytes(range(256)) * 4096
HALF = len(CONTENT) // 2


@pytest.fixture
def server():
    """A server of CONTENT; ``break_after`` bytes it hangs up; ``asked`` holds the Range headers seen; ``empty`` is the
    status of an answer with nothing in it; it says how much it sends unless ``length`` is False."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            self.server.asked.append(asked)
            if self.server.empty:
                self.send_response(self.server.empty)
                if self.server.empty == 200:
                    self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if self.server.length:
                self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : self.server.break_after])

        def log_message(self, *_):
            pass

    served = HTTPServer(("127.0.0.1", 0), Handler)
    served.asked, served.ranges, served.break_after, served.empty, served.length = [], True, None, None, True
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()


def facts(server, content=CONTENT, limit=1 << 20):
    url = f"http://127.0.0.1:{server.server_address[1]}/Train.zip"
    remote = RemoteFile("Train.zip", url, hashlib.md5(content).hexdigest(), limit)
    return replace(dataset("nmnist"), files=(remote,))


def test_a_file_is_downloaded_once(server, tmp_path):
    for _ in range(2):
        folder = fetch(facts(server), tmp_path)
    assert [file.name for file in folder.iterdir()] == ["Train.zip"]
    assert (folder / "Train.zip").read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_folder_that_cannot_be_written_is_not_taken_for_a_lost_connection(server, tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(InputError) as caught:
        fetch(facts(server), tmp_path / "taken" / "data")
    assert str(caught.value) == (
        f"{tmp_path}/taken/data/nmnist/Train.zip: cannot be written (Not a directory). Make room, or name another folder "
        "with --data."
    )


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(server, tmp_path, ranges):
    server.break_after = HALF
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch(facts(server), tmp_path)
    assert (tmp_path / "nmnist" / ".Train.zip.part").stat().st_size == HALF
    server.break_after, server.ranges = None, ranges
    folder = fetch(facts(server), tmp_path)
    assert server.asked == [None, f"bytes={HALF}-"]
    assert [file.name for file in folder.iterdir()] == ["Train.zip"]
    assert (folder / "Train.zip").read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken(server, tmp_path):
    (tmp_path / "nmnist").mkdir()
    (tmp_path / "nmnist" / ".Train.zip.part").write_bytes(CONTENT)
    assert (fetch(facts(server), tmp_path) / "Train.zip").read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(server, tmp_path):
    with pytest.raises(InputError, match="has not the published MD5"):
        fetch(facts(server, b"other"), tmp_path)
    assert not (tmp_path / "nmnist").exists()


@pytest.mark.parametrize("status", [202, 200])
def test_an_answer_with_nothing_in_it_is_told_as_such(server, tmp_path, status):
    server.empty = status
    with pytest.raises(
        InputError, match=rf"Train.zip: answered {status} with no content\. The server does not give"
    ):
        fetch(facts(server), tmp_path)
    assert not (tmp_path / "nmnist").exists()


@pytest.mark.parametrize("length", [True, False])
def test_a_server_that_sends_more_than_the_file_has_is_stopped_and_nothing_is_kept(server, tmp_path, length):
    server.length, received = length, []
    limit = HALF - 1
    with pytest.raises(InputError) as caught:
        fetch(facts(server, limit=limit), tmp_path, lambda here, total: received.append(here))
    url = f"http://127.0.0.1:{server.server_address[1]}/Train.zip"
    # Where it does not say how much it sends, it is stopped at the first block beyond the limit.
    size = len(CONTENT) if length else HALF
    assert str(caught.value) == (
        f"{url}: sends {size:,} bytes or more; Train.zip may have at most {limit:,}. "
        "This is not the published file; try again later, or download it by hand."
    )
    assert max(received, default=0) <= (0 if length else limit)
    assert not (tmp_path / "nmnist").exists()


def test_a_part_that_is_larger_than_the_file_is_not_gone_on_with(server, tmp_path):
    (tmp_path / "nmnist").mkdir()
    (tmp_path / "nmnist" / ".Train.zip.part").write_bytes(CONTENT + b"x")
    assert (fetch(facts(server), tmp_path) / "Train.zip").read_bytes() == CONTENT
    assert server.asked == [None]


def test_an_interrupted_download_leaves_nothing_under_the_name_and_the_old_file_as_it_was(server, tmp_path):
    (tmp_path / "nmnist").mkdir()
    target = tmp_path / "nmnist" / "Train.zip"
    target.write_bytes(b"other")

    def interrupted(here, total):
        if here >= HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(facts(server), tmp_path, interrupted)
    assert target.read_bytes() == b"other"
    assert sorted(p.name for p in target.parent.iterdir()) == [".Train.zip.part", "Train.zip"]
    assert (fetch(facts(server), tmp_path) / "Train.zip").read_bytes() == CONTENT
    assert server.asked[-1] is not None and sorted(p.name for p in target.parent.iterdir()) == ["Train.zip"]


@pytest.mark.parametrize("name", [name for name in CATALOG if CATALOG[name].files])
def test_the_limits_of_a_data_set_leave_room_for_what_its_catalog_states(name):
    number, unit = CATALOG[name].size.split()[:2]
    stated = float(number) * {"MB": 1e6, "GB": 1e9}[unit]
    limits = [remote.limit for remote in CATALOG[name].files]
    assert 0.95 * stated < sum(limits) < 4 * stated and max(limits) < 32 << 30
