"""Random hardware profiles, and random networks, for Hypothesis."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from program_strategies import delays
from small_networks import checkpoint_of

from sastdeploy.compiler.imported import ImportedNetwork
from sastdeploy.compiler.ir import nodes as ir
from sastdeploy.compiler.ir.graph import shapes
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.profiles import load_profile
from sastdeploy.networks.architecture import Architecture, AvgPool, Conv, Dense, Readout
from sastdeploy.networks.checkpoint import Checkpoint
from sastdeploy.program.fixedpoint import Overflow, QFormat, Rounding

LOIHI = replace(load_profile("loihi_int8"), starts=True, floor=True)
PROFILES = st.builds(
    lambda integer, fraction, **parts: replace(LOIHI, membrane=QFormat(integer, fraction), **parts),
    integer=st.integers(2, 12),
    fraction=st.integers(0, 12),
    weight_bits=st.integers(2, 8),
    granularity=st.sampled_from(["per_tensor", "per_channel"]),
    scale=st.sampled_from(["any", "power_of_two"]),
    overflow=st.sampled_from(Overflow),
    leak_shift=st.integers(0, 15),
    leak_rounding=st.sampled_from(Rounding),
    accumulator_bits=st.integers(8, 32),
    spike_test=st.sampled_from([">=", ">"]),
    reset=st.sampled_from(["subtract", "zero", "none"]),
    reset_delay=st.integers(0, 1),
    delays=st.sampled_from([0, 2, 62, 1000]),
    spikes_per_step=st.sampled_from([1, 1, 3, 127]),
)


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Draw a network of up to three layers of every kind with random weights."""
    side = draw(st.integers(4, 9))
    shape = (draw(st.integers(1, 2)), side, draw(st.integers(4, 9)))
    kernel = draw(st.sampled_from((1, 3)))
    layers: list = [Conv(draw(st.integers(1, 5)), kernel, draw(st.integers(1, 2)), kernel // 2)]
    kind = draw(st.sampled_from(("dense", "conv", "pool", "conv pool dense")))
    if kind == "dense":
        layers = [Dense(draw(st.integers(1, 12)))]
    if "pool" in kind:
        layers.append(AvgPool(2))
        layers.append(Dense(draw(st.integers(1, 8))))
    elif draw(st.booleans()):
        layers.append(Dense(draw(st.integers(1, 9))))
    readout = Readout(kind == "conv" and isinstance(layers[-1], Conv) and draw(st.booleans()))
    architecture = Architecture("random", shape, tuple(layers), readout, draw(st.integers(2, 4)))
    c_clip = draw(st.sampled_from((1, 1, 3, 15)))
    return checkpoint_of(
        architecture,
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from((0.1, 0.6, 0.6, 3.0))),
        c_clip=c_clip,
        divisor=c_clip * draw(st.sampled_from((1.0, 1.7))),
        time_bins=draw(st.integers(1, 6)),
    )


@st.composite
def networks(draw: st.DrawFn) -> Checkpoint | ImportedNetwork:
    """Draw a network as `checkpoints` does, half of them with neurons that send several spikes in a step, with delays behind its input, layers of neurons and pools, with membranes that start elsewhere than at 0 or have a floor, or with a layer beside one."""
    checkpoint = draw(checkpoints())
    if draw(st.booleans()):
        return checkpoint
    graph, rng = graph_from_checkpoint(checkpoint), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes: list = []
    for node, after, shape in zip(graph.nodes, (*graph.nodes[1:], None), shapes(graph)):
        nodes.append(node)
        if after and set(ir.Delay.takes) & {node.gives} and after.gives != "scores" and draw(st.booleans()):
            drawn = draw(delays("", rng, shape, graph.input.time_bins))
            nodes.append(ir.Delay(f"{node.name}.delay", drawn.steps))
    spikes = draw(st.sampled_from((1, 2, 31, 127)))
    if draw(st.booleans()):
        nodes = _with_twin(nodes, rng)
    made = graph.replace(tuple(nodes)).map_spiking(lambda node: replace(node, max_spikes=spikes))
    if rng.integers(3) == 0:
        made = made.map_spiking(lambda node: replace(node, start=rng.normal(-0.2, 0.4, len(node.threshold))))
    if rng.integers(3) == 0:
        made = made.map_spiking(lambda node: replace(node, floor=-rng.exponential(0.3, len(node.threshold))))
    return ImportedNetwork(made, checkpoint.preprocessing, checkpoint.classes)


def _with_twin(nodes: list, rng: np.random.Generator) -> list:
    """Return the nodes with another layer beside the first that hears the input or neurons and goes to weights, which add up both."""
    for place in range(1, len(nodes) - 3):
        before, node, lif, behind = nodes[place - 1 : place + 3]
        apart = before.gives in ("values", "spikes") and isinstance(lif, ir.Lif)
        if apart and isinstance(behind, ir.Dense | ir.Conv2d):
            twin = replace(node, name="twin", weight=rng.permuted(node.weight), source=before.name)
            further = replace(behind, name=lif.name, bias=np.zeros_like(behind.bias))
            both = [twin, replace(lif, name="twin.lif"), replace(behind, further=(further,))]
            return [*nodes[: place + 2], *both, *nodes[place + 3 :]]
    return nodes
