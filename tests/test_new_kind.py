"""A new kind of layer, a convolution of each channel by itself, brought in as CONTRIBUTING says: records and tables alone.

Everything that a room must know stands in this file, room by room; with it the kind is read from YAML, trained, compiled by
every pass, stored, and run by every engine with the same integers.
"""

import importlib.util
import sys
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch.nn.functional as F
from small_networks import checkpoint_of, labelled

from sastdeploy.compiler.compile import compile
from sastdeploy.compiler.ir import importer, nodes
from sastdeploy.compiler.ir.graph import stages
from sastdeploy.compiler.ir.importer import graph_from_checkpoint
from sastdeploy.compiler.ir.interpreter import interpret
from sastdeploy.compiler.ir.nodes.checks import known, require
from sastdeploy.compiler.ir.text import parse_graph, print_graph
from sastdeploy.networks import builtin, layers
from sastdeploy.program import layers as program_layers
from sastdeploy.program.file import load_program, save_program
from sastdeploy.program.layers.lif import Lif, LifLayer
from sastdeploy.program.layers.weights import weight_record
from sastdeploy.program.limits import by, check_output, check_weight, refuse
from sastdeploy.simulator import engine
from sastdeploy.simulator.numba_engine import plan, wiring
from sastdeploy.simulator.result import differences
from sastdeploy.training import layers as training_layers
from sastdeploy.training.fit import fit
from sastdeploy.training.inference import run
from sastdeploy.training.settings import TrainingSettings
from sastdeploy.windows import Window


# Networks and training: networks/layers.py, training/layers.py.
@dataclass(frozen=True)
class Depthwise:
    kernel: int = 3
    stride: int = 1
    kind: str = field(default="depthwise", init=False)
    has_neurons: ClassVar[bool] = True
    has_positions: ClassVar[bool] = True

    @property
    def window(self):
        return Window.of(self.kernel, self.stride, 0)

    def output_shape(self, before, where):
        return (before[0], *self.window.output(before))

    def parameter_shapes(self, before):
        channels = before[:1]
        return {"weight": (*channels, 1, self.kernel, self.kernel), "bias": channels, "threshold": channels}

    def fan_in(self, before):
        return self.window.size

    def fan_out(self, before):
        windows = self.window.over(before)
        return int(windows.min()), int(windows.max()), int(windows.sum()) * before[0]


def depthwise_sums(layer, values, s, fused):
    weight = values["weight"]
    result = F.conv2d(s.flatten(0, 1), weight, values.get("bias"), layer.stride, groups=len(weight))
    return result.view(*s.shape[:2], *result.shape[1:])


# Graph and passes: a file of compiler/ir/nodes/, importer.py.
@dataclass(frozen=True, eq=False)
class DepthwiseNode(nodes.Synapses):
    kind: ClassVar[str] = "depthwise"
    stride: int = 1

    @property
    def window(self):
        return Window.of(self.weight.shape[2:], self.stride, 0)

    def output_shape(self, before):
        self._check_weight(4)
        require(
            self.weight.shape[:2] == (before[0], 1),
            self,
            f"weight {self.weight.shape} for {before[0]} channels",
        )
        return (before[0], *self.window.output(before))

    def sums(self, x):
        return np.einsum("ntchwab,cab->ntchw", self.window.views(x), self.effective_weight[:, 0])

    def fan_out(self, before):
        return int(self.window.over(before).max())

    def assembled(self, lif):
        weight, bits = known(self, self.weight_q), known(self, self.weight_bits)
        return (DepthwiseLif(self.name, weight, bits, self.stride, known(self, lif)),)


# Program and engines: a file of program/layers/, numba_engine/wiring.py.
@dataclass(frozen=True)
class DepthwiseLif(LifLayer):
    name: str
    weight: np.ndarray
    weight_bits: int
    stride: int
    lif: Lif
    kind: str = field(default="depthwise", init=False)

    @property
    def spread(self):
        """The same sums as a convolution whose other weights are 0."""
        channels, _, height, width = self.weight.shape
        weight = np.zeros((channels, channels, height, width), np.int8)
        weight[np.arange(channels), np.arange(channels)] = self.weight[:, 0]
        return program_layers.ConvLif(
            self.name, weight, self.weight_bits, (self.stride,) * 2, (0, 0), self.lif
        )

    def output_shape(self, shape):
        return (shape[0], *Window.of(self.weight.shape[2:], self.stride, 0).output(shape))

    def check(self, where, shape, largest):
        check_weight(where, self.weight, self.weight_bits, 4)
        if self.weight.shape[0] != shape[0]:
            refuse(
                where,
                f"weight has {self.weight.shape[0]} channels",
                f"{shape[0]}, as in its {by(shape)} input",
            )
        check_output(where, self.output_shape(shape))
        self.check_lif(where, self.output_shape(shape), largest)

    def sums(self, x):
        return self.spread.sums(x)

    def fan_out(self, shape):
        met = self.weight[:, 0] != 0
        return tuple(self.spread._met(shape, each.astype(np.int64)) for each in (np.ones_like(met), met))

    def synops(self, x):
        active = (x != 0).astype(np.int64)
        every, nonzero = self.fan_out(x.shape)
        return int(every @ active.reshape(-1)), int(every @ x.reshape(-1)), int(nonzero @ active.reshape(-1))

    def add_sums(self, add, x, shape):
        wide = add.cast(f"{self.name}/weight", "INT32")
        shifted = add.cast(add("Add", wide, add.constant(128, "INT32")), "UINT8")
        window = {"strides": [self.stride] * 2, "group": shape[0]}
        return add(
            "ConvInteger", x, shifted, "", add.constant(128, "UINT8"), out=f"{self.name}/acc", **window
        )

    def record(self):
        fields = weight_record(self.kind, self.name, self.weight, self.weight_bits)
        return {**fields, "stride": self.stride, "lif": self.lif.record()}

    @classmethod
    def from_record(cls, record, arrays):
        lif = Lif.from_record(record["lif"], arrays)
        return cls(record["name"], arrays["weight"], record["weight_bits"], record["stride"], lif)


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.setitem(layers.KINDS, "depthwise", Depthwise)
    # The forms of files, as they are when `builtin` is imported with the new record in its table.
    spec = importlib.util.spec_from_file_location("builtin_with_a_new_kind", builtin.__file__)
    fresh = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, fresh)
    spec.loader.exec_module(fresh)
    for form in ("_Network", "_Architecture"):
        monkeypatch.setattr(builtin, form, getattr(fresh, form))
    monkeypatch.setitem(training_layers.SUMS, "depthwise", depthwise_sums)
    monkeypatch.setitem(nodes.NODES, "depthwise", DepthwiseNode)
    monkeypatch.setitem(
        importer._NODES,
        "depthwise",
        lambda name, layer, arrays: DepthwiseNode(
            name, arrays["weight"], arrays["bias"], stride=layer.stride
        ),
    )
    monkeypatch.setitem(program_layers.KINDS, "depthwise", DepthwiseLif)
    monkeypatch.setitem(
        wiring.WIRING, "depthwise", lambda layer, *rest: wiring._conv_wiring(layer.spread, *rest)
    )
    monkeypatch.setattr(plan, "BY_PIXEL", (*wiring.BY_PIXEL, "depthwise"))


NETWORK = """
name: separable
layers:
  - {kind: depthwise, kernel: 3, stride: 2}
  - {kind: conv, channels: 4, kernel: 1}
  - {kind: avg_pool, kernel: 2}
  - {kind: depthwise, kernel: 2}
  - {kind: dense, neurons: 6}
"""


def test_a_new_kind_is_read_trained_compiled_stored_and_run(tables, tmp_path):
    (tmp_path / "net.yaml").write_text(NETWORK)
    architecture = builtin.load_architecture(str(tmp_path / "net.yaml"), (2, 13, 13), 3)
    assert builtin.architecture_from_dict(builtin.architecture_to_dict(architecture), "x") == architecture
    assert architecture.layers[3] == Depthwise(2) and architecture.shapes()[3] == (4, 2, 2)
    data = labelled(architecture, 24)
    trained = fit(data, data, architecture, settings=TrainingSettings(epochs=1, batch_size=8))
    drawn = checkpoint_of(architecture, spread=1.5)
    for checkpoint in (trained, drawn):
        graph = graph_from_checkpoint(checkpoint)
        assert parse_graph(*print_graph(graph)) == graph
        hard, meant = run(checkpoint, data.frames), interpret(graph, data.frames.dense())
        assert np.allclose(hard.scores, meant.scores, atol=1e-9)

    compilation = compile(drawn, "loihi_int8")
    program, facts = compilation.program, builtin.describe(architecture, 6)
    assert [layer.kind for layer in compilation.report.layers] == [
        "depthwise",
        "conv",
        "depthwise",
        "dense",
        "readout",
    ]
    weighted = [fact for fact in facts if fact.thresholds] + [facts[-1]]
    assert [(part.fan_in, part.fan_out) for part in compilation.report.layers] == [
        (fact.fan_in, fact.fan_out[1]) for fact in weighted
    ]
    assert [stage.node.fan_in for stage in stages(graph)] == [fact.fan_in for fact in weighted]
    save_program(tmp_path / "net.onnx", program)
    stored = load_program(tmp_path / "net.onnx")
    assert isinstance(stored.layers[0], DepthwiseLif)
    trace = tuple(layer.name for layer in stored.layers if layer.lif is not None)
    plain = engine.run(stored, data.frames, engine="reference", trace=trace)
    assert plain.synops.any(axis=0).all()
    for name in ("numba", "onnxruntime"):
        assert differences(plain, engine.run(stored, data.frames, engine=name, trace=trace)) == []
