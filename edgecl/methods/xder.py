"""X-DER-lite: the parts of X-DER (Boschini et al., PAMI 2023) that cost nothing but a pass over the memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..options import option
from ..parsing import fraction
from .base import StepResult, Term
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .derpp import DERpp, distil
from .losses import cross_entropy
from .phase import Phase
from .step import units_of


class XDERLite(DERpp):
    """CE of current rows over the task's units + beta CE of replayed ones over past units + alpha MSE on their logits.

    When a stored sample is replayed, and at the end of each task, its stored logits of classes that came later are
    taken from the present network, scaled down so that their largest is at most ``gamma`` of the true class's. Left out
    of X-DER: contrastive learning of unused units and the margin terms.
    """

    name: ClassVar[str] = "x-der-lite"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "class-il")
    reference: ClassVar[str] = "Boschini et al., PAMI 2023"
    defaults: ClassVar[Mapping[str, Any]] = {"memory_policy": "balanced"}

    alpha = 0.3
    beta = 0.8
    gamma: float = option(0.85, fraction(low_open=True), "largest later logit, as a share of the true class's")

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        units = None if whole.task_units is None else units_of(whole.task_units, logits.shape[1])
        return cross_entropy(logits, part.y, units, count=len(whole))

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        value: float = 0.0
        grad: Array = np.zeros(logits.shape, np.float32)
        if j == 0:
            value, grad = distil(self.alpha, logits, part, whole)
        if j == self.needs.draws - 1:
            past = np.ones(logits.shape[1], bool) if batch.seen_units is None else batch.seen_units.copy()
            if batch.task_units is not None:
                past[batch.task_units] = False
            rows = np.flatnonzero(past[part.y])  # what the memory holds of the present task has the current term
            if rows.size:
                hard, hard_grad = cross_entropy(logits[rows], part.y[rows], past, count=len(whole))
                value += self.beta * hard
                grad[rows] += np.float32(self.beta) * hard_grad
        return value, grad

    def train_step(self, c: Context, batch: Batch, replay: Replay, lr: float, **how: Any) -> StepResult:
        result = super().train_step(c, batch, replay, lr, **how)
        for draw, logits in zip([d for d in replay if len(d)], result.logits_replay):
            self._renew(c, draw, logits)
        return result

    def end_task(self, c: Context) -> Sequence[Phase]:
        for draw in c.memory_samples(c.engine.plan.predict_batch):
            self._renew(c, draw, c.evaluate(draw.x, ("logits",))["logits"])
        return ()

    def _renew(self, c: Context, draw: Draw, logits: Array) -> None:
        """Lengthen stored logits to the units in use."""
        width = int(np.flatnonzero(c.seen)[-1]) + 1
        if c.memory is None or draw.logits is None or draw.widths is None:
            return
        rows = np.flatnonzero((draw.widths > 0) & (draw.widths < width))
        if rows.size:
            longer = lengthened(draw.logits[rows], draw.widths[rows], logits[rows, :width], draw.y[rows], self.gamma)
            c.memory.update_field(draw.slots[rows], "logits", longer)


def lengthened(stored: Array, widths: Array, present: Array, y: Array, gamma: float) -> Array:
    """float16 [n, W]: ``stored`` up to each row's width, ``present`` [n, W] beyond, scaled so that its largest is at
    most gamma times the stored logit of the row's class ``y``."""
    at = np.arange(present.shape[1])
    later = at[None, :] >= widths[:, None]
    true = stored[np.arange(len(y)), np.minimum(y, widths - 1)].astype(np.float64)
    most = np.where(later, present, -np.inf).max(axis=1)
    limit = gamma * np.maximum(true, 0)
    scale = np.where((most > limit) & (most > 0), limit / np.maximum(most, 1e-12), 1.0)
    found = np.where(later, present * scale[:, None], 0.0)
    wide = min(stored.shape[1], present.shape[1])
    found[:, :wide] = np.where(later[:, :wide], found[:, :wide], stored[:, :wide])
    return np.clip(found, -65504, 65504).astype(np.float16)
