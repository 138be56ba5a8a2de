"""Random valid programs and frames for property tests: every kind of layer, rounding, overflow, reset and edge."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from floor_strategies import with_floors
from hypothesis import strategies as st
from start_strategies import with_starts

from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding
from sastdeploy.program.layers.delay import smallest_steps
from sastdeploy.program.layers.each import shortest
from sastdeploy.program.limits import INT32_END, worst_sums
from sastdeploy.program.records import (
    SPIKE_TESTS,
    ConvLif,
    Delay,
    DenseLif,
    FurtherConv,
    FurtherDense,
    Lif,
    Program,
    Readout,
    RecurrentLif,
    SumPool,
    SynapticCurrent,
)
from sastdeploy.recordings.frames import Frames, index_dtype
from sastdeploy.recordings.preprocessing import Preprocessing
from tests.number_strategies import gains_for, weights_of

MEMBRANES = ("Q8.8", "Q4.4", "Q1.1", "Q2.0", "Q12.12", "Q1.23", "Q6.10", "Q3.2")
FRAME_KINDS = ("sparse", "dense", "full", "empty", "one")
MAX_MEMBRANES = 60
"""That a readout reads, so that its identity stays small."""
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def programs(draw: st.DrawFn, largest_side: int = 7, most_layers: int = 4) -> Program:
    """Draw a `Program` that `check_program` accepts."""
    sides = st.integers(1, largest_side)
    c_clip = draw(st.sampled_from((1, 1, 2, 3, 15, 126, 127)))
    frame_size = (draw(sides), draw(sides))
    preprocessing = Preprocessing(
        sensor_size=(*frame_size, draw(st.integers(1, 2))),
        frame_size=frame_size,
        time_bins=draw(st.integers(1, 6)),
        c_clip=c_clip,
        divisor=float(c_clip + draw(st.sampled_from((0, 0, 1)))),
    )
    rng = np.random.default_rng(draw(SEEDS))
    all_shapes, most_values = [preprocessing.frame_shape], [c_clip]
    layers: list = []
    sources = {0: all_shapes[0]}
    most = draw(st.integers(1, most_layers))
    while len(layers) < most or layers[-1].lif is None:
        name, more, place = f"layer{len(layers)}", len(layers) < most, len(layers)
        # A layer without neurons is heard by the next one alone.
        others = [each for each in sources if each != place and place in sources]
        source = draw(st.sampled_from((None, None, *others)))
        own = place if source is None else source
        shape, largest = all_shapes[own], most_values[own]
        if more and draw(st.sampled_from((False, False, False, True))):
            layer = draw(delays(name, rng, shape, preprocessing.time_bins))
        else:
            layer = draw(_layers(name, rng, shape, largest, own > 0 and more))
        layer = replace(layer, source=source)
        if layer.lif is not None:
            layer = draw(_with_further(rng, layer, own, most_values, sources, all_shapes))
        layers.append(layer)
        all_shapes.append(layer.output_shape(shape))
        most_values.append(layer.largest_output(largest))
        if layer.lif is not None:
            sources[len(layers)] = all_shapes[-1]
    if unheard := sorted(set(sources) - {0, len(layers)} - heard_in(layers)):
        layers.append(draw(_joining(f"layer{len(layers)}", rng, unheard, all_shapes, most_values)))
        all_shapes.append(layers[-1].output_shape(all_shapes[-1]))
        most_values.append(layers[-1].lif.max_spikes)
        sources[len(layers)] = all_shapes[-1]
    shape = all_shapes[-1]
    reads = draw(st.sampled_from(("counts", "counts", "counts", "last", "max")))
    count = draw(st.integers(1, 5))
    if reads != "counts" and math.prod(shape) <= MAX_MEMBRANES:
        layers[-1], count = silent(layers[-1]), math.prod(shape)
        readout = membranes(count, reads)
    else:
        readout = draw(_readouts(rng, sources, preprocessing.time_bins, most_values, count))
    classes = tuple(f"class {k}" for k in range(count))
    return Program(
        name="random.any",
        preprocessing=preprocessing,
        layers=tuple(
            with_floors(with_starts(layer, shape), shape) for layer, shape in zip(layers, all_shapes[1:])
        ),
        readout=readout,
        classes=classes,
        dataset="nmnist-sim",
        profile={"name": "any", "energy": {"synop": None, "update": 1.5e-12}, "sources": ["none"]},
        provenance={"seed": 0, "command": "random"},
        costs={"layers": []},
    )


def heard_in(layers: list) -> set[int]:
    """Return the sources that layers hear."""
    own = {place if layer.source is None else layer.source for place, layer in enumerate(layers)}
    return own | {each.source for layer in layers for each in layer.further}


@st.composite
def _joining(
    draw: st.DrawFn, name: str, rng: np.random.Generator, unheard: list[int], shapes: list, largest: list[int]
) -> DenseLif:
    """Draw a layer that hears the last one and those that nothing hears."""
    outputs, bits = draw(st.integers(1, 9)), draw(st.integers(2, 8))
    weight = weights_of(draw, rng, (outputs, math.prod(shapes[-1])), bits)
    further = tuple(
        FurtherDense(each, weights_of(draw, rng, (outputs, math.prod(shapes[each])), bits))
        for each in unheard
    )
    sums = worst_sums(weight, largest[-1]) + sum(
        worst_sums(each.weight, largest[each.source]) for each in further
    )
    return DenseLif(name, weight, bits, draw(_lifs(rng, outputs, sums)), further=further)


def silent(layer: DenseLif | ConvLif) -> DenseLif | ConvLif:
    """Return a layer whose neurons never spike, for a readout of their membranes."""
    top = np.full(len(layer.weight), layer.lif.membrane.q_max, np.int32)
    return replace(layer, lif=replace(layer.lif, threshold=top, spike_test=">", reset="none"))


def membranes(count: int, reads: str) -> Readout:
    """Return the readout of so many membranes."""
    ones, zeros = np.ones(count, np.int32), np.zeros(count, np.int32)
    return Readout("readout", np.eye(count, dtype=np.int8), 4, ones, zeros, zeros, 0, False, reads)


@st.composite
def frames_for(draw: st.DrawFn, program: Program, most: int = 3) -> Frames:
    """Draw 1 to ``most`` recordings of every density, counts 1 to 255 (so above the clip too)."""
    rng = np.random.default_rng(draw(SEEDS))
    preprocessing = program.preprocessing
    shape, steps = preprocessing.frame_shape, preprocessing.time_bins
    recordings = [
        _dense_counts(draw(st.sampled_from(FRAME_KINDS)), rng, (steps, math.prod(shape)))
        for _ in range(draw(st.integers(1, most)))
    ]
    return frames_from_dense(np.concatenate(recordings).reshape(-1, steps, *shape))


def frames_from_dense(counts: np.ndarray) -> Frames:
    """Return the `Frames` of uint8 counts ``[N, T, P, H, W]``."""
    rows = counts.reshape(counts.shape[0] * counts.shape[1], -1)
    indptr = np.concatenate(([0], np.cumsum((rows != 0).sum(axis=1)))).astype(np.int64)
    row, index = np.nonzero(rows)
    shape = tuple(int(size) for size in counts.shape[2:])
    return Frames(shape, counts.shape[1], indptr, index.astype(index_dtype(rows.shape[1])), rows[row, index])


def _dense_counts(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    if kind == "empty":
        return np.zeros(shape, np.uint8)
    if kind == "full":
        return np.full(shape, 255, np.uint8)
    if kind == "one":
        counts = np.zeros(shape, np.uint8)
        counts[rng.integers(shape[0]), rng.integers(shape[1])] = rng.integers(1, 256)
        return counts
    counts = rng.choice(np.array([1, 2, 3, 126, 127, 128, 255], np.uint8), shape)
    return counts * (rng.random(shape) < (0.1 if kind == "sparse" else 0.6)).astype(np.uint8)


@st.composite
def _lifs(
    draw: st.DrawFn, rng: np.random.Generator, channels: int, sums: np.ndarray, max_spikes: int = 1
) -> Lif:
    membrane = QFormat.parse(draw(st.sampled_from(MEMBRANES)))
    low, high = membrane.q_min, membrane.q_max
    aim = draw(st.sampled_from((high, max(1, high // 4), max(1, high // 64), 4 * high)))
    multiplier, shift = gains_for(draw, rng, sums, INT32_END - 1 - 3 * (high + 1), max(1, aim))
    bias = {
        "zero": np.zeros(channels),
        "small": rng.integers(low // 8, high // 8 + 1, channels),
        "any": rng.integers(low, high + 1, channels),
        "ends": rng.choice([low, high], channels),
    }[draw(st.sampled_from(("zero", "small", "small", "any", "ends")))]
    threshold = {
        "one": np.ones(channels),
        "high": np.full(channels, high),
        "small": rng.integers(1, max(1, high // 4) + 1, channels),
        "any": rng.integers(1, high + 1, channels),
    }[draw(st.sampled_from(("one", "high", "small", "small", "any")))]
    leak_shift, current_shift = draw(st.integers(0, 15)), draw(st.integers(0, 15))
    decay = draw(st.sampled_from((0, 1 << current_shift, None, None)))
    decay = draw(st.integers(0, 1 << current_shift)) if decay is None else decay
    leak = draw(st.integers(0, 1 << leak_shift))
    # Channels that decay differently, where chance makes them differ.
    if channels > 1 and draw(st.sampled_from((False, False, True))):
        leak, decay = (
            _differing(rng.integers(0, (1 << shift) + 1, channels), other)
            for shift, other in ((leak_shift, leak), (current_shift, decay))
        )
    current = SynapticCurrent(decay, current_shift, draw(st.sampled_from(Rounding)))
    lif = Lif(
        multiplier=multiplier,
        shift=shift,
        bias=bias.astype(np.int32),
        threshold=threshold.astype(np.int32),
        leak_multiplier=leak,
        leak_shift=leak_shift,
        leak_rounding=draw(st.sampled_from(Rounding)),
        membrane=membrane,
        overflow=draw(st.sampled_from(Overflow)),
        spike_test=draw(st.sampled_from(SPIKE_TESTS)),
        reset=draw(st.sampled_from(("subtract", "zero", "none"))),
        reset_delay=draw(st.integers(0, 1)),
        current=draw(st.sampled_from((None, None, current))),
        max_spikes=max_spikes,
    )
    # Every other delayed reset to zero, so that all other programs are drawn as before.
    late = (lif.reset, lif.reset_delay, int(lif.threshold.sum()) % 2) == ("zero", 1, 1)
    return replace(lif, reset="refractory") if late else lif


def _differing(decays: np.ndarray, other: int) -> np.ndarray | int:
    return other if (decays == decays.flat[0]).all() else decays.astype(np.int32)


@st.composite
def _layers(
    draw: st.DrawFn,
    name: str,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    largest: int,
    pool_allowed: bool,
) -> DenseLif | ConvLif | SumPool | RecurrentLif:
    kernels = [k for k in (1, 2, 3) if k <= min(shape[1:]) and k * k * largest <= 127]
    kinds = ["dense", "recurrent", "conv", "conv"] + (["pool", "windows"] if pool_allowed and kernels else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "pool":
        return SumPool(name, draw(st.sampled_from(kernels)))
    if kind == "windows":
        return draw(_windows(name, shape, largest))
    bits = draw(st.integers(2, 8))
    outputs = draw(st.integers(1, 9))
    spikes = draw(st.sampled_from((1, 1, 1, 2, 3, 31, 127)))
    if kind == "dense":
        weight = weights_of(draw, rng, (outputs, math.prod(shape)), bits)
        return DenseLif(name, weight, bits, draw(_lifs(rng, outputs, worst_sums(weight, largest), spikes)))
    if kind == "recurrent":
        weight = weights_of(draw, rng, (outputs, math.prod(shape)), bits)
        own = weights_of(draw, rng, (outputs, outputs), bits)
        sums = worst_sums(weight, largest) + worst_sums(own, spikes)
        return RecurrentLif(name, weight, bits, draw(_lifs(rng, outputs, sums, spikes)), own)
    padding = (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    kernel = tuple(draw(st.integers(1, min(5, size + 2 * pad))) for size, pad in zip(shape[1:], padding))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    weight = weights_of(draw, rng, (outputs, shape[0], *kernel), bits)
    lif = draw(_lifs(rng, outputs, worst_sums(weight, largest), spikes))
    return differing_within_channels(ConvLif(name, weight, bits, stride, padding, lif), shape)


def differing_within_channels(layer: ConvLif, shape: tuple[int, int, int]) -> ConvLif:
    """Return some convolutions with numbers of their own for every neuron; chosen by the weights, so that nothing else drawn changes."""
    rng, lif = np.random.default_rng([*layer.weight.tobytes()[:32]]), layer.lif
    output, low, high = layer.output_shape(shape), lif.membrane.q_min, lif.membrane.q_max
    if rng.integers(3) or math.prod(output[1:]) == 1:
        return layer
    ends = {
        "threshold": (1, max(1, high >> rng.integers(8))), "bias": (low >> 2, high >> 2), "leak_multiplier": (0, 1 << lif.leak_shift),
        "current": (0, 0 if lif.current is None else 1 << lif.current.shift),
    }  # fmt: skip
    changes: dict = {
        name: shortest(rng.integers(least, most + 1, output).astype(np.int32))
        for name, (least, most) in ends.items()
        if rng.integers(2)
    }
    for name in ("leak_multiplier", "current"):
        if name in changes:
            changes[name] = _differing(changes[name], int(changes[name].flat[0]))
    if "current" in changes:
        kept = changes.pop("current")
        changes["current"] = lif.current and replace(lif.current, multiplier=kept)
    return replace(layer, lif=replace(lif, **changes))


@st.composite
def delays(
    draw: st.DrawFn, name: str, rng: np.random.Generator, shape: tuple[int, int, int], time_bins: int
) -> Delay:
    """Draw a delay of every form: none, some steps, and more than a recording has."""
    most = draw(st.sampled_from((0, 1, 2, time_bins - 1, time_bins, time_bins + 2, 1000)))
    sizes = draw(st.sampled_from(((1, 1, 1), (shape[0], 1, 1), shape)))
    return Delay(name, smallest_steps(np.broadcast_to(rng.integers(0, most + 1, sizes), shape)))


@st.composite
def _with_further(
    draw: st.DrawFn, rng: np.random.Generator, layer: DenseLif | ConvLif | RecurrentLif, own: int, largest: list[int],
    sources: dict[int, tuple[int, int, int]], shapes: list[tuple[int, int, int]],
) -> DenseLif | ConvLif | RecurrentLif:  # fmt: skip
    """Draw none to two further inputs of a layer, from the network's input or layers before it; a convolution's where one fits."""
    further: list = []
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        source = draw(st.sampled_from(tuple(sources)))
        before = sources[source]
        if not isinstance(layer, ConvLif):
            weight = weights_of(draw, rng, (len(layer.weight), math.prod(before)), layer.weight_bits)
            further.append(FurtherDense(source, weight))
            continue
        window = draw(_window_onto(before, layer.output_shape(shapes[own])))
        if window is not None:
            kernel, stride, padding = window
            weight = weights_of(draw, rng, (len(layer.weight), before[0], *kernel), layer.weight_bits)
            further.append(FurtherConv(source, weight, stride, padding))
    if not further:
        return layer
    layer = replace(layer, further=tuple(further))
    sums = layer.worst_sums(largest[own], largest)
    layer = replace(layer, lif=draw(_lifs(rng, len(layer.weight), sums, layer.lif.max_spikes)))
    return differing_within_channels(layer, shapes[own]) if isinstance(layer, ConvLif) else layer


@st.composite
def _window_onto(draw: st.DrawFn, before: tuple[int, int, int], after: tuple[int, int, int]) -> tuple | None:
    """Draw kernel, stride and padding that take a map's rows and columns to those of another; None where none is small."""
    axes = []
    for size, wanted in zip(before[1:], after[1:]):
        fits = [
            (kernel, stride, pad)
            for pad in range(4) for stride in (1, 2, 3) for kernel in range(1, min(5, size + 2 * pad) + 1)
            if (size + 2 * pad - kernel) // stride + 1 == wanted
        ]  # fmt: skip
        if not fits:
            return None
        axes.append(draw(st.sampled_from(fits)))
    kernel, stride, padding = zip(*axes)
    return kernel, stride, padding


@st.composite
def _windows(draw: st.DrawFn, name: str, shape: tuple[int, int, int], largest: int) -> SumPool:
    """Draw a pool as averages become: windows of any sides that overlap, leave gaps or reach beyond the border."""
    rows = draw(st.integers(1, min(5, shape[1])))
    columns = draw(st.integers(1, max(1, min(5, shape[2], 127 // (rows * largest)))))
    padding = (draw(st.integers(0, rows // 2)), draw(st.integers(0, columns // 2)))
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    if rows * columns * largest > 127:
        return SumPool(name, 1, stride)
    return SumPool(name, (rows, columns), stride, padding)


@st.composite
def _readouts(
    draw: st.DrawFn, rng: np.random.Generator, sources: dict[int, tuple[int, int, int]], steps: int,
    largest: list[int], classes: int,
) -> Readout:  # fmt: skip
    """Draw a readout of counts over ``steps`` steps, with none to two further inputs."""
    shape, most = sources[max(sources)], steps * max(largest[source] for source in sources)
    pooled = draw(st.booleans())
    bits = draw(st.integers(2, 8))
    weight = weights_of(draw, rng, (classes, shape[0] if pooled else math.prod(shape)), bits)
    further = tuple(
        FurtherDense(source, weights_of(draw, rng, (classes, math.prod(sources[source])), bits))
        for source in draw(st.lists(st.sampled_from(tuple(sources)), max_size=2))
    )
    sums = worst_sums(weight, most * (shape[1] * shape[2] if pooled else 1))
    sums = sums + sum(worst_sums(each.weight, most) for each in further)
    multiplier, shift = gains_for(draw, rng, sums, 1 << 30, draw(st.sampled_from((64, 1 << 12, 1 << 29))))
    limit = draw(st.sampled_from((0, 5, 1 << 15, ((1 << 30) - 1) // most)))
    bias = rng.integers(-limit, limit + 1, classes).astype(np.int32)
    fraction = draw(st.integers(0, 23))
    return Readout("readout", weight, bits, multiplier, shift, bias, fraction, pooled, further=further)
