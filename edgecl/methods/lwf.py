"""Learning without forgetting (Li and Hoiem, ECCV 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from ..options import option
from ..parsing import count, real
from .base import Method, Term
from .batch import Array, Batch, Replay
from .context import Context
from .distil import soft_cross_entropy
from .losses import cross_entropy
from .needs import Needs, Passes
from .phase import Phase
from .step import beside, head_parameters, units_of


class LwF(Method):
    """CE(z over seen units, y) + alpha * sum_c -q_c log p_c over old units, q of the network as the last task left it.

    q and p are softmax(z / T); no T^2. Keeps no sample. Old classes fall to chance in a class-incremental stream:
    it is meant for streams that tell the task or change the domain.

    warm_up : epochs of the classifier alone before each task but the first; the paper trains a full task's
    """

    name: ClassVar[str] = "lwf"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "domain-il")
    reference: ClassVar[str] = "Li and Hoiem, ECCV 2016"

    alpha: float = option(0.5, real(), "weight of the distillation")
    temperature: float = option(2.0, real(0.0, True), "temperature of the distillation")
    warm_up: int = option(0, count(0), "epochs of the classifier alone before each task but the first")

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        self._old: Array = np.zeros(0, np.int64)

    @property
    def needs(self) -> Needs:
        return Needs(sides=("teacher",), passes=Passes(forward=1.0, epochs=float(self.warm_up)))

    def begin_task(self, c: Context) -> Sequence[Phase]:
        if c.task.first:
            return ()
        old = c.seen.copy()
        if c.task.units is not None:
            old[c.task.units] = False
        self._old = np.flatnonzero(old)
        if not self._old.size:  # the same classes in another domain
            self._old = np.flatnonzero(c.seen)
        c.engine.side("teacher").copy_from(c.engine.model)
        if not self.warm_up:
            return ()
        return (Phase("task", epochs=self.warm_up, only=head_parameters(c.engine.model.graph)),)

    def prepare(self, c: Context, batch: Batch, replay: Replay) -> tuple[Batch, Replay]:
        return beside(c, batch, replay, "teacher")

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        value, grad = cross_entropy(logits, part.y, whole.seen_units, count=len(whole))
        teacher = part.extra.get("teacher")
        if teacher is None:
            return value, grad
        units = units_of(self._old, logits.shape[1])
        soft, soft_grad = soft_cross_entropy(logits, teacher, units, self.temperature, len(whole))
        return value + self.alpha * soft, grad + np.float32(self.alpha) * soft_grad

    def state(self) -> dict[str, Array]:
        return {"old": self._old.copy()}

    def load(self, state: Mapping[str, Array]) -> None:
        self._old = np.array(state["old"], np.int64)

    def forget(self, c: Context, subject: int, ids: Array) -> bool:
        return False  # the teacher learned from the subject as the weights did
