"""The program's check: after it, every index, range and width that an engine relies on is proven."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sastdeploy.errors import short
from sastdeploy.program.layers.further import check_further
from sastdeploy.program.limits import Shape, is_int, refuse
from sastdeploy.program.records import KINDS, Program, ProgramLayer, Readout
from sastdeploy.recordings.events import MAX_LENGTH_US
from sastdeploy.recordings.preprocessing import BINNINGS, MAX_CLIP, MAX_EVENTS_PER_BIN, Preprocessing
from sastdeploy.windows import MAX_VALUES

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def check_program(program: Program) -> None:
    """Return only if the program is valid: every engine can run it without a further check.

    Proven from the integers alone, for inputs up to ``c_clip``: no weighted sum, membrane update or class score
    leaves int32. (``acc * multiplier`` and ``u * leak_multiplier`` stay below 2^46 and are int64 in every engine.)

    Raises:
        InputError: names layer, field, value and what is allowed.
    """
    where = "program"
    if not isinstance(program, Program):
        refuse(where, f"a {type(program).__name__}", "a Program record")
    _check_text(where, "name", program.name)
    _check_text(where, "dataset", program.dataset)
    _check_preprocessing(program.preprocessing)
    for name in ("profile", "provenance", "costs"):
        if type(getattr(program, name)) is not dict:
            refuse(where, f"{name} is a {type(getattr(program, name)).__name__}", "a dict of plain values")
        _check_plain(getattr(program, name), name)
    _check_order(program)
    shapes, most = [program.preprocessing.frame_shape], [program.preprocessing.c_clip]
    sources, heard = {0: shapes[0]}, {len(program.layers)}
    for number, layer in enumerate(program.layers):
        where = f"layer '{layer.name}'"
        source = _source(where, layer, number, sources)
        shape, largest = shapes[source], most[source]
        if layer.lif is None or layer.further == ():
            layer.check(where, shape, largest)
        else:
            replace(layer, further=()).check(where, shape, largest)
            output = layer.output_shape(shape)
            check_further(where, layer.further, layer.kind, layer.weight_bits, output, sources)
            layer.lif.check(where, output, layer.worst_sums(largest, most))
        shapes.append(layer.output_shape(shape))
        most.append(layer.largest_output(largest))
        heard |= {source, *(each.source for each in layer.further)}
        if layer.lif is not None:
            sources[number + 1] = shapes[-1]
    heard |= {each.source for each in program.readout.further if type(program.readout.further) is tuple}
    for number, layer in enumerate(program.layers, 1):
        if number not in heard:
            wrong = "no layer hears it, and the readout does not"
            refuse(f"layer '{layer.name}'", wrong, "layers whose values something takes")
    steps = program.preprocessing.time_bins
    _check_readout(program.readout, shapes[-1], steps, most, sources)
    last = program.layers[-1].lif
    if program.readout.reads != "counts" and (last is None or not last.silent):
        refuse(
            f"layer '{program.layers[-1].name}'",
            "its membranes are read as scores and its neurons can spike",
            "reset 'none', spike test '>' and thresholds at the membrane's upper end",
        )
    _check_classes(program)


def _check_readout(
    readout: Readout, shape: Shape, steps: int, most: Sequence[int], sources: Mapping[int, Shape]
) -> None:
    """Accept a readout of a last layer of ``shape``; ``most``: the largest value of every source, ``sources``: their shapes."""
    where = f"readout '{readout.name}'"
    readout.check(where, shape, steps, most[-1])
    output = (len(readout.weight), 1, 1)
    check_further(where, readout.further, readout.kind, readout.weight_bits, output, sources)
    readout.prove(where, readout.worst_sums(shape, steps, most[-1], most), steps)


def _source(where: str, layer: ProgramLayer, number: int, sources: Mapping[int, Shape]) -> int:
    """Return what layer ``number`` hears, where it may: one of ``sources``, or the layer before it, then unsaid."""
    if layer.source is None:
        return number
    # A pool takes no input of the network.
    fit = [each for each in sources if each != number and (each > 0 or _may_begin(type(layer)))]
    if not is_int(layer.source, 0, number) or layer.source not in fit:
        others = (
            f", or {', '.join(map(str, fit))} (0 for the input, l + 1 for an earlier layer l with neurons)"
        )
        refuse(where, f"source is {short(layer.source)}", f"None, the layer before it{others if fit else ''}")
    return layer.source


def _check_text(where: str, name: str, value: Any) -> None:
    if type(value) is not str or not value.strip() or len(value) > 1000 or not value.isprintable():
        refuse(where, f"{name} is {short(value)}", "a text of 1 to 1000 printable characters")


def _check_preprocessing(p: Preprocessing) -> None:
    where = "preprocessing"
    if not isinstance(p, Preprocessing):
        refuse(where, f"a {type(p).__name__}", "a Preprocessing record")
    for name, length in (("sensor_size", 3), ("frame_size", 2)):
        sizes = getattr(p, name)
        if (
            type(sizes) is not tuple
            or len(sizes) != length
            or not all(is_int(v, 1, MAX_VALUES) for v in sizes)
        ):
            refuse(where, f"{name} is {short(sizes)}", f"{length} whole numbers of at least 1")
    if not is_int(p.time_bins, 1, 1000):
        refuse(where, f"time_bins is {short(p.time_bins)}", "a whole number, 1 to 1000")
    if p.window_us is not None and not is_int(p.window_us, 1, MAX_LENGTH_US):
        refuse(where, f"window_us is {short(p.window_us)}", f"None, or a whole number, 1 to {MAX_LENGTH_US}")
    if p.binning not in BINNINGS or (p.binning == "window" and p.window_us is None):
        refuse(
            where, f"binning is {short(p.binning)}", f"one of {', '.join(BINNINGS)}, 'window' with window_us"
        )
    if (p.binning == "events") != is_int(p.events_per_bin, 1, MAX_EVENTS_PER_BIN):
        refuse(
            where, f"events_per_bin is {short(p.events_per_bin)}",
            f"a whole number, 1 to {MAX_EVENTS_PER_BIN}, where binning is 'events', else None",
        )  # fmt: skip
    if p.binning != "events" and p.events_per_bin is not None:
        refuse(where, f"events_per_bin is {short(p.events_per_bin)}", "None, where binning is not 'events'")
    if not is_int(p.c_clip, 1, MAX_CLIP):
        refuse(where, f"c_clip is {short(p.c_clip)}", f"a whole number, 1 to {MAX_CLIP}")
    if type(p.divisor) is not float or not math.isfinite(p.divisor) or p.divisor < p.c_clip:
        refuse(where, f"divisor is {short(p.divisor)}", f"a finite number of at least c_clip ({p.c_clip})")
    if p.normalisation == "sample_max":
        refuse(
            where,
            "normalisation is 'sample_max', which needs the whole recording before its first step",
            "'fixed', which hardware can do event by event",
        )
    if p.normalisation != "fixed":
        refuse(where, f"normalisation is {short(p.normalisation)}", "'fixed'")
    if math.prod(p.frame_shape) > MAX_VALUES:
        refuse(where, f"a frame has {math.prod(p.frame_shape)} values", f"at most {MAX_VALUES}")


def _check_plain(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what JSON cannot hold and give back unchanged: tuples, NumPy values, NaN, keys that are no text."""
    if value is None or type(value) in (bool, int):
        return
    if type(value) is str:
        _check_encodable(value, where)
        return
    if type(value) is float and math.isfinite(value):
        return
    if depth < 32 and type(value) is list:
        for position, item in enumerate(value):
            _check_plain(item, f"{where}[{position}]", depth + 1)
        return
    if depth < 32 and type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                refuse(where, f"the key {short(key)} is a {type(key).__name__}", "text keys")
            _check_encodable(key, where)
            _check_plain(item, f"{where}.{key}", depth + 1)
        return
    allowed = "finite numbers, text, true, false, null, and lists and dicts of these, nested up to 32 deep"
    refuse(where, f"{short(value)} is a {type(value).__name__}", allowed)


def _check_encodable(text: str, where: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        refuse(where, f"{short(text)} is no valid Unicode", "text without lone surrogates")


def _check_order(program: Program) -> None:
    layers, kinds = program.layers, tuple(KINDS.values())
    if type(layers) is not tuple or not layers:
        refuse("program", "there is no layer", "a tuple of at least one layer before the readout")
    for layer in layers:
        if not isinstance(layer, kinds):
            *others, last = (kind.__name__ for kind in kinds)
            refuse("program", f"a layer is a {type(layer).__name__}", f"{', '.join(others)} or {last}")
    if not isinstance(program.readout, Readout):
        refuse("program", f"the readout is a {type(program.readout).__name__}", "a Readout")
    seen: set[str] = set()
    for part in (*layers, program.readout):
        if type(part.name) is not str or not _NAME.fullmatch(part.name):
            allowed = "1 to 64 letters, digits and _ . -, not starting with . or -"
            refuse("program", f"a layer is named {short(part.name)}", allowed)
        if part.name in seen:
            refuse("program", f"two layers are named '{part.name}'", "a different name for every layer")
        seen.add(part.name)
    for layer, position in ((layers[0], "first"), (layers[-1], "last")):
        # Of the kind: a layer with neurons whose lif is None is told as such.
        if not _may_stand(type(layer), position):
            *others, last = (kind for kind, made in KINDS.items() if _may_stand(made, position))
            refuse(
                f"layer '{layer.name}'",
                f"a {layer.kind.replace('_', ' ')} is the {position} layer",
                f"{', '.join(others)} or {last} there",
            )


def _may_stand(kind: type, position: str) -> bool:
    """Return whether layers of a kind may stand ``first`` or ``last``: without neurons some may begin, none may end."""
    return _may_begin(kind) if position == "first" else getattr(kind, "lif", 0) is not None


def _may_begin(kind: type) -> bool:
    """Return whether layers of a kind may hear the network's input."""
    return getattr(kind, "lif", 0) is not None or getattr(kind, "may_begin", False)


def _check_classes(program: Program) -> None:
    classes, rows = program.classes, len(program.readout.weight)
    if type(classes) is not tuple or len(classes) != rows:
        count = len(classes) if type(classes) is tuple else short(classes)
        refuse("program", f"there are {count} classes", f"{rows}, one per row of the readout's weight")
    for name in classes:
        _check_text("program", "a class name", name)
    if len(set(classes)) != rows:
        refuse("program", "two classes have the same name", "a different name for every class")
