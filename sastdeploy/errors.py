"""The exception tree. Every message says where, what is wrong, what is allowed, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SastdeployError(Exception):
    """Any failure that the user is told about without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message; what of a file's text is no valid Unicode is escaped, so that it can always be printed."""
        return super().__str__().encode("utf-8", "backslashreplace").decode("utf-8")


class InputError(SastdeployError):
    """A file or an option that the user can fix: recording, data set, checkpoint, profile, program."""

    exit_code = 3


class CompileError(SastdeployError):
    """The inputs are fine, but this network does not fit this hardware: one reason, or several, a line each."""

    exit_code = 4

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


class SimulationError(SastdeployError):
    """A valid program could not be run to its end."""

    exit_code = 5


def short(value: object, longest: int = 80) -> str:
    """Return a value as Python writes it, cut where it is long: a whole number of a file can have a thousand digits."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest allowed word, or an empty string."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
