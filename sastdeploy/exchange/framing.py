"""How recordings become the input of a network from elsewhere, which does not say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.compiler.ir.nodes import Input
from sastdeploy.errors import InputError
from sastdeploy.exchange.chain import graph_of
from sastdeploy.exchange.parts import Integrators, Neurons, Part
from sastdeploy.program.records import NOT_STATED
from sastdeploy.recordings.preprocessing import MAX_CLIP, Preprocessing
from sastdeploy.windows import Shape


@dataclass(frozen=True)
class Framing:
    """What a network's recordings are. `from_nir` and `from_module` check it against the network.

    Args:
        dataset: name of a data set, or a folder of one's own, of which sensor, frame and classes are taken; None: not stated.
        time_bins: T. window_us, binning, events_per_bin: as in `sastdeploy.Preprocessing`.
        clip: counts above it are clipped. divisor: the network sees ``min(count, clip) / divisor``; 1, or at least the clip.
        classes: names in the order of outputs; by default the data set's, or 0, 1, ... Where the data set has the same names in another
            order, recordings are counted by name.
    """

    dataset: str | None = None
    time_bins: int = 10
    window_us: int | None = None
    clip: int = MAX_CLIP
    divisor: float = 1.0
    classes: tuple[str, ...] | None = None
    binning: str = "duration"
    events_per_bin: int | None = None


@np.errstate(over="ignore", invalid="ignore")  # what overflows is refused: it is not finite
def network_of(
    name: str, parts: Sequence[Part], shape: tuple[int, ...], framing: Framing, reads: str | None = None
) -> ImportedNetwork:
    """Return the network of parts that take ``shape`` (``(N,)``, ``(C, L)`` or ``(C, H, W)``), with recordings as stated.

    reads: as of `graph_of`.

    Raises:
        InputError: data set and network do not fit each other.
        CompileError: as `graph_of`.
    """
    frame: Shape = _frame(shape)
    sensor, classes = (frame[2], frame[1], frame[0]), framing.classes
    if framing.dataset is not None:
        from sastdeploy.recordings.datasets import dataset

        facts = dataset(framing.dataset)
        if prod(facts.frame_shape) != prod(shape) or (len(shape) == 3 and facts.frame_shape != shape):
            raise InputError(
                f"{name}: takes {' x '.join(map(str, shape))} values; {facts.name} has frames of {' x '.join(map(str, facts.frame_shape))} "
                "(P, H, W). Name the data set that it was trained on."
            )
        if classes is not None and sorted(classes) != sorted(facts.classes):
            raise InputError(
                f"{name}: classes {', '.join(classes)}: are not those of {facts.name}. Name these in the order of the outputs: "
                f"{', '.join(facts.classes)}."
            )
        frame, sensor, classes = facts.frame_shape, facts.sensor_size, classes or facts.classes
    if framing.divisor != 1.0 and framing.divisor < framing.clip:
        raise InputError(f"divisor {framing.divisor:g}: must be 1, or at least the clip ({framing.clip}).")
    preprocessing = Preprocessing(
        sensor, (frame[2], frame[1]), framing.time_bins, framing.clip,
        max(framing.divisor, float(framing.clip)), window_us=framing.window_us, binning=framing.binning,
        events_per_bin=framing.events_per_bin,
    )  # fmt: skip
    graph = graph_of(
        name, Input("input", frame, framing.time_bins, framing.clip, framing.divisor), parts, reads
    )
    outputs = len(graph.nodes[-1].weight)  # type: ignore[union-attr]  # a readout
    if classes is None:
        classes = tuple(map(str, range(outputs)))
    if len(classes) != outputs:
        raise InputError(
            f"{name}: has {outputs} outputs; {len(classes)} classes are named. Name one for each."
        )
    neurons = [{"name": part.name, "computed": part.computed} for part in parts if isinstance(part, Neurons)]
    semantics: dict[str, Any] = {"neurons": neurons}
    # Only the last part can be one.
    for last in (part for part in parts if isinstance(part, Integrators)):
        semantics["readout"] = {"name": last.name, "computed": last.computed, "reads": reads or "last"}
    return ImportedNetwork(graph, preprocessing, tuple(classes), framing.dataset or NOT_STATED, semantics, {})


def _frame(shape: tuple[int, ...]) -> Shape:
    """Return ``(P, H, W)`` of one step's input; a row of values lies along W."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (1, 1, shape[0])
