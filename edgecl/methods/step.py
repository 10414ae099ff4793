"""What methods with a teacher share: its logits beside a step's rows, the classifier's parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..compiler.extras import trained_parameters
from ..graph import Graph
from .batch import Array, Batch, Replay
from .context import Context


def beside(c: Context, batch: Batch, replay: Replay, side: str, name: str = "teacher") -> tuple[Batch, Replay]:
    """Batch and draws with the logits of a side as ``extra[name]``, float32 [rows, C]: one evaluation forward over all
    rows. As they are while the side holds nothing. Units that the side does not know are at -inf.
    """
    if c.engine.side(side).empty:
        return batch, replay
    logits = c.evaluate(np.concatenate([batch.x, *(d.x for d in replay)]), ("logits",), side)["logits"]
    ends = np.cumsum([len(batch), *(len(d) for d in replay)])
    parts = np.split(logits, ends[:-1])
    batch = replace(batch, extra={**batch.extra, name: parts[0]})
    return batch, [replace(d, extra={**d.extra, name: part}) for d, part in zip(replay, parts[1:])]


def head_parameters(graph: Graph) -> tuple[str, ...]:
    """Names of the classifier's parameters."""
    return trained_parameters(graph, "head")


def units_of(mask_or_units: Array | None, classes: int) -> Array:
    """bool [C] of head units given as such or as numbers; None: all."""
    if mask_or_units is None:
        return np.ones(classes, bool)
    found = np.zeros(classes, bool)
    found[mask_or_units] = True
    return found
