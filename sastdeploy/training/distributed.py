"""One training on several processes: what each computes, and what all of them add up.

Every process holds all recordings and the whole network, and takes the same steps. Of each minibatch it computes its
own share, the loss weighted by share / batch: the sum of the gradients over the processes is then the gradient of
the minibatch's mean loss, also where shares differ or are empty. The sum is one all-reduce of one buffer (gloo; a ring,
whose order of addition depends on the number of processes and the buffer's length only), so that all processes
hold the same bits, run after run. Between numbers of processes the bits differ, within float32 rounding.
On GPUs (nccl) none of this was ever run by us.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sastdeploy.errors import InputError, SastdeployError
from sastdeploy.training.devices import CPU, device_of

_PATIENCE = timedelta(minutes=30)
"""Until a process that hangs counts as lost (one that ends is noticed at once); binning a data set must fit in."""


@dataclass(frozen=True)
class Group:
    """The processes of one training: this one is ``rank`` of ``size`` and computes on ``device``. A group of one changes no bit.

    Where processes exchange something, each of them calls the same methods in the same order.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return this process's part of ``count`` things: contiguous, all shares together everything, none twice.

        Shares differ by at most one; with fewer things than processes some are empty.
        """
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_gradients(self, network: nn.Module, loss: Tensor) -> float:
        """Replace every ``.grad`` by its sum over the processes (a missing one counts as 0); return the losses' sum."""
        if self.size == 1:
            return float(loss.detach())
        learnable = list(network.parameters())
        for parameter in learnable:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in learnable if parameter.grad is not None]
        buffer = torch.cat([*(g.reshape(-1) for g in gradients), loss.detach().reshape(1)])
        self._exchange(dist.all_reduce, buffer)
        *sums, total = torch.split(buffer, [*(g.numel() for g in gradients), 1])
        for gradient, part in zip(gradients, sums):
            gradient.copy_(part.view(gradient.shape))
        return float(total)

    def sum_counts(self, counts: Sequence[int]) -> list[int]:
        """Return each count's sum over the processes; exact."""
        if self.size == 1:
            return list(counts)
        sums = torch.tensor(counts, dtype=torch.int64, device=self.device)
        self._exchange(dist.all_reduce, sums)
        return sums.tolist()

    def mismatched_ranks(self, content: bytes) -> list[int]:
        """Return the ranks whose content differs from the first's (by SHA-256): the same answer in every process."""
        if self.size == 1:
            return []
        digest = torch.tensor(list(hashlib.sha256(content).digest()), dtype=torch.uint8, device=self.device)
        digests = [torch.empty_like(digest) for _ in range(self.size)]
        self._exchange(dist.all_gather, digests, digest)
        return [rank for rank, other in enumerate(digests) if not torch.equal(other, digests[0])]

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Let the first process run the body alone, the others after it: they find what it made."""
        if not self.first:
            self.sum_counts([0])
        yield
        if self.first:
            self.sum_counts([0])

    def leave(self) -> None:
        """Wait for all processes, so that gloo's threads have let go of every tensor before Python ends.

        A thread that lets go of one while the interpreter shuts down aborts the process. A barrier holds no tensor, and its
        waiting leaves the interpreter to the threads; gloo has two of them.
        """
        for _ in range(2):
            self._exchange(dist.barrier)

    def _exchange(self, operation: Callable[..., Any], *arguments: Any) -> None:
        try:
            operation(*arguments)
            if self.device.type == "cuda":
                # Those of nccl return at once; what went wrong shows to whoever waits.
                torch.cuda.current_stream(self.device).synchronize()
        except RuntimeError as error:
            raise SastdeployError(
                "lost the other processes of this training: one of them has ended and says why, or is stuck. "
                "Once that is mended, go on with --resume."
            ) from error


ALONE = Group()


@contextmanager
def processes(device: str = "cpu") -> Iterator[Group]:
    """Yield the group that torchrun started this process in; outside torchrun, a group of one.

    Inside, processes other than the first print nothing, and an error names its process.

    Args:
        device: as `devices.device_of` reads it.

    Raises:
        InputError: torchrun's variables are incomplete or senseless, or the device is unknown or not there.
        SastdeployError: the processes do not find each other.
    """
    group = group_from(os.environ, device)
    if group.size == 1:
        yield group
        return
    try:
        with ExitStack() as stack:
            _join(group)
            stack.callback(dist.destroy_process_group)
            if not group.first:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(redirect_stdout(nowhere))
                stack.enter_context(redirect_stderr(nowhere))
            yield group
            group.leave()
    except SastdeployError as error:
        raise type(error)(f"rank {group.rank} of {group.size}: {error}") from error


def backend(device: torch.device) -> str:
    """Return what sums tensors of this device over processes: nccl on GPUs, gloo on the CPU."""
    return "nccl" if device.type == "cuda" else "gloo"


def _join(group: Group) -> None:
    own = group.device if backend(group.device) == "nccl" else None
    try:
        dist.init_process_group(
            backend(group.device), rank=group.rank, world_size=group.size, timeout=_PATIENCE, device_id=own
        )
    except RuntimeError as error:
        raise SastdeployError(
            f"cannot reach the other processes at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}. "
            f"Start all of them with torchrun, on machines that reach each other."
        ) from error


def group_from(environment: Mapping[str, str], device: str = "cpu") -> Group:
    """Return the group that torchrun's variables describe; without ``WORLD_SIZE``, or with 1, a group of one.

    Raises:
        InputError: no number, out of range, one of RANK, MASTER_ADDR, MASTER_PORT missing (with GPUs LOCAL_RANK too), or a
            device that `devices.device_of` refuses.
    """
    size = _number(environment, "WORLD_SIZE", 1, 2**20) if "WORLD_SIZE" in environment else 1
    if size == 1:
        return Group(device=device_of(device))
    if not environment.get("MASTER_ADDR"):
        raise _refused("MASTER_ADDR is not set, must be the first process's machine")
    _number(environment, "MASTER_PORT", 1, 65535)
    local_rank = 0 if device == "cpu" else _number(environment, "LOCAL_RANK", 0, size - 1)
    return Group(_number(environment, "RANK", 0, size - 1), size, device_of(device, local_rank))


def _number(environment: Mapping[str, str], name: str, lowest: int, highest: int) -> int:
    text = environment.get(name, "")
    if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
        state = f"is '{text}'" if text else "is not set"
        raise _refused(f"{name} {state}, must be a whole number from {lowest} to {highest}")
    return int(text)


def _refused(what: str) -> InputError:
    return InputError(
        f"environment: {what}. Start with 'torchrun --nproc-per-node N -m sastdeploy train ...', "
        f"or unset WORLD_SIZE to train in one process."
    )
