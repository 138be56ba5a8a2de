"""Downloads of the official files (pooch): resumed by file, checked by hash, atomic, with progress."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from sastdeploy.errors import InputError
from sastdeploy.events.catalog import Dataset


def fetch(facts: Dataset, root: Path, *, show_progress: bool = True) -> Path:
    """Download every file of a data set into ``<root>/<name>`` and return that folder; whole files are kept.

    Archives in tar format are unpacked (whole or not at all); zip files are read in place.

    Raises:
        InputError: the set is simulated, there is no connection, or a file's hash is wrong.
    """
    if facts.simulated:
        raise InputError(
            f"data set '{facts.name}': is simulated, so there is nothing to download. Run '{facts.way}'."
        )
    folder = root / facts.name
    for remote in facts.files:
        target = folder / remote.name
        if not (target.is_file() and _md5(target) == remote.md5):
            try:
                _download(remote.name, remote.url or "", remote.md5, facts, folder, show_progress)
            finally:
                with suppress(OSError):
                    folder.rmdir()  # succeeds for an empty folder only
        if remote.name.endswith(".tar.gz"):
            _unpack(target, folder)
    return folder


def _download(name: str, url: str, md5: str, facts: Dataset, folder: Path, show_progress: bool) -> None:
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(progressbar=_progress() if show_progress else False, timeout=30)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, f"md5:{md5}", fname=name, path=folder, downloader=downloader)
    except (requests.RequestException, OSError) as error:
        raise InputError(
            f"{name}: could not be downloaded from {url} ({type(error).__name__}). Download it by hand "
            f"({facts.source}), put it into {folder}, and run '{facts.way}' again to check it."
        ) from error
    except ValueError as error:
        raise InputError(
            f"{name}: what {url} sent has not the published MD5 {md5}. Download it by hand ({facts.source}) "
            f"and put it into {folder}."
        ) from error


def _progress():
    """Return a progress bar in the form that pooch drives: total, update, reset, close."""
    from sastdeploy.report.terminal import progress

    class Bar:
        def __init__(self) -> None:
            self.total = 0
            self._bar = progress()
            self._task = self._bar.add_task("downloading", total=None)

        def update(self, amount: int) -> None:
            self._bar.start()
            self._bar.update(self._task, advance=amount, total=self.total or None)

        def reset(self) -> None:
            self._bar.reset(self._task)

        def close(self) -> None:
            self._bar.stop()

    return Bar()


def _unpack(archive: Path, folder: Path) -> None:
    from sastdeploy.events.gestures import unpack

    inner = folder / archive.name.removesuffix(".tar.gz")
    if not inner.is_dir():
        unpack(archive, folder, inner.name)


def _md5(path: Path) -> str:
    with path.open("rb") as opened:
        digest = hashlib.md5(usedforsecurity=False)
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
