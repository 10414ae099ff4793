"""Networks from elsewhere: torch modules through torch.export, ONNX files."""

from .foreign import Imported, Refused
from .onnx import from_onnx
from .torch_export import from_torch

__all__ = ["Imported", "Refused", "from_onnx", "from_torch"]
