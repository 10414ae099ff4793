"""to_onnx: a graph with weights as an ONNX file that takes the raw input, verified before it is kept.

Opset 18, IR 10: what every runtime of the last years reads. Batch normalisations are folded into the convolutions
before them unless they are to be trained again. Initializers keep the parameters' names and nodes the graph's, so that
the file can be imported again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput, EdgeclError, require
from ..fold import fold_norms
from ..graph import Graph
from ..widen import head_parameters, narrow_graph
from .onnx_nodes import HANDLERS, unsupported
from .onnx_writer import Writer

ABSOLUTE, RELATIVE = 1e-4, 1e-3  # largest difference, absolute or of the largest output
Array = np.ndarray


@dataclass(frozen=True)
class Verified:
    """What an export was compared with: ``runtime`` and version or ``none``, ``max_abs`` over ``n`` samples."""

    runtime: str
    max_abs: float
    n: int


def to_onnx(
    graph: Graph, weights: Mapping[str, Array], path: str | os.PathLike[str], *, keep_bn: bool = False,
    features: bool = False, classes: Sequence[int] | None = None, metadata: Mapping[str, Any] | None = None,
    predict: Callable[[Array], Array] | None = None, samples: Array | None = None,
) -> Verified:  # fmt: skip
    """Writes ``graph`` to ``path`` and compares it with ``predict`` on ``samples``; nothing is left where they differ.

    weights : dense arrays by parameter name
    keep_bn : batch normalisations as nodes of their own
    features : also an output ``features``, where the graph names one
    classes : the rows of the classifier to write, in this order (those seen); default all
    metadata : strings, or what JSON holds, by key; ``edgecl.verified`` is added
    """
    onnx = require("onnx", "onnx")
    if unknown := unsupported(graph.nodes):
        place, op = next(iter(unknown.items()))
        raise BadInput(f"Operator '{op}' at '{place}' cannot be written as ONNX.", "Export a network without it.")
    graph, weights = _with_classes(graph, weights, classes)
    if not keep_bn:
        graph, weights = fold_norms(graph, weights)
    writer = Writer(onnx, graph, weights)
    model = writer.model(HANDLERS, features)
    verified = _verify(onnx, model, predict, samples, classes)
    props = {**(metadata or {}), "edgecl.verified": vars(verified)}
    for key, value in props.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    _write(model.SerializeToString(), Path(path))
    return verified


def _with_classes(
    graph: Graph, weights: Mapping[str, Array], classes: Sequence[int] | None
) -> tuple[Graph, dict[str, Array]]:
    """With only these rows of the head."""
    weights = {k: np.asarray(weights[k], np.float32).reshape(p.shape) for k, p in graph.parameters.items()}
    if classes is None or list(classes) == list(range(graph.classes)):
        return graph, weights
    for name in head_parameters(graph):
        weights[name] = weights[name][list(classes)]
    return narrow_graph(graph, len(classes)), weights


def _verify(
    onnx: Any,
    model: Any,
    predict: Callable[[Array], Array] | None,
    samples: Array | None,
    classes: Sequence[int] | None,
) -> Verified:
    """The file against our own predictions, whole and as one ragged batch."""
    onnx.checker.check_model(model)
    if predict is None or samples is None or not len(samples):
        return Verified("none", 0.0, 0)
    name, run = _runtime(onnx, model)
    if run is None:
        return Verified("none", 0.0, 0)
    worst = 0.0
    for batch in (samples[:64], samples[: max(1, len(samples[:64]) // 2 - 1)]):
        expected, found = np.asarray(predict(batch)), run(batch)
        if classes is not None:
            expected = expected[:, list(classes)]
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise EdgeclError(
                f"The ONNX file gives {found.shape}, the network {expected.shape}.", "Report this network."
            )
        off = float(np.abs(found - expected).max(initial=0))
        worst = max(worst, off)
        if off > max(ABSOLUTE, RELATIVE * float(np.abs(expected).max(initial=0))):
            raise EdgeclError(f"The ONNX file differs from the network by {off:.2g} in {name}.", "Report this network.")
    return Verified(name, worst, len(samples[:64]))


def _runtime(onnx: Any, model: Any) -> tuple[str, Callable[[Array], Array] | None]:
    content = model.SerializeToString()
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return f"onnxruntime {onnxruntime.__version__}", lambda x: session.run(["logits"], {"input": x})[0]
    except ImportError:
        pass
    try:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(onnx.load_from_string(content))
        return f"onnx {onnx.__version__}", lambda x: np.asarray(next(iter(evaluator.run(["logits"], {"input": x}))))
    except ImportError:
        return "none", None


def _write(content: bytes, path: Path) -> None:
    work = path.with_name(path.name + ".part")
    try:
        with open(work, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(work, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            work.unlink()
        raise BadInput(f"'{path}' cannot be written: {error.strerror}.", "Choose another place.") from error
