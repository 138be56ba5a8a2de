"""The `nir` package itself reads what `export --to nir` writes: every node with its numbers, every edge, nothing refused."""

import json

import h5py
import numpy as np
import pytest
from small_networks import CONV, DENSE, POOL, checkpoint_of

from sastdeploy import Framing, compile, export_nir, from_nir

nir = pytest.importorskip("nir", reason="nir is not installed")


@pytest.mark.parametrize("architecture", [DENSE, CONV, POOL], ids=lambda architecture: architecture.name)
@pytest.mark.parametrize("profile", ["loihi_int8", "aggressive_int4"])
def test_every_node_and_edge_arrives(architecture, profile, tmp_path):
    program = compile(checkpoint_of(architecture), profile).program
    exported = export_nir(program, tmp_path / "p.nir")
    graph = nir.read(exported.path)
    with h5py.File(exported.path) as file:
        written = {
            name: {key: value[()] for key, value in node.items() if isinstance(value, h5py.Dataset)}
            for name, node in file["node/nodes"].items()
        }
        edges = [tuple(end.decode() for end in edge) for edge in file["node/edges"][()]]
        own = json.loads(file["node/metadata/sastdeploy"][()])
    assert sorted(graph.nodes) == sorted(written) and len(written) == exported.nodes
    assert sorted(graph.edges) == sorted(edges) and len(edges) == len(written) - 1
    assert json.loads(graph.metadata["sastdeploy"]) == own
    arrays = 0
    for name, node in graph.nodes.items():
        assert type(node).__name__ == written[name]["type"].decode()
        for key in ("weight", "bias", "tau", "r", "v_leak", "v_threshold", "v_reset"):
            if key in written[name]:
                arrays += 1
                np.testing.assert_array_equal(getattr(node, key), written[name][key])
    assert arrays > 2 * len(program.layers)


def test_what_the_package_writes_again_is_the_same_network(tmp_path):
    """A file that went through the package compiles to the same integers."""
    program = compile(checkpoint_of(CONV), "loihi_int8").program
    first = export_nir(program, tmp_path / "p.nir").path
    nir.write(tmp_path / "again.nir", nir.read(first))
    framing = Framing(time_bins=program.preprocessing.time_bins, clip=program.preprocessing.c_clip)
    programs = [
        compile(from_nir(path, framing=framing), "loihi_int8", neuron="profile").program
        for path in (first, tmp_path / "again.nir")
    ]
    for ours, theirs in zip(programs[0].layers, programs[1].layers, strict=True):
        if hasattr(ours, "weight"):
            np.testing.assert_array_equal(ours.weight, theirs.weight)
            np.testing.assert_array_equal(ours.lif.threshold, theirs.lif.threshold)
