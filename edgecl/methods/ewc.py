"""Online elastic weight consolidation (Kirkpatrick et al. 2017; Schwarz et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..options import option
from ..parsing import count, fraction, real
from .context import Context
from .losses import Array, cross_entropy, log_softmax
from .needs import Needs
from .penalty import Quadratic, pieces
from .phase import Phase

GROUP = 8  # rows whose gradients are squared together, whatever the run's batch


class OnlineEWC(Quadratic):
    """CE + l * sum F (th - th*)^2 with F <- g F + the Fisher diagonal of the task, brought to mean 1.

    The diagonal is that of `samples` of the task at its end, in groups of 8: for labels drawn from the model's own
    prediction, E[B (gradient of the batch's mean)^2] is the mean of the squared gradients of single samples, since
    these have mean zero. A pass in groups instead of one per sample; the batch-norm statistics it makes are dropped.
    Mammoth weighs by p(y|x) and does not normalise, so its l does not carry over.
    """

    name: ClassVar[str] = "online-ewc"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "domain-il")
    reference: ClassVar[str] = "Schwarz et al., ICML 2018"
    importance: ClassVar[str] = "fisher"
    strength: ClassVar[str] = "penalty"

    penalty: float = option(10.0, real(), "weight of the penalty")
    decay: float = option(1.0, fraction(), "what is left of the earlier tasks' importance at each task's end")
    samples: int = option(512, count(1), "samples that the importance is estimated from, per task")

    @property
    def needs(self) -> Needs:
        return Needs(per_weight=("fisher", "anchor"), gradient_copies=1)

    def end_task(self, c: Context) -> Sequence[Phase]:
        engine, batches = c.engine, 0
        engine.discard()
        found = engine.gradients.copy()  # zero: the squares are summed here
        for batch in c.task_samples(GROUP, self.samples):
            engine.discard()
            for start in range(0, len(batch), engine.plan.batch):
                rows = batch.x[start : start + engine.plan.batch]
                c.backward(rows, lambda logits: self._drawn(logits, c) * np.float32(len(logits) / len(batch)))  # noqa: B023
            for at in pieces(found.size):
                found[at] += np.float32(len(batch)) * engine.gradients.flat[at] ** 2
            batches += 1
        engine.discard()
        if not batches or not found.any():
            return ()
        fisher, scale = engine.per_weight("fisher").flat, np.float32(1 / found.mean(dtype=np.float64))
        for at in pieces(found.size):
            fisher[at] = np.float32(self.decay) * fisher[at] + scale * found[at]
        self.anchor_here(engine)
        return ()

    @staticmethod
    def _drawn(logits: Array, c: Context) -> Array:
        """Gradient of the mean cross-entropy with labels drawn from softmax(logits), the Gumbel way."""
        noise = c.rng.gumbel(size=logits.shape)
        return cross_entropy(logits, np.argmax(log_softmax(logits) + noise, axis=1))[1]
