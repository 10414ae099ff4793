"""Call: one call of `Learner.learn` while it runs."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..budget.stop import Stop
from ..erasure.diary import Diary
from ..intake.intake import Intake
from .asked import Asked, LearnLog
from .core import Core
from .progress import progress_of
from .replay_loop import ReplayLoop
from .session import Session
from .task_loop import StepLog, TaskLoop
from .tasks import Tasks
from .undo import Undo


class Watched(Protocol):
    """The parts of a learner that train together."""

    core: Core
    session: Session
    intake: Intake
    tasks: Tasks
    diary: Diary


class Call:
    """What its loops need to know, and what they did.

    number : of its entry in the log of calls;  loops : over one task each, in turn
    """

    def __init__(self, asked: Asked, teaching: Watched, number: int) -> None:
        self.asked, self.teaching, self.number = asked, teaching, number
        self.losses: list[float] = []
        self.loops: list[TaskLoop | ReplayLoop] = []
        self.warnings: list[str] = []
        self.phase_steps = self.new = 0
        self.earlier = teaching.session.seconds

    @property
    def done(self) -> int:
        """Steps of the call, those of phases included."""
        return self.phase_steps + len(self.losses)

    def log(self, stop: Stop | None) -> LearnLog:
        recent, epochs = self.losses[-20:], max((loop.epoch for loop in self.loops), default=0)
        loss = float(np.mean(recent)) if recent else None
        seconds = self.teaching.session.seconds - self.earlier
        return LearnLog(len(self.losses), epochs, loss, Undo.text(stop), seconds, self.warnings, self.new)

    def before(self) -> None:
        if self.asked.arrive is not None:
            self.asked.arrive(self.done)

    def enough_of_phases(self) -> bool:
        return self._over

    def enough(self, last: bool) -> bool:
        """Whether the loop that runs has done what it is for; a task that others wait behind is left when each of its
        samples was visited, or after so many epochs."""
        if self.asked.epochs is not None:
            return self.loops[-1].epoch == self.asked.epochs or self.over
        return self.over or (not last and not self.teaching.intake.buffer.portions[0].fresh)

    @property
    def over(self) -> bool:
        """Whether the call has done what was asked of it as a whole."""
        return len(self.losses) == self.asked.steps or self._over

    @property
    def _over(self) -> bool:
        seconds, most = self.asked.seconds, self.asked.most
        if seconds is not None and self.teaching.session.seconds - self.earlier >= seconds:
            return True
        return most is not None and self.done >= most

    def after(self, log: StepLog) -> None:
        self.losses.append(log.loss)
        self.teaching.diary.calls.ended_after(self.number, self.done)
        if self.asked.progress is not None:
            t = self.teaching
            number, epochs = t.tasks.number, self.asked.epochs or 0
            whole = number + len(t.tasks.waiting) + 1, epochs, self.asked.steps or epochs * log.epoch_steps
            self.asked.progress(progress_of(t.core, t.session, log, number, whole, None))

    def phase(self, log: StepLog) -> None:
        self.phase_steps += 1
        self.teaching.diary.calls.ended_after(self.number, self.done)
