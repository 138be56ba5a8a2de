"""NIR files written by hand, in the form of every version, for tests."""

import gzip
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from sastdeploy.compiler.ir.interpreter import interpret


def write(path, nodes, edges=None, version="1.0.8"):
    """Write nodes ``{name: {"type": ..., field: value}}``; by default in a chain of their order."""
    with h5py.File(path, "w") as file:
        file.create_dataset("version", data=version, dtype=h5py.string_dtype())
        _graph(file.create_group("node"), nodes, edges)
    return path


def _graph(group, nodes, edges):
    group.create_dataset("type", data="NIRGraph", dtype=h5py.string_dtype())
    inner = group.create_group("nodes")
    for name, fields in nodes.items():
        node = inner.create_group(name)
        if "nodes" in fields:
            _graph(node, fields["nodes"], fields.get("edges"))
            continue
        for key, value in fields.items():
            if isinstance(value, str):
                node.create_dataset(key, data=value, dtype=h5py.string_dtype())
            else:
                node.create_dataset(key, data=np.asarray(value))
    names = list(nodes)
    edges = list(pairwise(names)) if edges is None else edges
    group.create_dataset(
        "edges", data=np.array(edges, dtype=object).reshape(-1, 2), dtype=h5py.string_dtype()
    )


def f32(*values):
    return np.array(values, np.float32)


def lif(**changes):
    """Return a LIF node of one parameter each, tau 2 dt of NIR."""
    fields = {
        "type": "LIF",
        "tau": f32(2e-4),
        "r": f32(1.0),
        "v_leak": f32(0),
        "v_threshold": f32(1),
        "v_reset": f32(0),
    }
    return {**fields, **changes}


def cuba(**changes):
    """Return a CubaLIF node of one parameter each, both time constants 2 dt of NIR."""
    fields = {
        "type": "CubaLIF", "tau_syn": f32(2e-4), "tau_mem": f32(2e-4), "r": f32(1.0), "w_in": f32(1.0), "v_leak": f32(0),
        "v_threshold": f32(1), "v_reset": f32(0),
    }  # fmt: skip
    return {**fields, **changes}


def one_neuron(path, neuron, weight=1.0):
    """Write one neuron that takes one value."""
    ends = {"type": "Input", "shape": np.array([1])}, {"type": "Output", "shape": np.array([1])}
    linear = {"type": "Linear", "weight": f32([weight])}
    return write(path, {"input": ends[0], "w": linear, "n": neuron, "output": ends[1]})


def written_by(framework, folder):
    """Return the path of a file that a framework's own exporter wrote."""
    packed = Path(__file__).parent / "fixtures" / "nir" / f"{framework}.nir.gz"
    path = folder / f"{framework}.nir"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


FIXTURES = Path(__file__).parent / "fixtures" / "nir"


def run(network, values):
    """Return spikes and membranes of one neuron at whole inputs."""
    counts = np.array(values).reshape(1, -1, 1, 1, 1)
    outputs = interpret(network.graph, counts)
    return outputs.spikes[0].reshape(-1).tolist(), outputs.membranes[0].reshape(-1).tolist()
