"""GDumb (Prabhu et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..options import option
from ..parsing import choice, count, fraction, real
from .base import SCENARIOS, Method, StepResult
from .batch import Batch
from .context import Context
from .mix import is_picture
from .needs import Needs, Passes
from .phase import Mix, Phase, cosine


class GDumb(Method):
    """Keeps a greedily balanced memory, trains nothing on the way, and at the end a new network on the memory alone.

    The check that any method must pass: what did it gain over its stored samples? Until it has trained, predictions
    are those of the initial weights.

    retrain : at the ``finish`` of the stream (the paper), or at the end of each ``task``
    """

    name: ClassVar[str] = "gdumb"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "Prabhu et al., ECCV 2020"
    defaults: ClassVar[Mapping[str, Any]] = {"memory_policy": "greedy"}

    retrain: str = option("finish", choice(("finish", "task")), "train at the end of the stream, or of each task")
    memory_epochs: int = option(256, count(1), "epochs over the memory")
    memory_lr: float = option(0.05, real(0.0, True), "learning rate over the memory, falling by a cosine to 1 % of it")
    cutmix: float = option(0.5, fraction(), "share of the batches whose pictures are mixed")

    @property
    def needs(self) -> Needs:
        per_task = self.retrain == "task"
        epochs = {"memory_epochs": self.memory_epochs} if per_task else {"final_memory_epochs": self.memory_epochs}
        return Needs(keeps=True, on_the_way=False, passes=Passes(**epochs))

    def train_step(self, c, batch: Batch, replay, lr, **how) -> StepResult:  # type: ignore[no-untyped-def,override]
        """Nothing but the offer of the samples; in a phase the usual step."""
        if c.phase is not None:
            return super().train_step(c, batch, replay, lr, **how)
        return StepResult(0.0, np.zeros((len(batch), c.engine.model.graph.classes), np.float32), [], 0)

    def _from_memory(self, c: Context) -> Sequence[Phase]:
        if not c.memory.filled:
            return ()
        pictures = is_picture(c.engine.model.graph.input_shape)
        mix = Mix("cutmix", 1.0, self.cutmix) if self.cutmix and pictures else None
        schedule = cosine(self.memory_lr, self.memory_lr / 100)
        return (Phase("memory", epochs=self.memory_epochs, lr=schedule, reset=("*",), mix=mix),)

    def end_task(self, c: Context) -> Sequence[Phase]:
        return self._from_memory(c) if self.retrain == "task" else ()

    def finish(self, c: Context) -> Sequence[Phase]:
        return self._from_memory(c) if self.retrain == "finish" else ()
