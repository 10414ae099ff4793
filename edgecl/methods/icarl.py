"""iCaRL (Rebuffi et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .base import Method, Term
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .distil import binary_cross_entropy, sigmoid
from .linear_head import LinearHead
from .losses import mask_units
from .needs import Needs, Passes
from .phase import Phase
from .step import beside, units_of


class ICaRL(Method):
    """Sum over seen units of BCE(sigmoid(z_c), t_c): t_c = sigmoid of the old network's z_c for old units, one-hot for
    new ones; batches of task and memory in one order. Predictions by the nearest mean of normalised features.

    Class means are those of the memory's samples and their mirror images, made anew at the end of each task; before the
    first, the classifier predicts. Herding (`edgecl.methods.herding`) fills the memory.
    """

    name: ClassVar[str] = "icarl"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "class-il")
    reference: ClassVar[str] = "Rebuffi et al., CVPR 2017"
    defaults: ClassVar[Mapping[str, Any]] = {"memory_policy": "herding"}

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self._old: Array = np.zeros(0, np.int64)
        self._means: Array | None = None  # float32 [C, d] of length one, rows of zeros where there is none

    @property
    def needs(self) -> Needs:
        return Needs(
            merged=True,
            fetch=("logits",),
            predict=("logits", "features"),
            sides=("teacher",),
            statistics=lambda d, classes: 4 * d * classes,
            passes=Passes(forward=1.0),
        )

    def begin_task(self, c: Context) -> Sequence[Phase]:
        if not c.task.first:
            old = c.seen.copy()
            old[c.task.units] = False
            self._old = np.flatnonzero(old)
            c.engine.side("teacher").copy_from(c.engine.model)
        return ()

    def prepare(self, c: Context, batch: Batch, replay: Replay) -> tuple[Batch, Replay]:
        return beside(c, batch, replay, "teacher") if self._old.size else (batch, replay)

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        total = max(len(batch) + sum(len(d) for d in replay), 1)
        return len(batch) / total, [len(d) / total for d in replay]

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        return self._term(logits, part, part.y, whole, len(whole))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return self._term(logits, part, part.y, batch, len(whole))

    def _term(self, logits: Array, part: Batch | Draw, y: Array, whole: Batch, rows: int) -> Term:
        classes = logits.shape[1]
        targets: Array = y
        if y.ndim == 1:
            targets = np.zeros(logits.shape, np.float32)
            targets[np.arange(len(y)), y] = 1
        teacher = part.extra.get("teacher")
        if teacher is not None:
            targets[:, self._old] = sigmoid(teacher[:, self._old])
        seen = np.ones(classes, bool) if whole.seen_units is None else whole.seen_units
        return binary_cross_entropy(logits, targets, seen | units_of(self._old, classes), max(rows, 1))

    def end_task(self, c: Context) -> Sequence[Phase]:
        sums: Array | None = None
        for draw in c.memory_samples(c.engine.plan.predict_batch):
            for x in (draw.x, draw.x[..., ::-1]):
                f = _unit(c.evaluate(np.ascontiguousarray(x), ("logits", "features"), self.predict_side)["features"])
                sums = np.zeros((c.engine.model.graph.classes, f.shape[1])) if sums is None else sums
                np.add.at(sums, draw.y, f)
        self._means = None if sums is None else _unit(sums).astype(np.float32)
        return ()

    def scores(self, outs: Mapping[str, Array], seen_units: Array | None = None) -> Array:
        logits, means = outs["logits"], self._means
        if means is None:
            return mask_units(logits, seen_units)
        classes = logits.shape[1]
        known = np.asarray(means.any(axis=1))[:classes]
        found = np.full((len(logits), classes), -np.inf, np.float32)
        f = _unit(outs["features"])
        near = 2 * f @ means[:classes].T - 2  # -|f - mu|^2 of rows of length one
        found[:, : known.size] = np.where(known, near, -np.inf)
        return mask_units(found, seen_units)

    def linear_head(self, own: LinearHead | None) -> LinearHead | None:
        if self._means is None:
            return own
        means = self._means.astype(np.float64)
        known = np.asarray(means.any(axis=1))
        return LinearHead(2 * means, np.full(len(means), -2.0), known, unit=True)

    def state(self) -> dict[str, Array]:
        means = {} if self._means is None else {"means": self._means.copy()}
        return {"old": self._old.copy(), **means}

    def load(self, state: Mapping[str, Array]) -> None:
        self._old = np.array(state["old"], np.int64)
        self._means = np.array(state["means"], np.float32) if "means" in state else None

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        return False  # the teacher learned from the subject as the weights did


def _unit(features: Array) -> Array:
    """Rows [n, ...] as [n, d] of length one; rows of zeros stay."""
    rows = features.reshape(len(features), -1)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
