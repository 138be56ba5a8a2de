"""One target per reader: valid inputs, how they are changed, and the public reader that must accept or refuse the result.

``inputs(folder)`` returns valid inputs, made in an empty folder. ``read(folder, content)`` writes an input into an empty
folder and reads it as a command would; any exception but `SastdeployError` is a finding.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz import containers, hdf5_files, mutation, networks, recordings


@dataclass(frozen=True)
class Target:
    name: str
    inputs: Callable[[Path], list[bytes]]
    mutate: Callable[[random.Random, bytes, bytes], bytes]
    read: Callable[[Path, bytes], object]


TARGETS = {
    target.name: target
    for target in (
        Target("checkpoint", networks.checkpoints, containers.mutated_tensors, networks.read_checkpoint),
        Target("nir", networks.nirs, hdf5_files.mutated_values, networks.read_nir),
        Target("lava", hdf5_files.lava_nets, hdf5_files.mutated_values, hdf5_files.read_lava),
        Target("weights", networks.trained_weights, containers.mutated_onnx, networks.read_weights),
        Target("network", networks.networks, networks.mutated_networks, networks.read_network),
        Target("state", networks.states, containers.mutated_tensors, networks.read_state),
        Target("program", networks.programs, containers.mutated_onnx, networks.read_program),
        Target("profile", networks.files("profiles/*.yaml"), mutation.mutated_yaml, networks.read_profile),
        Target(
            "architecture",
            networks.files("examples/network.yaml", "benchmarks/paper/*/*net*.yaml"),
            mutation.mutated_yaml,
            networks.read_architecture,
        ),
        Target(
            "experiment",
            networks.files("benchmarks/paper/table*.yaml"),
            mutation.mutated_yaml,
            networks.read_experiment,
        ),
        Target("record", networks.records, mutation.mutated_json, networks.read_record),
        Target("nmnist", recordings.digits, mutation.mutated_bytes, recordings.reader_of_events("r.bin")),
        Target("npy", recordings.arrays, containers.mutated_npy, recordings.reader_of_events("r.npy")),
        Target("aedat", recordings.aedats, mutation.mutated_bytes, recordings.reader_of_events("r.aedat")),
        Target(
            "aedat2",
            recordings.files_of("aedat2"),
            mutation.mutated_bytes,
            recordings.reader_of_events("r.aedat"),
        ),
        Target(
            "dat", recordings.files_of("dat"), mutation.mutated_bytes, recordings.reader_of_events("r.dat")
        ),
        Target(
            "evt2", recordings.files_of("evt2"), mutation.mutated_bytes, recordings.reader_of_events("r.raw")
        ),
        Target(
            "evt3", recordings.files_of("evt3"), mutation.mutated_bytes, recordings.reader_of_events("r.raw")
        ),
        Target(
            "hdf5", recordings.files_of("hdf5"), mutation.mutated_bytes, recordings.reader_of_events("r.h5")
        ),
        Target("npz", recordings.archives, recordings.mutated_zips, recordings.reader_of_events("r.npz")),
        Target("table", recordings.tables, mutation.mutated_text_file, recordings.reader_of_events("r.csv")),
        Target(
            "dataset",
            lambda folder: list(recordings.DECLARATIONS),
            mutation.mutated_yaml,
            recordings.read_declaration,
        ),
        Target(
            "manifest",
            lambda folder: list(recordings.MANIFESTS),
            mutation.mutated_text_file,
            recordings.read_manifest,
        ),
        Target(
            "labels", lambda folder: [recordings.LABELS], mutation.mutated_text_file, recordings.read_labels
        ),
        Target("zip", recordings.zips, recordings.mutated_zips, recordings.read_zip),
        Target("tar", recordings.tars, recordings.mutated_tars, recordings.read_tar),
        Target("idx", recordings.idx, mutation.mutated_bytes, recordings.read_idx),
        Target("cache", recordings.caches, recordings.mutated_cache, recordings.read_cache),
    )
}
if find_spec("aedat"):
    TARGETS["aedat4"] = Target(
        "aedat4",
        recordings.files_of("aedat4"),
        mutation.mutated_bytes,
        recordings.reader_of_events("r.aedat4"),
    )
