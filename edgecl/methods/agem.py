"""Averaged gradient episodic memory (Chaudhry et al., ICLR 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

from ..options import option
from ..parsing import choice
from .base import SCENARIOS, Method, Term, Work, whole_step
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .losses import cross_entropy
from .needs import Needs


class AGEM(Method):
    """g of the current rows, r of the replayed: where g.r < 0, g <- g - (g.r / r.r) r, so that no step raises the
    memory's loss to first order.

    With an empty memory it is the naive method, bit for bit. Mammoth fills its memory with one batch a task; here the
    run's memory policy fills it (a reservoir makes it A-GEM-R).

    replay_from : ``second task``, as in the paper: the first task has nothing to protect; or ``second step``
    """

    name: ClassVar[str] = "a-gem"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Chaudhry et al., ICLR 2019"

    replay_from: str = option("second task", choice(("second step", "second task")), "when the projection begins")

    @property
    def needs(self) -> Needs:
        return Needs(draws=1, gradient_copies=1)

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return cross_entropy(logits, part.y, self._seen_units(batch), count=len(whole))

    def passes(self, c: Context, work: Work, batch: Batch, replay: Replay, lr: float) -> tuple[Replay, Any]:
        if not replay or (self.replay_from == "second task" and batch.task == 0):
            return super().passes(c, work, batch, [], lr)
        current, *draws = whole_step(batch, replay)
        work.backward([current], replay)
        gradients = c.engine.gradients
        g = gradients.copy()
        c.engine.clear_gradients()
        for segment in draws:
            work.backward([segment], replay)
        overlap = gradients.dot(g)
        if overlap < 0:
            gradients.scale(-overlap / gradients.dot(gradients.flat))
            gradients.flat[:] += g
        else:
            gradients.flat[:] = g
        return replay, None
