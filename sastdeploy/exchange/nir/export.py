"""Export to NIR: the real values of a program's integers, its semantics as metadata, and what is lost on the way, counted."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sastdeploy
from sastdeploy._files.atomic import write_bytes
from sastdeploy._files.reading import shown
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.errors import InputError
from sastdeploy.exchange.dialects import DIALECTS
from sastdeploy.exchange.framing import Framing
from sastdeploy.exchange.nir.load import from_nir
from sastdeploy.exchange.nir.read import OWN_KEY
from sastdeploy.exchange.recordings import Recordings, chosen_frames
from sastdeploy.program.check import check_program
from sastdeploy.program.file import program_hash
from sastdeploy.program.layers.delay import each_steps
from sastdeploy.program.layers.each import along_map
from sastdeploy.program.layers.further import name_of
from sastdeploy.program.layers.sums import ConvSums
from sastdeploy.program.records import (
    ConvLif,
    Delay,
    DenseLif,
    Further,
    FurtherConv,
    Lif,
    Program,
    Readout,
    SumPool,
)
from sastdeploy.recordings.frames import Frames
from sastdeploy.simulator import engine

SCHEMA = "sastdeploy.nir_export/1"
VERSION = "1.0.8"
"""Of NIR, whose form the file has."""
CHECK_VALUES = 2_000_000
"""Counts of the recordings on which the loss is counted."""
_SEMANTICS = ("spike_test", "reset", "reset_delay", "max_spikes")
Node = dict[str, Any]


@dataclass(frozen=True)
class NirExport:
    """A program as a NIR file.

    Args:
        path: of the file.
        nodes: how many. lost: what the file's floats leave out.
        recordings: on how many the two were compared. spikes: of the program there. differing: outputs of neurons, over all
            steps, in which the file's network, in float64, differs from the program.
    """

    path: Path
    nodes: int
    lost: tuple[str, ...]
    recordings: int
    spikes: int
    differing: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {"schema": SCHEMA, **asdict(self), "path": str(self.path)}


def export_nir(
    program: Program, path: Path | str, recordings: Recordings | None = None, *, force: bool = False
) -> NirExport:
    """Write the program's real values as a NIR file, and count where its spikes differ from the program's.

    The file holds weights times their gain, biases, thresholds and leaks as float64, in the membrane's unit. Rounding and overflow
    of the integers, which NIR cannot say, stand in its metadata beside spike test, reset, its delay and the spikes of a step, by which `from_nir`
    reads the file without being told a dialect.

    Args:
        program: what is written; it is checked first.
        path: of the NIR file.
        recordings: to count on, frames or counts ``[N, T, P, H, W]``; by default three random ones.
        force: replace another file.

    Raises:
        InputError: the program is invalid, has neurons or a readout that NIR cannot say, recordings do not fit it, h5py is
            not installed, or the path is another file and ``force`` is not given.

    Example::

        export = export_nir(program, "network.nir")
        print(export.differing, "of", export.spikes)
    """
    check_program(program)
    rules = _rules(program)
    frames = chosen_frames(program, recordings, CHECK_VALUES)
    nodes, edges = _nodes(program)
    lost = _lost(program)
    metadata = {
        **rules, "format": "sastdeploy", "version": sastdeploy.__version__, "program": program.name,
        "program_hash": program_hash(program), "dt": DIALECTS["sastdeploy"].dt, "time_bins": program.preprocessing.time_bins,
        "c_clip": program.preprocessing.c_clip, "classes": list(program.classes), "lost": list(lost),
        "layers": [{"name": layer.name, **layer.lif.record()} for layer in program.layers if layer.lif is not None],
    }  # fmt: skip
    write_bytes(path, _hdf5(nodes, edges, metadata, path), force=force)
    spikes, differing = _compared(program, path, frames)
    return NirExport(Path(path), len(nodes), lost, len(frames), spikes, differing)


def _rules(program: Program) -> dict[str, Any]:
    """Return spike test, reset, its delay and the spikes of a step, which all neurons of a NIR file share.

    Raises:
        InputError: they differ between layers, or the program has what no NIR node says.
    """
    neurons = [(layer.name, layer.lif) for layer in program.layers if layer.lif is not None]
    if program.readout.reads != "counts":
        raise InputError(
            f"layer {program.readout.name}: reads membranes ({program.readout.reads}); NIR is written for readouts of spikes only. "
            "Export it with --to c."
        )
    for name, lif in neurons:
        if lif.current is not None:
            raise InputError(
                f"layer {name}: has a synaptic current; NIR is written for neurons without one only. Export it with --to c."
            )
        if isinstance(lif.leak_multiplier, np.ndarray) and (lif.leak_multiplier == 1 << lif.leak_shift).any():
            some = "neurons" if lif.leak_multiplier.ndim == 3 else "channels"
            raise InputError(
                f"layer {name}: some of its {some} leak and others do not, which are two kinds of NIR node. Export it with --to c."
            )
        if lif.bias.ndim == 3 and np.all(np.equal(lif.leak_multiplier, 1 << lif.leak_shift)):
            raise InputError(
                f"layer {name}: its biases differ within a channel and it never leaks; NIR's IF has no bias of a neuron. Export it with --to c."
            )
        if np.any(np.equal(lif.leak_multiplier, 0)):
            raise InputError(
                f"layer {name}: its membranes keep nothing (leak 0), which no time constant says. Export it with --to c."
            )
        if lif.start is not None and lif.reset not in ("zero", "refractory"):
            raise InputError(
                f"layer {name}: its membranes start elsewhere than at 0 and are not reset to 0; a NIR file says no start. Export it with "
                "--to c."
            )
        if lif.floor is not None:
            raise InputError(
                f"layer {name}: its membranes have a floor, which no NIR node says. Export it with --to c."
            )
    first_name, first = neurons[0]
    for name, lif in neurons:
        for field in _SEMANTICS:
            if getattr(lif, field) != getattr(first, field):
                raise InputError(
                    f"layer {name}: {field} is {getattr(lif, field)}, and {getattr(first, field)} in {first_name}; all neurons of a NIR "
                    "file share it. Export the program with --to c."
                )
    rules = {field: getattr(first, field) for field in _SEMANTICS}
    most = rules.pop("max_spikes")
    return rules if most == 1 else {**rules, "spikes_per_step": most}


def _nodes(program: Program) -> tuple[dict[str, Node], list[tuple[str, str]]]:
    """Return the nodes by name, and the edges: layer by layer, and beside them further inputs and what comes back to recurrent layers."""
    shape: tuple[int, ...] = program.preprocessing.frame_shape
    senders: list[tuple[str, tuple[int, ...]]] = [("input", shape)]
    nodes: dict[str, Node] = {"input": {"type": "Input", "shape": np.array(shape)}}
    side: dict[str, Node] = {}
    chain: list[tuple[str, str]] = []
    edges: list[tuple[str, str]] = []
    for layer, output, own_source in zip(program.layers, program.shapes()[1:], program.sources()):
        before, shape = senders[own_source]
        # A dense layer's neurons have one axis.
        after: tuple[int, ...] = output if layer.kind not in _FLAT else (math.prod(output),)
        after = shape if layer.kind in _IN_PLACE else after
        written = _WRITTEN[layer.kind](layer, shape)
        if layer.lif is not None:
            neurons, lsb = f"{layer.name}.lif", layer.lif.membrane.lsb
            written[neurons] = _neurons(layer.lif, after, lsb)
            for number, each in enumerate(layer.further):
                source, sent = senders[each.source]
                branch = _further(f"{layer.name}.{name_of(number)}", each, layer.lif, lsb, sent)
                side |= branch
                edges += pairwise([source, *branch, neurons])
            for weight in layer.own_weights:
                own = f"{layer.name}.recurrent"
                side[own] = {"type": "Linear", "weight": _real(weight, layer.lif, lsb)}
                edges += [(neurons, own), (own, neurons)]
        nodes |= written
        chain += pairwise([before, *written])
        senders.append(([*written][-1], after))
    before, shape = senders[-1]
    written, readout = {}, program.readout
    if readout.global_sum_pool:
        whole, none = np.array(shape[1:]), np.array((0, 0))
        written["readout.pool"] = {
            "type": "SumPool2d",
            "kernel_size": whole,
            "stride": whole,
            "padding": none,
        }
        shape = (shape[0], 1, 1)
    _flatten(written, "readout.flatten", shape)
    lsb = 2.0**-readout.fraction_bits
    written["readout"] = {
        "type": "Affine",
        "weight": _real(readout.weight, readout, lsb),
        "bias": readout.bias * lsb,
    }
    written["output"] = {"type": "Output", "shape": np.array([len(program.classes)])}
    for number, each in enumerate(readout.further):
        source, sent = senders[each.source]
        branch = _further(f"readout.{name_of(number)}", each, readout, lsb, sent)
        side |= branch
        edges += pairwise([source, *branch, "output"])
    return nodes | written | side, [*chain, *pairwise([before, *written]), *edges]


def _pool(layer: SumPool, shape: tuple[int, ...]) -> dict[str, Node]:
    window = layer.window
    return {layer.name: {
        "type": "SumPool2d", "kernel_size": np.array(window.kernel), "stride": np.array(window.stride),
        "padding": np.array(window.padding),
    }}  # fmt: skip


def _delay(layer: Delay, shape: tuple[int, ...]) -> dict[str, Node]:
    rows, columns = (*shape[1:], 1, 1)[:2]
    steps = each_steps(layer.steps, (shape[0], rows, columns)).reshape(shape)
    return {layer.name: {"type": "Delay", "delay": steps * DIALECTS["sastdeploy"].dt}}


def _conv(layer: ConvLif, shape: tuple[int, ...]) -> dict[str, Node]:
    return {layer.name: {"type": "Conv2d", **_weights(layer), **_window(layer, shape)}}


def _window(part: ConvSums, shape: tuple[int, ...]) -> Node:
    return {
        "input_shape": np.array(shape[1:]), "stride": np.array(part.stride), "padding": np.array(part.padding),
        "dilation": np.array((1, 1)), "groups": np.array(1),
    }  # fmt: skip


def _further(
    name: str, part: Further, gained: Lif | Readout, lsb: float, shape: tuple[int, ...]
) -> dict[str, Node]:
    """Return the nodes through which values of ``shape`` reach sums whose gain is ``gained``'s; the layer's own have the bias."""
    weight = _real(part.weight, gained, lsb)
    if isinstance(part, FurtherConv):
        none = np.zeros(len(weight))
        return {name: {"type": "Conv2d", "weight": weight, "bias": none, **_window(part, shape)}}
    nodes: dict[str, Node] = {}
    _flatten(nodes, f"{name}.flatten", shape)
    return nodes | {name: {"type": "Linear", "weight": weight}}


def _dense(layer: DenseLif, shape: tuple[int, ...]) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    _flatten(nodes, f"{layer.name}.flatten", shape)
    return nodes | {layer.name: {"type": "Affine", **_weights(layer)}}


_WRITTEN: dict[str, Callable[[Any, tuple[int, ...]], dict[str, Node]]] = {
    "dense": _dense, "conv": _conv, "sum_pool": _pool, "recurrent": _dense, "delay": _delay,
}  # fmt: skip
_FLAT = ("dense", "recurrent")
"""Kinds of layers whose outputs stand in a row."""
_IN_PLACE = ("delay",)
"""Kinds whose outputs stand as their inputs do."""


def _weights(layer: DenseLif | ConvLif) -> Node:
    lif, lsb = layer.lif, layer.lif.membrane.lsb
    # Of biases that differ within a channel, the neurons' v_leak tells.
    bias = lif.bias * lsb if lif.bias.ndim == 1 else np.zeros(len(layer.weight))
    return {"weight": _real(layer.weight, lif, lsb), "bias": bias}


def _flatten(nodes: dict[str, Node], name: str, shape: tuple[int, ...]) -> None:
    if len(shape) > 1:
        # Axes are those of one step, without a batch.
        nodes[name] = {
            "type": "Flatten",
            "input_type": np.array(shape),
            "start_dim": np.array(0),
            "end_dim": np.array(-1),
        }


def _real(weight: NDArray[np.int8], part: Any, lsb: float) -> NDArray[np.float64]:
    gain = part.multiplier * np.exp2(-part.shift.astype(np.float64)) * lsb
    real: NDArray[np.float64] = weight * gain.reshape(-1, *[1] * (weight.ndim - 1))
    return real


def _neurons(lif: Lif, shape: tuple[int, ...], lsb: float) -> Node:
    def columns(values: Any) -> NDArray[np.float64]:
        floats = np.asarray(values, np.float64)
        return floats if floats.ndim == 3 else floats.reshape(-1, *[1] * (len(shape) - 1))

    def every(values: Any) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.broadcast_to(columns(values), shape))

    dt, alpha = DIALECTS["sastdeploy"].dt, lif.leak_multiplier / 2.0**lif.leak_shift
    # A start above the reset is a reset, and an end of the leak, below the start, which is 0 there.
    rest = columns(0.0 if lif.start is None else -lif.start * lsb)
    common = {"v_threshold": every(columns(lif.threshold * lsb) + rest), "v_reset": every(rest)}
    if np.all(np.equal(alpha, 1)):
        return {"type": "IF", "r": every(1 / dt), **common}
    # One Euler step keeps 1 - dt / tau, and adds r dt / tau of the input.
    tau = dt / (1 - alpha)
    v_leak = lif.bias * lsb / (1 - along_map(np.atleast_1d(alpha))) if lif.bias.ndim == 3 else 0.0
    return {
        "type": "LIF",
        "tau": every(tau),
        "r": every(tau / dt),
        "v_leak": every(columns(v_leak) + rest),
        **common,
    }


def _lost(program: Program) -> tuple[str, ...]:
    """Return what the integers do and the file's floats do not."""
    lost = []
    for layer in program.layers:
        if layer.lif is None:
            continue
        lif = layer.lif
        lost.append(
            f"{layer.name}: membranes rounded to {lif.membrane.lsb:g} "
            f"(leak {lif.leak_rounding.value}, weighted sum half up), {lif.overflow.value} beyond {lif.membrane}"
        )
    return (
        *lost,
        f"{program.readout.name}: scores rounded to {2.0**-program.readout.fraction_bits:g}",
        f"counts above {program.preprocessing.c_clip} are clipped before the network",
    )


def _hdf5(
    nodes: dict[str, Node], edges: list[tuple[str, str]], metadata: dict[str, Any], path: Path | str
) -> bytes:
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{shown(path)}: NIR files are HDF5, which h5py writes. Install it: pip install 'sastdeploy[nir]'."
        ) from error
    content = io.BytesIO()
    text = h5py.string_dtype()
    with h5py.File(content, "w") as file:
        file.create_dataset("version", data=VERSION, dtype=text)
        root = file.create_group("node")
        root.create_dataset("type", data="NIRGraph", dtype=text)
        root.create_group("metadata").create_dataset(
            OWN_KEY, data=json.dumps(metadata, sort_keys=True), dtype=text
        )
        inside = root.create_group("nodes")
        for name, node in nodes.items():
            group = inside.create_group(name)
            for key, value in node.items():
                group.create_dataset(key, data=value, dtype=text if isinstance(value, str) else None)
        root.create_dataset("edges", data=np.array(edges, dtype=object), dtype=text)
    return content.getvalue()


def _compared(program: Program, path: Path | str, frames: Frames) -> tuple[int, int]:
    """Return the program's spikes on the frames, and in how many places the file's network differs."""
    own = program.preprocessing
    framing = Framing(time_bins=own.time_bins, clip=own.c_clip, classes=program.classes)
    network = from_nir(path, framing=framing)
    graph, names = network.graph, [each["name"].removesuffix(".lif") for each in network.semantics["neurons"]]
    result = engine.run(program, frames, engine="reference", trace=tuple(names))
    spikes = differing = 0
    for n in range(len(frames)):
        read = interpret(graph, frames.select(slice(n, n + 1)).dense()).spikes
        # In the order of the file's layers, where some stand side by side.
        for name, theirs in zip(names, read, strict=True):
            ours = result.traces[name].spikes[n]
            spikes += int(ours.sum())
            differing += int((ours != theirs.reshape(ours.shape)).sum())
    return spikes, differing
