"""What a file's author reads when keys are wrong: every error, in the field's words, none of pydantic's."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from sastdeploy._files.strict_yaml import validate
from sastdeploy.errors import InputError
from sastdeploy.networks.builtin import _Network


class Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    size: Annotated[int, Field(ge=1, le=9)] = 1
    share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.5
    word: str = "a"
    flag: bool = False
    items: list[int] = Field(default=[1], min_length=1, max_length=2)
    choice: Literal["floor", "nearest"] = "floor"
    below: dict[str, int] = {}


@pytest.mark.parametrize(("content", "message"), [
    ({"size": "x"}, "key 'size': must be a whole number, found 'x'."),
    ({"size": 1.5}, "key 'size': must be a whole number, found 1.5."),
    ({"size": None}, "key 'size': must be a whole number, found null."),
    ({"size": 0}, "key 'size': must be at least 1, found 0."),
    ({"size": 10}, "key 'size': must be at most 9, found 10."),
    ({"share": "x"}, "key 'share': must be a number, found 'x'."),
    ({"share": 0.0}, "key 'share': must be above 0, found 0.0."),
    ({"share": 1.0}, "key 'share': must be below 1, found 1.0."),
    ({"share": float("inf")}, "key 'share': must be a finite number, found inf."),
    ({"word": 1}, "key 'word': must be text, found 1."),
    ({"flag": "yes"}, "key 'flag': must be true or false, found 'yes'."),
    ({"items": 1}, "key 'items': must be a list, found 1."),
    ({"items": []}, "key 'items': must have at least 1 entries, found []."),
    ({"items": [1, 2, 3]}, "key 'items': must have at most 2 entries, found [1, 2, 3]."),
    ({"choice": True}, "key 'choice': must be 'floor' or 'nearest', found true."),
    ({"below": [1]}, "key 'below': must be keys and values, found [1]."),
    ({"word": ["long"] * 100}, "key 'word': must be text, found ['long', 'long', 'long', 'long', 'long', 'long', ...]."),
])  # fmt: skip
def test_one_error(content, message):
    with pytest.raises(InputError) as caught:
        validate(Part, content, "x.yaml")
    assert str(caught.value) == f"x.yaml: {message}"


def test_every_error_is_listed():
    layers = [{"kind": "max_pool"}, {"channels": 4}, {"kind": "dense", "neurons": "ten", "bias": 1}]
    with pytest.raises(InputError) as caught:
        validate(_Network, {"name": "a b", "layers": layers}, "net.yaml")
    assert str(caught.value) == (
        "net.yaml: 5 errors:\n"
        "  key 'layers.2.dense.bias': unknown. Allowed: kind, neurons.\n"
        "  key 'name': must be 1 to 64 letters, digits, _ or -, found 'a b'.\n"
        "  key 'layers.0.kind': unknown value 'max_pool'. Did you mean 'avg_pool'? Allowed: dense, conv, avg_pool.\n"
        "  key 'layers.1.kind': missing.\n"
        "  key 'layers.2.dense.neurons': must be a whole number, found 'ten'."
    )


def test_a_list_of_errors_ends():
    with pytest.raises(InputError) as caught:
        validate(_Network, {"name": "a", "layers": [{"kind": "dense"}] * 1000}, "net.yaml")
    lines = str(caught.value).splitlines()
    assert lines[0] == "net.yaml: 1000 errors:" and lines[-1] == "  and 980 more." and len(lines) == 22


def test_no_schema_uses_an_error_type_without_words():
    """Union branches and value errors have their own sentences; the rest must stand in the table."""
    with pytest.raises(InputError) as caught:
        validate(_Network, {"name": 1, "layers": {}, "readout": 1}, "net.yaml")
    assert "Input should" not in str(caught.value) and "valid" not in str(caught.value)
