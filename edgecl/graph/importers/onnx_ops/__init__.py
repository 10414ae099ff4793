"""How each ONNX operator becomes nodes of a graph: a module for each family of operators registers its handlers."""

from . import attention, elementwise, layers, normalisation, pieces, recurrent, reductions, shapes
from .registry import HANDLERS, onnx

__all__ = [
    "HANDLERS", "attention", "elementwise", "layers", "normalisation", "onnx", "pieces", "recurrent", "reductions",
    "shapes",
]  # fmt: skip
