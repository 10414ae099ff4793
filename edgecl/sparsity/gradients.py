"""The two gradients of SparCL's paper: current data in single-head form, and replayed data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ..engine.base import Engine
from ..methods.batch import Batch, Draw
from ..methods.losses import cross_entropy
from .tensor import Array


def two_gradients(
    engine: Engine, batch: Batch, replay: Sequence[Draw], names: Sequence[str], micro_batch: int | None = None
) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """(|g| of the single-head loss on ``batch``, |g| of the cross-entropy on the first draw, or None).

    float32 [living] by name. Costs a forward and a backward each, counted by the engine's meters; weights,
    optimizer state, batch-norm statistics and gradient masks are as before afterwards.
    """
    with unmasked(engine, names):
        current = _absolute(engine, batch, names, batch.task_units, micro_batch)
        drawn = next((d for d in replay if len(d)), None)
        replayed = None if drawn is None else _absolute(engine, drawn, names, None, micro_batch)
    return current, replayed


@contextmanager
def unmasked(engine: Engine, names: Sequence[str]) -> Iterator[None]:
    """All living weights of ``names`` get gradients; afterwards the masks are as before, gradients forgotten."""
    masks = {n: engine.model[n].gradient_subset for n in names}
    for name in names:
        engine.set_gradient_mask(name, None)
    try:
        yield
    finally:
        engine.discard()
        for name, mask in masks.items():
            engine.set_gradient_mask(name, mask)


def _absolute(
    engine: Engine, data: Batch | Draw, names: Sequence[str], units: Array | None, micro_batch: int | None
) -> dict[str, Array]:
    rows = len(data)  # none where a merged batch holds memory rows alone
    for start in range(0, rows, micro_batch or max(rows, 1)):
        part = data.rows(start, min(rows, start + (micro_batch or rows)))
        logits = engine.forward({engine.model.graph.input: part.x}, training=True)["logits"]
        mask = None
        if units is not None:
            mask = np.zeros(logits.shape[1], bool)
            mask[units] = True
        engine.backward({"logits": cross_entropy(logits, part.y, mask, count=rows)[1]})
    found = {name: np.abs(engine.gradients[name]) for name in names}
    engine.discard()
    return found
