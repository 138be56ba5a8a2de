"""Names: of nodes that programs allow, and those that an export's functions, modules and files begin with."""

from __future__ import annotations

import re

from sastdeploy.errors import InputError

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[^A-Za-z0-9_.,:;()+ -]")
_MAX_LETTERS = 48


def clean(name: str) -> str:
    """Return a name of at most 60 letters, digits and ``_ . -``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".-")[:60] or "network"


def plain(text: str) -> str:
    """Return a text from a program as it can stand in a comment: neither ends it nor means anything there."""
    return _PLAIN.sub("_", text)


def default_name(name: str, taken: tuple[str, ...] = ()) -> str:
    """Return a program's name as an identifier that is none of those taken."""
    letters = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:_MAX_LETTERS].rstrip("_")
    if not _IDENTIFIER.fullmatch(letters) or letters.lower() in taken:
        letters = f"network_{letters}"[:_MAX_LETTERS].rstrip("_")
    return letters


def checked_name(name: str, language: str) -> str:
    """Return the name.

    Raises:
        InputError: it is no identifier of the language, or too long.
    """
    if not _IDENTIFIER.fullmatch(name) or len(name) > _MAX_LETTERS:
        raise InputError(
            f"name '{plain(name[:_MAX_LETTERS])}': is no name for {language}. Allowed: 1 to {_MAX_LETTERS} letters, digits and _, "
            "a letter first. Choose another with --name."
        )
    return name
