"""Data sets as declared facts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sastdeploy.errors import InputError, did_you_mean
from sastdeploy.recordings.own.records import OwnRecordings

DIGITS = tuple("0123456789")
GESTURES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Args:
        url: None where the source needs a person (a licence to accept, a login).
        limit: bytes; a server that sends more does not send this file. The size where it is known for sure, else about
            twice what the catalog states.
    """

    name: str
    url: str | None
    md5: str
    limit: int


@dataclass(frozen=True)
class Dataset:
    """Facts about a data set.

    Args:
        name: as in ``--dataset``; the folder's path for recordings of one's own. title: for people. simulated: made by this project's sensor model.
        form: ``digits`` (N-MNIST's files), ``gestures`` (DVS Gesture's), ``images`` (no recordings) or ``own``.
        sensor_size: ``(W, H, P)``. frame_size: ``(W, H)`` of the frames that networks see.
        classes: in label order. recordings: (train, test), as published or as made by default.
        seconds: how long a recording usually lasts.
        source, licence, citation: where it comes from, what one may do, whom to cite.
        size: on disk, for people. files: what ``data fetch`` gets.
        stand_in: the simulated set of the same form, if this one is real.
        repacked: (train, test) recordings of another published form, if there is one.
        own: the recordings of a folder of one's own; None for the sets of the catalog.
    """

    name: str
    title: str
    simulated: bool
    form: str
    sensor_size: tuple[int, int, int]
    frame_size: tuple[int, int]
    classes: tuple[str, ...]
    recordings: tuple[int, int]
    seconds: float
    source: str
    licence: str
    citation: str
    size: str
    files: tuple[RemoteFile, ...] = ()
    stand_in: str | None = None
    repacked: tuple[int, int] | None = None
    own: OwnRecordings | None = None

    def folder(self, root: Path) -> Path:
        """The folder that holds the recordings, for a folder ``root`` of data sets."""
        return self.own.folder if self.own else root / self.name

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts whose recordings are fixed; without ``validation`` there, it is held out of ``train``."""
        return self.own.parts if self.own else ("train", "test")

    def part_of(self, split: str) -> str:
        """The fixed part that holds a split's recordings."""
        return split if split == "test" or split in self.parts else "train"

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """``(P, H, W)`` of one frame."""
        return (self.sensor_size[2], self.frame_size[1], self.frame_size[0])

    @property
    def install_command(self) -> str:
        """The command that brings it; empty for a folder of one's own."""
        if self.own:
            return ""
        return f"sastdeploy data {'make' if self.simulated else 'fetch'} {self.name}"


_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
_FIGSHARE = "https://api.figshare.com/v2/file/download/"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"

CATALOG: dict[str, Dataset] = {
    entry.name: entry
    for entry in (
        Dataset(
            "nmnist-sim", "Simulated N-MNIST: MNIST digits seen by a simulated DVS along N-MNIST's saccades", True,
            "digits", (34, 34, 2), (34, 34), DIGITS, (12000, 2000), 0.3, "made on this machine from shipped MNIST digits",
            "CC BY-SA 3.0 (the digits)", "LeCun, Cortes, Burges: MNIST; saccades after Orchard et al. 2015", "0.3 GB",
        ),
        Dataset(
            "dvsgesture-sim", "Simulated DVS Gesture: eleven gestures of 29 parametric performers", True,
            "gestures", (128, 128, 2), (48, 48), GESTURES, (759, 198), 4.0, "made on this machine",
            "as this software", "classes and split after Amir et al., CVPR 2017", "0.3 GB",
        ),
        Dataset(
            "nmnist", "N-MNIST: MNIST digits on a monitor before a moving ATIS sensor", False,
            "digits", (34, 34, 2), (34, 34), DIGITS, (60000, 10000), 0.3, "Mendeley Data 468j46mzdv", "CC BY-SA 4.0",
            "Orchard, Jayawant, Cohen, Thakor, Front. Neurosci. 9:437, 2015", "1.2 GB zipped",
            (RemoteFile("Train.zip", _MENDELEY + "39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
                        "20959b8e626244a1b502305a9e6e2031", 2 << 30),
             RemoteFile("Test.zip", _MENDELEY + "05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
                        "69ca8762b2fe404d9b9bad1103e97832", 1 << 30)),
            "nmnist-sim",
        ),
        Dataset(
            "dvsgesture", "DVS Gesture: eleven hand and arm gestures of 29 people before a DVS128", False,
            "gestures", (128, 128, 2), (48, 48), GESTURES, (1176, 288), 6.0,
            "IBM Research (DvsGesture.tar.gz); re-packed for tonic on figshare", "CC BY 4.0",
            "Amir et al., A low power, fully event-based gesture recognition system, CVPR 2017", "3 GB",
            (RemoteFile("ibmGestureTrain.tar.gz", _FIGSHARE + "38022171", "3a8f0d4120a166bac7591f77409cb105", 6 << 30),
             RemoteFile("ibmGestureTest.tar.gz", _FIGSHARE + "38020584", "56070e45dadaa85fff82e0fbfbc06de5", 3 << 30)),
            "dvsgesture-sim", (1077, 264),
        ),
        Dataset(
            "mnist", "MNIST: the images from which nmnist-sim can be made in full", False,
            "images", (28, 28, 1), (28, 28), DIGITS, (60000, 10000), 0.0, "Torchvision's mirror of the IDX files",
            "CC BY-SA 3.0", "LeCun, Cortes, Burges: The MNIST database of handwritten digits", "12 MB",
            (RemoteFile("train-images-idx3-ubyte.gz", _MNIST + "train-images-idx3-ubyte.gz",
                        "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
             RemoteFile("train-labels-idx1-ubyte.gz", _MNIST + "train-labels-idx1-ubyte.gz",
                        "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
             RemoteFile("t10k-images-idx3-ubyte.gz", _MNIST + "t10k-images-idx3-ubyte.gz",
                        "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
             RemoteFile("t10k-labels-idx1-ubyte.gz", _MNIST + "t10k-labels-idx1-ubyte.gz",
                        "ec29112dd5afa0611ce80d1b7f02629c", 4_542)),
        ),
    )
}  # fmt: skip


def catalogued(name: str) -> Dataset:
    """Return the facts about a data set of the catalog.

    Raises:
        InputError: the name is unknown.
    """
    if name not in CATALOG:
        raise InputError(
            f"data set '{name}': unknown.{did_you_mean(name, CATALOG)} Known: {', '.join(CATALOG)}."
        )
    return CATALOG[name]


def full_name(name: str) -> str:
    """Return a data set's name; a folder's is its path, which always holds a separator, so that it is no catalog name."""
    if name in CATALOG or not (os.sep in name or os.path.isdir(name)):
        return name
    path = os.path.normpath(name)
    return path if os.sep in path else os.path.join(os.curdir, path)


def data_root() -> Path:
    """Return the folder that holds one folder per data set: ``$SASTDEPLOY_DATA``, or the user's data folder."""
    chosen = os.environ.get("SASTDEPLOY_DATA")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("sastdeploy"))


def absent(facts: Dataset, root: Path, why: str) -> InputError:
    """Return the error of a data set that is not there, with the ways to get one."""
    steps = [f"run '{facts.install_command}'"]
    if not facts.simulated:
        names = " and ".join(remote.name for remote in facts.files)
        steps.append(f"put the official files ({names}, or unpacked) into {root / facts.name}")
        steps.append(
            f"use simulated recordings: '{CATALOG[facts.stand_in or ''].install_command}' and --dataset {facts.stand_in}"
        )
    else:
        steps.append("name the folder that holds it with --data DIR")
        steps.append("set SASTDEPLOY_DATA to that folder")
    numbered = "; ".join(f"({i}) {step}" for i, step in enumerate(steps, 1))
    return InputError(f"data set '{facts.name}': not found ({why}). Three ways to get it: {numbered}.")


def simulated_marker(facts: Dataset, root: Path) -> bool:
    """Say whether the files in ``root`` under this data set's name came from the simulator."""
    return facts.own is None and os.path.isfile(root / facts.name / "simulated.json")
