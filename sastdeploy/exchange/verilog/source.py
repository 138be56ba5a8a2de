"""A program's Verilog: the core, its layer, the test bench, and the words of its memories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sastdeploy
from sastdeploy.exchange.names import plain
from sastdeploy.exchange.templates import filled
from sastdeploy.exchange.verilog.layers import LayerCore, layer_core, place_bits, readout_core
from sastdeploy.program.file import program_hash
from sastdeploy.program.records import Program

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class VerilogSource:
    """The files of a core by name, without recordings. ``parts``: every layer and, last, the readout. ``clocks``: of one recording."""

    files: dict[str, str]
    parts: tuple[LayerCore, ...]
    clocks: int

    @property
    def rom_bits(self) -> int:
        return sum(part.rom_bits for part in self.parts)

    @property
    def state_bits(self) -> int:
        return sum(part.state_bits for part in self.parts)


def write_verilog(program: Program, name: str) -> VerilogSource:
    """Return the Verilog of a verified program whose modules begin with ``name``, an identifier.

    Raises:
        InputError: the core does not hold one of its layers.
    """
    parts = _parts(program)
    preprocessing = program.preprocessing
    polarities, rows, columns = preprocessing.frame_shape
    inputs, steps, classes = polarities * rows * columns, preprocessing.time_bins, len(program.classes)
    clip = preprocessing.c_clip
    count_bits = clip.bit_length()
    values = {
        "name": name, "title": plain(program.name), "version": sastdeploy.__version__, "hash": program_hash(program),
        "time_bins": steps, "inputs": inputs, "counts": inputs * steps, "classes": classes, "parts": len(parts),
        "class_bits": place_bits(classes), "input_bits": place_bits(inputs), "step_bits": steps.bit_length(),
        "layer_bits": place_bits(len(parts)), "count_bits": count_bits, "last_class": classes - 1, "last_input": inputs - 1,
        "last_part": len(parts) - 1, "last_step": steps - 1,
        "clipped": f"in_count > 8'd{clip} ? {count_bits}'d{clip} : in_count[{count_bits - 1}:0]",
        "dones": ", ".join(f"done{n}" for n in reversed(range(len(parts)))),
        "layers": "\n".join(_instance(name, number, parts) for number in range(len(parts))),
        "traces": "".join(
            _trace(number) for number, layer in enumerate(program.layers) if layer.lif is not None
        ),
    }  # fmt: skip
    files = {
        f"{name}_core.v": filled(TEMPLATES / "core.v", **values),
        f"{name}_layer.v": filled(TEMPLATES / "layer.v", **values),
        "bench.v": filled(TEMPLATES / "bench.v", **values),
    }
    for number, part in enumerate(parts):
        if part.weights is not None:
            words = part.weights.reshape(-1).tolist()
            files[f"weight{number}.hex"] = _hex(words, part.parameters["WEIGHT_BITS"])
        if part.channels is not None:
            files[f"channel{number}.hex"] = _hex(part.channels, part.parameters["CHANNEL_BITS"])
    clocks = 1 + steps * (inputs + sum(part.clocks for part in parts)) + 2 * classes
    return VerilogSource(files, parts, clocks)


def _parts(program: Program) -> tuple[LayerCore, ...]:
    shape, largest = program.preprocessing.frame_shape, program.preprocessing.c_clip
    parts = []
    for layer in program.layers:
        parts.append(layer_core(layer, shape, largest))
        shape, largest = layer.output_shape(shape), layer.largest_output(largest)
    return (*parts, readout_core(program.readout, shape, program.preprocessing.time_bins))


def _instance(name: str, number: int, parts: tuple[LayerCore, ...]) -> str:
    part, next_place = parts[number], f"x{number + 1}_place"
    numbers = [f".{key}({value})" for key, value in part.parameters.items()]
    if part.weights is not None:
        numbers.append(f'.WEIGHT_FILE("weight{number}.hex")')
    if part.channels is not None:
        numbers.append(f'.CHANNEL_FILE("channel{number}.hex")')
    lines = [", ".join(numbers[n : n + 6]) for n in range(0, len(numbers), 6)]
    body = ",\n        ".join(lines)
    last = number + 1 == len(parts)
    places = "" if last else f"    wire [{part.parameters['Y_PLACE_BITS'] - 1}:0] {next_place};\n"
    return (
        f"{places}    wire [{part.y_bits - 1}:0] x{number + 1};\n    wire done{number};\n"
        f"    {name}_layer #(\n        {body}\n    ) layer{number} (\n"
        f"        .clk(clk), .rst(rst), .start(state == WORK && layer == {number} && !begun), .first(first), .done(done{number}),\n"
        f"        .x_place(x{number}_place), .x(x{number}), .y_place({'score' if last else next_place}), .y(x{number + 1})\n    );\n"
    )


def _trace(number: int) -> str:
    layer = f"core.layer{number}"
    return (
        f"    always @(posedge clk) if ({layer}.updated)\n"
        f'        $fwrite(results, "{number} %0d %0d %0d\\n", {layer}.output_place, {layer}.membrane, {layer}.spike);\n'
    )


def _hex(words: list[int] | tuple[int, ...], bits: int) -> str:
    digits, mask = -(-bits // 4), (1 << bits) - 1
    return "".join(f"{word & mask:0{digits}x}\n" for word in words)
