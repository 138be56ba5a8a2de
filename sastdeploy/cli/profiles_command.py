"""``sastdeploy profiles list | show | check | new``."""

from __future__ import annotations

import click

from sastdeploy.cli.arguments import pasted, wrote
from sastdeploy.cli.options import JSON


@click.group()
def command() -> None:
    """List, show, check and create hardware profiles."""


@command.command("list")
@JSON
def list_(as_json: bool) -> None:
    """List the built-in profiles."""
    import json

    from sastdeploy import load_profile
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.compiler.profiles import builtin_profiles

    known = [load_profile(name) for name in builtin_profiles()]
    if as_json:
        click.echo(
            json.dumps({"schema": "sastdeploy.profiles/1", "profiles": [p.record for p in known]}, indent=2)
        )
        return
    rows = [
        (p.name, p.title, f"INT{p.weight_bits} {p.granularity}", f"{p.membrane} {p.overflow.value}",
         f"/2^{p.leak_shift} {p.leak_rounding.value}", p.accumulator_bits, f"{'/'.join(p.offered('reset'))}, delay {'/'.join(map(str, p.offered('reset_delay')))}")
        for p in known
    ]  # fmt: skip
    print_table(("name", "title", "weights", "membrane", "leak", "accumulator", "reset"), rows)


@command.command()
@click.argument("name")
@JSON
def show(name: str, as_json: bool) -> None:
    """Print profile NAME (built in, or a YAML file) with the source of every value."""
    import json

    from sastdeploy import load_profile
    from sastdeploy.cli.terminal import print_table

    profile = load_profile(name)
    if as_json:
        click.echo(json.dumps(profile.record, indent=2))
        return
    rows = [
        (
            f"{section}.{key}",
            "none stated" if entry["value"] is None else str(entry["value"]),
            entry["source"],
        )
        for section, entries in profile.record.items()
        if isinstance(entries, dict)
        for key, entry in entries.items()
    ]
    print_table(("key", "value", "source"), rows, title=f"{profile.name}: {profile.title}")
    for sentence in profile.differs:
        click.echo(f"Differs: {sentence}")


@command.command()
@click.argument("file", type=click.Path())
@JSON
def check(file: str, as_json: bool) -> None:
    """Check a profile FILE of your own and say what it describes."""
    import json

    from sastdeploy import load_profile

    profile = load_profile(file)
    if as_json:
        click.echo(
            json.dumps(
                {"schema": "sastdeploy.profile_check/1", "file": file, "valid": True, **profile.record}
            )
        )
        return
    click.echo(
        f"{file}: valid. {profile.name}: INT{profile.weight_bits} weights, {profile.membrane} membrane."
    )


@command.command()
@click.argument("name")
@click.option("--from", "source", default="loihi_int8", show_default=True, help="Profile to start from.")
@click.option("--out", type=click.Path(), default=None, help="File to write.  [default: NAME.yaml]")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def new(name: str, source: str, out: str | None, force: bool) -> None:
    """Write a profile NAME to edit, as a copy of another."""
    import json
    import re
    from pathlib import Path

    from sastdeploy import InputError, load_profile
    from sastdeploy._files import atomic
    from sastdeploy._files.reading import read_text
    from sastdeploy.compiler.profiles import profile_path

    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InputError(f"profile '{name}': a name has letters, digits, _ and -, at most 64.")
    path = Path(out or f"{name}.yaml")
    known = load_profile(source)
    atomic.check_writable(path, inputs=[profile_path(source)])
    text = read_text(profile_path(source))
    # In quotes, so that a name such as 123, no or 1e3 stays a text.
    text, replaced = re.subn(r"(?m)^name:.*$", f'name: "{name}"', text, count=1)
    if not replaced:
        raise InputError(
            f"{source}: has no line that begins with 'name:', so it cannot be copied under a new name."
        )
    # The comment at the head, and the title, are about the other profile.
    text = re.sub(r"\A(?:[ \t]*(?:#.*)?\n)+", "", text)
    title = json.dumps(f"{name}, made from {known.name}")
    text = re.sub(r"(?m)^title:.*(?:\n[ \t]+.*)*$", lambda _: f"title: {title}", text, count=1)
    was_there = path.is_file()
    atomic.write_text(path, text, force=force)
    if was_there and not force:
        click.echo(wrote(path, was_there, force))
    click.echo(
        f"{path}: edit it, then 'sastdeploy profiles check {pasted(path)}' and 'sastdeploy compile CKPT --profile {pasted(path)}'."
    )
