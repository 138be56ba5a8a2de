"""How nodes of an ONNX graph are written, one call each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import NodeProto

OPSET = 21
DOMAIN = "sastdeploy"
FUNCTION_OPSET = 1


class Nodes:
    """Nodes in order; every call adds one and returns the name of its (first) output."""

    def __init__(self, prefix: str = "value") -> None:
        self.nodes: list[NodeProto] = []
        self.prefix = prefix

    def __call__(self, op: str, *inputs: str, out: str = "", domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = out or f"{self.prefix}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], domain=domain, **attributes))
        return out

    def multiple(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))

    def constant(self, value: int | list[int], kind: str = "INT64", out: str = "") -> str:
        from onnx import TensorProto, helper

        shape = [len(value)] if isinstance(value, list) else []
        values = value if isinstance(value, list) else [value]
        tensor = helper.make_tensor("value", getattr(TensorProto, kind), shape, values)
        return self("Constant", out=out, value=tensor)

    def attribute(self, name: str) -> str:
        """Add a constant whose value is the surrounding function's attribute ``name`` (int64)."""
        from onnx import AttributeProto, helper

        node = helper.make_node("Constant", [], [name])
        node.attribute.append(AttributeProto(name="value_int", ref_attr_name=name, type=AttributeProto.INT))
        self.nodes.append(node)
        return name

    def cast(self, x: str, kind: str, out: str = "") -> str:
        from onnx import TensorProto

        return self("Cast", x, out=out, to=getattr(TensorProto, kind))

    def floor_divide(self, x: str, unit: str, out: str = "") -> str:
        """Arithmetic shift right: ``Div`` alone would round a negative number toward zero."""
        rest = self("Mod", x, unit, fmod=0)
        return self("Div", self("Sub", x, rest), unit, out=out)
