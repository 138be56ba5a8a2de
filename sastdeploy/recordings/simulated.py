"""The manifest that seals a simulated set, and the hash of its recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sastdeploy._files.reading import read_json, shown
from sastdeploy.errors import InputError

MANIFEST = "simulated.json"
_ANEW = "Remove the folder and make the set again."


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a complete simulated set: parameters, numbers of recordings and events, SHA-256 of the content.

    Raises:
        InputError: it is missing, or is no such manifest.
    """
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
    except InputError as error:
        raise InputError(f"{error} {_ANEW}") from error
    fits = (
        isinstance(manifest, dict)
        and isinstance(manifest.get("parameters"), dict)
        and all(type(manifest.get(key)) is int and manifest[key] >= 0 for key in ("recordings", "events"))
        and type(manifest.get("sha256")) is str
    )
    if not fits:
        raise no_manifest(folder / MANIFEST)
    return manifest


def no_manifest(path: Path) -> InputError:
    """Return the error of a file that is not the manifest of a simulated set."""
    return InputError(f"{shown(path)}: is not a manifest of a simulated set. {_ANEW}")


def content_hash(recordings: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of a set from each recording's (file name, its SHA-256), in any order."""
    return hashlib.sha256(
        "".join(f"{digest}  {name}\n" for name, digest in sorted(recordings)).encode()
    ).hexdigest()
