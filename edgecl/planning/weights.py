"""Weights to start from, out of a safetensors file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..errors import BadInput
from ..graph import Graph
from ..graph.widen import head_parameters


def read_weights(path: str | Path, graph: Graph) -> dict[str, np.ndarray]:
    """Flat float32 values by parameter name, dense. A head of another width is left out, as new classes
    replace it.

    Raises `BadInput` when a tensor is missing or has another shape, naming it.
    """
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise BadInput(f"The weights '{path}' cannot be read: {error}.", "Give a safetensors file.") from error
    head = set(head_parameters(graph))
    found: dict[str, np.ndarray] = {}
    for name, spec in graph.parameters.items():
        tensor = tensors.get(name)
        fits = tensor is not None and tuple(tensor.shape) == tuple(spec.shape)
        if not fits and name in head:
            continue
        if tensor is None or not fits:
            what = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}, not {tuple(spec.shape)}"
            raise BadInput(f"In the weights '{path}' the tensor '{name}' {what}.", f"They must fit '{graph.name}'.")
        if not np.isfinite(tensor).all():
            raise BadInput(f"In the weights '{path}' the tensor '{name}' holds NaN or infinity.", "Use other weights.")
        found[name] = np.ascontiguousarray(tensor, np.float32).reshape(-1)
    return found
