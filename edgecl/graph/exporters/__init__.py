"""Networks to elsewhere."""

from .onnx import Verified, to_onnx

__all__ = ["Verified", "to_onnx"]
