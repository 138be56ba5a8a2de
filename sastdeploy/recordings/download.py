"""Downloads of the official files (pooch): resumed where they stopped, checked by hash, atomic, with progress."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sastdeploy._files.reading import reason, shown
from sastdeploy.errors import InputError
from sastdeploy.recordings.catalog import Dataset, RemoteFile

Report = Callable[[int, "int | None"], None]
"""Called with the bytes received so far, and in all (None where the server does not say)."""


def fetch(facts: Dataset, root: Path, report: Report | None = None) -> Path:
    """Download every file of a data set into ``<root>/<name>`` and return that folder; whole files are kept.

    Archives in tar format are unpacked (whole or not at all); zip files are read in place.

    Raises:
        InputError: the set is simulated, there is no connection, the folder cannot be written, a server answers with nothing or with more bytes than the
            file has, or a hash is wrong. Nothing is left under the file's name; what a broken connection brought is
            kept under a hidden one, and the next call goes on from there.
    """
    if facts.simulated:
        raise InputError(
            f"data set '{facts.name}': is simulated, so there is nothing to download. Run '{facts.install_command}'."
        )
    folder = root / facts.name
    for remote in facts.files:
        target = folder / remote.name
        if not (os.path.isfile(target) and _md5(target) == remote.md5):
            try:
                _download(remote, facts, folder, report)
            finally:
                with suppress(OSError):
                    folder.rmdir()  # succeeds for an empty folder only
        if remote.name.endswith(".tar.gz"):
            _unpack(target, folder)
    return folder


def _download(remote: RemoteFile, facts: Dataset, folder: Path, report: Report | None) -> None:
    import pooch
    import requests

    name, url, md5 = remote.name, remote.url or "", remote.md5
    part = folder / f".{name}.part"

    def downloader(url: str, output_file: str, _: object) -> None:
        _receive(url, part, remote.limit, report)
        part.replace(output_file)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Pooch compares the hash of ``output_file``, a temporary one, before it gives it the name.
        pooch.retrieve(url, f"md5:{md5}", fname=name, path=folder, downloader=downloader)
    except requests.RequestException as error:
        raise InputError(
            f"{name}: could not be downloaded from {url} ({type(error).__name__}). Download it by hand "
            f"({facts.source}), put it into {folder}, and run '{facts.install_command}' again to check it."
        ) from error
    except OSError as error:
        raise InputError(
            f"{shown(folder / name)}: cannot be written ({reason(error)}). Make room, or name another folder with --data."
        ) from error
    except ValueError as error:
        raise InputError(
            f"{name}: what {url} sent has not the published MD5 {md5}. Download it by hand ({facts.source}) "
            f"and put it into {folder}."
        ) from error


def _receive(url: str, part: Path, limit: int, report: Report | None) -> None:
    """Download ``url`` into ``part``, going on behind the bytes already there where the server can.

    Args:
        limit: the most bytes that the file may have.

    Raises:
        InputError: the server answers with nothing, or with more than ``limit`` bytes; then ``part`` is removed.
        requests.RequestException: the connection failed or broke off; what came stays in ``part``.
    """
    import requests

    received = part.stat().st_size if part.exists() else 0
    if received > limit:
        part.unlink()
        received = 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received}-"} if received else {})
    with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
        if received and answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # every byte is here; the hash decides
        answer.raise_for_status()
        length = answer.headers.get("Content-Length")
        if answer.status_code == requests.codes.accepted or length == "0":
            sent = "something else than the file" if length != "0" and answer.raw.read(1) else "no content"
            raise InputError(
                f"{url}: answered {answer.status_code} with {sent}. The server does not give the file to programs now; "
                "try again later, or download it by hand."
            )
        if answer.status_code != requests.codes.partial_content:
            received = 0
        total = received + int(length) if length else None
        if total is not None and total > limit:
            raise _too_large(url, total, limit, part)
        with part.open("ab" if received else "wb") as opened:
            for block in answer.iter_content(1 << 18):
                received += len(block)
                if received > limit:
                    raise _too_large(url, received, limit, part)
                opened.write(block)
                if report:
                    report(received, total)
    if total is not None and received < total:
        raise requests.ConnectionError(f"broke off after {received} of {total} bytes")


def _too_large(url: str, size: int, limit: int, part: Path) -> InputError:
    part.unlink(missing_ok=True)
    return InputError(
        f"{url}: sends {size:,} bytes or more; {part.name[1:].removesuffix('.part')} may have at most {limit:,}. "
        "This is not the published file; try again later, or download it by hand."
    )


def _unpack(archive: Path, folder: Path) -> None:
    from sastdeploy.recordings.dvsgesture import unpack

    inner = folder / archive.name.removesuffix(".tar.gz")
    if not os.path.isdir(inner):
        unpack(archive, folder, inner.name)


def _md5(path: Path) -> str:
    with path.open("rb") as opened:
        digest = hashlib.md5(usedforsecurity=False)
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
