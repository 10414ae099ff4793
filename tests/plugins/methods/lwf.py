"""Learning without forgetting (Li & Hoiem, ECCV 2016): the network of before teaches its own answers."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from edgecl.methods import Method, Needs, cross_entropy
from edgecl.methods.losses import log_softmax
from edgecl.methods.needs import Passes
from edgecl.methods.phase import Phase
from edgecl.options import option
from edgecl.parsing import count, real


class LwF(Method):
    """CE over all units + alpha * cross-entropy with the teacher's softened answers over the units seen before.

    The teacher is the network as the last task left it. ``warm_up`` trains the classifier alone before each later task,
    by the task's own units, so that the rows of earlier classes stay as they are.
    """

    name: ClassVar[str] = "lwf-outside"
    contract: ClassVar[int] = 1

    alpha: float = option(1.0, real(), "weight of the distillation")
    temperature: float = option(2.0, real(0.0, True), "softens answers of teacher and network")
    warm_up: int = option(0, count(0), "epochs of the classifier alone before each later task")

    def __init__(self, **given):
        super().__init__(**given)
        self.old = np.zeros(0, bool)  # units that the teacher knows

    @property
    def needs(self):
        return Needs(sides=("teacher",), passes=Passes(forward=1.0, epochs=self.warm_up))

    def begin_task(self, c):
        if c.task.first:
            return ()
        self.old = c.seen.copy()
        self.old[c.task.units] = False
        c.engine.side("teacher").copy_from(c.engine.model)
        graph = c.engine.model.graph
        head = next(node.parameters for node in graph.nodes if node.output == graph.logits)
        return (Phase("task", epochs=self.warm_up, only=tuple(head)),) if self.warm_up else ()

    def train_step(self, c, batch, replay, lr, **how):
        if c.phase is not None:
            own = np.zeros(c.engine.model.graph.classes, bool)
            own[c.task.units] = True
            batch = replace(batch, extra={"units": np.broadcast_to(own, (len(batch), own.size))})
        elif self.old.any():
            batch = replace(batch, extra={"teacher": c.evaluate(batch.x, side="teacher")["logits"]})
        return super().train_step(c, batch, replay, lr, **how)

    def current_term(self, logits, part, whole):
        if "units" in part.extra:
            return cross_entropy(logits, part.y, part.extra["units"][0], count=len(whole))
        value, gradient = super().current_term(logits, part, whole)
        if "teacher" not in part.extra:
            return value, gradient
        old = np.flatnonzero(self.old)
        wanted = np.exp(log_softmax(part.extra["teacher"][:, old] / self.temperature))
        soft, pull = cross_entropy(logits[:, old] / np.float32(self.temperature), wanted, count=len(whole))
        gradient = gradient.copy()
        gradient[:, old] += np.float32(self.alpha / self.temperature) * pull
        return value + self.alpha * soft, gradient

    def state(self):
        return {"old": self.old}

    def load(self, state):
        self.old = np.array(state["old"], bool)
