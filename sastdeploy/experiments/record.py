"""A trial's record as it lies on disk: every reader of records takes them from here, checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict
from pathlib import Path
from typing import Any

from sastdeploy import InputError
from sastdeploy._files.reading import brief, read_json
from sastdeploy._files.strict_yaml import validate
from sastdeploy.experiments.record_format import Choice, Record, Test, Tested
from sastdeploy.experiments.spec import FILES, FORMAT, Trial

ANEW = "Remove the file: 'sastdeploy sweep run' makes it anew."


_EARLIER_WORDS = {"smooth": "surrogate", "smooth_rate": "surrogate_rate"}
"""Keys and values of records that earlier versions wrote."""


def load_record(path: Path, trial: Trial) -> dict[str, Any]:
    """Return the record of a trial from ``ADDRESS.json``, which is whole, of this trial, and has no impossible number.

    Raises:
        InputError: it is missing, damaged, another trial's, or was changed.
    """
    with _remedy(ANEW):
        content: dict[str, Any] = _in_todays_words(read_json(path))
        read = validate(Record, content, str(path))
        _check_address(read, path)
        _check_trial(read.trial, trial, path)
        if read.validation.epoch >= trial.epochs:
            raise InputError(
                f"{path}: key 'validation.epoch': allowed are 0 to {trial.epochs - 1}, found {read.validation.epoch}."
            )
        for part, values in content.get("curve", {}).items():
            if len(values) != trial.epochs:
                raise InputError(
                    f"{path}: key 'curve.{part}': expected {trial.epochs} values, one per epoch, found {len(values)}."
                )
        if ("test" in content) == bool(trial.select):
            raise InputError(
                f"{path}: key 'test': {'stands here, but belongs in .test.json' if trial.select else 'missing'}."
            )
        if not trial.select:
            _check_tested(read.test, read.programs, read.trial.get("profiles", ()), path)
    return content


def load_any(path: Path) -> dict[str, Any]:
    """Return the record of some trial, whole and under its own name; its settings are not held against a trial.

    Raises:
        InputError: it is missing or damaged.
    """
    with _remedy(ANEW):
        content: dict[str, Any] = _in_todays_words(read_json(path))
        _check_address(validate(Record, content, str(path)), path)
    return content


def load_tested(path: Path, trial: Trial) -> dict[str, Any]:
    """Return what ``ADDRESS.test.json`` holds of a chosen trial's test recordings; checked as by `load_record`.

    Raises:
        InputError: as `load_record`.
    """
    with _remedy(ANEW):
        content: dict[str, Any] = read_json(path)
        read = validate(Tested, content, str(path))
        _check_address(read, path)
        _check_tested(read.test, read.programs, trial.profiles, path)
    return content


def load_choice(path: Path, experiment: str) -> dict[str, Any]:
    """Return the choice that was made for an experiment of this name.

    Raises:
        InputError: it is missing, damaged, or another experiment's.
    """
    with _remedy(
        "Put the file back as the sweep wrote it: a choice is not made after test recordings were read."
    ):
        content: dict[str, Any] = read_json(path)
        read = validate(Choice, content, str(path))
        if read.experiment != experiment:
            raise InputError(f"{path}: key 'experiment': expected {experiment}, found {read.experiment}.")
    return content


@contextmanager
def _remedy(text: str) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{error} {text}") from error


def _in_todays_words(content: Any) -> Any:
    """Return a record's content with the words of this version: an earlier one said smooth where this one says surrogate."""
    if isinstance(content, dict):
        return {_EARLIER_WORDS.get(key, key): _in_todays_words(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_in_todays_words(value) for value in content]
    return _EARLIER_WORDS.get(content, content) if isinstance(content, str) else content


def _check_address(read: Record | Tested, path: Path) -> None:
    if read.format != FORMAT:
        raise InputError(f"{path}: key 'format': this sastdeploy reads {FORMAT}, found {read.format}.")
    address = path.name.split(".")[0]
    if read.address != address:
        raise InputError(
            f"{path}: key 'address': expected {address}, as the file is called, found {read.address}."
        )


def _check_trial(settings: dict[str, Any], trial: Trial, path: Path) -> None:
    """Accept the settings that the address stands for; measures and where a YAML file lay are not among them."""
    expected = asdict(trial)
    for name in settings:
        if name not in expected:
            raise InputError(f"{path}: key 'trial.{name}': no setting of a trial.")
    for name, value in expected.items():
        recorded = settings.get(name, Trial.__dataclass_fields__[name].default)
        if recorded is MISSING:
            raise InputError(f"{path}: key 'trial.{name}': missing.")
        if name != "measures" and _placeless(recorded) != _placeless(value):
            raise InputError(
                f"{path}: key 'trial.{name}': expected {value!r}, which its address stands for, found {brief(recorded)}."
            )


def _placeless(value: Any) -> Any:
    """Return a setting with "a file" for every YAML file's path."""
    if isinstance(value, list | tuple):
        return [_placeless(one) for one in value]
    return "a file" if isinstance(value, str) and value.endswith(FILES) else value


def _check_tested(test: Test, programs: dict[str, Any], profiles: Sequence[str], path: Path) -> None:
    gap = test.surrogate - test.hard
    if abs(test.gap - gap) > 1e-9:
        raise InputError(
            f"{path}: key 'test.gap': expected surrogate less hard, {gap:g}, found {test.gap:g}."
        )
    if sorted(_placeless(list(programs))) != sorted(_placeless(profiles)):
        raise InputError(
            f"{path}: key 'programs': expected {', '.join(profiles) or 'none'}, found {', '.join(programs) or 'none'}."
        )
