"""One call of `Learner.learn`: the steps, and the reasons to end before the last of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from ..budget.stop import Stop
from ..erasure.calls import TO_ITS_END
from ..erasure.diary import Diary
from ..errors import BadInput
from ..intake.buffer import BufferView
from ..intake.intake import Intake
from ..intake.scale import FIRST, robust_scale
from ..methods.context import TaskInfo
from ..planning.schedules import check_schedules
from ..storage.sets import distinct
from .core import Core
from .session import Session
from .task_loop import StepLog, TaskLoop
from .tasks import Tasks
from .undo import Undo

Array = np.ndarray


@dataclass(frozen=True)
class LearnLog:
    """What a call of `learn` did.

    steps : training steps of the task's own;  epochs : whole passes over the samples at hand
    loss : mean over the last 20 steps
    stopped : why it ended before what was asked, or None;  seconds : of training
    warnings : what a person should know
    """

    steps: int
    epochs: int
    loss: float | None
    stopped: str | None
    seconds: float
    warnings: list[str] = field(default_factory=list)


class Asked(NamedTuple):
    """What a call of `learn` is to do; one of the first three is set.

    most : end after so many of the trainer's steps, those of phases included: a call that is repeated
    arrive : called before each step with how many the call has done
    """

    steps: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    most: int | None = None
    arrive: Callable[[int], None] | None = None

    @staticmethod
    def checked(steps: Any, epochs: Any, seconds: Any) -> Asked:
        """What a caller wants; one epoch when nothing was said. Raises `BadInput`."""
        named = {"steps": steps, "epochs": epochs, "seconds": seconds}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if len(given) > 1:
            raise BadInput("learn() was given more than one of steps, epochs and seconds.", "Give one.")
        for name, value in given.items():
            kind: Any = Real if name == "seconds" else Integral
            if isinstance(value, bool) or not isinstance(value, kind) or (kind is Integral and value >= 2**63):
                raise BadInput(f"learn({name}={value!r}) cannot be done.", "Give whole steps or epochs, or seconds.")
            if not value > 0:
                raise BadInput(f"learn({name}={value}) asks for nothing.", "Give a number above 0.")
        return Asked(**(given or {"epochs": 1}))


class Teaching:
    """The parts of a learner that train together.

    shed_at : step of the latest shedding in the present call
    """

    def __init__(self, core: Core, session: Session, intake: Intake, tasks: Tasks, diary: Diary) -> None:
        self.core, self.session, self.intake, self.tasks, self.diary = core, session, intake, tasks, diary
        self.shed_at: int | None = None

    def shed(self, step: int) -> None:
        """Stop reading ahead and give back idle buffers; no result depends on them."""
        self.shed_at = step
        self.intake.buffer.shed()
        self.core.shed(step)

    # -- learn

    def learn(self, asked: Asked) -> tuple[LearnLog, Stop | None]:
        """Train what is pending, then on the samples of the present task; what was done, and why it ended early."""
        self.shed_at = None
        earlier = self.session.seconds
        stop = self.complete()
        if stop is not None:
            return LearnLog(0, 0, None, stop.text, self.session.seconds - earlier), stop
        try:
            return self._learn(asked)
        finally:
            self.diary.stopped_learning()

    def _learn(self, asked: Asked) -> tuple[LearnLog, Stop | None]:
        core, session = self.core, self.session
        with self.intake.lock:  # a sample is either in the view or comes after the call, in the log too
            data = self.intake.buffer.view()
            if not len(data.labels):
                raise BadInput("There is no sample to learn from.", "Call observe() first.")
            first = core.trainer.steps
            number = self.diary.began_learning(asked.epochs, asked.steps, first)
            self.fit_head()
        said = self.settle_scale(data)
        units = distinct(data.labels)
        core.see(units)
        task = self.tasks.info(units)
        if not self.tasks.begun:
            core.begin_task(task, data)
            self.tasks.begun = True
        undo = Undo(core)
        call = _Call(asked, self, number, first)
        earlier = session.seconds
        stop = core.run_phases(session, task, data, before=call.before, enough=call.enough_of_phases, after=call.phase)
        loop = self._loop(task, data, asked.epochs)
        if stop is None and not core.phases:
            stop = session.run(loop, before=call.before, enough=lambda: call.enough(loop), after=call.after)
        warnings = said + self._remarks() + undo.after(stop)
        undone = stop is not None and stop.kind == "loss"
        if asked.seconds is None and (stop is None or undone) and asked.most is None:
            self.diary.calls.ended_after(number, TO_ITS_END)
        if self.shed_at is not None:
            warnings.append(f"RAM came near its budget at step {self.shed_at}: read-ahead was given up.")
        buffer = self.intake.buffer
        if loop.epoch or loop.finished:
            buffer.learned = max(buffer.learned, min(len(data.labels), len(buffer)))
        done = len(call.losses), loop.epoch, call.loss, undo.text(stop)
        return LearnLog(*done, session.seconds - earlier, warnings), stop

    def _loop(self, task: TaskInfo, data: BufferView, epochs: int | None) -> TaskLoop:
        planned = epochs if epochs is not None and self._fits_schedules(epochs, len(data.labels)) else None
        return self.core.loop(task, data, planned, self.core.trainer.steps if planned is None else 0)

    def _fits_schedules(self, epochs: int, samples: int) -> bool:
        """Whether this call is long enough for the per-task schedules; otherwise the open-ended ones are used."""
        parts = self.core.parts
        try:
            check_schedules(parts.config.replace(epochs=epochs), parts.sparse, [samples])
        except BadInput:
            return False
        return True

    def settle_scale(self, data: BufferView) -> list[str]:
        """Normalise the input by the first samples, where nobody said by what; once, and what to say of it."""
        scale = self.intake.buffer.scale
        if not scale.open or not len(data.labels):
            return []
        x = data.samples if len(data.samples) else data.read(np.arange(min(len(data.labels), FIRST)))
        text = scale.choose(robust_scale(x))
        assert scale.scale is not None
        self.core.rescale(scale.scale)
        scale.look(data.samples)
        self.core.trainer.log.append((self.core.trainer.steps, -1, text))
        return [text]

    def _remarks(self) -> list[str]:
        """What a person should know of the samples so far."""
        found, memory = [], self.core.parts.memory
        far = self.intake.buffer.scale.warning()
        if far is not None:
            found.append(far)
        known = len(self.intake.labels)
        if memory is not None and memory.slots < known:
            found.append(
                f"The memory has {memory.slots} slots for {known} classes: some will have none and be "
                "forgotten; give memory= at least that many."
            )
        return found

    def fit_head(self) -> None:
        """Double the head until every label has a unit."""
        wanted = self.core.classes
        while wanted < len(self.intake.labels):
            wanted *= 2
        if wanted != self.core.classes:
            self.core.widen(wanted)

    # -- the end of a task

    def end_task(self) -> Stop | None:
        """The present task is over: the memory is updated, method and policy are told, their phases trained. A `Stop`
        leaves some of it pending, which the next call completes."""
        stop = self.complete()
        if stop is not None:
            return stop
        with self.intake.lock:
            data = self.intake.buffer.view() if len(self.intake.buffer) else None
            if data is not None:
                self.settle_scale(data)
            self.tasks.ending = 0 if data is None else len(data.labels)
            self.diary.task_ended()
        self.core.end_task(self._ending_task(data), data)
        return self.complete()

    def _ending_task(self, data: BufferView | None) -> TaskInfo:
        return self.tasks.info(np.zeros(0, np.int64) if data is None else distinct(data.labels))

    def complete(self) -> Stop | None:
        """Train what is pending of the task; a task whose end was declared is over then."""
        core = self.core
        if core.phases:
            data = self._pending_data()
            if data is not None:  # of labels that came since the phases were asked for, too
                self.fit_head()
                core.see(distinct(data.labels))
            stop = core.run_phases(self.session, self._ending_task(data), data)
            if stop is not None or core.phases:
                return stop
        if self.tasks.ending is not None:
            with self.intake.lock:
                self.intake.buffer.drop_first(self.tasks.ending)
                self.tasks.ended()
        return None

    def _pending_data(self) -> BufferView | None:
        """The samples of the task that phases are pending of: those that came before its end was declared."""
        with self.intake.lock:
            if not len(self.intake.buffer) or self.tasks.ending == 0:
                return None
            return self.intake.buffer.view(self.tasks.ending)

    def finish(self) -> Stop | None:
        """After the last task: what the method trains at the end only."""
        stop = self.complete()
        if stop is None:
            data = self._pending_data()
            self.core.finish(self._ending_task(data), data)
            stop = self.complete()
        return stop


class _Call:
    """What the hooks of a watched loop need to know of one call."""

    def __init__(self, asked: Asked, teaching: Teaching, number: int, first: int) -> None:
        self.asked, self.teaching, self.number, self.first = asked, teaching, number, first
        self.losses: list[float] = []
        self.phase_steps = 0
        self.earlier = teaching.session.seconds

    @property
    def done(self) -> int:
        """Steps of the call, those of phases included."""
        return self.phase_steps + len(self.losses)

    @property
    def loss(self) -> float | None:
        recent = self.losses[-20:]
        return float(np.mean(recent)) if recent else None

    def before(self) -> None:
        if self.asked.arrive is not None:
            self.asked.arrive(self.done)

    def enough_of_phases(self) -> bool:
        return self._enough()

    def enough(self, loop: TaskLoop) -> bool:
        return loop.epoch == self.asked.epochs or len(self.losses) == self.asked.steps or self._enough()

    def _enough(self) -> bool:
        seconds, most = self.asked.seconds, self.asked.most
        if seconds is not None and self.teaching.session.seconds - self.earlier >= seconds:
            return True
        return most is not None and self.done >= most

    def after(self, log: StepLog) -> None:
        self.losses.append(log.loss)
        self.teaching.diary.calls.ended_after(self.number, self.done)

    def phase(self, log: StepLog) -> None:
        self.phase_steps += 1
        self.teaching.diary.calls.ended_after(self.number, self.done)
