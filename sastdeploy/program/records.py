"""Program: a compiled network as frozen integer arrays plus a manifest. This docstring is the format's specification.

Meaning
    The records below, each with its equations. `sastdeploy.program.verify.verify_program` states and proves every
    range; whoever runs a verified program needs no further check, and 32 bits hold every weighted sum, membrane
    update and score (``acc * multiplier`` and ``u * leak_multiplier`` need 64). Shifts of negative numbers are
    arithmetic: they round toward minus infinity.

File (format version 1)
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
    with zero point 128), a pool a sum over windows, and every LIF layer a call of a local function
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
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.recordings.frames import Preprocessing

FORMAT_VERSION = 1
SPIKE_TESTS = (">=", ">")
RESETS = ("subtract", "zero", "none")


@dataclass(frozen=True)
class Lif:
    """The fixed-point LIF step, per output channel (C values; a dense layer has one channel per neuron).

    ``I = (acc * multiplier + 2^(shift-1)) >> shift`` (``shift = 0``: ``acc * multiplier``),
    ``leak = rescale(u[t-1] * leak_multiplier, leak_shift)``, and then, with ``reset_delay = 1``::

        subtract  v = leak + I + bias - threshold * s[t-1]
        zero      v = (0 if s[t-1] else leak) + I + bias
        none      v = leak + I + bias
        u[t] = overflow(v);  s[t] = u[t] >= threshold   (or >)

    With ``reset_delay = 0``: ``w = overflow(leak + I + bias)``, ``s[t] = test(w)``, and ``u[t]`` is ``w``,
    ``overflow(w - threshold * s[t])`` (subtract) or ``0`` where s[t] (zero). Every sequence starts at u = 0, s = 0.

    Args:
        multiplier, shift: int32 [C]; ``0 < multiplier < 2^15``, ``0 <= shift <= 46``.
        bias, threshold: int32 [C], in membrane LSBs, inside the membrane's range; threshold at least 1.
        leak_multiplier: A = round(alpha * 2^k), ``0 <= A <= 2^k``. leak_shift: k, 0 to 15.
    """

    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    bias: NDArray[np.int32]
    threshold: NDArray[np.int32]
    leak_multiplier: int
    leak_shift: int
    leak_rounding: Rounding
    membrane: QFormat
    overflow: Overflow
    spike_test: str = ">="
    reset: str = "subtract"
    reset_delay: int = 1


@dataclass(frozen=True)
class DenseLif:
    """``acc = weight @ x`` on the flattened (C order) input, then `Lif`. weight: int8 [N, J], |w| <= 2^(bits-1) - 1."""

    name: str
    weight: NDArray[np.int8]
    weight_bits: int
    lif: Lif
    kind: str = field(default="dense", init=False)


@dataclass(frozen=True)
class ConvLif:
    """``acc`` = integer cross-correlation with zero padding, then `Lif`. weight: int8 [O, I, KH, KW]."""

    name: str
    weight: NDArray[np.int8]
    weight_bits: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    lif: Lif
    kind: str = field(default="conv", init=False)


@dataclass(frozen=True)
class SumPool:
    """Sum of spikes over non-overlapping ``kernel`` x ``kernel`` windows, at most 127; incomplete windows are dropped."""

    name: str
    kernel: int
    kind: str = field(default="sum_pool", init=False)


ProgramLayer = DenseLif | ConvLif | SumPool


@dataclass(frozen=True)
class Readout:
    """Class scores ``y = ((weight @ c) * multiplier + 2^(shift-1)) >> shift) + T * bias``, int32.

    ``c`` counts the last layer's spikes over time, flattened in C order; with ``global_sum_pool`` they are summed
    per channel first (the mean's divisor lies in the gain). The predicted class is the largest score, ties to the
    lowest index. weight: int8 [K, J]; multiplier, shift, bias: int32 [K]; scores have ``fraction_bits`` + log2(T).
    """

    name: str
    weight: NDArray[np.int8]
    weight_bits: int
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    bias: NDArray[np.int32]
    fraction_bits: int
    global_sum_pool: bool
    kind: str = field(default="readout", init=False)


@dataclass(frozen=True)
class Program:
    """A whole compiled network: nothing else is needed to run it.

    Args:
        name: ``<architecture>.<profile>``.
        preprocessing: how recordings become counts; inputs are ``min(count, c_clip)``.
        layers: first to last; SumPool never first or last.
        readout: the classifier.
        classes: class names in score order.
        dataset: name of the training data set.
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

    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Return the output shape ``(C, H, W)`` of every layer, the input's first (so ``len(layers) + 1`` shapes)."""
        shape = self.preprocessing.frame_shape
        shapes = [shape]
        for layer in self.layers:
            shape = output_shape(layer, shape)
            shapes.append(shape)
        return tuple(shapes)


def output_shape(layer: ProgramLayer, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return ``(C, H, W)`` after ``layer`` on an input ``(C, H, W)``; a dense layer gives ``(N, 1, 1)``."""
    channels, height, width = shape
    if isinstance(layer, DenseLif):
        return (layer.weight.shape[0], 1, 1)
    if isinstance(layer, SumPool):
        return (channels, height // layer.kernel, width // layer.kernel)
    rows, columns = (
        (size + 2 * pad - kernel) // stride + 1
        for size, pad, kernel, stride in zip(
            (height, width), layer.padding, layer.weight.shape[2:], layer.stride
        )
    )
    return (layer.weight.shape[0], rows, columns)
