"""Feeds: samples on their way into an engine, checked against the graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..compiler import Plan
from ..errors import BadInput
from ..graph import Graph

Array = np.ndarray


def check_samples(graph: Graph, feeds: Mapping[str, Array], batch: int | None) -> Array:
    """The fed input as a contiguous array [B, ...] of the graph's shape and dtype; raises `BadInput`.

    Samples kept in float16 are widened for a graph that takes float32.
    """
    if set(feeds) != {graph.input}:
        raise BadInput(f"Feeds {sorted(feeds)} do not match the graph.", f"Feed exactly '{graph.input}'.")
    x = np.asarray(feeds[graph.input])
    if x.ndim != 1 + len(graph.input_shape) or x.shape[1:] != tuple(graph.input_shape):
        raise BadInput(
            f"Samples of shape {x.shape[1:]} do not fit '{graph.name}', which takes {tuple(graph.input_shape)}.",
            "Build the model for this stream.",
        )
    if x.dtype == np.float16 and graph.input_dtype == "float32":
        x = x.astype(np.float32)
    if x.dtype != np.dtype(graph.input_dtype):
        raise BadInput(f"Samples are {x.dtype}, the model takes {graph.input_dtype}.", "Convert the samples.")
    if len(x) == 0 and batch is not None:
        raise BadInput("The batch is empty.", "Feed at least one sample.")
    if batch is not None and len(x) > batch:
        raise BadInput(f"A batch of {len(x)} exceeds the planned {batch}.", "Plan a larger batch.")
    return np.ascontiguousarray(x)


def check_predictor(plan: Plan, batch: int) -> None:
    """Raises `BadInput` unless a predictor of ``batch`` samples fits the plan."""
    if batch > plan.predict_batch or batch < 1:
        raise BadInput(
            f"A predictor of {batch} samples does not fit the planned {plan.predict_batch}.",
            "Plan a larger predict_batch.",
        )


def refuse_training(plan: Plan) -> None:
    """Raises `BadInput` where the plan trains nothing."""
    if plan.extras.trains == "none":
        raise BadInput(
            "This plan trains nothing: it has no backward pass.",
            "Call forward(..., training=False), or plan with trains='all' or 'head'.",
        )
