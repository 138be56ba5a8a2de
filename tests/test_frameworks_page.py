"""The page's figures of networks that other frameworks trained are those that `benchmarks/frameworks.py` wrote."""

import json
from pathlib import Path

HOME = Path(__file__).parent.parent
PAGE = (HOME / "docs" / "import.md").read_text(encoding="utf-8")
RECORD = json.loads((HOME / "benchmarks" / "FRAMEWORKS.json").read_text(encoding="utf-8"))


def rows():
    for entry in RECORD["frameworks"]:
        for form, rate in entry["accuracy"].items():
            yield f"| {entry['framework']} {entry['version']} | {form} | {rate:.2%} |".replace("%", " %")


def test_every_accuracy_stands_on_the_page():
    missing = [row for row in rows() if row not in PAGE]
    assert missing == [] and len(list(rows())) >= 15


def test_the_table_holds_nothing_else():
    begin = PAGE.index("| framework | form | test accuracy |")
    table = PAGE[begin : PAGE.index("\n\n", begin)].splitlines()[2:]
    assert table == list(rows())


def test_the_sentence_has_the_recordings_and_the_spikes_compared():
    assert (
        f"{RECORD['training']:,} training recordings" in PAGE and f"{RECORD['test']:,} for the test" in PAGE
    )
    (lava,) = (entry for entry in RECORD["frameworks"] if "spikes" in entry)
    assert lava["differing"] == 0 and f"all {lava['spikes']:,} spikes" in PAGE
