"""The prefix in onnxruntime: faster than our kernels where weights are dense, for RAM that is measured, not bounded."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from ...errors import require
from .base import Executor
from .trial import converted

if TYPE_CHECKING:
    from ...network import Network

Array = np.ndarray


def session_of(path: str | os.PathLike[str]):  # type: ignore[no-untyped-def]
    """An onnxruntime session on the caller's thread alone, which takes what one size of batch needs and no more.

    The arena is on and memory patterns are off: of all settings that peak is the lowest (measured, docs/backbones.md).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


class OnnxRuntime(Executor):
    """onnxruntime in float32, a sample at a time: its arena never shrinks, and a varying batch makes it grow."""

    name = "onnxruntime"
    measured = True

    @classmethod
    def missing(cls) -> str | None:
        return None if find_spec("onnxruntime") else "the package 'onnxruntime' (pip install 'edgecl[onnx]')"

    @classmethod
    def identity(cls) -> str:
        try:
            return f"{cls.name} {version('onnxruntime')}"
        except PackageNotFoundError:
            return f"{cls.name} absent"

    def open(self, prefix: Network) -> None:
        require("onnxruntime", "onnx")
        self._session = session_of(converted(prefix))

    def __call__(self, x: Array) -> Array:
        run = self._session.run
        return np.concatenate([run(["logits"], {"input": x[i : i + 1]})[0] for i in range(len(x))])
