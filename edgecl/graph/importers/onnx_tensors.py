"""Stored tensors of an ONNX model; sizes are compared with bytes before anything is made of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput
from .foreign import Array
from .onnx_file import LARGEST_FILE


class Tensors:
    """Reads tensors of a model in ``folder`` (None: it has none). ``halves``: some were of float16."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.halves = folder, False

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

    def sparse(self, tensor: Any) -> Array:
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
