"""The files that a training writes, ``<out>``, ``<out>.state`` and ``<out>.jsonl``: who may write them, and when."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sastdeploy._files import atomic
from sastdeploy._files.reading import exists
from sastdeploy.errors import InputError

BUSY = "another training is writing it at this moment. Wait for its end, or choose another name."


def check_out(out: Path, resume: bool, force: bool, inputs: Iterable[Path | str] = ()) -> None:
    """Accept a checkpoint's path that can be written, and a run there that may be begun or gone on with.

    Args:
        inputs: as of `sastdeploy._files.atomic.check_writable`: what ``force`` does not replace either.

    Raises:
        InputError: it cannot be written, is no regular file, or is one of the inputs; it exists, or an interrupted run is there, without ``force`` or ``resume``.
    """
    atomic.check_writable(out)
    state_path, log_path = out.with_name(out.name + ".state"), out.with_name(out.name + ".jsonl")
    for path in (out, state_path, log_path):
        atomic.check_writable(path, inputs=inputs)
        atomic.check_regular(path)
    if resume and exists(state_path):
        return
    if exists(out) and not force:
        if resume:
            raise InputError(
                f"{out}: is finished, and there is no {state_path.name} to resume. Use --force to train anew."
            )
        raise InputError(f"{out}: exists. Choose another name, or replace it with --force.")
    if exists(state_path) and not force:
        raise InputError(
            f"{state_path}: an interrupted run is there. Go on with --resume, or start anew with --force."
        )
    # Who resumes owns what an interrupted run left here, a log without its state too.
    if exists(log_path) and not (force or resume):
        raise InputError(
            f"{log_path}: exists, and belongs to no checkpoint. Choose another name, or replace it with --force."
        )
