"""The nodes of an ONNX model, one after another, functions and branches inlined; refusals are collected by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput, EdgeclError, require
from . import onnx_quantised  # noqa: F401  (registers on import)
from .emit import Emit
from .foreign import Array, Missing, Quantised, Unsupported, Value
from .onnx_forms import Form
from .onnx_ops import HANDLERS
from .onnx_tensors import Tensors

LOWEST, HIGHEST = 6, 28  # opsets
DEEPEST = 4
MANY = 10007  # stands for the size of the batch while shapes are folded; a prime no layer has
MICROSOFT = {"FusedConv", "Gelu", "QuickGelu", "FusedMatMul"}
CONTROL = {"If", "Loop", "Scan"}


class Reader(Tensors):
    """Constants, nodes and refusals of one model."""

    def __init__(self, model: Any, folder: Path | None, constants: Mapping[str, Array]) -> None:
        self.onnx = require("onnx", "onnx")
        super().__init__(folder)
        self.model, self.graph = model, model.graph
        self.opset = self._opset()
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.refused: list[tuple[str, str, str]] = []
        self.constants: dict[str, Array] = {k: np.asarray(v) for k, v in constants.items()}
        for tensor in self.graph.initializer:
            self.constants.setdefault(tensor.name, self.array(tensor))
        for tensor in self.graph.sparse_initializer:
            self.constants[tensor.values.name] = self.sparse(tensor)

    def _opset(self) -> int:
        found = {o.domain: o.version for o in self.model.opset_import}
        version = found.get("", found.get("ai.onnx", 0))
        if not LOWEST <= version <= HIGHEST:
            raise BadInput(
                f"The model is of opset {version or 'none'}; {LOWEST} to {HIGHEST} can be read.",
                "Convert it with onnx.version_converter, or export it again.",
            )
        return int(version)

    def fed(self) -> Any:
        """The one input that is neither an initializer nor given."""
        open_inputs = [i for i in self.graph.input if i.name not in self.constants]
        if len(open_inputs) != 1:
            names = ", ".join(f"'{i.name}'" for i in open_inputs) or "none"
            raise BadInput(
                f"The model has {len(open_inputs)} inputs ({names}); one is possible.", "Fix the others as constants."
            )
        return open_inputs[0]

    # ---- nodes
    def run(self, emit: Emit, values: dict[str, Value]) -> int:
        """Emits every node; what cannot be emitted is collected in ``refused``. Returns how many nodes there are."""
        return self._nodes(self.graph.node, emit, values, "", 0)

    def _nodes(self, nodes: Any, emit: Emit, values: dict[str, Value], prefix: str, depth: int) -> int:
        lost: set[str] = set()
        count = 0
        for i, node in enumerate(self._ordered(nodes, values)):
            place = prefix + (node.name or (node.output[0] if node.output else "") or f"{node.op_type}_{i}")
            count += 1
            if any(n in lost for n in node.input):
                lost.update(node.output)
                why = self._why_not(node)
                if why:
                    self.refused.append((node.op_type, place, why))
                continue
            try:
                function = self.functions.get((node.domain, node.op_type))
                if function is not None:
                    count += self._function(function, node, emit, values, place, depth)
                    continue
                found = self._node(node, emit, values, place, depth)
            except Unsupported as error:
                self.refused.append((node.op_type, place, error.cause))
                lost.update(node.output)
                continue
            except BadInput:
                raise
            except (EdgeclError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
                text = getattr(error, "cause", str(error)).rstrip(".")
                self.refused.append((node.op_type, place, f"is not as its operator asks: {text}"))
                lost.update(node.output)
                continue
            for name, value in zip(node.output, found):
                if name:
                    values[name] = value
        return count

    def _ordered(self, nodes: Any, values: Mapping[str, Value]) -> list[Any]:
        """Nodes after what they read; a cycle is refused."""
        ready, made, waiting = [], set(values), list(nodes)
        outputs = {o for n in waiting for o in n.output}
        while waiting:
            rest = []
            for node in waiting:
                needs = [i for i in node.input if i]
                if all(i in made or i not in outputs for i in needs):
                    ready.append(node)
                    made.update(node.output)
                else:
                    rest.append(node)
            if len(rest) == len(waiting):
                raise BadInput(
                    f"The nodes around '{rest[0].name or rest[0].op_type}' wait for each other.", "The file is damaged."
                )
            waiting = rest
        return ready

    def _why_not(self, node: Any) -> str | None:
        """Why a node could not be imported wherever it stood; None if it could."""
        op, domain = node.op_type, node.domain
        if (domain, op) in self.functions or (domain in ("", "ai.onnx") and op in HANDLERS):
            return None
        if domain == "com.microsoft" and op in MICROSOFT:
            return None
        if op in CONTROL:
            return None if op == "If" else "decides by data what runs"
        return (
            "is not supported" if domain in ("", "ai.onnx") else f"is of the domain '{domain}', which is not supported"
        )

    def _node(self, node: Any, emit: Emit, values: dict[str, Value], place: str, depth: int) -> Sequence[Value]:
        why = self._why_not(node)
        if why:
            raise Unsupported(why)
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        if node.op_type == "If":
            return self._if(node, attributes, emit, values, place, depth)
        missing = [i for i in node.input if i and i not in values]
        if missing:
            raise Unsupported(f"reads '{missing[0]}', which nothing makes")
        inputs = [values[i] if i else None for i in node.input]
        for v in inputs:
            if isinstance(v, Missing) and not (isinstance(v, Quantised) and node.op_type == "DequantizeLinear"):
                raise Unsupported(f"reads what is not made here: {v.what}")
            if isinstance(v, np.ndarray) and v.dtype == np.float64:
                raise Unsupported("is computed in float64")
            if isinstance(v, np.ndarray) and v.dtype.kind not in "fiub":
                raise Unsupported(f"works on values of type {v.dtype}")
        emit.place = place
        form = Form(node.op_type, inputs, list(node.input), list(node.output), attributes, self.opset)
        found = HANDLERS[node.op_type](emit, form)
        made: tuple[Any, ...] = found if isinstance(found, tuple) else (found,)
        return tuple(np.asarray(v) if isinstance(v, np.generic) else v for v in made)

    def _attribute(self, a: Any) -> Any:
        from onnx import helper

        if a.type == a.TENSOR:
            return self.array(a.t)
        if a.type == a.GRAPH:
            return a.g
        if a.type in (a.SPARSE_TENSOR,):
            return self.sparse(a.sparse_tensor)
        value = helper.get_attribute_value(a)
        if a.name == "to" and a.type == a.INT:
            return helper.tensor_dtype_to_np_dtype(value)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, list) and value and isinstance(value[0], bytes):
            return [v.decode("utf-8", "replace") for v in value]
        return list(value) if isinstance(value, (list, tuple)) or hasattr(value, "append") else value

    def _if(
        self, node: Any, attributes: Mapping[str, Any], emit: Emit, values: dict[str, Value], place: str, depth: int
    ):
        condition = values.get(node.input[0])
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            raise Unsupported("decides by data what runs")
        self._deeper(depth)
        branch = attributes["then_branch" if bool(condition.ravel()[0]) else "else_branch"]
        inner = dict(values)
        for tensor in branch.initializer:
            inner[tensor.name] = self.array(tensor)
        self._nodes(branch.node, emit, inner, f"{place}/", depth + 1)
        if any(o.name not in inner for o in branch.output):
            raise Unsupported("has a branch that cannot be imported")
        return tuple(inner[o.name] for o in branch.output)

    def _function(self, function: Any, node: Any, emit: Emit, values: dict[str, Value], place: str, depth: int) -> int:
        """A function of the file, inlined."""
        self._deeper(depth)
        inner: dict[str, Value] = {}
        for formal, actual in zip(function.input, node.input):
            if actual:
                if actual not in values:
                    raise Unsupported(f"reads '{actual}', which nothing makes")
                inner[formal] = values[actual]
        given = {a.name: a for a in node.attribute}
        given = {**{a.name: a for a in function.attribute_proto if a.name not in given}, **given}
        body = []
        for n in function.node:
            copy = self.onnx.NodeProto()
            copy.CopyFrom(n)
            del copy.attribute[:]
            for a in n.attribute:
                if a.ref_attr_name:
                    if a.ref_attr_name in given:
                        bound = copy.attribute.add()
                        bound.CopyFrom(given[a.ref_attr_name])
                        bound.name = a.name
                else:
                    copy.attribute.add().CopyFrom(a)
            body.append(copy)
        outer = self.opset
        self.opset = next((int(o.version) for o in function.opset_import if o.domain in ("", "ai.onnx")), outer)
        try:
            count = self._nodes(body, emit, inner, f"{place}/", depth + 1)
        finally:
            self.opset = outer
        for formal, actual in zip(function.output, node.output):
            if formal in inner:
                values[actual] = inner[formal]
        return count

    def _deeper(self, depth: int) -> None:
        if depth >= DEEPEST:
            raise BadInput(
                f"Functions and branches of the model call each other more than {DEEPEST} deep.", "Inline them."
            )

    def notes(self, emit: Emit, many: int) -> dict[str, Any]:
        ops = [n.op_type for n in self.graph.node]
        warnings = list(emit.warnings)
        if "Conv" in ops and "BatchNormalization" not in ops:
            warnings.append(
                "The file has convolutions but no batch normalisation: it was folded into them by the exporter. Such a "
                "network learns as one whose statistics are frozen; import the module itself (edgecl.from_torch) to "
                "train its normalisation."
            )
        if many != MANY:
            warnings.append(f"The file fixes the batch at {many}; it is taken as open.")
        if self.halves:
            warnings.append("Weights of float16 were widened to float32.")
        metadata = {p.key: p.value for p in self.model.metadata_props}
        return {
            "source": {
                "kind": "onnx", "producer": self.model.producer_name[:200], "opset": self.opset, "nodes": len(ops),
            },
            "metadata": metadata, "warnings": warnings,
        }  # fmt: skip
