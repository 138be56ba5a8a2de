"""A new profile is a copy that says its own name, not the other's."""

from dataclasses import replace
from pathlib import Path

import pytest

from sastdeploy import load_profile
from sastdeploy.compiler.profiles import builtin_profiles
from tests.command_line import cli

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize("source", builtin_profiles())
def test_a_copy_has_its_own_name_and_title_and_no_word_about_the_other(source, capsys):
    code, out, _ = cli(capsys, "profiles", "new", "mychip", "--from", source)
    assert code == 0 and out == (
        "mychip.yaml: edit it, then 'sastdeploy profiles check mychip.yaml' and 'sastdeploy compile CKPT --profile mychip.yaml'.\n"
    )
    head = Path("mychip.yaml").read_text().splitlines()[:2]
    assert head == ['name: "mychip"', f'title: "mychip, made from {source}"']
    made, other = load_profile("mychip.yaml"), load_profile(source)
    assert made.title == f"mychip, made from {source}"
    drop = {"name": "", "title": "", "record": {}}
    assert replace(made, **drop) == replace(other, **drop)


def test_only_the_head_is_left_out_and_a_long_title_is_replaced_whole(capsys):
    text = load_text("loihi_int8").split("name: loihi_int8")[1].split("\n", 2)[2]
    Path("p.yaml").write_text(f"# Head.\n\n# More.\ntitle: >-\n  a long\n  title\n# Kept.\nname: p\n{text}")
    assert cli(capsys, "profiles", "new", "q", "--from", "p.yaml", "--out", "./-q.yaml")[0] == 0
    made = Path("-q.yaml").read_text()
    assert made == f'title: "q, made from p"\n# Kept.\nname: "q"\n{text}'
    assert load_profile("./-q.yaml").title == "q, made from p"


def load_text(name):
    from sastdeploy.compiler.profiles import profile_path

    return Path(profile_path(name)).read_text()
