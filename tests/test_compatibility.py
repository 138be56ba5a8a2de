"""What docs/import.md says of every framework, where it is installed."""

import json
import re
import sys
from pathlib import Path

import pytest

from sastdeploy import from_nir
from tests.pages import PAGES, blocks

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def frameworks(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import frameworks

    return frameworks


def rows(record):
    return {(row["framework"], row["neurons"], row["direction"]): row for row in record}


@pytest.mark.filterwarnings("ignore")  # the frameworks' own
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the frameworks' newest versions need Python 3.11")
def test_the_record_is_what_the_installed_frameworks_do(frameworks):
    packages = {package for _, package, *_ in frameworks.LIVE}
    if not any(map(frameworks._version, packages)):
        pytest.skip("no framework is installed (snntorch, spikingjelly, norse, sinabs)")
    for name, row in rows(frameworks.measured()).items():
        kept = rows(json.loads(frameworks.RECORD.read_text("utf-8")))[name]
        assert {**row, "version": ""} == {**kept, "version": ""}


@pytest.mark.filterwarnings("ignore")  # the frameworks' own
def test_the_page_shows_how_a_framework_writes_a_file(tmp_path, monkeypatch):
    for package in ("nir", "snntorch"):
        pytest.importorskip(package, reason="no framework is installed")
    monkeypatch.chdir(tmp_path)
    (writes,) = (
        content for _, _, content in blocks(PAGES["docs/import.md"]) if 'nir.write("trained.nir"' in content
    )
    exec(compile(writes, "docs/import.md", "exec"), {})
    network = from_nir("trained.nir", dialect="snntorch")
    assert network.graph.nodes[0].shape == (2, 34, 34) and len(network.classes) == 10


def test_live_modules_lose_no_spike_and_every_framework_has_both_directions(frameworks):
    record = json.loads(frameworks.RECORD.read_text("utf-8"))
    live = [row for row in record if row["direction"] == "in, live module"]
    assert len(live) == len(frameworks.LIVE) and all(row["differences"] == 0 < row["spikes"] for row in live)
    # brevitas' layers stand between snnTorch's neurons and go out with nothing of their own.
    assert {row["framework"] for row in live} - {"brevitas"} == {
        row["framework"] for row in record if row not in live
    } == {framework for framework, *_ in frameworks.OUT}  # fmt: skip


def test_exported_programs_arrive_whole_where_the_framework_has_the_neuron(frameworks):
    record = json.loads(frameworks.RECORD.read_text("utf-8"))
    differing = {row["framework"]: row["differences"] for row in record if row["direction"].startswith("out")}
    assert (differing["snnTorch"], differing["SpikingJelly"]) == (0, 0)
    assert differing["Norse"] > 0 and differing["sinabs"] > 0


def test_make_runs_every_file_of_tests_that_skip_without_a_framework():
    names = "snntorch|spikingjelly|norse|sinabs|rockpool|brevitas|nir|neurobench"
    skips = re.compile(rf'importorskip\(\s*"(?:{names})[."]')
    files = {
        path.name for path in Path(__file__).parent.glob("test_*.py") if skips.search(path.read_text("utf-8"))
    }
    makefile = (DOCS.parent / "Makefile").read_text("utf-8")
    listed = set(
        re.findall(r"tests/(test_\w+\.py)", makefile.split("FRAMEWORK_TESTS :=")[1].split("\n\n")[0])
    )
    assert listed == files | {Path(__file__).name}
