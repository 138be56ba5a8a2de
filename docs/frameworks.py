"""Networks of the frameworks themselves, live, beside ours: `docs/frameworks.json`, which docs/import.md shows.

python docs/frameworks.py          measure with every framework that is installed, and keep the other rows
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exported import exact_program, recordings, spikes_of
from torch import nn

from sastdeploy import export_nir, from_module

RECORD = Path(__file__).parent / "frameworks.json"
Row = dict[str, Any]


def body(first: nn.Module, second: nn.Module) -> nn.Sequential:
    """Return a small network around two layers of neurons, both of which spike."""
    torch.manual_seed(3)
    last = nn.Linear(64, 5)
    last.weight.data *= 4
    last.bias.data += 0.5
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), first, nn.AvgPool2d(2), nn.Flatten(), last, second)


def _snntorch(kind: str, **changes: Any) -> nn.Module:
    import snntorch

    make = getattr(snntorch, kind)
    return body(*[make(beta=beta, threshold=0.4, init_hidden=True, **changes) for beta in (0.9, 0.8)])


def _recurrent(reset: str = "subtract") -> nn.Module:
    import snntorch

    torch.manual_seed(3)
    common = {"threshold": 0.4, "init_hidden": True, "reset_mechanism": reset}
    own = torch.linspace(-0.5, 0.5, 5)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(128, 20), snntorch.RLeaky(beta=0.9, linear_features=20, **common),
        nn.Linear(20, 5), snntorch.RSynaptic(alpha=0.7, beta=0.8, V=own, all_to_all=False, **common),
    )  # fmt: skip


def _spikingjelly(first: str, second: str, **changes: Any) -> nn.Module:
    from spikingjelly.activation_based import neuron

    made = [getattr(neuron, kind)(v_threshold=0.4, **changes) for kind in (first, second)]
    return body(*made)


def _containers() -> nn.Module:
    from spikingjelly.activation_based import layer, neuron

    torch.manual_seed(3)
    whole = layer.LinearRecurrentContainer(neuron.LIFNode(tau=2.0, v_threshold=0.4, v_reset=None), 20, 20)
    each = layer.ElementWiseRecurrentContainer(
        neuron.IFNode(v_threshold=0.4, v_reset=None), lambda y, x: x + y
    )
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 20), whole, nn.Linear(20, 5), each)


def _norse_recurrent() -> nn.Module:
    import norse.torch

    torch.manual_seed(3)
    parameters = norse.torch.LIFParameters(v_th=torch.tensor(0.2))
    cell = norse.torch.LIFRecurrentCell(128, 20, p=parameters)
    return norse.torch.SequentialState(nn.Flatten(), cell, nn.Linear(20, 5), norse.torch.LIFCell(parameters))


def _brevitas() -> nn.Module:
    import brevitas.nn as quantized
    import snntorch

    torch.manual_seed(3)
    first, second = (snntorch.Leaky(beta=beta, threshold=0.4, init_hidden=True) for beta in (0.9, 0.8))
    last = quantized.QuantLinear(64, 5, bias=True, weight_bit_width=4)
    last.weight.data *= 4
    conv = quantized.QuantConv2d(2, 4, 3, padding=1, bias=True, weight_bit_width=4)
    return nn.Sequential(conv, first, nn.AvgPool2d(2), nn.Flatten(), last, second)


def _norse(first: str, second: str, **changes: float) -> nn.Module:
    import norse.torch

    cells = [getattr(norse.torch, kind) for kind in (first, second)]
    own = {name: torch.tensor(value) for name, value in {"v_th": 0.2, **changes}.items()}
    parameters = {
        "IAFCell": norse.torch.IAFParameters(v_th=own["v_th"]),
        "LIFBoxCell": norse.torch.LIFBoxParameters(**own),
        "LIFCell": norse.torch.LIFParameters(**own),
    }
    made = [cell(parameters[cell.__name__]) if cell.__name__ in parameters else cell() for cell in cells]
    return norse.torch.SequentialState(*body(*made))


def _sinabs(second: str, spike_fn: str = "SingleSpike", **changes: Any) -> nn.Module:
    import sinabs.activation
    import sinabs.layers

    one = {
        "spike_fn": getattr(sinabs.activation, spike_fn),
        "spike_threshold": torch.tensor(0.2),
        "batch_size": 1,
        "min_v_mem": changes.pop("min_v_mem", None),
    }
    first = sinabs.layers.LIFSqueeze(tau_mem=10.0, **one, **changes)
    if second == "IAFSqueeze":
        return body(first, sinabs.layers.IAFSqueeze(**one))
    return body(first, sinabs.layers.ExpLeakSqueeze(tau_mem=6.0, batch_size=1))


def _sinabs_recurrent() -> nn.Module:
    import sinabs.layers

    torch.manual_seed(3)
    threshold = {"spike_threshold": torch.tensor(0.2)}
    first = sinabs.layers.LIFRecurrent(tau_mem=10.0, rec_connect=nn.Linear(20, 20), **threshold)
    second = sinabs.layers.IAFRecurrent(tau_syn=5.0, rec_connect=nn.Linear(5, 5, bias=False), **threshold)
    return nn.Sequential(nn.Flatten(2), nn.Linear(128, 20), first, nn.Linear(20, 5), second)


def _for_each_snntorch() -> nn.Module:
    import snntorch

    beta, threshold = torch.linspace(0.2, 0.9, 256), torch.linspace(1.0, 0.3, 256)
    each = {"beta": beta.reshape(4, 8, 8), "threshold": threshold.reshape(4, 8, 8)}
    return body(
        snntorch.Leaky(init_hidden=True, **each), snntorch.Leaky(beta=0.8, threshold=0.4, init_hidden=True)
    )


def _for_each_norse() -> nn.Module:
    import norse.torch

    rates, thresholds = torch.linspace(200, 800, 256), torch.linspace(0.6, 0.1, 256)
    each = norse.torch.LIFBoxParameters(tau_mem_inv=rates.reshape(4, 8, 8), v_th=thresholds.reshape(4, 8, 8))
    last = norse.torch.LIFBoxParameters(v_th=torch.tensor(0.2))
    return norse.torch.SequentialState(*body(norse.torch.LIFBoxCell(each), norse.torch.LIFBoxCell(last)))


def _for_each_sinabs() -> nn.Module:
    import sinabs.layers

    threshold = {"spike_threshold": torch.tensor(0.2), "batch_size": 1}
    first = sinabs.layers.LIFSqueeze(tau_mem=torch.linspace(2, 20, 256).reshape(4, 8, 8), **threshold)
    return body(first, sinabs.layers.LIFSqueeze(tau_mem=6.0, **threshold))


LIVE: tuple[tuple[str, str, str, Callable[[], nn.Module]], ...] = (
    ("snnTorch", "snntorch", "`Leaky`", lambda: _snntorch("Leaky")),
    ("snnTorch", "snntorch", "`Synaptic`", lambda: _snntorch("Synaptic", alpha=0.7)),
    ("snnTorch", "snntorch", "`RLeaky`, `RSynaptic`", _recurrent),
    ("snnTorch", "snntorch", "`Synaptic`, reset to zero", lambda: _snntorch("Synaptic", alpha=0.7, reset_mechanism="zero")),
    ("snnTorch", "snntorch", "`RLeaky`, `RSynaptic`, reset to zero", lambda: _recurrent("zero")),
    ("SpikingJelly", "spikingjelly", "`LIFNode`, `IFNode`, soft reset", lambda: _spikingjelly("LIFNode", "IFNode", v_reset=None)),
    ("SpikingJelly", "spikingjelly", "`ParametricLIFNode`", lambda: _spikingjelly("ParametricLIFNode", "ParametricLIFNode")),
    ("SpikingJelly", "spikingjelly", "`CUBALIFNode`", lambda: _spikingjelly("CUBALIFNode", "CUBALIFNode", c_decay=0.6, v_decay=0.75)),
    ("SpikingJelly", "spikingjelly", "`LIFNode`, `IFNode` in `LinearRecurrentContainer`, `ElementWiseRecurrentContainer`", _containers),
    ("Norse", "norse", "`LIFRecurrentCell`", _norse_recurrent),
    ("brevitas", "brevitas", "snnTorch's `Leaky` behind `QuantConv2d`, `QuantLinear` of 4 bits", _brevitas),
    ("Norse", "norse", "`LIFBoxCell`, `IAFCell`", lambda: _norse("LIFBoxCell", "IAFCell")),
    ("Norse", "norse", "`LIFCell`", lambda: _norse("LIFCell", "LIFCell")),
    (
        "Norse", "norse", "`LIFBoxCell`, `LIFCell`, `v_leak` and `v_reset` of their own",
        lambda: _norse("LIFBoxCell", "LIFCell", v_leak=0.05, v_reset=-0.1),
    ),
    ("Norse", "norse", "`LIFCell`, `LICell` read", lambda: _norse("LIFCell", "LICell")),
    ("Norse", "norse", "`LIFBoxCell`, `LIBoxCell` read", lambda: _norse("LIFBoxCell", "LIBoxCell")),
    ("sinabs", "sinabs", "`LIF`, `IAF` (`SingleSpike`)", lambda: _sinabs("IAFSqueeze")),
    ("sinabs", "sinabs", "`LIF`, `IAF` (`MultiSpike`)", lambda: _sinabs("IAFSqueeze", "MultiSpike")),
    ("sinabs", "sinabs", "`LIF`, `IAF` (`MultiSpike`), `min_v_mem`", lambda: _sinabs("IAFSqueeze", "MultiSpike", min_v_mem=-0.1)),
    ("sinabs", "sinabs", "`LIF` with `tau_syn`, `ExpLeak` read", lambda: _sinabs("ExpLeakSqueeze", tau_syn=5.0)),
    ("sinabs", "sinabs", "`LIFRecurrent`, `IAFRecurrent` (`MultiSpike`)", _sinabs_recurrent),
    ("snnTorch", "snntorch", "`Leaky`, `beta` and `threshold` of each neuron", _for_each_snntorch),
    ("Norse", "norse", "`LIFBoxCell`, `tau_mem_inv` and `v_th` of each neuron", _for_each_norse),
    ("sinabs", "sinabs", "`LIF` (`MultiSpike`), `tau_mem` of each neuron", _for_each_sinabs),
)  # fmt: skip
"""Frameworks, their packages, the neurons, and a network of them that `from_module` reads."""


def _in_snntorch(graph: Any) -> nn.Module:
    from snntorch.import_nir import import_from_nir

    return import_from_nir(graph)  # type: ignore[no-any-return]


def _in_spikingjelly(graph: Any) -> nn.Module:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph)  # type: ignore[no-any-return]


def _in_norse(graph: Any) -> nn.Module:
    import norse.torch

    return norse.torch.from_nir(graph, dt=1e-4, ignore_warnings=True)


def _in_sinabs(graph: Any) -> nn.Module:
    from sinabs.nir import from_nir

    return from_nir(graph, batch_size=1)  # type: ignore[no-any-return]


OUT: tuple[tuple[str, str, tuple[str, str, int], str, Callable[[Any], nn.Module]], ...] = (
    ("snnTorch", "snntorch", (">", "zero", 1), "resets to zero, a step later, whatever the file says", _in_snntorch),
    ("SpikingJelly", "spikingjelly", (">=", "zero", 0), "resets to `v_reset`, at once", _in_spikingjelly),
    ("Norse", "norse", (">", "zero", 0), "takes `r` for 1", _in_norse),
    ("sinabs", "sinabs", (">=", "subtract", 0), "takes `tau` for a number of steps, and sends several spikes a step", _in_sinabs),
)  # fmt: skip
"""Frameworks, their packages, the spike test, reset and delay that are theirs, what they read otherwise, and their reader."""


def measured() -> Iterator[Row]:
    """Yield the row of every network and exported file whose framework is installed."""
    for framework, package, neurons, make in LIVE:
        if number := _version(package):
            checked = from_module(make(), torch.zeros(1, 2, 8, 8)).provenance["checked"]
            yield {
                "framework": framework, "version": number, "neurons": neurons, "direction": "in, live module", **checked,
            }  # fmt: skip
    for framework, package, rules, lost, read in OUT:
        if number := _version(package):
            yield {
                "framework": framework, "version": number, "neurons": "of a program, `LIF`", "direction": "out, `export --to nir`",
                "lost": lost, **_read_by(rules, read),
            }  # fmt: skip


def _read_by(rules: tuple[str, str, int], read: Callable[[Any], nn.Module]) -> Row:
    """Return how many of a program's spikes a framework sends, that reads its NIR file."""
    import nir

    program = exact_program(*rules)
    counts = recordings(program)
    with tempfile.TemporaryDirectory() as folder:
        net = read(nir.read(str(export_nir(program, Path(folder) / "p.nir", counts).path)))
    spikes = differences = 0
    for sample, own in zip(counts, spikes_of(program, counts)):
        for layer, theirs in own.items():
            sent = _sent(net, layer, sample)
            spikes += int(theirs.sum())
            differences += int((sent != theirs).sum())
    return {
        "layers": 2, "recordings": len(counts), "steps": counts.shape[1], "spikes": spikes, "differences": differences, "ties": 0,
    }  # fmt: skip


def _sent(net: nn.Module, layer: str, sample: np.ndarray) -> np.ndarray:
    """Return a layer's spikes ``[T, N]`` of one recording, from a fresh state."""
    twin = copy.deepcopy(net)
    module: Any = dict(twin.named_modules())[f"{layer}_lif"]
    if hasattr(module, "reset_mem"):
        module.reset_mem()
    rows: list[np.ndarray] = []
    module.register_forward_hook(
        lambda _, inputs, output: rows.append(
            (output[0] if isinstance(output, tuple) else output).detach().reshape(-1).numpy()
        )
    )
    state = None
    with torch.no_grad():
        for step in sample.astype(np.float32):
            output = twin(torch.from_numpy(step), state)
            state = output[1] if isinstance(output, tuple) else None
    return np.stack(rows)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    kept = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else []
    rows = {(row["framework"], row["neurons"], row["direction"]): row for row in [*kept, *measured()]}
    RECORD.write_text(json.dumps(list(rows.values()), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
