"""Where does this network fit: a checkpoint compiled for every profile, and simulated where recordings are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.compiler.profiles import HardwareProfile
from sastdeploy.errors import CompileError
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.recordings.frames import LabelledFrames
from sastdeploy.simulator.metrics import accuracy, energy
from sastdeploy.simulator.simulate import simulate

SCHEMA = "sastdeploy.profile_fits/1"


@dataclass(frozen=True)
class ProfileFit:
    """One profile.

    Args:
        reasons: why the network does not fit; none where it does. The others are None where it does not.
        memory_bytes: weights, parameters and state. cores: in use, where the profile states cores.
        accuracy, ksynops, energy_pj: of the recordings, a mean for each; None without recordings, energy without figures.
    """

    profile: str
    title: str
    reasons: tuple[str, ...]
    memory_bytes: int | None = None
    cores: int | None = None
    largest_ksynops: float | None = None
    accuracy: float | None = None
    ksynops: float | None = None
    energy_pj: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready values."""
        return {"fits": not self.reasons, **asdict(self)}


def profile_fits(
    checkpoint: Checkpoint | ImportedNetwork,
    profiles: Iterable[HardwareProfile],
    recordings: LabelledFrames | None = None,
    neuron: str = "network",
) -> list[ProfileFit]:
    """Return for every profile whether the network fits, and what it takes and gives there."""
    return [_fit(checkpoint, profile, recordings, neuron) for profile in profiles]


def _fit(
    checkpoint: Checkpoint | ImportedNetwork,
    profile: HardwareProfile,
    recordings: LabelledFrames | None,
    neuron: str,
) -> ProfileFit:
    try:
        compilation = compile(checkpoint, profile, neuron=neuron)
    except CompileError as error:
        return ProfileFit(profile.name, profile.title, error.reasons)
    program, report = compilation.program, compilation.report
    fit = ProfileFit(
        profile.name,
        profile.title,
        (),
        report.footprint_bytes["total"],
        len(report.cores) or None,
        report.largest_ksynops,
    )
    if recordings is None:
        return fit
    result = simulate(program, recordings)
    spent = energy(program, result)
    measured = {
        "accuracy": accuracy(recordings.labels, result.predicted)["value"],
        "ksynops": float(result.synops.sum()) / len(result) / 1000,
        "energy_pj": None if spent is None else spent["total_pj"],
    }
    return ProfileFit(**{**{name: getattr(fit, name) for name in asdict(fit)}, **measured})
