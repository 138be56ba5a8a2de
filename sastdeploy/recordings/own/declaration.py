"""dataset.yaml: what a folder of recordings cannot tell of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sastdeploy._files.reading import exists, shown
from sastdeploy._files.strict_yaml import MAX_BYTES, load_strict_yaml, validate
from sastdeploy.errors import InputError
from sastdeploy.recordings.npy import parse_columns
from sastdeploy.recordings.own.layout import DECLARATION, MAX_CLASSES, MAX_NAME, class_name

MAX_SENSOR = 1 << 15
_Share = Annotated[float, Field(ge=0, lt=1)]
_Side = Annotated[int, Field(ge=1, le=MAX_SENSOR)]
_MIN_SHARE = 0.0001


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Folders(_Strict):
    """The folders train, validation and test divide the recordings."""

    kind: Literal["folders"] = "folders"


class Manifest(_Strict):
    """The manifest's column split divides them."""

    kind: Literal["manifest"] = "manifest"


class Listed(_Strict):
    """Files by name; a recording that no list names is left out."""

    kind: Literal["list"]
    train: list[str] = Field(min_length=1)
    validation: list[str] = []
    test: list[str] = []


class Draw(_Strict):
    """A draw by the seed and the recordings' names; ``of`` group keeps a manifest's groups whole."""

    kind: Literal["draw"] = "draw"
    of: Literal["recording", "group"] = "recording"
    seed: int = Field(0, ge=0)
    validation: _Share = 0.1
    test: _Share = 0.2


Split = Annotated[Folders | Manifest | Listed | Draw, Field(discriminator="kind")]


class Declaration(_Strict):
    """The file's content; None: to be found from the recordings."""

    name: str | None = Field(None, pattern=r"\S", max_length=MAX_NAME)
    simulated: bool = False
    sensor_size: list[_Side] | None = Field(None, min_length=2, max_length=2)
    polarities: int | None = Field(None, ge=1, le=2)
    downsample: float = Field(1, ge=1, le=MAX_SENSOR, allow_inf_nan=False)
    classes: list[str] | None = Field(None, min_length=2, max_length=MAX_CLASSES)
    unit: Literal["us", "ms", "s"] | None = None
    columns: str | None = None
    split: Split | None = None


def load_declaration(folder: Path) -> Declaration:
    """Return what the folder's dataset.yaml states; where there is no such file, nothing is stated.

    Raises:
        InputError: the file cannot be read, is no such record, or contradicts itself.
    """
    path = folder / DECLARATION
    if not exists(path):
        return Declaration.model_validate({})
    where = shown(path)
    declaration = validate(Declaration, load_strict_yaml(path), where)
    if declaration.columns is not None:
        try:
            parse_columns(declaration.columns)
        except InputError as error:
            raise InputError(f"{where}: key 'columns': name x, y, t and p once each, as in xytp.") from error
    classes = [class_name(name, f"{where}: key 'classes'") for name in declaration.classes or []]
    if twice := [name for name in classes if classes.count(name) > 1]:
        raise InputError(f"{where}: key 'classes': '{shown(twice[0])}' stands twice. Leave one of them out.")
    if isinstance(declaration.split, Draw):
        shares = (declaration.split.validation, declaration.split.test)
        if any(0 < share < _MIN_SHARE for share in shares) or sum(shares) >= 1:
            raise InputError(
                f"{where}: key 'split': the shares of validation ({shares[0]:g}) and test ({shares[1]:g}) are each 0 or at least "
                f"{_MIN_SHARE}, and leave a part for training."
            )
    return declaration.model_copy(update={"classes": classes or None})


def declaration_text(declaration: Declaration) -> str:
    """Return the file that `load_declaration` reads as ``declaration``.

    Raises:
        InputError: it would be larger than a YAML file may be.
    """
    lines = ["# What this folder's recordings are. The keys: docs/data.md of sastdeploy."]
    for key, value in declaration.model_dump().items():
        if value is None:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        # JSON's texts, numbers and lists are YAML's.
        text = json.dumps(value, ensure_ascii=False)
        lines.append(f"{key}: {text}")
    content = "\n".join(lines) + "\n"
    if len(content.encode()) > MAX_BYTES:
        raise InputError(
            f"{DECLARATION}: would have {len(content.encode()):,} bytes; at most {MAX_BYTES:,} are read. List the recordings in a "
            "manifest with the column split, and leave long lists out."
        )
    return content
