"""A graph of somebody's network while it grows, part by part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sastdeploy.compiler.ir.nodes import Input, Node, Shape, Synapses
from sastdeploy.errors import CompileError
from sastdeploy.exchange import parts as p
from sastdeploy.exchange.names import clean
from sastdeploy.exchange.parts import Array


@dataclass
class Chain:
    """A graph while it grows.

    Args:
        shape: of the values that come next, ``[C, H, W]``. names: of nodes so far.
        waiting: a weighted layer whose neurons have not come yet. pool: one that has not found its place.
        before_pool: the shape before it. factor: of the values that come next, per value. flat: they stand in one row.
        units: a factor of the sums that come next, per neuron, where it differs within a channel; None where there is none.
        from_input: whether what comes next are the input's values. source: the node that the next node hears where that is not the
            one before it.
        senders: name and shape of the input's node, under None, and of every layer's neurons, under their part's name.
        lost: nothing more can be checked.
    """

    start: Input
    shape: Shape
    nodes: list[Node]
    names: dict[str, int]
    waiting: Synapses | None = None
    pool: p.Pooling | None = None
    before_pool: Shape = (0, 0, 0)
    factor: Array | None = None
    units: Array | None = None
    flat: bool = False
    from_input: bool = True
    source: str | None = None
    senders: dict[str | None, tuple[str, Shape]] = field(default_factory=dict)
    lost: bool = False

    def name(self, wanted: str) -> str:
        """Return a name that programs allow, used once."""
        name = clean(wanted)
        if name in ("input", "readout") or name in self.names:
            self.names[name] = self.names.get(name, 0) + 1
            name = f"{name[:55]}.{self.names[name]}"
        self.names[name] = 0
        return name

    def heard(self) -> str | None:
        """Return the source of the next node, which is then known."""
        source, self.source = self.source, None
        return source

    @property
    def spikes(self) -> bool:
        """Whether there are neurons."""
        return any(node.gives in ("spikes", "membranes") for node in self.nodes)

    def refuse(self, part: Any, reason: str) -> CompileError:
        self.lost = True
        return CompileError(f"{part.name}: {reason}")
