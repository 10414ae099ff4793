"""What a trial's child process does: write a prefix as ONNX, or run it with one executor and say what that took."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ...budget.meters import peak_resident, resident
from ...errors import BadInput, EdgeclError
from ...give_back import trim
from ...network import Network
from .registry import EXECUTORS

CALLS = 7  # of which the fastest counts: the others were disturbed
VERIFIED_ON = 4  # random samples


def main() -> int:
    """``convert NETWORK ONNX`` or ``measure NETWORK EXECUTOR``; the answer is JSON on standard output."""
    what, network, other = sys.argv[1:4]
    try:
        answer = convert(Path(network), Path(other)) if what == "convert" else measure(Path(network), other)
    except EdgeclError as error:
        answer = {"cause": error.cause, "remedy": error.remedy, "bad_input": isinstance(error, BadInput)}
    print(json.dumps(answer))
    return 0


def convert(network: Path, target: Path) -> dict[str, Any]:
    """Write the file, once its predictions are those of our kernels."""
    from ...acceptance import engine_of, samples
    from ...graph.exporters.onnx import to_onnx

    prefix = Network.load(network)
    engine, graph = engine_of(prefix, VERIFIED_ON), prefix.graph
    work = target.with_name(f"{target.name}.{os.getpid()}.part")
    to_onnx(
        graph, prefix.weights, work, samples=samples(prefix, VERIFIED_ON),
        predict=lambda x: engine.forward({graph.input: x}, training=False)["logits"],
    )  # fmt: skip
    work.replace(target)
    return {}


def measure(network: Path, name: str) -> dict[str, Any]:
    """Growth of this process from before the prefix was read, and the least time of a sample."""
    from ...engine.warm import warm

    warm()
    before = resident()
    prefix = Network.load(network)
    trim()  # as a backbone does before it opens an executor
    executor, graph = EXECUTORS.get(name)(), prefix.graph
    executor.open(prefix)
    x = np.zeros((1, *graph.input_shape), graph.input_dtype)
    del prefix
    executor(x)
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        executor(x)
        took.append(time.perf_counter() - began)
    return {"bytes": max(0, peak_resident() - before), "milliseconds": 1e3 * min(took)}
