"""The table of docs/import.md: files that frameworks wrote themselves, read here and compared spike by spike, and `frameworks.json`."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sastdeploy import Framing, from_nir
from sastdeploy.exchange.recorded import check_recorded

RECORD = Path(__file__).parent / "frameworks.json"
FILES = Path(__file__).parents[1] / "tests" / "fixtures" / "nir"


@dataclass(frozen=True)
class Row:
    """One file of a framework. lost: what of its network no file holds, so that the dialect supplies it. spikes: most in a step."""

    file: str
    framework: str
    version: str
    neurons: str
    dialect: str
    lost: str
    spikes: str = "one"


_SNNTORCH = "dt, spike test, reset and its delay"
_NORSE = "dt, spike test, v_reset"
_ROCKPOOL = "dt, spike test, reset, spikes a step"
ROWS = (
    Row("snntorch_leaky", "snnTorch", "1.0.0", "`Leaky`", "snntorch", _SNNTORCH),
    Row("snntorch_synaptic", "snnTorch", "1.0.0", "`Synaptic`", "snntorch", _SNNTORCH),
    Row("snntorch_recurrent", "snnTorch", "1.0.0", "`RLeaky`, `RSynaptic`", "snntorch", _SNNTORCH),
    Row(
        "spikingjelly_lif",
        "SpikingJelly",
        "2.0.0",
        "`IFNode`, `LIFNode`, `ParametricLIFNode`",
        "spikingjelly",
        "dt, spike test",
    ),
    Row("spikingjelly_cuba", "SpikingJelly", "2.0.0", "`CUBALIFNode`", "spikingjelly", "dt, spike test"),
    Row("norse_box", "Norse", "1.1.0", "`LIFBoxCell`, `IAFCell`", "norse", _NORSE),
    Row("norse_lif", "Norse", "1.1.0", "`LIFCell`", "norse", f"{_NORSE}, gain of the current"),
    Row(
        "sinabs_lif",
        "sinabs",
        "3.1.3",
        "`LIF`, `IAF` (`SingleSpike`)",
        "sinabs",
        "spike test, reset, spikes a step, `min_v_mem`, `norm_input`",
    ),
    Row(
        "sinabs_several",
        "sinabs",
        "3.1.3",
        "`LIF`, `IAF` (`MultiSpike`)",
        "sinabs",
        "spike test, reset, spikes a step, `min_v_mem`, `norm_input`",
        "many",
    ),
    Row("rockpool_lif", "rockpool", "3.1.0", "`LIFNeuronTorch`", "rockpool", _ROCKPOOL, "many"),
    Row("rockpool_cuba", "rockpool", "3.1.0", "`LIFTorch`", "rockpool", _ROCKPOOL, "many"),
)


def compatibility() -> str:
    """Return the table in Markdown, from running every file, and from what `frameworks.py` measured."""
    lines = [
        "| framework | version | neurons | direction | layers | spikes | equal | ties | what is lost on the way |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            path = Path(folder) / f"{row.file}.nir"
            path.write_bytes(gzip.decompress((FILES / f"{row.file}.nir.gz").read_bytes()))
            framing = Framing(time_bins=12)
            network = from_nir(path, dialect=row.dialect, spikes_per_step=row.spikes, framing=framing)
            checked = check_recorded(network, FILES / f"{row.file}.npz")
            direction = f"in, file of nir {network.provenance['nir_version']}"
            lines.append(_line(row.framework, row.version, row.neurons, direction, row.lost, checked))
    for live in json.loads(RECORD.read_text("utf-8")):
        lost = live.get("lost", "nothing")
        lines.append(
            _line(live["framework"], live["version"], live["neurons"], live["direction"], lost, live)
        )
    return "\n".join(lines) + "\n"


def _line(
    framework: str, version: str, neurons: str, direction: str, lost: str, checked: dict[str, Any]
) -> str:
    equal = "all" if checked["differences"] == 0 else f"no, {checked['differences']} differ"
    cells = (
        framework,
        version,
        neurons,
        direction,
        checked["layers"],
        checked["spikes"],
        equal,
        checked["ties"],
        lost,
    )
    return f"| {' | '.join(map(str, cells))} |"


def import_page() -> str:
    """Return docs/import.md with the table as it is now; unchanged where h5py, which reads the files, is missing."""
    text = (Path(__file__).parent / "import.md").read_text("utf-8")
    try:
        import h5py  # noqa: F401
    except ImportError:
        return text
    begin, end = "<!-- compatibility: docs/generate.py -->\n", "<!-- end -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{compatibility()}\n{end}{after}"
