"""The pages of Markdown and their blocks, for tests."""

import re
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
README = HOME / "README.md"
PAGES = {
    path.relative_to(HOME).as_posix(): path.read_text("utf-8")
    for path in (
        README,
        HOME / "CONTRIBUTING.md",
        *sorted((HOME / "docs").glob("*.md")),
        *sorted((HOME / "benchmarks").rglob("*.md")),
    )
}
GENERATED = ("docs/command-line.md", "docs/python-api.md")
BLOCK = re.compile(r"(?ms)^```(\S*)([^\n]*)\n(.*?)^```$")


def blocks(text):
    """Return (language, remark, content) of every fenced block."""
    return BLOCK.findall(text)
