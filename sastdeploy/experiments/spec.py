"""An experiment file: which trials there are, and what is reported of them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sastdeploy import (
    Architecture,
    InputError,
    Preprocessing,
    TrainingSettings,
    load_architecture,
    load_profile,
)
from sastdeploy._files.reading import brief, read_bytes
from sastdeploy._files.strict_yaml import MAX_BYTES, load_strict_yaml, validate
from sastdeploy.errors import did_you_mean
from sastdeploy.experiments.measures import MEASURES, NEED_TEST
from sastdeploy.networks.architecture import Neuron
from sastdeploy.recordings.catalog import CATALOG, full_name
from sastdeploy.recordings.datasets import dataset
from sastdeploy.recordings.events import MAX_LENGTH_US
from sastdeploy.recordings.preprocessing import MAX_CLIP, MAX_DIVISOR
from sastdeploy.training.settings import forward_of, kernels_for

FILES = (".yaml", ".yml")
MAX_TRIALS = 10_000
FORMAT = 2
"""Of trials and their records; part of every trial's address."""


@dataclass(frozen=True)
class Trial:
    """One training with its evaluation: everything that decides its numbers.

    Args:
        dataset, arch: as for ``sastdeploy train``; arch is a built-in name or a YAML file's path.
        method, rho, epochs, batch_size, learning_rate, seed, forward, slope_end, weight_decay, init, init_scale,
            quantize_bits, quantize_epochs, kernels: `TrainingSettings`.
        alpha, threshold, slope: the neuron. time_bins: T. limit: training recordings, None for all.
        window: ms; events that come later after a recording's start are left out of all splits. None keeps all.
        binning, events_per_bin: `sastdeploy.Preprocessing`.
        clip: c_clip, 1 to 127; None: the smallest that covers 99 % of the training recordings' counts above 0.
        divisor_factor: frame values are ``min(count, c_clip) / (divisor_factor * c_clip)``, at least 1.
        profiles: hardware profiles whose integer programs are simulated on the test recordings.
        measures: names of `sastdeploy.experiments.measures.MEASURES` to take of the trained network.
        select: the experiment's name where the test recordings wait until its choice is made; empty: each trial reads
            them once, when its own training is over.
    """

    dataset: str
    arch: str = "fc_0p40m"
    method: str = "baseline"
    rho: float = 0.0
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0
    alpha: float = 0.5
    threshold: float = 1.0
    slope: float = 25.0
    time_bins: int = 10
    limit: int | None = None
    divisor_factor: float = 1.0
    forward: str = "surrogate"
    slope_end: float = 0.0
    weight_decay: float = 0.0
    init_scale: float = 1.0
    quantize_bits: int = 0
    quantize_epochs: int = 0
    kernels: str = "fused"
    profiles: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    select: str = ""
    init: str = "paper"
    window: float | None = None
    binning: str = "duration"
    events_per_bin: int | None = None
    clip: int | None = None

    def __post_init__(self) -> None:
        # Records and experiment files of earlier versions say smooth; it is the same trial, at the same address.
        object.__setattr__(self, "forward", forward_of(self.forward))

    @property
    def bins(self) -> dict[str, Any]:
        """The arguments of `sastdeploy.load_dataset` and `sastdeploy.Preprocessing` that say how recordings become bins."""
        window_us = None if self.window is None else round(self.window * 1000)
        return {
            "time_bins": self.time_bins, "window_us": window_us, "binning": self.binning, "events_per_bin": self.events_per_bin,
        }  # fmt: skip

    def address(self, data_hash: str) -> str:
        """Return 16 hexadecimal digits that name this trial on these data; the same trial has the same name.

        Settings at their defaults are left out, so a setting that a later version adds changes no address; neither do
        measures, which can be taken of a network at any time.
        """
        fields = type(self).__dataclass_fields__
        settings = {name: value for name, value in asdict(self).items() if value != fields[name].default}
        settings.pop("measures", None)
        if os.sep in self.dataset:
            # A folder of one's own, known by its recordings: the hash of the data.
            settings["dataset"] = "own"
        # What a file says decides, not where it lies. What a built-in name means is the version's and the commit's matter.
        if self.arch.endswith(FILES):
            settings["arch"] = _content(self.arch)
        if any(profile.endswith(FILES) for profile in self.profiles):
            settings["profiles"] = [_content(p) if p.endswith(FILES) else p for p in self.profiles]
        content = {"format": FORMAT, "data": data_hash, **settings}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


OPTIONAL: dict[str, type] = {"limit": int, "window": float, "events_per_bin": int, "clip": int}
"""Settings that may be null, and their types."""
_KINDS = {str: "text", int: "a whole number", float: "a number"}


def _content(path: str) -> str:
    return hashlib.sha256(read_bytes(path, limit=MAX_BYTES)).hexdigest()


GRID = tuple(
    name
    for name in Trial.__dataclass_fields__
    if name not in ("dataset", "seed", "profiles", "measures", "select")
)
"""What a grid may vary."""
LINE = ("method", "rho")
"""What names a line of the figure over the input's scale."""


_Published = Annotated[
    list[Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]], Field(min_length=1, max_length=3)
]
"""Surrogate and hard accuracy in percent, and the gap in points."""


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_-]{1,64}$")
    title: str
    dataset: str
    seeds: list[int] = Field(min_length=1)
    fixed: dict[str, Any] = {}
    grid: list[dict[str, Any]] = Field(min_length=1)
    profiles: list[str] = []
    measures: list[str] = []
    select_by: list[str] | None = None
    compare_within: list[str] = []
    published: dict[str, _Published] = {}
    paper: dict[str, _Published] = {}
    """The older name of ``published``."""
    notes: list[str] = []


@dataclass(frozen=True)
class Experiment:
    """A checked file. ``groups``: per grid point its trials, one per seed, the reference point first.

    ``select_by``: settings for whose every value one point is chosen by validation before any test recording is
    read; None where each trial is tested. ``compare_within``: a point is compared with the first point that has the same
    values of these settings; with none, with the first point of all. ``published``: somebody else's figures by the
    group's label (surrogate and hard accuracy in percent, gap in points), shown beside, or by the label without
    ``divisor_factor``, drawn as a level in the figure over the input's scale; ``notes``: sentences for the report.
    """

    name: str
    title: str
    groups: tuple[tuple[Trial, ...], ...]
    select_by: tuple[str, ...] | None
    published: dict[str, list[float]]
    notes: tuple[str, ...]
    compare_within: tuple[str, ...] = ()

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(trial for group in self.groups for trial in group)


def load_experiment(path: Path | str) -> Experiment:
    """Return the experiment of a YAML file.

    The file has ``name``, ``title``, ``dataset``, ``seeds``, optional ``fixed`` (settings of all trials), ``grid`` (a
    list of points; a list as a value stands for one point each), ``profiles``, ``measures``, ``select_by``,
    ``compare_within``, ``published`` (``paper`` in older files) and ``notes``. A network's or profile's YAML file,
    and a folder of recordings, is named relative to the experiment's file.

    Raises:
        InputError: the file is not such a record, names what there is not, or asks for a trial that could not be trained.
    """
    record = validate(_File, load_strict_yaml(path), str(path))
    if record.published and record.paper:
        raise InputError(f"{path}: 'paper' is the older name of 'published'. Keep one of the two.")
    lists: dict[str, list[Any]] = {
        "seeds": record.seeds, "profiles": record.profiles, "measures": record.measures,
    }  # fmt: skip
    for key, listed in lists.items():
        if repeated := _twice(listed):
            raise InputError(f"{path}: key '{key}': {repeated[0]} stands twice. Leave one of them out.")
    for settings in (record.fixed, *record.grid, record.select_by or (), record.compare_within):
        for name in settings:
            if name not in GRID:
                raise InputError(f"{path}: '{name}' is no setting of a trial. Allowed: {', '.join(GRID)}.")
    for name in record.measures:
        if name not in MEASURES:
            raise InputError(
                f"{path}: '{name}' is no measure.{did_you_mean(name, MEASURES)} Allowed: {', '.join(MEASURES)}."
            )
    if "overflows" in record.measures and not record.profiles:
        raise InputError(
            f"{path}: measure overflows is of integer programs. Name hardware profiles (key 'profiles'), or leave it out."
        )
    late = [name for name in record.measures if name in NEED_TEST]
    if record.select_by is not None and late:
        raise InputError(
            f"{path}: measure {late[0]} needs the test recordings, which wait for the choice that select_by asks for. "
            "Leave one of the two out."
        )
    beside = Path(path).parent
    common = {
        "dataset": _dataset(beside, record.dataset),
        "profiles": tuple(_beside(beside, name) for name in record.profiles),
        "measures": tuple(record.measures),
        "select": "" if record.select_by is None else record.name,
    }
    _check_count(record, path)
    groups = []
    for point in record.grid:
        names, values = list(point), [v if isinstance(v, list) else [v] for v in point.values()]
        if [] in values:
            raise InputError(
                f"{path}: key 'grid': {names[values.index([])]} has no value. Name one, or leave the setting out."
            )
        for chosen in product(*values):
            settings = {**record.fixed, **dict(zip(names, chosen))}
            groups.append(tuple(_trial(path, {**common, **settings, "seed": seed}) for seed in record.seeds))
            if groups[-1][0].method != "baseline" and "rho" not in settings:
                raise InputError(
                    f"{path}: key 'grid': method {groups[-1][0].method} has no rho, and with none it would be the baseline. State it "
                    "(0.3 is the default of train)."
                )
    points = [group[0] for group in groups]
    _check(path, record.seeds, points)
    # By address: two files of the same content are one network.
    if len({point.address("") for point in points}) < len(points):
        raise InputError(f"{path}: two points of the grid are the same. Leave one of them out.")
    chosen_by = None if record.select_by is None else tuple(record.select_by)
    experiment = Experiment(
        record.name, record.title, tuple(groups), chosen_by, record.published or record.paper, tuple(record.notes), tuple(record.compare_within)
    )  # fmt: skip
    differing = varied(experiment)
    if repeated := _twice([label(point, differing) for point in points]):
        raise InputError(
            f"{path}: two points of the grid would both be called '{repeated[0]}'. Give network files names of their own, and values "
            "that differ in their first six digits."
        )
    named = (differing, LINE) if "divisor_factor" in differing else (differing,)
    labels = dict.fromkeys(label(point, names) for names in named for point in points)
    for name in experiment.published:
        if name not in labels:
            raise InputError(
                f"{path}: key 'published': {brief(name)} is no point of the grid.{did_you_mean(name, tuple(labels))} "
                f"Allowed: {'; '.join(labels)}."
            )
    for name in experiment.compare_within:
        if name not in varied(experiment):
            raise InputError(
                f"{path}: compare_within names '{name}', in which no two points differ. "
                f"Allowed: {', '.join(varied(experiment)) or 'nothing: there is one point'}."
            )
    return experiment


def _check_count(record: _File, path: Path | str) -> None:
    """Accept a number of trials that somebody could train; it is found without making one."""
    points = sum(
        math.prod(len(value) for value in point.values() if isinstance(value, list)) for point in record.grid
    )
    if points * len(record.seeds) > MAX_TRIALS:
        raise InputError(
            f"{path}: key 'grid': {points:,} points with {len(record.seeds):,} seeds each are {points * len(record.seeds):,} trials; "
            f"at most {MAX_TRIALS:,} are allowed. Give fewer values."
        )


def _twice(items: Iterable[Any]) -> list[Any]:
    """Return what occurs more than once, in the order in which it first occurs."""
    return [item for item, count in Counter(items).items() if count > 1]


def _check(path: Path | str, seeds: list[int], points: list[Trial]) -> None:
    """Accept what every training of the file would accept; a point is checked with its first seed."""
    try:
        for seed in seeds:
            TrainingSettings(seed=seed)
        for profile in points[0].profiles:
            load_profile(profile)
        for trial in points:
            training_of(trial)
            kernels_for("cpu", trial.kernels, packable=trial.quantize_bits == 0)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def training_of(trial: Trial) -> tuple[Architecture, TrainingSettings]:
    """Return the network and the settings that a trial is trained with.

    Raises:
        InputError: a setting is out of its range, or the network's name or file is wrong.
    """
    facts = dataset(trial.dataset)
    if trial.window is not None and not 0.001 <= trial.window <= MAX_LENGTH_US / 1000:
        raise InputError(
            f"window {trial.window:g}: must be 0.001 to {MAX_LENGTH_US // 1000} ms (one day), or null for all events."
        )
    if trial.window is not None and trial.window != round(trial.window, 3):
        raise InputError(f"window {trial.window!r}: must be whole microseconds, so at most three decimals.")
    frames = Preprocessing(facts.sensor_size, facts.frame_size, **trial.bins)
    if trial.limit is not None and trial.limit < 1:
        raise InputError(f"limit {trial.limit}: must be at least 1, or null for all recordings.")
    if trial.clip is not None and not 1 <= trial.clip <= MAX_CLIP:
        raise InputError(f"clip {trial.clip}: must be 1 to {MAX_CLIP}, or null for 99 % of the counts.")
    if not (1 <= trial.divisor_factor <= MAX_DIVISOR / MAX_CLIP):
        raise InputError(
            f"divisor_factor {trial.divisor_factor:g}: must be a finite number of at least 1, so that values do not exceed 1, and at most {MAX_DIVISOR / MAX_CLIP:.0f}."
        )
    neuron = Neuron(trial.alpha, trial.threshold, trial.slope)
    architecture = load_architecture(trial.arch, frames.frame_shape, len(facts.classes), neuron)
    settings = asdict(trial)
    return architecture, TrainingSettings(**{
        name: settings[name] for name in TrainingSettings.__dataclass_fields__ if name in settings
    })  # fmt: skip


def _trial(path: Path | str, settings: dict[str, Any]) -> Trial:
    fields = Trial.__dataclass_fields__
    for name, value in settings.items():
        kind = OPTIONAL.get(name) or (type(fields[name].default) if name != "dataset" else str)
        fits = type(value) is kind or (value is None and name in OPTIONAL)
        if not fits and not (kind is float and type(value) is int):
            raise InputError(
                f"{path}: {name} is {brief(value)}, expected {_KINDS[kind]}{' or null' if name in OPTIONAL else ''}."
            )
        settings[name] = float(value) if type(value) is int and kind is float else value
    if "arch" in settings:
        settings["arch"] = _beside(Path(path).parent, settings["arch"])
    return Trial(**settings)


def _beside(folder: Path, name: str) -> str:
    """Return a built-in's name as it is, a YAML file's as a path from the folder."""
    return str(folder / name) if name.endswith(FILES) else name


def _dataset(folder: Path, name: str) -> str:
    """Return a catalog name as it is, the path of a folder of recordings as one from the experiment's folder."""
    if name in CATALOG or not (os.sep in name or os.path.isdir(folder / name)):
        return name
    return full_name(os.path.join(os.curdir, folder, name))


def label(trial: Trial, varied: tuple[str, ...]) -> str:
    """Return what tells a grid point from the others; settings at their defaults go without saying."""
    settings = {name: getattr(trial, name) for name in varied}
    default = {name: Trial.__dataclass_fields__[name].default for name in varied}
    parts = [
        f"{name} {Path(value).stem if name == 'arch' else f'{value:g}' if type(value) is float else value}"
        for name, value in settings.items()
        if value != default[name] or name == "method"
    ]
    return ", ".join(parts) or f"{trial.method}, as described"


def varied(experiment: Experiment) -> tuple[str, ...]:
    """Return the settings in which an experiment's points differ."""
    first = [group[0] for group in experiment.groups]
    return tuple(name for name in GRID if len({getattr(trial, name) for trial in first}) > 1)
