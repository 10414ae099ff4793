"""Executors by name."""

from __future__ import annotations

from typing import Any

from ...errors import unknown_name
from ...registry import Registry
from .base import Executor
from .native import Native
from .onnx import OnnxRuntime

EXECUTORS: Registry[type[Executor]] = Registry("executor", "edgecl.executors", Executor)
for _own in (Native, OnnxRuntime):
    EXECUTORS.register(_own)
AUTO = "auto"


def executor_name(name: str, raw: Any) -> str:
    """A name in the registry when it is parsed, or `AUTO`."""
    if str(raw) != AUTO and str(raw) not in EXECUTORS:
        raise unknown_name(name, str(raw), [*EXECUTORS, AUTO])
    return str(raw)


executor_name.metavar = lambda: "|".join([*EXECUTORS, AUTO])  # type: ignore[attr-defined]
