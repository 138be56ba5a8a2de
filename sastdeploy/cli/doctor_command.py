"""``sastdeploy doctor``."""

from __future__ import annotations

import click

from sastdeploy import SastdeployError
from sastdeploy.cli.options import DATA, JSON


@click.command()
@DATA
@JSON
def command(data: str | None, as_json: bool) -> None:
    """Print versions, threads, SIMD seen by Numba, data sets, and what is missing."""
    import json
    from dataclasses import asdict
    from pathlib import Path

    from sastdeploy.cli.doctor import examine
    from sastdeploy.cli.terminal import print_table
    from sastdeploy.recordings.catalog import data_root

    findings = examine(Path(data) if data else data_root())
    missing = [finding for finding in findings if finding.status == "missing"]
    if as_json:
        click.echo(
            json.dumps({"schema": "sastdeploy.doctor/1", "findings": [asdict(f) for f in findings]}, indent=2)
        )
    else:
        print_table(("what", "status", "detail"), [(f.what, f.status, f.detail) for f in findings])
    if missing:
        raise SastdeployError(
            f"{len(missing)} missing: {', '.join(f.what for f in missing)}. The table says how to mend each."
        )
