"""Text files with marks to fill in."""

from __future__ import annotations

import re
from pathlib import Path

_MARK = re.compile(r"@([A-Za-z_]+)@")


def filled(template: Path, **values: object) -> str:
    """Return the text of a file with every ``@name@`` replaced; the value's further lines are indented as its first."""
    text = template.read_text("utf-8")

    def value_of(mark: re.Match[str]) -> str:
        line = text[text.rfind("\n", 0, mark.start()) + 1 :]
        indent = line[: len(line) - len(line.lstrip(" "))]
        return re.sub(r"\n(?=.)", "\n" + indent, str(values[mark[1]]))

    return _MARK.sub(value_of, text)
