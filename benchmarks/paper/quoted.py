"""Hold the numbers in hand-written pages against results.json: ``quoted.yaml`` says which fragment of a page quotes which figures.

    python benchmarks/paper/quoted.py            fail if a page quotes what results.json does not give
    python benchmarks/paper/quoted.py --write    put today's figures into the pages; then read the sentences around them again

A page has ``quotes``: fragments as they stand in the page with a figure's name in braces, taken from a node of
results.json (``at``, keys joined by `` / ``; of several nodes, ``{2:name}`` is of the second). ``rows`` is short for
fragments that begin differently and end alike, one per point of an experiment. A figure is ``{name}`` for mean ±
standard deviation, or ``{name | form}``: ``mean`` without the deviation, ``less`` for the paired difference to the
reference with its interval, ``well`` for the same to the point with a largest frame value of 1, ``base`` to the first baseline, ``own`` for the
interval of a figure that is a difference itself, ``range`` for the same without signs, ``ratio`` to the reference, ``saved`` for the
percent by which it is below the reference, ``p`` for that of the difference to the reference, corrected for the experiment's number of
them, ``seeds`` for the number of seeds, ``by seed``; a digit after the form sets the decimals. Without a record it is ``-``.

And a page has ``given``: by source, fragments, letter by letter, whose numbers no record gives: the paper's figures, a
definition, the name of a part. Every number elsewhere is a fault; words such as INT8, names in code, targets of links and
the numbers of headings and lists are none. ``section`` is the heading of the one part that is looked at. Without
``given``, numbers outside the quotes are not looked at.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.paper.assemble import CORRECTED
from sastdeploy import InputError
from sastdeploy._files import atomic
from sastdeploy._files.strict_yaml import load_strict_yaml
from sastdeploy.experiments.tables import signed

HERE = Path(__file__).resolve().parent
NONE = "-"
NUMBER = r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?"
VALUE = rf"(?:{NUMBER}(?:(?:; {NUMBER})+| ± {NUMBER})?(?: \({NUMBER} to {NUMBER}\))?|-)"
"""A figure as it is printed."""
NO_FIGURE = re.compile(r"`[^`\n]*`|\]\([^)\n]*\)|(?m:^(?:#+ |\s*)\d+\. )")
"""Names in code, targets of links, numbers of headings and of list items."""
FIGURE = r"(?<![A-Za-z\d.,])\d+(?:[.,]\d+)*"
"""A number, but none in a word such as INT8."""
PLACE = re.compile(r"\{(?:(\d):)?([^{}|]+)(?: \| ([^{}]+?))?\}")


@dataclass(frozen=True)
class Quote:
    """A fragment of a page: as it should read, and the pattern that finds it with any figures."""

    text: str
    pattern: str


def quotes(entries: list[dict[str, Any]], results: dict[str, Any]) -> list[Quote]:
    """Return a page's quotes with the figures of ``results``.

    Raises:
        InputError: an entry names what results.json does not have.
    """
    made = []
    for entry in entries:
        if "rows" in entry:
            points = f"experiments / {entry['experiment']} / points / "
            for begin, labels in entry["rows"].items():
                made.append(
                    _quote(f"{begin}{entry['cells']}", [points + one for one in _listed(labels)], results)
                )
        else:
            made.append(_quote(entry["text"], _listed(entry["at"]), results))
    return made


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _node(results: dict[str, Any], at: str) -> dict[str, Any]:
    node: dict[str, Any] = results
    for name in at.split(" / "):
        if not isinstance(node, dict) or name not in node:
            raise InputError(f"quoted.yaml: '{at}': results.json has no '{name}' there.")
        node = node[name]
    return node


def _quote(text: str, places: list[str], results: dict[str, Any]) -> Quote:
    nodes = [_node(results, at) for at in places]

    def shown(match: re.Match[str]) -> str:
        number = int(match[1] or 1) - 1
        return _shown(nodes[number], match[2], match[3] or "", places[number])

    literal = [re.escape(part) for part in PLACE.split(text)[::4]]
    return Quote(PLACE.sub(shown, text), VALUE.join(literal))


def _shown(node: dict[str, Any], name: str, form: str, at: str) -> str:
    """Return one figure as the page should print it; ``-`` of a point without a record."""
    kind, digits = re.fullmatch(r"(.*?) ?(\d?)", form).groups()  # type: ignore[union-attr]  # matches every text
    if "seeds" not in node:
        value = _node(node, name)
        if value is None:
            return NONE
        return f"{value:,.{digits or 2}f}" if isinstance(value, float) else f"{value:,}"
    if name == "seeds":
        return str(len(node["seeds"]))
    if not node["seeds"]:
        return NONE
    places = {
        "less": "less_reference",
        "well": "less_well_scaled",
        "base": "less_baseline",
        "ratio": "over_reference",
        "saved": "over_reference",
    }
    if kind == "p":
        return f"{node[CORRECTED][name]:.{digits or 3}f}" if name in node[CORRECTED] else NONE
    part = node[places.get(kind, "figures")]
    if name not in part:
        if kind in places:
            return NONE
        raise InputError(f"quoted.yaml: '{at}': no figure '{name}'.")
    figure = part[name]
    if kind == "ratio":
        return f"{figure:.{digits or 3}f}"
    if kind == "saved":
        return f"{100 * (1 - figure):.{digits or 2}f}"
    if kind == "seeds":
        return str(len(figure["by_seed"]))
    if kind == "by seed":
        return "; ".join(f"{value:.{digits or 1}f}" for value in figure["by_seed"].values())
    if kind in ("less", "well", "base", "own", "range"):
        if figure["interval"] is None:
            return NONE
        if kind == "range":
            low, high = figure["interval"]
            return f"{figure['mean']:.{digits or 2}f} ({low:.{digits or 2}f} to {high:.{digits or 2}f})"
        return signed(figure["mean"], figure["interval"], int(digits or 2))
    middle = f"{figure['mean']:,.{digits or 2}f}"
    return (
        middle
        if kind == "mean" or figure["deviation"] is None
        else f"{middle} ± {figure['deviation']:,.{digits or 2}f}"
    )


def faults(page: str, entry: dict[str, Any], results: dict[str, Any]) -> list[str]:
    """Return what is wrong with a page: fragments that it lacks, and numbers that no fragment covers."""
    rest, wrong = page, []
    if "section" in entry:
        rest = rest.partition(f"\n## {entry['section']}\n")[2].partition("\n## ")[0]
    for quote in sorted(quotes(entry["quotes"], results), key=lambda quote: -len(quote.text)):
        if quote.text not in rest:
            wrong.append(f"not in the page: {quote.text}")
        rest = rest.replace(quote.text, "\n")
    if "given" not in entry:
        return wrong
    given = [text for texts in entry["given"].values() for text in texts]
    for text in sorted(given, key=lambda text: -len(text)):
        if text not in rest:
            wrong.append(f"given, but not in the page: {text}")
        rest = rest.replace(text, "\n", 1)
    return wrong + [f"no record gives {number}" for number in re.findall(FIGURE, NO_FIGURE.sub(" ", rest))]


def updated(page: str, entry: dict[str, Any], results: dict[str, Any]) -> str:
    """Return the page with the figures of ``results`` in its fragments.

    Raises:
        InputError: a fragment stands nowhere in the page, or more than once.
    """
    for quote in quotes(entry["quotes"], results):
        page, count = re.subn(quote.pattern, quote.text.replace("\\", r"\\"), page)
        if count != 1:
            raise InputError(
                f"stands in the page {count} times, whatever its figures, and not once: {quote.text}"
            )
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the figures of results.json into the pages")
    options = parser.parse_args()
    results = json.loads((HERE / "results.json").read_text("utf-8"))
    wrong = []
    for name, entry in load_strict_yaml(HERE / "quoted.yaml").items():
        path = HERE.parents[1] / name
        page = path.read_text("utf-8")
        try:
            if options.write and (new := updated(page, entry, results)) != page:
                print(f"wrote {name}")
                atomic.write_text(path, new)
                page = new
            wrong += [f"{name}: {fault}" for fault in faults(page, entry, results)]
        except InputError as error:
            sys.exit(f"{name}: {error}")
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
