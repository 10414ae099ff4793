"""from_onnx: an ONNX file as a graph with weights. Opset 6 to 28; shapes are static but for the batch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BadInput
from ..builder import GraphBuilder
from .emit import Emit
from .finish import finish_import, start_import
from .foreign import Array, Data, Imported, Value, refuse_all
from .onnx_file import load, refuse_strange_names
from .onnx_reader import MANY, Reader

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
    refuse_strange_names(model)
    reader = Reader(model, folder, constants or {})
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
    reader = Reader(model, folder, inputs)
    emit = Emit(GraphBuilder("constants", (1,), "float32"), MANY)
    values: dict[str, Value] = dict(reader.constants)
    total = reader.run(emit, values)
    found = {o.name: values.get(o.name) for o in model.graph.output}
    if reader.refused or any(not isinstance(v, np.ndarray) for v in found.values()):
        raise refuse_all(reader.refused or [("Model", "output", "depends on more than constants")], total)
    return {name: np.asarray(v) for name, v in found.items()}


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
