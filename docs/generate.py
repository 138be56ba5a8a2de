"""The generated pages of docs/, from the code: what it says of itself stands nowhere else.

python docs/generate.py            write the pages
python docs/generate.py --check    fail if one is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from command_line import command_line
from compatibility import import_page
from python_api import python_api

HERE = Path(__file__).parent
PAGES = {"python-api.md": python_api, "command-line.md": command_line, "import.md": import_page}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page would change")
    options = parser.parse_args()
    stale = []
    for name, page in PAGES.items():
        path, text = HERE / name, page()
        if options.check and (not path.exists() or path.read_text("utf-8") != text):
            stale.append(name)
        elif not options.check:
            path.write_text(text, "utf-8")
    if stale:
        sys.exit(f"{', '.join(stale)}: not what the code says now. Run: python docs/generate.py")


if __name__ == "__main__":
    main()
