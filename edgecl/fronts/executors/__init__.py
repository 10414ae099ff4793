"""Executors: who runs a frozen prefix. The contract is `base`; one executor a file."""

from .base import Executor
from .native import Native
from .onnx import OnnxRuntime
from .registry import EXECUTORS

__all__ = ["EXECUTORS", "Executor", "Native", "OnnxRuntime"]
