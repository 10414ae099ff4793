"""run: train a stream task by task inside a plan, with checkpoints, budgets and a record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint, plugins
from .budget.stop import Stop
from .erasure.sealing import seal, unseal
from .learning.core import Core
from .learning.evaluate import Evaluations, health_of
from .learning.miro import make_miro
from .learning.out_folder import OutFolder
from .learning.parts import holds_store
from .learning.position import Position
from .learning.progress import Listener, progress_of
from .learning.resuming import check_resumable, joined, readable_store_errors, resumed_options, with_saved_front
from .learning.root_key import root_key
from .learning.session import Session
from .learning.stopping import StopFlag, Stopping
from .learning.stream_store import StreamStore
from .learning.task_data import SourceData
from .learning.task_loop import StepLog, TaskLoop
from .methods.context import TaskInfo
from .planning.run_plan import Prepared, prepare
from .report.build import RunFacts, build_record
from .report.record import write_record
from .storage.errors import WriteBudgetSpent

SHED, UNCHANGED = "RAM came near its budget", "; stopped before it changed a weight"


def run(
    options: Mapping[str, Any],
    *,
    command: str = "edgecl run",
    listen: Listener | None = None,
    stop: Stopping | None = None,
    resume: str | Path | None = None,
    use: str | Path | Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Train as ``options`` say and return the run record (also written to ``out``/run.json when ``out`` is set).

    stop : set it from another thread or a signal handler to end the run in order after the present step
    resume : the ``out`` folder of a run that was cut short; ``options`` may then change budgets and its store's place
    use : files or modules to import first, which register what ``options`` name

    Raises `EdgeclError` for what a user can mend. A run that reaches a budget returns normally.
    """
    plugins.use(use)
    saved = None
    if resume is not None:
        options, saved = resumed_options(Path(resume), options)
        options = with_saved_front(options, saved)
    with Run(prepare(options), command, listen, stop) as job:
        return job.execute(saved)


class Run:
    """One run of what is ``prepared``. A context manager: leaving it stops movers and closes store and stream."""

    def __init__(self, prepared: Prepared, command: str, listen: Listener | None = None, stop: Stopping | None = None):
        self.prepared, self.command, self.listen = prepared, command, listen
        self.began = time.monotonic()
        config, stop = prepared.config, stop or StopFlag()
        self.folder = None if config.out is None else OutFolder(Path(config.out), config.to_json())
        self.warnings: list[str] = prepared.warnings()
        try:
            new = config.store is not None and not holds_store(config.store)
            key = root_key(config.root_key_file, config.store, config.out, make=new)
            stream = prepared.stream
            of = prepared.plan, prepared.network, prepared.spec, stream.identity
            self.core = Core(*of, root_key=key, front=prepared.front)
            try:
                self.session = Session(self.core.trainer, prepared.budget, prepared.plan, stop, self._shed)
                self.miro = make_miro(self.core.trainer, prepared.plan)
            except BaseException:  # the store is for another try
                self.core.close()
                raise
        except BaseException:
            if self.folder is not None:
                self.folder.refuse()
            raise
        self.stored = StreamStore(self.core.parts.store, config.store)
        self.evaluations = Evaluations(stream.tasks, prepared.plan.plan.predict_batch)
        self.position = Position()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.core.close()
        self.prepared.stream.close()
        if self.folder is not None:
            self.folder.close()

    # -- the way through the stream

    def execute(self, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Train from the start, or from a saved state, to the end of the stream or the reason to stop."""
        self.begin(saved)
        at, tasks, reason = self.position, len(self.prepared.stream.tasks), "completed"
        while at.task < tasks:
            try:
                stop = self.train_task()
            except WriteBudgetSpent as error:
                reason = f"budget reached: flash writes a day ({error.cause})"
                self.restore_latest()  # a task whose samples could not all be stored has not begun
                break
            if stop is not None:
                reason = self.stopped(stop)
                break
            self.save()
        else:
            stop = self.finish()
            reason = reason if stop is None else self.stopped(stop)
        record = build_record(self.run_facts(reason))
        if self.folder is not None:
            write_record(self.folder.path / "run.json", record)
        return record

    def begin(self, saved: Mapping[str, Any] | None) -> None:
        """From the start, or from a saved state."""
        if saved is None:
            self.warnings += self.stored.begin()
        else:
            self.restore(saved)
            self.position.resumed_from = self.core.trainer.steps
        if self.folder is not None:
            self.folder.begin(self.prepared.config.to_json(), anew=saved is None)
        if saved is None:
            self.save()

    def train_task(self) -> Stop | None:
        """All that is left of the present task, its evaluation included; why it must stop before its end."""
        at = self.position
        if at.loop is None and not at.ending:
            self.begin_task()
        stop = self.run_phases()
        if stop is None and at.loop is not None:
            stop = self.session.run(at.loop, on_pause=self.save, after=self.after_step)
        return stop or self.end_task()

    def begin_task(self) -> TaskLoop:
        """Store the task's samples, tell method and policy, save; the steps of its own epochs."""
        at, now = self.position, self.prepared.stream.tasks[self.position.task]
        self.core.see(np.array(now.classes))
        self.stored.append(now.train)
        self.core.begin_task(self.info(at.task), SourceData([now.train], [self.stored.ids[at.task]]))
        if self.miro is not None:
            self.miro.begin_watched(self.session, at.task, now.train, np.array(now.classes))
        at.loop = self.make_loop(at.task)
        self.save()
        return at.loop

    def end_task(self) -> Stop | None:
        """The task's own epochs are over: update the memory, train phases, evaluate, go on to the next."""
        at = self.position
        if at.loop is not None:
            at.loop, at.ending = None, True
            own = SourceData([self.prepared.stream.tasks[at.task].train], [self.stored.ids[at.task]])
            self.core.end_task(self.info(at.task), self.data(at.task), own)
        stop = self.run_phases()
        if stop is None:
            self.evaluate()
            at.task, at.ending = at.task + 1, False
        return stop

    def run_phases(self) -> Stop | None:
        """Train what method and policy asked for, if anything."""
        if not self.core.phases:
            return None
        task = min(self.position.task, len(self.prepared.stream.tasks) - 1)
        at = self.info(task), self.data(task)
        return self.core.run_phases(self.session, *at, on_pause=self.save, after=self.after_step)

    def finish(self) -> Stop | None:
        """After the last task: what the method trains at the end only, and the evaluation again when it did."""
        at, last = self.position, len(self.prepared.stream.tasks) - 1
        changed = bool(self.core.phases)  # a run that was resumed in the middle of it
        if not at.finished:
            at.finished, changed = True, self.core.finish(self.info(last), self.data(last))
        if not changed:
            return None
        stop = self.run_phases()
        if stop is None:
            self.evaluations.replace_last()
            self.evaluate(last)
            self.save()
        return stop

    def stopped(self, stop: Stop) -> str:
        """Save and evaluate where a run ends early; why, for the record."""
        if stop.kind == "loss":
            return self.return_to_checkpoint(stop)
        self.save()  # without the row below: a resumed run evaluates the task at its end
        if stop.at_limit and self.position.task < len(self.prepared.stream.tasks):
            self.evaluate()
        return "interrupted" if stop.kind == "asked" else stop.text

    def return_to_checkpoint(self, stop: Stop) -> str:
        """Everything as in the last saved state; the run ends there, since going on would repeat the loss."""
        if not self.restore_latest():
            self.evaluate()
            return f"{stop.ruin} at step {stop.step}{'' if stop.exploded else UNCHANGED}. {stop.text}"
        if self.position.loop is not None or self.position.ending:
            self.evaluate()
        now = f"returned to the state saved at step {self.core.trainer.steps}"
        return f"{stop.ruin} at step {stop.step}; {now}. {stop.text}"

    def restore_latest(self) -> bool:
        """Go back to the last saved state; False where there is none."""
        saved = None if self.prepared.config.out is None else checkpoint.load(self.prepared.config.out)
        if saved is not None:
            self.restore(saved)
        return saved is not None

    # -- a task

    def info(self, task: int) -> TaskInfo:
        """Joint training sees all classes so far, so nothing is masked to the task's."""
        units = np.array(self.prepared.stream.tasks[task].classes)
        return TaskInfo(task, task == 0, None if self.core.parts.method.wants_all_tasks else units)

    def data(self, task: int) -> SourceData:
        """What the task trains on."""
        tasks = self.prepared.stream.tasks
        first = 0 if self.core.parts.method.wants_all_tasks else task
        sources, ids = [t.train for t in tasks[first : task + 1]], self.stored.ids[first : task + 1]
        if self.miro is not None and self.miro.rows is not None and ids[-1] is not None:
            sources, ids = [sources[-1].subset(self.miro.rows)], [ids[-1][self.miro.rows]]
        return SourceData(sources, ids)

    def make_loop(self, task: int) -> TaskLoop:
        """The steps of a task's own epochs."""
        return self.core.loop(self.info(task), self.data(task), self.prepared.config.epochs)

    def evaluate(self, task: int | None = None) -> None:
        """A row of the accuracy matrices after ``task``, by default the present one."""
        self.evaluations.add(self.core, self.position.task if task is None else task)

    def after_step(self, log: StepLog) -> None:
        """Note it, tell who listens; save every so many steps."""
        every, loop = self.prepared.config.checkpoint_every, self.position.loop
        self.evaluations.watch(self.core, self.session, self.position.task)
        if self.listen is not None:
            p, accuracy = self.prepared, self.evaluations.latest
            whole = len(p.stream.tasks), p.config.epochs, p.plan.steps
            self.listen(progress_of(self.core, self.session, log, self.position.task, whole, accuracy))
        if every and self.core.trainer.steps % every == 0 and loop is not None and not loop.finished:
            self.save()

    def _shed(self, step: int) -> None:
        """Give back what is not needed to go on, without a change of any result; say so once."""
        self.core.shed(step)
        if self.miro is not None:
            self.miro.shed()
        if not any(w.startswith(SHED) for w in self.warnings):
            self.warnings.append(f"{SHED} at step {step}: caches and idle buffers were given back.")

    def run_facts(self, reason: str) -> RunFacts:
        """What the record says."""
        p, seen, resumed = self.prepared, self.evaluations, self.position.resumed_from
        return RunFacts(
            command=self.command, reason=reason, resumed_from=resumed, stream=p.stream, plan=p.plan, budget=p.budget,
            core=self.core.facts(), **seen.facts(), session=self.session.facts(), warnings=self.warnings,
            total_seconds=time.monotonic() - self.began, health=health_of(self.core, seen, p.stream),
        )  # fmt: skip

    # -- saved state

    def save(self) -> None:
        """Write a checkpoint."""
        config, stream = self.prepared.config, self.prepared.stream
        if config.out is not None:
            miro = None if self.miro is None else self.miro.state()
            parts = (self.position, self.stored, self.evaluations, self.session, self.core, self.prepared)
            state = joined(config, stream, self.core.parts.store, *(part.state() for part in parts))
            state = {**state, "warnings": self.warnings, "miro": miro}
            checkpoint.save(config.out, seal(state, self.core.sealing))

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from `save`."""
        config = self.prepared.config
        check_resumable(saved, config, self.prepared.stream, self.core.parts.store)
        with readable_store_errors(config.store):
            self.core.load(unseal(saved, self.core.sealing))
        self.evaluations.load(saved)
        self.warnings = list(saved["warnings"])
        self.prepared.load(saved)
        self.session.load(saved)
        if self.miro is not None:
            self.miro.resume(saved.get("miro"), self.session)
        self.stored.load(saved)
        self.position.load(saved, self.make_loop)
