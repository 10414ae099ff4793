"""to_onnx: a graph with weights as an ONNX file that takes the raw input, verified before it is kept.

Opset 18, IR 10: what every runtime of the last years reads. Batch normalisations are folded into the convolutions
before
them unless they are to be trained again. Initializers keep the parameters' names and nodes the graph's,
so that the file
can be imported again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput, EdgeclError, require
from ..graph import Graph, Node
from .onnx_nodes import HANDLERS, unsupported

OPSET, IR = 18, 10
ABSOLUTE, RELATIVE = 1e-4, 1e-3  # largest difference, absolute or of the largest output
Array = np.ndarray


@dataclass(frozen=True)
class Verified:
    """What an export was compared with: ``runtime`` and version or ``none``, ``max_abs`` over ``n`` samples."""

    runtime: str
    max_abs: float
    n: int


def to_onnx(
    graph: Graph, weights: Mapping[str, Array], path: str | os.PathLike[str], *, keep_bn: bool = False,
    features: bool = False, classes: Sequence[int] | None = None, metadata: Mapping[str, Any] | None = None,
    predict: Callable[[Array], Array] | None = None, samples: Array | None = None,
) -> Verified:  # fmt: skip
    """Writes ``graph`` to ``path`` and compares it with ``predict`` on ``samples``; nothing is left where they differ.

    weights : dense arrays by parameter name
    keep_bn : batch normalisations as nodes of their own
    features : also an output ``features``, where the graph names one
    classes : the rows of the classifier to write, in this order (those seen); default all
    metadata : strings, or what JSON holds, by key; ``edgecl.verified`` is added
    """
    onnx = require("onnx", "onnx")
    if unknown := unsupported(graph.nodes):
        place, op = next(iter(unknown.items()))
        raise BadInput(f"Operator '{op}' at '{place}' cannot be written as ONNX.", "Export a network without it.")
    graph, weights = _with_classes(graph, weights, classes)
    writer = Writer(onnx, graph, weights, keep_bn)
    model = writer.model(features)
    verified = _verify(onnx, model, predict, samples, classes)
    props = {**(metadata or {}), "edgecl.verified": vars(verified)}
    for key, value in props.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    _write(model.SerializeToString(), Path(path))
    return verified


def _with_classes(
    graph: Graph, weights: Mapping[str, Array], classes: Sequence[int] | None
) -> tuple[Graph, dict[str, Array]]:
    """With only these rows of the last linear layer."""
    weights = {k: np.asarray(weights[k], np.float32).reshape(p.shape) for k, p in graph.parameters.items()}
    if classes is None or list(classes) == list(range(graph.classes)):
        return graph, weights
    head = next(n for n in graph.nodes if n.output == graph.logits)
    if head.op != "linear":
        raise BadInput(f"The head of '{graph.name}' is not a linear layer.", "Export all classes.")
    for name in head.parameters:
        weights[name] = weights[name][list(classes)]
    shapes = {**graph.shapes, graph.logits: (len(classes),)}
    return Graph(
        graph.name, graph.input, graph.input_dtype, graph.logits, graph.nodes, shapes, graph.parameters, graph.notes
    ), weights


def _verify(
    onnx: Any,
    model: Any,
    predict: Callable[[Array], Array] | None,
    samples: Array | None,
    classes: Sequence[int] | None,
) -> Verified:
    """The file against our own predictions, whole and as one ragged batch."""
    onnx.checker.check_model(model)
    if predict is None or samples is None or not len(samples):
        return Verified("none", 0.0, 0)
    name, run = _runtime(onnx, model)
    if run is None:
        return Verified("none", 0.0, 0)
    worst = 0.0
    for batch in (samples[:64], samples[: max(1, len(samples[:64]) // 2 - 1)]):
        expected, found = np.asarray(predict(batch)), run(batch)
        if classes is not None:
            expected = expected[:, list(classes)]
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise EdgeclError(
                f"The ONNX file gives {found.shape}, the network {expected.shape}.", "Report this network."
            )
        off = float(np.abs(found - expected).max(initial=0))
        worst = max(worst, off)
        if off > max(ABSOLUTE, RELATIVE * float(np.abs(expected).max(initial=0))):
            raise EdgeclError(f"The ONNX file differs from the network by {off:.2g} in {name}.", "Report this network.")
    return Verified(name, worst, len(samples[:64]))


def _runtime(onnx: Any, model: Any) -> tuple[str, Callable[[Array], Array] | None]:
    content = model.SerializeToString()
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return f"onnxruntime {onnxruntime.__version__}", lambda x: session.run(["logits"], {"input": x})[0]
    except ImportError:
        pass
    try:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(onnx.load_from_string(content))
        return f"onnx {onnx.__version__}", lambda x: np.asarray(next(iter(evaluator.run(["logits"], {"input": x}))))
    except ImportError:
        return "none", None


def _write(content: bytes, path: Path) -> None:
    work = path.with_name(path.name + ".part")
    try:
        with open(work, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            work.unlink()
        raise BadInput(f"'{path}' cannot be written: {error.strerror}.", "Choose another place.") from error


class Writer:
    """Collects ONNX nodes and initializers for the nodes of a graph."""

    def __init__(self, onnx: Any, graph: Graph, weights: Mapping[str, Array], keep_bn: bool) -> None:
        self.onnx, self.graph, self.weights = onnx, graph, weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self.names: dict[str, str] = {graph.input: "input"}
        self.count = 0
        self.place = ""
        self.merged: dict[str, str] = {} if keep_bn else self._foldable()  # norm -> convolution
        self.parameters_only = {n.output for n in graph.nodes if n.op == "parameter"}
        self.batchless = set(self.parameters_only)  # and what follows from parameters alone: a batch of 1, or none
        for node in graph.nodes:
            if node.inputs and self.batchless.issuperset(node.inputs):
                self.batchless.add(node.output)

    def _foldable(self) -> dict[str, str]:
        readers: dict[str, int] = {}
        for node in self.graph.nodes:
            for i in node.inputs:
                readers[i] = readers.get(i, 0) + 1
        producer = {n.output: n for n in self.graph.nodes}
        found = {}
        for node in self.graph.nodes:
            source = producer.get(node.inputs[0]) if node.op == "batch_norm" else None
            if source is not None and source.op == "conv2d" and readers[source.output] == 1:
                found[node.name] = source.name
        return found

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

    def whole(self, name: str) -> str:
        """A tensor with its batch: a parameter is repeated for it."""
        if name not in self.batchless:
            return self.tensor(name)
        batch = self.node("Shape", ["input"], start=0, end=1)
        shape = self.node("Concat", [batch, self.integers(self.graph.shapes[name])], axis=0)
        return self.node("Expand", [self.tensor(name), shape])

    def folded(self, node: Node) -> tuple[str, str | None]:
        """Weight and bias of a convolution, with the normalisation behind it where that is folded."""
        weight, bias = node.parameters[0], node.parameters[1] if len(node.parameters) > 1 else None
        norm = next((n for n in self.graph.nodes if self.merged.get(n.name) == node.name), None)
        if norm is None:
            return self.parameter(weight), self.parameter(bias) if bias else None
        scale, shift, mean, var = (self.weights[p].astype(np.float64) for p in norm.parameters)
        factor = scale / np.sqrt(var + float(norm.attributes["eps"]))
        own = self.weights[bias] if bias else 0.0
        self.initializers[weight] = (self.weights[weight] * factor[:, None, None, None]).astype(np.float32)
        name = bias or f"{node.name}.bias"
        self.initializers[name] = ((own - mean) * factor + shift).astype(np.float32)
        return weight, name

    # ---- the model
    def model(self, features: bool) -> Any:
        helper, proto = self.onnx.helper, self.onnx.TensorProto
        for node in self.graph.nodes:
            self.place = node.name
            self.names[node.output] = HANDLERS[node.op](self, node)
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
