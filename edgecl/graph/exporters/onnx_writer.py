"""Writer: collects the ONNX nodes and initializers of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Node

OPSET, IR = 18, 10
Array = np.ndarray


class Writer:
    """Collects ONNX nodes and initializers for the nodes of a graph."""

    def __init__(self, onnx: Any, graph: Graph, weights: Mapping[str, Array]) -> None:
        self.onnx, self.graph, self.weights = onnx, graph, weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self.names: dict[str, str] = {graph.input: "input"}
        self.count = 0
        self.place = ""
        self.parameters_only = {n.output for n in graph.nodes if n.op == "parameter"}
        self.batchless = set(self.parameters_only)  # and what follows from parameters alone: a batch of 1, or none
        for node in graph.nodes:
            if node.inputs and self.batchless.issuperset(node.inputs):
                self.batchless.add(node.output)

    # ---- pieces
    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.count += 1
        output = f"{self.place}:{self.count}"
        self.nodes.append(
            self.onnx.helper.make_node(op, list(inputs), [output], f"{self.place}/{op}_{self.count}", **attributes)
        )
        return output

    def constant(self, value: Array) -> str:
        self.count += 1
        name = f"{self.place}:constant{self.count}"
        self.initializers[name] = np.ascontiguousarray(value)
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.array(list(values), np.int64))

    def parameter(self, name: str) -> str:
        self.initializers[name] = self.weights[name]
        return name

    def cast(self, x: str, kind: str) -> str:
        to = {"float": self.onnx.TensorProto.FLOAT, "bool": self.onnx.TensorProto.BOOL}[kind]
        return self.node("Cast", [x], to=to)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self.node("Reshape", [x, self.integers([-1, *shape])])

    def tensor(self, name: str) -> str:
        return self.names[name]

    def lifted(self, name: str, rank: int) -> str:
        """A tensor with axes of size 1 behind its batch; a parameter has no batch and lines up by itself."""
        shape = self.graph.shapes[name]
        if len(shape) == rank or name in self.parameters_only:
            return self.tensor(name)
        return self.reshape(self.tensor(name), [1] * (rank - len(shape)) + list(shape))

    def batched(self, name: str) -> str:
        """A tensor with a first axis for its batch, of size 1 where it follows from parameters alone."""
        return self.reshape(self.tensor(name), self.graph.shapes[name]) if name in self.batchless else self.tensor(name)

    def whole(self, name: str) -> str:
        """A tensor with its batch: a parameter is repeated for it."""
        if name not in self.batchless:
            return self.tensor(name)
        batch = self.node("Shape", ["input"], start=0, end=1)
        shape = self.node("Concat", [batch, self.integers(self.graph.shapes[name])], axis=0)
        return self.node("Expand", [self.tensor(name), shape])

    # ---- the model
    def model(self, handlers: Mapping[str, Callable[[Writer, Node], str]], features: bool) -> Any:
        """The ModelProto; ``handlers`` write a node and return what its output is called there."""
        helper, proto = self.onnx.helper, self.onnx.TensorProto
        for node in self.graph.nodes:
            self.place = node.name
            self.names[node.output] = handlers[node.op](self, node)
        self.place = "output"
        outputs = {"logits": self.graph.logits}
        if features and self.graph.notes.get("features"):
            outputs["features"] = self.graph.notes["features"]
        for name, tensor in outputs.items():
            self.nodes.append(helper.make_node("Identity", [self.names[tensor]], [name], f"output/{name}"))
        kind = proto.UINT8 if self.graph.input_dtype == "uint8" else proto.FLOAT
        fed = helper.make_tensor_value_info("input", kind, ["batch", *self.graph.input_shape])
        found = [
            helper.make_tensor_value_info(name, proto.FLOAT, ["batch", *self.graph.shapes[tensor]])
            for name, tensor in outputs.items()
        ]
        from onnx import numpy_helper

        held = [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in self.initializers.items()]
        body = helper.make_graph(self.nodes, self.graph.name or "edgecl", [fed], found, held)
        return helper.make_model(
            body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="edgecl"
        )
