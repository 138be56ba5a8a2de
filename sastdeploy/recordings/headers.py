"""The text before the events of a binary file: lines that begin with one mark."""

from __future__ import annotations

from sastdeploy.errors import InputError

MAX_LINE = 1000
_MAX_HEADER = 1 << 20


def text_header(content: bytes, mark: bytes, end: str, where: str) -> tuple[list[str], int]:
    """Return the header's lines, without mark and white space around them, and the offset of what follows.

    Args:
        mark: what every line begins with. end: a line that ends the header, where a file has it; without it, the header ends
            at the first byte that is no printable line with the mark. where: the file's name.

    Raises:
        InputError: the first line does not begin with the mark, or the header never ends.
    """
    lines: list[str] = []
    offset = 0
    while content.startswith(mark, offset) and offset < _MAX_HEADER:
        stop = content.find(b"\n", offset, offset + MAX_LINE)
        line = content[offset : max(stop, offset)].rstrip(b"\r").replace(b"\t", b" ")
        # Events may begin with the mark's byte; a line of text is told by its characters.
        if stop < 0 or not all(32 <= byte < 127 for byte in line):
            break
        offset = stop + 1
        lines.append(line[len(mark) :].decode("ascii").strip())
        if lines[-1] == end:
            break
    if not lines:
        raise InputError(
            f"{where}: offset 0: does not begin with a line of text that starts with {mark.decode()}. Is it the right file?"
        )
    return lines, offset
