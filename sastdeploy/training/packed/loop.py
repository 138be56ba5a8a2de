"""Training a pack of networks: the epochs of `sastdeploy.training.loop`, all networks in each step.

Minibatches, initial weights, selection, records and checkpoints are those of single runs; results equal theirs within
float32 rounding, and a pack's bits are the same from run to run on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sastdeploy._files.locks import alone
from sastdeploy.errors import InputError
from sastdeploy.networks.architecture import Architecture
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.provenance import git_commit
from sastdeploy.training.devices import CPU, exact_products, lacking_memory
from sastdeploy.training.distributed import ALONE, Group
from sastdeploy.training.epoch import DIRECTION, FIRST, SECOND
from sastdeploy.training.outputs import BUSY, check_out
from sastdeploy.training.packed.data import Staging, packed_data, padded_batches
from sastdeploy.training.packed.step import (
    Captured,
    Stack,
    Tensors,
    adam_rates,
    adam_step,
    along,
    ascended,
    batch_gradients,
    compiled,
    decays,
    stacked,
    two_gradients,
    undone,
)
from sastdeploy.training.packed.validation import Validation
from sastdeploy.training.run import Say, Standing, TrainingRun, begin, check_run
from sastdeploy.training.settings import kernels_for

PackReport = Callable[[int, dict[str, Any]], None]

_BETWEEN_STATES = 10.0
"""Seconds of work that an interrupted pack loses at most, and an epoch; writing every network's state takes time too."""


def pack_key(run: TrainingRun) -> tuple[Any, ...]:
    """Return what runs must share to be trained in one pack: shapes of data and network, epochs, batches, gradients per step."""
    settings, neuron = run.settings, replace(run.architecture.neuron, threshold=1.0, slope=1.0)
    architecture: Architecture = replace(run.architecture, neuron=neuron)
    frames = run.training.frames
    return (
        architecture, frames.shape, frames.time_bins, len(run.training), len(run.validation), settings.epochs,
        settings.batch_size, two_gradients(settings), settings.forward,
    )  # fmt: skip


@exact_products()
def train_pack(
    runs: Sequence[TrainingRun],
    group: Group = ALONE,
    *,
    resume: bool = False,
    force: bool = False,
    report: PackReport = lambda which, record: None,
    say: Say = lambda text: None,
) -> list[Checkpoint]:
    """Train every run, those of one `pack_key` in one pack, and return their checkpoints in the order given.

    Each writes ``<out>``, ``<out>.jsonl`` and, about every ten seconds, ``<out>.state``, as a single run does.

    Args:
        runs: no two of them write the same file.
        group: a group of one; its device does the work.
        report: called after each epoch with a run's place in ``runs`` and its record.

    Raises:
        InputError: as `sastdeploy.training.loop.train`; or the loss of some is no longer
            finite: the others are trained to their end first.
    """
    git_commit()
    for run in runs:
        check_out(run.path, resume, force)
        kernels_for(group.device.type, "packed", group.size == 1 and run.settings.quantize_bits == 0)
        check_run(run, say)
    with ExitStack() as locks:
        for run in runs:
            locks.enter_context(alone(run.path, BUSY))
            check_out(run.path, resume, force)
        standings = [begin(run, resume, group, CPU, say) for run in runs]
        packs: dict[tuple[Any, ...], list[int]] = {}
        for which, standing in enumerate(standings):
            # Those that go on from another epoch would wait for the others.
            packs.setdefault((pack_key(standing.run), standing.progress.epoch), []).append(which)
        failures: dict[int, str] = {}
        for members in packs.values():
            failures |= _train_group(standings, members, group.device, report, say)
        done = [s.finish(say) for which, s in enumerate(standings) if which not in failures]
    if failures:
        first = min(failures)
        raise InputError(
            f"{runs[first].out}: {failures[first]} ({len(failures)} of {len(runs)} networks; the others are written.)"
        )
    return done


@dataclass(frozen=True)
class _Buffers:
    """What changes from step to step, at fixed places on the device. S steps, M networks, batches of B."""

    step: Tensor  # int64 [1]
    chosen: tuple[Tensor, ...]  # int64 [S, M, B], one per gradient of a step
    weights: Tensor  # float32 [S, M, B]
    rate: Tensor  # float32 [S, M]
    scale: Tensor  # float32 [S]
    losses: Tensor  # float32 [M], each step's loss times its recordings, summed over the epoch
    norms: Tensor  # float32 [M]
    counts: tuple[Staging, ...]  # where the frames stay with the host, one per gradient of a step, else empty


class _Functions(NamedTuple):
    """What a step calls, as it is or compiled."""

    gradients: Callable[..., Any]
    ascended: Callable[..., Any]
    update: Callable[..., Any]


def _update(stack: Stack, buffers: _Buffers, gradient: Tensors, loss: Tensor) -> None:
    """Take the step's `adam_step`, add up its losses and norms, and count it."""
    step = buffers.step
    rate, scale = (each.index_select(0, step)[0] for each in (buffers.rate, buffers.scale))
    buffers.losses.add_(loss * (buffers.weights.index_select(0, step)[0] > 0).sum(1))
    buffers.norms.add_(adam_step(stack, gradient, rate, scale))
    step.add_(1)


def _train_group(
    standings: list[Standing], members: list[int], device: torch.device, report: PackReport, say: Say
) -> dict[int, str]:
    """Train some runs to their end; return by a run's place why it could not go on.

    What does not fit into the device's memory at once is trained in halves.
    """
    try:
        pack, lacks = Pack([standings[which] for which in members], device, say), ""
    except RuntimeError as error:
        if not (lacks := lacking_memory(error)):
            raise
    half = len(members) // 2
    if lacks and not half:
        advice = "Choose a smaller batch (--batch-size)."
        return {members[0]: f"a step does not fit into the memory of {device} ({lacks}) {advice}"}
    if lacks:
        sizes = f"{half} and {len(members) - half} are tried."
        say(f"{len(members)} networks at once do not fit into the memory of {device}; {sizes}")
        first, second = (
            _train_group(standings, part, device, report, say) for part in (members[:half], members[half:])
        )
        return first | second
    failures: dict[int, str] = {}
    saved = time.perf_counter()
    for epoch in range(pack.epoch, pack.settings[0].epochs):
        records = pack.epoch_of(epoch)
        for place, (which, record) in enumerate(zip(members, records)):
            if which in failures:
                continue
            if problem := pack.problem(place, record):
                failures[which] = problem
                continue
            standings[which].add(record, partial(pack.parameters_of, place))
            report(which, record)
        if time.perf_counter() - saved > _BETWEEN_STATES or epoch + 1 == pack.settings[0].epochs:
            for place, which in enumerate(members):
                if which not in failures:
                    pack.put_back(place)
                    standings[which].save()
            saved = time.perf_counter()
    return failures


class Pack:
    """The networks, data and captured step of one pack."""

    def __init__(self, standings: Sequence[Standing], device: torch.device, say: Say) -> None:
        self.standings, self.device = standings, device
        self.runs = [standing.run for standing in standings]
        self.settings = [run.settings for run in self.runs]
        self.epoch = standings[0].progress.epoch
        self.stack = _stack_of(standings, device)
        preprocessings = [run.preprocessing for run in self.runs]
        self.training = packed_data([run.training for run in self.runs], preprocessings, device, say)
        self.two = two_gradients(self.settings[0])
        self.hard = self.settings[0].forward == "hard"
        self.random = [s.method == "random" for s in self.settings]
        self.generators = [torch.Generator(device) for _ in self.settings] if any(self.random) else []
        self.buffers = self._buffers()
        changed = [*self.stack.tensors(), self.buffers.step, self.buffers.losses, self.buffers.norms]
        pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self._functions = _Functions(batch_gradients, ascended, _update)
        if device.type == "cuda":
            self._compile(changed, say)
        self._captured = Captured(self._step, changed, device, self.generators, pool)
        self.validation = Validation(self.runs, self.stack, device, say, pool)

    def _compile(self, changed: Sequence[Tensor], say: Say) -> None:
        """Compile the step's functions, or say why they run as they are."""
        # Reading it takes a second or two.
        from torch._dynamo.exc import TorchDynamoException

        plain, self._functions = self._functions, _Functions(*compiled(self._functions))
        with undone(changed):
            try:
                self._step()
            except TorchDynamoException as error:
                cause = str(error).strip().splitlines()[0]
                say(
                    f"torch.compile fails here, so steps run uncompiled, which is slower: {type(error).__name__}: {cause}"
                )
                self._functions = plain

    def _buffers(self) -> _Buffers:
        networks, size = len(self.runs), self.settings[0].batch_size
        steps = -(-len(self.runs[0].training) // size)

        def empty(dtype: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=self.device)

        gradients_per_step = 1 + self.two
        width = self.training.counts.shape[1]
        hosted = 0 if self.training.resident else gradients_per_step
        return _Buffers(
            empty(torch.int64, 1),
            tuple(empty(torch.int64, steps, networks, size) for _ in range(gradients_per_step)),
            empty(torch.float32, steps, networks, size), empty(torch.float32, steps, networks),
            empty(torch.float32, steps), empty(torch.float32, networks), empty(torch.float32, networks),
            tuple(Staging((networks, size, width), self.device) for _ in range(hosted)),
        )  # fmt: skip

    def _gradient(self, which: int, parameters: Tensors) -> tuple[Tensors, Tensor]:
        """Return the gradient on the step's minibatch B (0) or B' (1), and the loss."""
        buffers = self.buffers
        counts = buffers.counts[which].target if buffers.counts else None
        result: tuple[Tensors, Tensor] = self._functions.gradients(
            self.stack,
            parameters,
            self.training,
            counts,
            buffers.chosen[which],
            buffers.weights,
            buffers.step,
            self.hard,
        )
        return result

    def _step(self) -> None:
        stack, buffers = self.stack, self.buffers
        with torch.no_grad():
            if self.generators:
                gradient, loss = self._gradient(0, along(stack, self._directions()))
            else:
                gradient, loss = self._gradient(0, stack.parameters)
            if self.two:
                gradient, _ = self._gradient(1, self._functions.ascended(stack, gradient))
            self._functions.update(stack, buffers, gradient, loss)

    def _directions(self) -> Tensors:
        """Return a normal draw in the shape of the parameters, from each network's own generator."""
        return {
            name: torch.stack(
                [torch.randn(p.shape[1:], generator=g, device=self.device) for g in self.generators]
            )
            for name, p in self.stack.parameters.items()
        }

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.buffers.scale)

    def begin_epoch(self, epoch: int) -> None:
        """Write an epoch's minibatches, rates, slopes and decays to the device."""
        slopes = [s.slope(epoch, run.architecture.neuron.slope) for s, run in zip(self.settings, self.runs)]
        self._host = self._fill(epoch, slopes, [s.rate(epoch) for s in self.settings])
        self._taken = 0

    def step(self) -> None:
        """Take the epoch's next step, of every network."""
        for staging, chosen in zip(self.buffers.counts, self._host):
            staging.bring(self.training, chosen[self._taken])
        self._captured.run()
        self._taken += 1

    def epoch_of(self, epoch: int) -> list[dict[str, Any]]:
        """Take one step per minibatch, validate, and return every network's record."""
        began, busy = time.perf_counter(), time.process_time()
        networks, steps = len(self.runs), self.steps
        self.begin_epoch(epoch)
        for _ in range(steps):
            self.step()
        losses = self.buffers.losses.tolist()
        norms = self.buffers.norms.tolist()
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        records = self.validation.records()
        return [
            {
                "epoch": epoch,
                "loss": losses[m] / len(self.runs[m].training),
                "gradient_norm": norms[m] / steps,
                "gradient_evaluations": steps * (1 + self.two),
                "learning_rate": self.settings[m].rate(epoch),
                "slope": self.settings[m].slope(epoch, self.runs[m].architecture.neuron.slope),
                # Of the pack, in equal parts.
                "seconds": seconds / networks,
                "cpu_seconds": cpu / networks,
                "packed": networks,
                **records[m],
            }
            for m in range(networks)
        ]

    def _fill(self, epoch: int, slopes: Sequence[float], rates: Sequence[float]) -> list[Tensor]:
        """Write an epoch's minibatches, rates, slopes and decays into the buffers; return the minibatches on the host too."""
        buffers, steps = self.buffers, self.steps
        host = []
        for stream, buffer in zip((FIRST, SECOND), buffers.chosen):
            batches = [self._order(m, stream, epoch) for m in range(len(self.runs))]
            host.append(torch.from_numpy(np.stack([chosen for chosen, _ in batches], 1)))
            buffer.copy_(host[-1])
            buffers.weights.copy_(torch.from_numpy(np.stack([weights for _, weights in batches], 1)))
        rate, scale = adam_rates(epoch * steps, steps, rates)
        buffers.rate.copy_(torch.tensor(rate, dtype=torch.float32))
        buffers.scale.copy_(torch.tensor(scale, dtype=torch.float32))
        self.stack.slopes.copy_(torch.tensor(slopes, dtype=torch.float32))
        self.stack.decay.copy_(torch.tensor(decays(self.settings, rates), dtype=torch.float32))
        for buffer in (buffers.step, buffers.losses, buffers.norms):
            buffer.zero_()
        for m, generator in enumerate(self.generators):
            words = np.random.SeedSequence((self.settings[m].seed, DIRECTION, epoch)).generate_state(
                1, np.uint64
            )
            generator.manual_seed(int(words[0]) >> 1)
        return host

    def _order(self, m: int, stream: int, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        settings, count = self.settings[m], len(self.runs[m].training)
        order = np.random.default_rng((settings.seed, stream, epoch)).permutation(count)
        chosen, weights = padded_batches(order, settings.batch_size)
        return chosen + int(self.training.first[m]), weights

    def problem(self, m: int, record: dict[str, Any]) -> str | None:
        """Return why network m cannot go on after an epoch, or None."""
        advice = f"Lower the learning rate (now {record['learning_rate']:g}) or rho."
        if not np.isfinite(record["loss"]):
            return f"epoch {record['epoch']}: the loss is {record['loss']}. {advice}"
        stack = self.stack
        for name, kept in (("parameter", stack.parameters), ("mean of the gradients", stack.means), ("mean of their squares", stack.squares)):  # fmt: skip
            if not all(bool(torch.isfinite(tensor[m]).all()) for tensor in kept.values()):
                return f"epoch {record['epoch']}: a {name} is no longer finite. {advice}"
        return None

    def put_back(self, m: int) -> None:
        """Write network m's parameters and means into its standing."""
        standing, stack = self.standings[m], self.stack
        with torch.no_grad():
            for name, parameter in standing.network.named_parameters():
                parameter.copy_(stack.parameters[name][m])
        standing.optimiser.load_state_dict({
            "steps": standing.progress.epoch * self.steps,
            "means": [mean[m].reshape(-1).cpu() for mean in stack.means.values()],
            "squares": [square[m].reshape(-1).cpu() for square in stack.squares.values()],
        })  # fmt: skip

    def parameters_of(self, m: int) -> dict[str, NDArray[np.float32]]:
        """Return network m's parameters and thresholds by their checkpoint names."""
        standing = self.standings[m]
        with torch.no_grad():
            for name, parameter in standing.network.named_parameters():
                parameter.copy_(self.stack.parameters[name][m])
        return standing.network.parameters_as_arrays()


def _stack_of(standings: Sequence[Standing], device: torch.device) -> Stack:
    """Return the standings' networks and optimisers as one stack."""
    stack = stacked([s.network for s in standings], [s.run.settings for s in standings], device)
    for m, standing in enumerate(standings):
        state = standing.optimiser.state_dict()
        for name, kept in (("means", stack.means), ("squares", stack.squares)):
            for tensor, value in zip(kept.values(), state[name]):
                tensor[m].copy_(value.view(tensor[m].shape))
    return stack
