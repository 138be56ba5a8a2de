"""Program: a compiled network as frozen integer arrays plus a manifest. This docstring is the format's specification.

Meaning
    `Program` below and the layers in `sastdeploy.program.layers`, each with its equations. `sastdeploy.program.check.check_program` states and proves every
    range; whoever runs a verified program needs no further check, and 32 bits hold every weighted sum, membrane
    update and score (``acc * multiplier`` and ``u * leak_multiplier`` need 64). Shifts of negative numbers are
    arithmetic: they round toward minus infinity.

File (format versions 1 to 7)
    One standard ONNX model (IR 10, opset 21), nothing beside it. Any ONNX runtime gives these integers without a
    line of ours::

        import numpy as np, onnxruntime
        session = onnxruntime.InferenceSession("ckpt.loihi_int8.onnx")
        counts = np.zeros(session.get_inputs()[0].shape[1:], np.uint8)[None]      # [N, T, P, H, W]
        scores, predicted = session.run(["scores", "predicted"], {"counts": counts})

    Input ``counts``: uint8 ``[N, T, P, H, W]``, event counts per bin, N free; clipped inside to ``c_clip``. Outputs
    ``scores`` int32 ``[N, K]`` and ``predicted`` int64 ``[N]``; for every LIF layer ``LAYER/membrane`` int32 and
    ``LAYER/spikes`` uint8, both ``[N, T, C, H, W]`` (dense: ``H = W = 1``), and ``LAYER/overflow_low`` and
    ``LAYER/overflow_high`` int64 ``[N]``, membrane updates below and above the format.

    Graph: ``Clip``, time moved to the front, then a ``Scan`` over it whose states are every layer's u and s. In it
    a dense layer is ``MatMulInteger`` (uint8 values up to 127 times int8 weights: exact also where x86 kernels add
    two products in 16 bits and saturate, as 2 * 127 * 127 < 2^15), a convolution ``ConvInteger`` (weights as uint8
    with zero point 128), a pool a sum over windows (side by side: ``Reshape`` and ``ReduceSum``; else ``ConvInteger``
    with ones, channel by channel), and every LIF layer a call of a local function
    ``sastdeploy::Lif_<rounding>_<overflow>_<test>_<reset>_<delay>``. After it come the readout's integer
    ``MatMul``, ``sastdeploy::RoundedShift`` and ``ArgMax``. A floor division by 2^r is written
    ``(x - Mod(x, 2^r)) / 2^r``, which needs no rule for rounding negative quotients. Exact in ONNX Runtime 1.23 (the
    first that casts INT4) and later, with and without its optimizations, and in ONNX's own reference evaluator.

    Initializers, all in ``raw_data`` (little-endian, C order), named ``LAYER/FIELD`` after the records' array fields:
    weights of 2 to 4 bits as INT4 (two to a byte, the first in the low half), of 5 to 8 bits as INT8; all others
    INT32. No other initializer, no external data.

    ``metadata_props``: ``sastdeploy.format_version``, a whole number; ``sastdeploy.manifest``, JSON in canonical form
    (ASCII, sorted keys, no spaces, shortest floats, no NaN) with every field of the records that is no array, enums
    by value, formats as ``Qm.n``, and each ``weight_shape``; ``sastdeploy.content_sha256``, of the manifest's bytes
    and then, per initializer in file order, ``"\\nNAME BITS [SHAPE]\\n"`` (BITS 4, 8 or 32) and its raw bytes.
    ``producer_name`` is ``sastdeploy``. There is no time of day: the same program gives the same bytes.

    A reader accepts a file only if the graph equals the one written from its manifest and arrays, so a file cannot
    show one network and run another. Any change to graph or manifest is a new format version.

    Version 2 adds pools whose windows overlap, leave gaps, reach beyond the border or are no squares: ``kernel`` may be
    ``[y, x]``, with ``stride`` and ``padding`` beside it.

    Version 3 adds synaptic currents: a layer's ``lif`` may hold ``current``, of ``multiplier``, ``shift`` and ``rounding``. Its
    states in the Scan are u, s and i, and its local function ends in ``_current_<rounding>``. And it adds
    readouts of membranes, ``reads`` ``last`` or ``max``, which take the last layer's membranes after the Scan.

    Version 4 adds layers of kind ``recurrent``, whose array ``recurrent`` [N, N] follows ``weight``: a second ``MatMulInteger``
    takes the state s, and both sums are added. And where channels of a layer decay differently, arrays ``leak_multiplier`` or
    ``current_multiplier`` [C] stand in place of the manifest's numbers.

    Version 5 adds further inputs of a layer, ``further``: a list of records of ``source`` (0 the input, l + 1 the spikes of layer l),
    ``weight_shape`` and, in a convolution, ``stride`` and ``padding``. Their arrays ``further0``, ``further1`` ... follow the layer's
    others; in the Scan each is a product of its own, added to the layer's sums.

    Version 6 adds layers of kind ``delay``, without neurons: ``steps``, one number, or ``steps_shape`` and ``steps_bits`` (8 or 32)
    and an array ``steps``, one for each channel or value. Their state in the Scan is ``LAYER/line`` uint8 ``[N, D, C, H, W]``, the
    inputs of the D steps before, the newest first, where D is the largest of steps or, where less, the number of time bins.
    And it adds layers that do not hear the one before them: ``source``, 0 the input, l + 1 an earlier layer l with neurons.

    And it adds neurons that send several spikes in a step: ``lif`` may hold ``max_spikes``, 2 to 127, and ``LAYER/spikes`` then
    holds numbers up to it; the name of its local function ends in ``_several``.

    Version 7 adds numbers that differ within a channel of a convolution: ``bias``, ``threshold``, ``leak_multiplier`` and
    ``current_multiplier`` may be [C, H, W], one for each neuron. ``lif`` then holds ``shapes``, the shape of each such array by its
    name, and the name of the layer's local function ends in ``_each_NAME`` for every one.

    And it adds further inputs of the readout, ``further`` as of a fully connected layer: each takes the values of its source, summed
    over time.

    And it adds states that start elsewhere than at 0: ``lif`` may hold ``starts``, the shapes, [C] or [C, H, W], of the arrays
    ``start`` and ``current_start`` by their names, which follow the layer's decays; the Scan's states u and i begin with them.

    And it adds the value ``refractory`` of ``reset``, with ``reset_delay`` 1.

    And it adds a floor of membranes: the array ``floor``, [C] or [C, H, W], whose shape stands in ``shapes`` in either form; it follows
    the layer's decays and starts, and the name of the local function, whose last input it is, has ``_floor`` before ``_each_NAME``.

    A program is written in the oldest version that holds it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.layers import (
    KINDS,
    RESETS,
    SPIKE_TESTS,
    ConvLif,
    Delay,
    DenseLif,
    Further,
    FurtherConv,
    FurtherDense,
    Lif,
    ProgramLayer,
    Readout,
    RecurrentLif,
    SumPool,
    SynapticCurrent,
)
from sastdeploy.recordings.frames import Frames, require_fit
from sastdeploy.recordings.preprocessing import Preprocessing

__all__ = [
    "FORMAT_VERSION", "KINDS", "RESETS", "SPIKE_TESTS", "ConvLif", "Delay", "DenseLif", "Further", "FurtherConv",
    "FurtherDense", "Lif", "Program", "ProgramLayer", "Readout", "RecurrentLif", "SumPool", "SynapticCurrent",
]  # fmt: skip

NOT_STATED = "not stated"
"""The data set of a network of which none is known."""
FORMAT_VERSION = 7
"""The newest format. A program is written in the oldest one that can hold it."""


@dataclass(frozen=True)
class Program:
    """A whole compiled network: nothing else is needed to run it.

    Args:
        name: ``<architecture>.<profile>``.
        preprocessing: how recordings become counts; inputs are ``min(count, c_clip)``.
        layers: first to last; SumPool never first, neither it nor Delay last. Each hears the one before it, or its ``source``.
        readout: the classifier.
        classes: class names in score order.
        dataset: name of the training data set, or ``not stated``.
        profile: the hardware profile as plain data (with its sources), for reports; engines never read it.
        provenance: checkpoint hash, versions, command, seed.
        costs: compile-time per-layer figures for reports (memory bytes, scales, signal-to-noise, ...).

    ``profile``, ``provenance`` and ``costs`` hold plain JSON values only: text, finite numbers, true, false, null,
    lists and dicts with text keys. Layer names are 1 to 64 letters, digits and ``_ . -``, each used once.
    """

    name: str
    preprocessing: Preprocessing
    layers: tuple[ProgramLayer, ...]
    readout: Readout
    classes: tuple[str, ...]
    dataset: str
    profile: dict[str, Any]
    provenance: dict[str, Any]
    costs: dict[str, Any]

    def sources(self) -> tuple[int, ...]:
        """Return what every layer and, last, the readout hears: 0 the input, l + 1 layer l. The readout hears the last layer."""
        own = (layer.source for layer in self.layers)
        return (
            *(before if source is None else source for before, source in enumerate(own)),
            len(self.layers),
        )

    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Return the output shape ``(C, H, W)`` of every layer, the input's first (so ``len(layers) + 1`` shapes)."""
        shapes = [self.preprocessing.frame_shape]
        for layer, source in zip(self.layers, self.sources()):
            shapes.append(layer.output_shape(shapes[source]))
        return tuple(shapes)

    def largest_values(self) -> tuple[int, ...]:
        """Return the largest value of every source, the input first: the clip, a neuron's most spikes in a step, a pool's largest sum."""
        largest = [self.preprocessing.c_clip]
        for layer, source in zip(self.layers, self.sources()):
            largest.append(layer.largest_output(largest[source]))
        return tuple(largest)

    def fan_outs(self) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
        """Return per source, the input and then every layer, how many operations each of its outputs triggers, int64 ``[J]``.

        All, and those on weights other than 0; in the layers or the readout that hear it, or take it as a further input, and in its
        own layer where that is recurrent.
        """
        shapes = self.shapes()
        none = (np.zeros(math.prod(shape), np.int64) for shape in shapes)
        tables = [(zeros, zeros) for zeros in none]

        def add(source: int, fans: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
            every, nonzero = tables[source]
            tables[source] = every + fans[0], nonzero + fans[1]

        for target, source in zip((*self.layers, self.readout), self.sources()):
            add(source, target.fan_out(shapes[source]))
        for number, layer in enumerate(self.layers):
            if layer.lif is not None:
                add(number + 1, layer.own_fan_out())
        for part in (*self.layers, self.readout):
            for each in part.further:
                add(each.source, each.fan_out(shapes[each.source]))
        return tuple(tables)

    def neurons(self) -> dict[str, int]:
        """Return the number of neurons of every layer that has some, by its name, first to last."""
        return {
            layer.name: math.prod(shape)
            for layer, shape in zip(self.layers, self.shapes()[1:])
            if layer.lif is not None
        }


def made_for(provenance: dict[str, Any]) -> str:
    """Return how a program's network came to its data set: trained on it here, or imported for it, which says nothing of a training."""
    return "is for" if "network_hash" in provenance else "was trained on"


def require_frames(program: Program, frames: Frames) -> None:
    """Accept frames of the shape and number of bins that a program takes.

    Raises:
        InputError: another shape or number of time bins.
    """
    own = program.preprocessing
    made = made_for(program.provenance)
    trained = "" if program.dataset == NOT_STATED else f" it {made} ({program.dataset})"
    require_fit(
        frames, own.frame_shape, own.time_bins, f"program {program.name}",
        f"Use the data set{trained or ' it is for'}, or compile a program for this one.",
    )  # fmt: skip
