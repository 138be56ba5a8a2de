"""A program's network as float32 C with the interface of its integer C: what the integers are measured against.

One float for each integer, weights in membrane LSBs; the loops are those of the exported C: an event or spike adds its weights to the
sums that it reaches, then every neuron is updated once.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from sastdeploy import Program
from sastdeploy.program.limits import Shape
from sastdeploy.program.records import ConvLif, DenseLif, Readout

DIGITS = 9
"""Of a number's decimal form: as many as tell any two float32 numbers apart."""
Weighted = ConvLif | DenseLif | Readout


def has_float_form(program: Program) -> bool:
    """Whether `float_source` can write it: dense and convolutional layers, reset by subtraction a step later."""
    return all(
        isinstance(layer, ConvLif | DenseLif)
        and layer.lif.reset == "subtract"
        and bool(layer.lif.reset_delay)
        for layer in program.layers
    )


def float_source(program: Program, header: str) -> tuple[str, str]:
    """Return header and source; ``header`` is that of the program's integer C, named ``net``."""
    layers = [layer for layer in program.layers if isinstance(layer, ConvLif | DenseLif)]
    weighted: tuple[Weighted, ...] = (*layers, program.readout)
    tables: list[str] = []
    functions: list[str] = []
    fields: list[str] = []
    shape: Shape = program.preprocessing.frame_shape
    for i, layer in enumerate(weighted):
        after = layer.output_shape(shape) if isinstance(layer, ConvLif) else (len(layer.weight), 1, 1)
        part = layer if isinstance(layer, Readout) else layer.lif
        tables += [_table(f"weight{i}", _weights(layer)), _table(f"bias{i}", part.bias)]
        fields.append(f"float sum{i}[{int(np.prod(after))}];")
        functions.append(_add(i, layer, shape, after))
        if not isinstance(layer, Readout):
            fields.append(f"float membrane{i}[{int(np.prod(after))}];")
            tables.append(_table(f"threshold{i}", layer.lif.threshold))
            functions.append(_run(i, layer, after))
        shape = after
    last = len(layers)
    declared = [
        f"static void add{i}(net_state *state, uint32_t input, float count);" for i in range(last + 1)
    ]
    clear = [f"    memset(state->sum{i}, 0, sizeof state->sum{i});" for i in range(last)]
    runs = [f"    run{i}(state);" for i in range(last)]
    body = "\n".join(["uint32_t steps;", *fields])
    header = re.sub(
        r"(?s)typedef struct \{\n    (?!.*typedef struct).*?\} net_state;",
        f"typedef struct {{\n{body}\n}} net_state;",
        header,
    )
    lines = "\n".join
    source = f"""#include "net.h"
#include <string.h>
{lines((*tables, *declared, *functions))}
void net_reset(net_state *state) {{ memset(state, 0, sizeof *state); }}
int net_step(net_state *state, const net_event *events, uint32_t length)
{{
    uint32_t n;
{lines(clear)}
    for (n = 0; n < length; n++)
        add0(state, events[n].index, (float)(events[n].count < NET_CLIP ? events[n].count : NET_CLIP));
{lines(runs)}
    state->steps++;
    return 0;
}}
void net_scores(const net_state *state, int32_t scores[NET_CLASSES])
{{
    uint32_t n;
    for (n = 0; n < NET_CLASSES; n++) scores[n] = (int32_t)(state->sum{last}[n] + (float)state->steps * bias{last}[n]);
}}
uint32_t net_predicted(const int32_t scores[NET_CLASSES])
{{
    uint32_t n, best = 0;
    for (n = 1; n < NET_CLASSES; n++) if (scores[n] > scores[best]) best = n;
    return best;
}}
"""
    return header, source


def _weights(layer: Weighted) -> NDArray[np.float64]:
    """Return the weights times their channel's gain, outputs last: all that one input adds lie side by side."""
    part = layer if isinstance(layer, Readout) else layer.lif
    gain = part.multiplier / np.exp2(part.shift.astype(np.float64))
    return np.moveaxis(layer.weight * gain.reshape(-1, *[1] * (layer.weight.ndim - 1)), 0, -1)


def _add(i: int, layer: Weighted, shape: Shape, after: Shape) -> str:
    """Return the function that adds one input's weights; sums lie place by place, channels side by side."""
    begin = f"static void add{i}(net_state *state, uint32_t input, float count)\n{{"
    if not isinstance(layer, ConvLif):
        pixels = shape[1] * shape[2]
        pooled = isinstance(layer, Readout) and layer.global_sum_pool and pixels > 1
        return f"""{begin}
    const float *row = weight{i} + {f"input / {pixels}u" if pooled else "input"} * {after[0]}u;
    uint32_t n;
    for (n = 0; n < {after[0]}u; n++) state->sum{i}[n] += count * row[n];
}}"""
    (pad_y, pad_x), (step_y, step_x) = layer.padding, layer.stride
    outputs, _, height, width = layer.weight.shape
    _, rows, columns = after
    return f"""{begin}
    const uint32_t channel = input / {shape[1] * shape[2]}u;
    const int32_t y = (int32_t)(input % {shape[1] * shape[2]}u / {shape[2]}u) + {pad_y};
    const int32_t x = (int32_t)(input % {shape[2]}u) + {pad_x};
    int32_t ky, kx;
    uint32_t n;
    for (ky = 0; ky < {height}; ky++) {{
        const int32_t top = y - ky;
        if (top < 0 || top % {step_y} != 0 || top / {step_y} >= {rows}) continue;
        for (kx = 0; kx < {width}; kx++) {{
            const int32_t left = x - kx;
            const float *row = weight{i} + ((channel * {height}u + (uint32_t)ky) * {width}u + (uint32_t)kx) * {outputs}u;
            float *sums;
            if (left < 0 || left % {step_x} != 0 || left / {step_x} >= {columns}) continue;
            sums = state->sum{i} + ((uint32_t)(top / {step_y}) * {columns}u + (uint32_t)(left / {step_x})) * {outputs}u;
            for (n = 0; n < {outputs}u; n++) sums[n] += count * row[n];
        }}
    }}
}}"""


def _run(i: int, layer: ConvLif | DenseLif, after: Shape) -> str:
    """Return the function that updates every neuron of a layer and sends its spikes on."""
    channels, places, lif = after[0], after[1] * after[2], layer.lif
    leak = _number(int(lif.leak_multiplier) / 2.0**lif.leak_shift)
    return f"""static void run{i}(net_state *state)
{{
    uint32_t channel, place, neuron = 0;
    for (channel = 0; channel < {channels}u; channel++) {{
        for (place = 0; place < {places}u; place++, neuron++) {{
            const float sum = state->sum{i}[place * {channels}u + channel];
            const float u = state->membrane{i}[neuron], threshold = threshold{i}[channel];
            const float v = {leak} * u + sum + bias{i}[channel] - (u {lif.spike_test} threshold ? threshold : 0.0f);
            state->membrane{i}[neuron] = v;
            if (v {lif.spike_test} threshold) add{i + 1}(state, neuron, 1.0f);
        }}
    }}
}}"""


def _number(value: float) -> str:
    text = f"{value:.{DIGITS}g}"
    return f"{text if set(text) & set('.en') else text + '.0'}f"


def _table(name: str, values: NDArray[np.generic]) -> str:
    numbers = ",\n".join(_number(float(value)) for value in values.reshape(-1))
    return f"static const float {name}[{values.size}] = {{\n{numbers}\n}};"
