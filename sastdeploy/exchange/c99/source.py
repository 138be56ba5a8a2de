"""A program's header and source in C."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sastdeploy
from sastdeploy.exchange.c99.layers import LayerCode, layer_code, readout_code, spikes_sent
from sastdeploy.exchange.c99.tables import State, filled
from sastdeploy.exchange.names import plain
from sastdeploy.program.file import program_hash
from sastdeploy.program.records import Program, ProgramLayer, Readout

_OWN = "; those of a recurrent layer's spikes in itself stand with the next part's"
_FURTHER = "; those of further inputs with the part behind their source"
_SIDE = "; those of a layer that does not hear the one before it with the part behind what it hears"
_STARTS = ", but for states that start elsewhere"
_HELPER = re.compile(r"(?ms)(^/\*.*?^static \w+ (\w+)\(.*?^}\n)")


@dataclass(frozen=True)
class Source:
    """The two files of a program, and what they hold.

    Args:
        parts: the C of every layer and, last, of the readout.
    """

    header: str
    source: str
    parts: tuple[LayerCode, ...]
    state: State

    @property
    def table_bytes(self) -> int:
        return sum(table.bytes for part in self.parts for table in part.tables)


def index_type(inputs: int) -> str:
    """Return the C type of an event's index."""
    return "uint16_t" if inputs <= 1 << 16 else "uint32_t"


def write_source(program: Program, name: str) -> Source:
    """Return the C of a verified program whose functions and types begin with ``name``, a valid identifier."""
    parts = _parts(program, name)
    state = State(tuple(field for part in parts for field in part.fields))
    preprocessing = program.preprocessing
    polarities, rows, columns = preprocessing.frame_shape
    inputs = polarities * rows * columns
    places = (*program.layers, program.readout)
    common = {
        "name": name, "NAME": name.upper(), "title": plain(program.name), "version": sastdeploy.__version__,
        "hash": program_hash(program),
    }  # fmt: skip
    *layers, readout = parts
    header = filled(
        "header.h", **common, inputs=inputs, polarities=polarities, rows=rows, columns=columns,
        time_bins=preprocessing.time_bins, classes=len(program.classes), clip=preprocessing.c_clip,
        index=index_type(inputs), sources=len(parts), layers=len(program.layers),
        own="".join(text for text, needed in (
            (_OWN, any(part.own for part in parts)),
            (_FURTHER, any(part.further for part in places)),
            (_SIDE, any(layer.source is not None for layer in program.layers)),
        ) if needed),
        members="\n".join(text for _, _, text in state.members()),
        starts=_STARTS if any(layer.start for layer in layers) else "",
    )  # fmt: skip
    code = "\n".join([
        *(
            "\n".join([_heading(number, part), *(table.text() for table in code.tables), code.add])
            for number, (part, code) in enumerate(zip(places, parts))
        ),
        # After every `add`: what ends a layer's step sends to the next one.
        *(f"{layer.own}\n{layer.run}" if layer.own else layer.run for layer in layers),
        *(layer.start for layer in layers if layer.start),
    ])  # fmt: skip
    source = filled(
        "source.c", **common, code=code, clear="".join(f"\n{line}" for line in _cleared(parts[0])), scores=readout.run, forward=_forward(layers),
        helpers=_helpers(code + readout.run), taken=_taken(program, name),
        starts="".join(f"\nbegin{number}(state);" for number, layer in enumerate(layers) if layer.start),
    )  # fmt: skip
    return Source(header, source, parts, state)


def _parts(program: Program, name: str) -> tuple[LayerCode, ...]:
    shapes, largest, steps = program.shapes(), program.largest_values(), program.preprocessing.time_bins
    parts, turn, calls = [], 0, _calls(program, name)
    for number, (layer, source) in enumerate(zip(program.layers, program.sources())):
        # A layer's sums are read while the next ones' are filled: two places in turn are enough.
        reads = program.readout.reads if number + 1 == len(program.layers) else "counts"
        place = ("even", "odd")[turn % 2]
        sent = "\n    ".join(calls[number + 1])
        parts.append(layer_code(layer, number, source, shapes, largest, steps, name, place, sent, reads))
        turn += layer.lif is not None
    return (*parts, readout_code(program.readout, len(parts), shapes, steps, largest, name))


def _calls(program: Program, name: str) -> list[list[str]]:
    """Return for every source, the input first, lines of C that hand one of its values to whatever hears it."""
    calls: list[list[str]] = [[] for _ in range(len(program.layers) + 1)]
    values = [("input", _clipped(name)), *(("neuron", spikes_sent(layer)) for layer in program.layers)]
    hearing = [(source, f"{number}") for number, source in enumerate(program.sources())]
    for number, part in enumerate((*program.layers, program.readout)):
        hearing += [(each.source, f"{number}_{place}") for place, each in enumerate(part.further)]
    # In the order of the layers, a layer's own input before its further ones.
    for source, add in sorted(hearing, key=lambda each: [int(part) for part in each[1].split("_")]):
        calls[source].append(f"add{add}(state, {', '.join(values[source])});")
    return calls


def _taken(program: Program, name: str) -> str:
    """Return C that takes one input."""
    return "\n".join(_calls(program, name)[0])


def _clipped(name: str) -> str:
    return f"(int32_t)(count < {name.upper()}_CLIP ? count : {name.upper()}_CLIP)"


def _heading(number: int, part: ProgramLayer | Readout) -> str:
    return f"/* {number}: {part.kind.replace('_', ' ')}, {plain(part.name)} in the program */\n"


def _forward(layers: list[LayerCode]) -> str:
    lines = []
    for number, layer in enumerate(layers):
        if number + 1 < len(layers) and not layers[number + 1].early:
            lines += _cleared(layers[number + 1])
        if layer.own:
            lines.append(f"own{number}(state);")
        lines.append(f"run{number}(state);")
        if layer.early:
            lines += _cleared(layer)
    return "\n".join(lines)


def _cleared(layer: LayerCode) -> list[str]:
    """Return C that makes a layer's sums 0 for a new step; none where values wait in them."""
    return [] if layer.lasting else [f"memset(state->{layer.sums.path}, 0, sizeof state->{layer.sums.path});"]


def _helpers(code: str) -> str:
    """Return the helpers that the code calls; compilers warn of others."""
    helpers = _HELPER.findall(filled("helpers.c"))
    return "".join(f"\n{text}" for text, function in helpers if f"{function}(" in code)
