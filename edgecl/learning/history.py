"""History: how a run went over its steps, in a few hundred points: loss, memory, FLOPs, accuracy on earlier tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data import Task
from ..methods import evaluate_logits
from .core import Core
from .session import Session

MOST = 240  # points; when there are more, every other one goes, and half as many come
PROBE = 200  # test samples of earlier tasks together, in one look


class History:
    """points : [step, seconds, resident bytes, FLOPs, loss by term]
    probes : [step, task, accuracy] on earlier tasks, 1, 4, 16, 64, ... steps into a task: where accuracy falls for a
        while and comes back, the fall is the stability gap (De Lange et al. 2023, arXiv 2205.13452)
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self.points: list[list[Any]] = []
        self.probes: list[list[Any]] = []
        self._every = 1
        self._task, self._began = -1, 0  # the task at hand, and the trainer's step before its first

    def after(self, core: Core, session: Session, task: int, batch: int) -> None:
        """Note a step of ``task``. ``batch``: rows of an evaluation."""
        step = core.trainer.steps
        if task != self._task:
            self._task, self._began = task, step - 1
        if step % self._every == 0:
            terms = {name: float(f"{value:.5g}") for name, value in core.trainer.health.terms.items()}
            seconds, resident = round(session.seconds, 3), session.guard.last_resident
            self.points.append([step, seconds, resident, core.trainer.flops, terms])
            if len(self.points) > MOST:
                self._every *= 2
                self.points = [p for p in self.points if p[0] % self._every == 0]
        if task and is_power_of_four(step - self._began):
            self.probes.append([step, task, self._accuracy(core, task, batch)])

    def _accuracy(self, core: Core, task: int, batch: int) -> float:
        """Class-IL on a few test samples of every task before ``task``; no meter counts it."""
        right = seen = 0
        for earlier in self._tasks[:task]:
            n = len(earlier.test)
            rows = np.linspace(0, n - 1, min(n, -(-PROBE // task))).astype(np.int64)  # evenly over its classes
            for at in range(0, len(rows), batch):
                part = rows[at : at + batch]
                y = np.asarray(earlier.test.labels)[part]
                right += evaluate_logits(core.scores(earlier.test.read(part)), y, core.trainer.seen)[0]
            seen += len(rows)
        return right / max(seen, 1)

    def to_json(self) -> dict[str, Any]:
        """The record's ``history``: a list of values by name."""
        terms = sorted({name for *_, found in self.points for name in found})
        return {
            "step": [p[0] for p in self.points],
            "seconds": [p[1] for p in self.points],
            "resident_bytes": [p[2] for p in self.points],
            "flops": [p[3] for p in self.points],
            "loss": {name: [p[4].get(name) for p in self.points] for name in terms},
            "earlier_tasks": {
                "step": [p[0] for p in self.probes],
                "task": [p[1] for p in self.probes],
                "accuracy": [p[2] for p in self.probes],
            },
        }

    def state(self) -> dict[str, Any]:
        return {
            "points": self.points, "probes": self.probes, "every": self._every, "at": [self._task, self._began],
        }  # fmt: skip

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Go on from `state`; None is a state saved before there was any."""
        if state is not None:
            self.points = [[int(a), float(b), int(c), int(d), dict(e)] for a, b, c, d, e in state["points"]]
            self.probes = [[int(a), int(b), float(c)] for a, b, c in state["probes"]]
            self._every, (self._task, self._began) = max(1, int(state["every"])), map(int, state["at"])


def is_power_of_four(n: int) -> bool:
    """1, 4, 16, 64, ..."""
    return n > 0 and n & (n - 1) == 0 and (n.bit_length() - 1) % 2 == 0
