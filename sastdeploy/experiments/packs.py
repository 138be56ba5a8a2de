"""Training a sweep's packed trials at once on one device; their evaluation is the trials' own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sastdeploy._files.locks import held
from sastdeploy.experiments.progress import finished
from sastdeploy.experiments.spec import Trial
from sastdeploy.experiments.trial import Parts, run_of


def evaluable(trials: dict[str, Trial], work: Path) -> dict[str, Trial]:
    """Return the trials whose work can go on where packs were trained: those with a checkpoint, and those that no pack trains."""
    return {a: t for a, t in trials.items() if t.kernels != "packed" or (work / a / "ckpt.pt").exists()}


def train_packs(
    trials: dict[str, Trial],
    root: Path | None,
    work: Path,
    records: Path,
    device: str,
    show: Callable[[set[str]], None] = lambda running: None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train every trial with ``kernels: packed`` that has no record and no checkpoint yet; write ``work/ADDRESS/ckpt.pt``.

    A trial that another process is at is left to it.

    Args:
        device: as for ``sastdeploy train``. show: called about once a second with the addresses that train. say: told warnings.

    Raises:
        InputError: the device is not there, or a network is no longer finite; the others' checkpoints are written.
    """
    from filelock import Timeout

    from sastdeploy import fit_all
    from sastdeploy.training.devices import device_of
    from sastdeploy.training.distributed import Group

    group = Group(device=device_of(device))
    have = finished(records)
    waiting = [
        a
        for a, t in trials.items()
        if t.kernels == "packed" and a not in have and not (work / a / "ckpt.pt").exists()
    ]
    parts, runs = Parts(root), {}
    with ExitStack() as locks:
        for address in waiting:
            (work / address).mkdir(parents=True, exist_ok=True)
            try:
                locks.enter_context(held(work / address / "lock", wait=False))
            except Timeout:
                continue
            runs[address] = run_of(trials[address], address, parts, work / address / "ckpt.pt")
        shown = 0.0

        def report(which: int, record: dict[str, Any]) -> None:
            nonlocal shown
            if time.monotonic() - shown >= 1:
                shown = time.monotonic()
                show(set(runs))

        if runs:
            fit_all(list(runs.values()), resume=True, report=report, say=say, group=group)
