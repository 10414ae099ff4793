"""Teaching: how a learner trains what it observed, task after task, and ends its tasks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..budget.stop import Stop
from ..erasure.calls import TO_ITS_END
from ..erasure.diary import Diary
from ..errors import BadInput
from ..intake.intake import Intake
from ..intake.scale import FIRST, robust_scale
from ..intake.view import BufferView
from ..methods.context import TaskInfo
from ..planning.schedules import check_schedules
from ..storage.sets import distinct
from .asked import Asked, LearnLog
from .call import Call
from .core import Core
from .replay_loop import ReplayLoop
from .session import Session
from .task_loop import TaskLoop
from .tasks import Tasks
from .undo import Undo

Array = np.ndarray


class Teaching:
    """The parts of a learner that train together.

    shed_at : step of the latest shedding in the present call
    ended : called with a task's number when it is over, unless within a call of `learn`
    """

    def __init__(
        self, core: Core, session: Session, intake: Intake, tasks: Tasks, diary: Diary, ended: Callable[[int], None]
    ) -> None:
        self.core, self.session, self.intake, self.tasks, self.diary = core, session, intake, tasks, diary
        self.ended = ended
        self.shed_at: int | None = None
        self._call: Call | None = None

    def shed(self, step: int) -> None:
        """Stop reading ahead and give back idle buffers; no result depends on them."""
        self.shed_at = step
        self.intake.buffer.shed()
        self.core.shed(step)

    @property
    def idle(self) -> bool:
        """Whether there is nothing that `learn` could train on."""
        return not len(self.intake.buffer) and not ReplayLoop.possible(self.core.trainer)

    # -- learn

    def learn(self, asked: Asked) -> tuple[LearnLog, Stop | None]:
        """Train what is pending: phases, then the samples of earlier tasks, in their order, whose ends follow, then
        those of the present task; the memory alone where there is none. What was done, and why it ended early."""
        self.shed_at = None
        earlier = self.session.seconds
        stop = self.complete()
        if stop is not None:
            return LearnLog(0, 0, None, stop.text, self.session.seconds - earlier), stop
        try:
            return self._learn(asked)
        finally:
            self._call = None
            self.diary.stopped_learning()
            self.intake.buffer.release()

    def _learn(self, asked: Asked) -> tuple[LearnLog, Stop | None]:
        with self.intake.lock:  # a sample is either in the view or comes after the call, in the log too
            if self.idle:
                raise BadInput("There is no sample to learn from.", "Call observe() first.")
            first = self.core.trainer.steps
            number = self.diary.began_learning(asked.epochs, asked.steps, first)
            data, last = self._view()
        call = self._call = Call(asked, self, number)
        stop = self._teach(call, data, last) if len(data.labels) else None
        while stop is None and self.tasks.waiting and not self.intake.buffer.portions[0].fresh:
            self._begin_end()
            stop = self.complete()
            with self.intake.lock:
                data, last = self._view()
            if stop is None and len(data.labels) and not call.over:
                stop = self._teach(call, data, last)
        if stop is None and not len(data.labels) and not (call.loops and asked.epochs is not None):
            stop = self._replay(call)
        if asked.seconds is None and (stop is None or stop.kind == "loss") and asked.most is None:
            self.diary.calls.ended_after(number, TO_ITS_END)
        if self.shed_at is not None:
            call.warnings.append(f"RAM came near its budget at step {self.shed_at}: read-ahead was given up.")
        return call.log(stop), stop

    def _view(self) -> tuple[BufferView, bool]:
        """The samples of the task that is trained; whether no later one has any."""
        buffer = self.intake.buffer
        self.intake.drop_lost()
        data = buffer.view()
        if len(data.labels):
            self.fit_head()
        return data, not any(p.count for p in buffer.portions[1:])

    def _teach(self, call: Call, data: BufferView, last: bool) -> Stop | None:
        """Train on the samples of one task: with ``last`` for as long as was asked, else in so many epochs, or until
        each was visited."""
        core, session = self.core, self.session
        buffer = self.intake.buffer
        call.warnings += self.settle_scale(data)
        units = buffer.portions[0].head_units() if buffer.portions[0].count == len(data.labels) else None
        units = distinct(data.labels) if units is None else units  # some came since
        core.see(units)
        task = self.tasks.info(units)
        if not self.tasks.begun:
            core.begin_task(task, data)
            self.tasks.begun = True
        undo = Undo(core)
        stop = core.run_phases(session, task, data, before=call.before, enough=call.enough_of_phases, after=call.phase)
        buffer.join_new(core.parts.random["order"], len(data.labels))
        loop = self._loop(task, data, call.asked.epochs)
        call.loops.append(loop)
        if stop is None and not core.phases:
            stop = session.run(loop, before=call.before, enough=lambda: call.enough(last), after=call.after)
        call.warnings += self._remarks() + undo.after(stop)
        if stop is not None and stop.kind == "loss":
            data.undo_visits()
        call.new += data.new
        return stop

    def _replay(self, call: Call) -> Stop | None:
        """Train on the memory alone."""
        if not ReplayLoop.possible(self.core.trainer):
            return None
        undo = Undo(self.core)
        context = self.core.context(self.tasks.info(np.zeros(0, np.int64)), None)
        loop = ReplayLoop(self.core.trainer, context, self.core.dense, call.asked.epochs)
        call.loops.append(loop)
        stop = self.session.run(loop, before=call.before, enough=lambda: call.enough(True), after=call.after)
        call.warnings += undo.after(stop)
        return stop

    def _loop(self, task: TaskInfo, data: BufferView, epochs: int | None) -> TaskLoop:
        planned = epochs if epochs is not None and self._fits_schedules(epochs, len(data.labels)) else None
        first = self.core.trainer.steps if planned is None else 0
        return self.core.loop(task, data, planned, first, self.intake.buffer.order)

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
        """Widen the head until every label has a unit."""
        wanted = self.core.classes
        while wanted < len(self.intake.labels):
            wanted = wider(wanted)
        if wanted != self.core.classes:
            self.core.widen(wanted)

    # -- the end of a task

    def end_task(self, name: str | None = None) -> Stop | None:
        """The present task is over, ``name`` follows. As soon as each of its samples was trained on, the memory is
        updated, method and policy are told, their phases trained. A `Stop` leaves some of it pending, which the next
        call completes."""
        stop = self.complete()
        if stop is not None:
            return stop
        with self.intake.lock:
            self.declare_end(name)
            self.diary.task_ended()
        return self.complete()

    def change_task(self, name: str) -> None:
        """What comes from here on is of the task ``name``."""
        if self.tasks.name is None:
            self.intake.borders.name(name)
            self.tasks.name = name
        elif self.tasks.name != name:
            with self.intake.lock:
                self.declare_end(name)
                self.diary.task_ended()
            self.complete()

    def declare_end(self, name: str | None) -> None:
        """What comes from here on is of the task ``name``; on flash before anything changes. Samples may not come
        meanwhile."""
        self.intake.end_task(name)
        self.tasks.declare_end(name)

    def waiting_text(self) -> str | None:
        """Why a task whose end was declared goes on, for people."""
        if not self.tasks.waiting or self.tasks.ending is not None:
            return None
        fresh = sum(p.fresh for p in self.intake.buffer.portions[:-1])
        return f"{fresh} of its samples were not learned yet; the next learn() trains them, and ends it"

    def complete(self) -> Stop | None:
        """Train what is pending of the task; tasks whose end was declared are over then, as far as each of their
        samples was trained on."""
        stop = self._complete()
        while stop is None and self.tasks.waiting and not self.intake.buffer.portions[0].fresh:
            self._begin_end()
            stop = self._complete()
        return stop

    def _begin_end(self) -> None:
        """Tell memory, method and policy that the task is over, the first whose end was declared."""
        with self.intake.lock:
            data = self._pending_data()
            if data is not None:
                self.settle_scale(data)
            self.tasks.ending = 0 if data is None else len(data.labels)
        self.core.end_task(self._ending_task(data), data)

    def _ending_task(self, data: BufferView | None) -> TaskInfo:
        return self.tasks.info(np.zeros(0, np.int64) if data is None else distinct(data.labels))

    def _complete(self) -> Stop | None:
        """Train the pending phases; a task whose end has begun is over then."""
        core = self.core
        if core.phases:
            with self.intake.lock:
                data = self._pending_data()
            if data is not None:  # of labels that came since the phases were asked for, too
                self.fit_head()
                core.see(distinct(data.labels))
            stop = core.run_phases(self.session, self._ending_task(data), data)
            if stop is not None or core.phases:
                return stop
        if self.tasks.ending is not None:
            number = self.tasks.number
            with self.intake.lock:
                self.intake.buffer.end_first()
                self.tasks.ended()
            if self._call is None:  # a state in the middle of a call is none to go on from
                self.ended(number)
        return None

    def _pending_data(self) -> BufferView | None:
        """The samples of the task that phases are pending of: those that came before its end was declared."""
        buffer = self.intake.buffer
        self.intake.drop_lost()
        return buffer.view() if buffer.portions[0].count else None

    def finish(self) -> Stop | None:
        """After the last task: what the method trains at the end only."""
        stop = self.complete()
        if stop is None:
            with self.intake.lock:
                data = self._pending_data()
            self.core.finish(self._ending_task(data), data)
            stop = self.complete()
        return stop


def wider(classes: int) -> int:
    """Units of the next wider head: twice as many, from 64 on an eighth more, so that spare ones cost little."""
    return 2 * classes if classes < 64 else -(-classes * 9 // 64) * 8
