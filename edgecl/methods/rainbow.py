"""Rainbow Memory (Bang et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from ..options import option
from ..parsing import count, fraction, real
from .base import Term
from .batch import Array, Batch, Draw, Replay
from .context import Context
from .er import ER
from .losses import cross_entropy
from .mix import is_picture, mixed
from .needs import Needs, Passes
from .phase import Mix, Phase, cosine


class RainbowMemory(ER):
    """ER on CutMix pictures over a memory spread over the range of uncertainty, and epochs over that memory at the end
    of each task.

    CarM's port trains half on the stream and half on the memory in the first epoch, on the memory alone later; here the
    run's epochs are of the first kind, ``memory_epochs`` of the second.
    """

    name: ClassVar[str] = "rainbow"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "class-il", "domain-il")
    reference: ClassVar[str] = "Bang et al., CVPR 2021"
    defaults: ClassVar[Mapping[str, Any]] = {"memory_policy": "uncertainty", "epochs": 1}

    cutmix: float = option(0.5, fraction(), "share of the batches whose pictures are mixed")
    memory_epochs: int = option(20, count(0), "epochs over the memory at the end of a task")
    memory_lr: float = option(0.05, real(0.0, True), "learning rate over the memory, falling by a cosine to 1 % of it")

    @property
    def needs(self) -> Needs:
        return Needs(draws=1, passes=Passes(memory_epochs=self.memory_epochs))

    def prepare(self, c: Context, batch: Batch, replay: Replay) -> tuple[Batch, Replay]:
        mix = self._mix(c)
        if mix is None or c.phase is not None:
            return batch, replay
        classes = c.engine.model.graph.classes
        x, y = mixed(batch.x, batch.y, classes, mix, c.rng)
        draws = []
        for d in replay:
            dx, dy = mixed(d.x, d.y, classes, mix, c.rng)
            draws.append(replace(d, x=dx, extra={**d.extra, "targets": dy}))
        return replace(batch, x=x, y=y), draws

    def _mix(self, c: Context) -> Mix | None:
        pictures = is_picture(c.engine.model.graph.input_shape)
        return Mix("cutmix", 1.0, self.cutmix) if self.cutmix and pictures else None

    def replay_term(self, j: int, logits: Array, part: Draw, whole: Draw, batch: Batch) -> Term:
        return cross_entropy(logits, part.extra.get("targets", part.y), count=len(whole))

    def end_task(self, c: Context) -> Sequence[Phase]:
        if not self.memory_epochs or not c.memory.filled:
            return ()
        schedule = cosine(self.memory_lr, self.memory_lr / 100)
        return (Phase("memory", epochs=self.memory_epochs, lr=schedule, mix=self._mix(c)),)
