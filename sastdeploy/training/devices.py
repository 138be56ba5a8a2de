"""The device that a training computes on: the CPU, or one GPU per process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from sastdeploy.errors import InputError

CPU = torch.device("cpu")


@contextmanager
def exact_products() -> Iterator[None]:
    """Compute products and convolutions on a GPU in float32, with the same bits from run to run; else they may round to TF32."""
    cudnn: Any = torch.backends.cudnn
    try:
        before, _ = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    except (
        RuntimeError
    ):  # The caller chose TF32 by torch's newer interface, which the older one then refuses to read.
        with _set(cudnn, deterministic=True, benchmark=False), ExitStack() as stack:
            for place in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, torch.backends):
                stack.enter_context(_set(place, fp32_precision="ieee"))
            yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _set(place: Any, **values: Any) -> Iterator[None]:
    """Set attributes, and set them back at the end."""
    before = {name: getattr(place, name) for name in values}
    for name, value in values.items():
        setattr(place, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(place, name, value)


def lacking_memory(error: BaseException | None) -> str:
    """Return what torch says of memory that it did not get, which a failed capture of a graph may hide; else nothing."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return str(error).splitlines()[0]
        error = error.__cause__ or error.__context__
    return ""


def device_of(asked: str, local_rank: int | None = None) -> torch.device:
    """Return the device that ``cpu``, ``cuda`` or ``cuda:N`` names.

    ``cuda`` is the first GPU, under torchrun each process's own. We have never run on a GPU: the tests train on a stand-in
    (``tests/second_device.py``) that computes on the CPU and refuses to be mixed with it.

    Args:
        local_rank: this process's number on its machine; None where a process trains alone.

    Raises:
        InputError: another word, one GPU for several processes, or a GPU that is not there.
    """
    if asked == "cpu":
        return CPU
    match = re.fullmatch(r"cuda(?::([0-9]{1,4}))?", asked)
    if not match:
        raise InputError(
            f"device '{asked}': unknown. Allowed: cpu, cuda, or cuda:N with the number of a GPU."
        )
    number = match[1]
    if number is not None and local_rank is not None:
        raise InputError(
            f"device {asked}: is one GPU for several processes. Allowed under torchrun: cpu, or cuda, with which every "
            f"process takes the GPU of its LOCAL_RANK."
        )
    index = int(number or local_rank or 0)
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there == 0:
        raise InputError(
            f"device {asked}: is not there, torch {torch.__version__} sees no GPU. Allowed here: cpu. Install a build of "
            f"torch for your GPU, or leave --device out."
        )
    if index >= there:
        fewer = "" if local_rank is None else f" Start at most {there} processes on this machine."
        raise InputError(
            f"device cuda:{index}: is not there, torch sees GPUs: {there}. Allowed: cpu, cuda:0 to cuda:{there - 1}.{fewer}"
        )
    return torch.device("cuda", index)
