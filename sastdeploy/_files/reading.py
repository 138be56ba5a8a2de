"""The one border for reading: a regular file of bounded size, and every exception of a parser turned into `InputError`."""

from __future__ import annotations

import json
import os
import reprlib
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sastdeploy.errors import InputError, SastdeployError

MIB = 1 << 20
MAX_DEPTH, MAX_VALUES = 64, 1 << 22
"""How deep JSON may nest, and how many values it may hold: far more than any file of ours, far less than Python's stack."""


@contextmanager
def open_regular(path: Path | str, *, limit: int) -> Iterator[BinaryIO]:
    """Yield a regular file of at most ``limit`` bytes, opened for reading; a FIFO or device is refused without waiting.

    Raises:
        InputError: the path cannot be opened, is no regular file, or holds more than ``limit`` bytes.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)}: cannot be read ({reason(error)}).") from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "not a regular file"
            raise InputError(f"{shown(path)}: is {kind}. Name a file.")
        if facts.st_size > limit:
            raise InputError(
                f"{shown(path)}: has {facts.st_size:,} bytes; such a file may have at most {limit:,}. Is it the right file?"
            )
        opened = os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    with opened:
        yield opened


def read_bytes(path: Path | str, *, limit: int) -> bytes:
    """Return a regular file's content.

    Raises:
        InputError: as `open_regular`; or the file grows beyond ``limit`` while it is read.
    """
    with open_regular(path, limit=limit) as opened:
        try:
            content = opened.read(limit + 1)
        except OSError as error:
            raise InputError(f"{shown(path)}: cannot be read ({reason(error)}).") from error
    if len(content) > limit:
        raise InputError(f"{shown(path)}: grew beyond {limit:,} bytes while it was read.")
    return content


def read_text(path: Path | str, *, limit: int = MIB) -> str:
    """Return a regular file's UTF-8 text, without a byte order mark; line ends become ``\\n``.

    Raises:
        InputError: as `read_bytes`, or the bytes are not UTF-8.
    """
    content = read_bytes(path, limit=limit)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(path)}: is not a text file (byte {error.start} is not UTF-8).") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path | str, *, limit: int = 64 * MIB) -> Any:
    """Return the content of a JSON file.

    Raises:
        InputError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, limit=limit), str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """Return the content of a JSON text that nests at most `MAX_DEPTH` deep; ``where`` names it in errors.

    Raises:
        InputError: it is not JSON, or nests deeper.
    """
    with parsing(where, "JSON"):
        content = json.loads(text)
    if not bounded(content):
        raise InputError(
            f"{shown(where)}: nests more than {MAX_DEPTH} deep, or holds more than {MAX_VALUES:,} values."
        )
    return content


def bounded(content: Any) -> bool:
    """Return whether dicts, lists and tuples nest at most `MAX_DEPTH` deep and hold at most `MAX_VALUES` values in all.

    A value that is referred to several times counts each time, as it does for whoever walks through them.
    """
    layer, count = [content], 1
    for _ in range(MAX_DEPTH):
        layer = [outer for outer in layer if isinstance(outer, (dict, list, tuple))]
        count += sum(len(outer) for outer in layer)
        if count > MAX_VALUES:
            return False
        layer = [inner for outer in layer for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return not any(isinstance(outer, (dict, list, tuple)) for outer in layer)


@contextmanager
def parsing(where: Path | str, what: str, advice: str = "") -> Iterator[None]:
    """Turn every exception of a parser into an `InputError` that says ``WHERE: is no valid WHAT (...). ADVICE``; ours pass through."""
    try:
        yield
    except SastdeployError:
        raise
    except Exception as error:
        raise InputError(
            f"{shown(where)}: is no valid {what} ({reason(error)}). {advice}".rstrip()
        ) from error


def exists(path: Path | str) -> bool:
    """Return whether something is there; a name that no file can have (too long, a NUL byte) is not there."""
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def shown(path: Path | str) -> str:
    """Return a path as text that can be printed: bytes that are no text and control characters are escaped."""
    if (text := os.fsdecode(path)).isprintable():
        return text
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def is_printable(text: str) -> bool:
    """Return whether a text has neither control characters nor lone surrogates."""
    return not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


def printable(text: str) -> str:
    """Return a text of several lines that a terminal shows and does not obey: other control characters are escaped."""
    return "\n".join(shown(line) for line in text.split("\n"))


def brief(value: Any) -> str:
    """Return a value as Python writes it, cut off where it is long or deep."""
    writer = reprlib.Repr()
    writer.maxstring = writer.maxother = writer.maxlong = 80
    return writer.repr(value)


def reason(error: BaseException) -> str:
    """Return what an exception says, on one line of at most 200 characters."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return shown(text if len(text) <= 200 else text[:197] + "...")
