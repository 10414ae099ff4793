"""ONNX files: read, and refused where they are too large, damaged or not of this format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import BadInput, require

LARGEST_FILE, MOST_NODES = 512 << 20, 100_000


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


def refuse_strange_names(message: Any) -> None:
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
                refuse_strange_names(inner)


def _text(values: Sequence[Any]) -> None:
    if strange := next((v for v in values if not isinstance(v, str)), None):
        raise BadInput(f"The name {strange[:80]!r} in the model is not UTF-8.", "The file is damaged.")
