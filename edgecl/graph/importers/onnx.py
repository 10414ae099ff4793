"""from_onnx: an ONNX file as a graph with weights. Opset 6 to 28; shapes are static but for the batch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput, EdgeclError, require
from ..builder import GraphBuilder
from . import onnx_quantised  # noqa: F401  (registers on import)
from .emit import Array, Data, Emit, Imported, Missing, Quantised, Unsupported, Value, refuse_all
from .finish import finish_import, start_import
from .onnx_forms import Form
from .onnx_ops import HANDLERS

LOWEST, HIGHEST = 6, 28  # opsets
LARGEST_FILE, MOST_NODES, DEEPEST = 512 << 20, 100_000, 4
MANY = 10007  # stands for the size of the batch while shapes are folded; a prime no layer has
MICROSOFT = {"FusedConv", "Gelu", "QuickGelu", "FusedMatMul"}
CONTROL = {"If", "Loop", "Scan"}
UINT8 = 2  # an element type of ONNX


def from_onnx(
    source: str | os.PathLike[str] | bytes | Any, *, classes: int | None = None, batch_axis: int | None = 0,
    input_shape: Sequence[int] | None = None, input_dtype: str | None = None, mean: Any = None, std: Any = None,
    constants: Mapping[str, Array] | None = None, name: str | None = None,
) -> Imported:  # fmt: skip
    """The graph and weights of an ONNX model; raises `BadInput` naming every node that cannot be imported.

    source : path, bytes or a ``ModelProto``
    classes : a fresh linear head of so many classes in place of the file's last linear layer
    batch_axis : which axis of the input is the batch, or None: the whole input is one sample
    input_shape : of a sample, where the file leaves it open
    input_dtype : ``uint8`` or ``float32``, what the network is fed with; by default as the file
    mean, std : how that is normalised, in units of the raw input
    constants : values for further inputs of the file, by name
    """
    model, folder = load(source)
    _refuse_strange_names(model)
    reader = _Reader(model, folder, constants or {})
    graph = reader.graph
    fed = reader.fed()
    shape, many = _input_shape(fed, batch_axis, input_shape, constants)
    dtype = input_dtype or ("uint8" if fed.type.tensor_type.elem_type == UINT8 else "float32")
    builder, tensor = start_import(name or graph.name, shape, dtype, mean, std)
    emit = Emit(builder, many)
    values: dict[str, Value] = dict(reader.constants)
    values[fed.name] = Data(tensor, builder.shapes[tensor], batch_axis)
    total = reader.run(emit, values)
    if reader.refused:
        raise refuse_all(reader.refused, total, f" (opset {reader.opset})")
    outputs = {o.name: values[o.name] for o in graph.output if o.name in values}
    return finish_import(emit, outputs, classes, reader.notes(emit, many))


def fold_onnx(source: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a model all of whose inputs are constants, computed by numpy alone; raises `BadInput`."""
    model, folder = load(source)
    reader = _Reader(model, folder, inputs)
    emit = Emit(GraphBuilder("constants", (1,), "float32"), MANY)
    values: dict[str, Value] = dict(reader.constants)
    total = reader.run(emit, values)
    found = {o.name: values.get(o.name) for o in model.graph.output}
    if reader.refused or any(not isinstance(v, np.ndarray) for v in found.values()):
        raise refuse_all(reader.refused or [("Model", "output", "depends on more than constants")], total)
    return {name: np.asarray(v) for name, v in found.items()}


def load(source: Any) -> tuple[Any, Path | None]:
    """(ModelProto, its folder or None), checked; nothing of external data is read yet."""
    onnx = require("onnx", "onnx")
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            size = path.stat().st_size
            if size > LARGEST_FILE:
                raise BadInput(f"'{path}' is larger than {LARGEST_FILE >> 20} MB.", "Import a smaller model.")
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"'{path}' cannot be read: {error.strerror}.", "Give the path of an ONNX file.") from error
        model, folder = _parse(onnx, content, str(path)), path.parent
    elif isinstance(source, bytes):
        if len(source) > LARGEST_FILE:
            raise BadInput(f"The model is larger than {LARGEST_FILE >> 20} MB.", "Import a smaller model.")
        model, folder = _parse(onnx, source, "the model"), None
    else:
        model, folder = source, None
    if len(model.graph.node) > MOST_NODES:
        raise BadInput(
            f"The model has {len(model.graph.node)} nodes, more than {MOST_NODES}.", "Import a smaller model."
        )
    if not model.graph.node or not model.graph.output:
        raise BadInput("The model holds no network.", "Give an ONNX file with nodes and outputs.")
    return model, folder


def _parse(onnx: Any, content: bytes, what: str) -> Any:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own kinds of error differ by implementation
        raise BadInput(f"{what} is no ONNX file: {type(error).__name__}.", "Export the network again.") from error
    return model


def _refuse_strange_names(message: Any) -> None:
    """Text that is no UTF-8 comes as bytes, in whatever field of the message it stands."""
    if message.DESCRIPTOR.name == "TensorProto":  # its data are not looked at: they may be large
        _text([message.name, *(v for e in message.external_data for v in (e.key, e.value))])
        return
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        values = [value] if isinstance(value, (str, bytes)) or hasattr(value, "ListFields") else list(value)
        if field.type == field.TYPE_STRING:
            _text(values)
        else:
            for inner in values:
                _refuse_strange_names(inner)


def _text(values: Sequence[Any]) -> None:
    if strange := next((v for v in values if not isinstance(v, str)), None):
        raise BadInput(f"The name {strange[:80]!r} in the model is not UTF-8.", "The file is damaged.")


def _input_shape(
    fed: Any, batch_axis: int | None, given: Sequence[int] | None, constants: Any
) -> tuple[list[int], int]:
    """(sample shape, the number that stands for the batch)."""
    kind = fed.type.tensor_type
    dims = [d.dim_value if d.WhichOneof("value") == "dim_value" else 0 for d in kind.shape.dim]
    if kind.elem_type not in (1, 2, 10):  # float32, uint8, float16
        raise BadInput(f"The input '{fed.name}' is not float32.", "Export the network in float32.")
    many = MANY
    if batch_axis is not None:
        if not dims and given is None:
            raise BadInput(f"The input '{fed.name}' has no batch.", "Export it with the batch as its first axis.")
        if len(dims) > batch_axis and dims[batch_axis] > 0:
            many = dims[batch_axis]
        dims = dims[:batch_axis] + dims[batch_axis + 1 :]
    if given is not None:
        if dims and (len(given) != len(dims) or any(d and d != n for d, n in zip(dims, given))):
            raise BadInput(
                f"The input '{fed.name}' takes {dims} (0: open), not {list(given)}.", "Give the file's shape."
            )
        dims = [int(n) for n in given]
    if any(d < 1 for d in dims):
        raise BadInput(
            f"The input '{fed.name}' has the open shape {['?' if d < 1 else d for d in dims]} per sample.",
            "Give the shape of a sample (--input 3x96x96).",
        )
    if math.prod(dims) > 1 << 28:
        raise BadInput(f"The input '{fed.name}' of {dims} is too large.", "Give a smaller input.")
    return dims, many


class _Reader:
    """Constants, nodes and refusals of one model."""

    def __init__(self, model: Any, folder: Path | None, constants: Mapping[str, Array]) -> None:
        self.onnx = require("onnx", "onnx")
        self.model, self.graph, self.folder = model, model.graph, folder
        self.opset = self._opset()
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self.refused: list[tuple[str, str, str]] = []
        self.halves = False
        self.constants: dict[str, Array] = {k: np.asarray(v) for k, v in constants.items()}
        for tensor in self.graph.initializer:
            self.constants.setdefault(tensor.name, self.array(tensor))
        for tensor in self.graph.sparse_initializer:
            self.constants[tensor.values.name] = self._sparse(tensor)

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

    # ---- tensors
    def array(self, tensor: Any) -> Array:
        """A stored tensor; sizes are compared with bytes before anything is made of them."""
        from onnx import numpy_helper

        count = math.prod(tensor.dims) if all(d >= 0 for d in tensor.dims) else -1
        if count < 0 or count > LARGEST_FILE:
            raise BadInput(f"The tensor '{tensor.name}' has the shape {list(tensor.dims)[:8]}.", "The file is damaged.")
        base = ""
        if tensor.data_location == 1:
            base = self._external(tensor)
        try:
            if tensor.raw_data and len(tensor.raw_data) > 8 * count + 8:
                raise ValueError("its size differs from its bytes")
            value = numpy_helper.to_array(tensor, base)
        except Exception as error:
            raise BadInput(f"The tensor '{tensor.name}' cannot be read: {error}.", "The file is damaged.") from error
        if value.dtype == np.float16:
            self.halves = True
            return value.astype(np.float32)
        return value

    def _external(self, tensor: Any) -> str:
        """The folder that holds a tensor's bytes: the model's own, reached by no detour."""
        info = {e.key: e.value for e in tensor.external_data}
        location = info.get("location", "")
        path = Path(location)
        inside = self.folder is not None and location and not path.is_absolute() and ".." not in path.parts
        if not inside:
            raise BadInput(
                f"The tensor '{tensor.name}' lies in '{location}', outside the model's folder.",
                "Keep it beside the model.",
            )
        assert self.folder is not None
        file = self.folder / path
        steps = [file, *file.parents][: len(path.parts)]
        if any(p.is_symlink() for p in steps) or not file.is_file():
            raise BadInput(f"'{location}', which holds '{tensor.name}', is no plain file.", "Keep it beside the model.")
        offset, length = int(info.get("offset", 0) or 0), int(info.get("length", -1) or -1)
        size = file.stat().st_size
        if size > LARGEST_FILE or offset < 0 or offset > size or (length >= 0 and offset + length > size):
            raise BadInput(f"'{location}' does not hold the bytes of '{tensor.name}'.", "The file is damaged.")
        return str(self.folder)

    def _sparse(self, tensor: Any) -> Array:
        values, at = self.array(tensor.values), self.array(tensor.indices)
        size = math.prod(tensor.dims)
        if not 0 <= size <= LARGEST_FILE // 4 or len(values) != len(at):
            raise BadInput(f"The sparse tensor '{tensor.values.name}' is not valid.", "The file is damaged.")
        if at.ndim == 2:
            at = np.ravel_multi_index(tuple(at.T), tuple(tensor.dims))
        if len(at) and (at.min() < 0 or at.max() >= size):
            raise BadInput(
                f"The sparse tensor '{tensor.values.name}' reaches outside its shape.", "The file is damaged."
            )
        out = np.zeros(size, values.dtype)
        out[at] = values
        return out.reshape(list(tensor.dims))

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
            return self._sparse(a.sparse_tensor)
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
