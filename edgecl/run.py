"""run: train a stream task by task inside a plan, with checkpoints, budgets and a record."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from . import checkpoint, plugins
from .budget.miro import Resources
from .budget.stop import Stop
from .erasure.sealing import seal, unseal
from .learning.core import Core
from .learning.evaluate import Evaluations
from .learning.miro import make_miro
from .learning.out_folder import OutFolder, essential
from .learning.parts import holds_store
from .learning.position import Position
from .learning.resuming import (
    CHANGEABLE,
    check_resumable,
    data_facts,
    readable_store_errors,
    resumed_options,
    with_saved_front,
)
from .learning.root_key import root_key
from .learning.session import Session
from .learning.stream_store import StreamStore
from .learning.task_data import SourceData
from .learning.task_loop import StepLog, TaskLoop
from .methods.context import TaskInfo
from .planning.run_plan import Prepared, prepare
from .report.build import RunFacts, build_record
from .report.progress import Listener, Progress
from .report.record import write_record
from .storage.errors import WriteBudgetSpent

SHED = "RAM came near its budget"


def run(
    options: Mapping[str, Any],
    *,
    command: str = "edgecl run",
    listen: Listener | None = None,
    stop: Event | None = None,
    resume: str | Path | None = None,
    use: str | Path | Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Train as ``options`` say and return the run record (also written to ``out``/run.json when ``out`` is set).

    Parameters
    ----------
    stop : set it from another thread or a signal handler to end the run in order after the present step
    resume : the ``out`` folder of a run that was cut short; ``options`` may then only change budgets
    use : files or modules to import first, which register what ``options`` name

    Raises `EdgeclError` for what a user can mend. A run that reaches a budget returns normally.
    """
    plugins.use(use)
    saved = None
    if resume is not None:
        options, saved = resumed_options(Path(resume), options)
        options = with_saved_front(options, saved)
    prepared = prepare(options)
    with Run(prepared, command, listen, stop) as job:
        return job.execute(saved)


class Run:
    """One run. A context manager: leaving it stops movers and closes store and stream.

    prepared : what is trained;  core, session : who trains
    task : the present one, 0-based;  loop : of its own epochs, None before and after them
    ending : whether the task's own epochs are over and its end is not
    """

    def __init__(
        self, prepared: Prepared, command: str, listen: Listener | None = None, stop: Event | None = None
    ) -> None:
        self.prepared, self.listen = prepared, listen
        config, stop = prepared.config, stop or Event()
        self.folder = None if config.out is None else OutFolder(Path(config.out), config.to_json())
        self.facts: dict[str, Any] = {"command": command, "began": time.monotonic(), "resumed_from": None}
        self.warnings: list[str] = list(prepared.plan.choices)
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
        config, at = self.prepared.config, self.position
        if saved is not None:
            self.restore(saved)
            self.facts["resumed_from"] = self.core.trainer.steps
            if self.folder is not None:
                self.folder.keep(config.to_json())
        else:
            told = self.stored.begin()
            if told is not None:
                self.warnings.append(told)
            if self.folder is not None:
                self.folder.begin()
                self.folder.keep(config.to_json())
            self.save()
        tasks, reason = len(self.prepared.stream.tasks), "completed"
        while at.task < tasks:
            try:
                stop = self.train_task()
            except WriteBudgetSpent as error:
                reason = f"budget reached: flash writes a day ({error.cause})"
                self.discard_task()
                break
            if stop is not None:
                reason = self.stopped(stop)
                break
            self.save()
        else:
            stop = self.finish()
            if stop is not None:
                reason = self.stopped(stop)
        record = build_record(self.run_facts(reason))
        if self.folder is not None:
            write_record(self.folder.path / "run.json", record)
        return record

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
            governor, energy = self.session.governor, self.session.energy
            energy.begin()
            slowed = governor is not None and governor.level > 0
            self.miro.begin_task(at.task, now.train, np.array(now.classes), slowed)
            energy.end()
            energy.other_steps = self.miro.trial_steps
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
        hooks: dict[str, Any] = {"on_pause": self.save, "after": self.after_step}
        return self.core.run_phases(self.session, self.info(task), self.data(task), **hooks)

    def finish(self) -> Stop | None:
        """After the last task: what the method trains at the end only, and the evaluation again when it did."""
        last = len(self.prepared.stream.tasks) - 1
        if not self.core.phases:
            self.core.finish(self.info(last), self.data(last))
        if not self.core.phases:
            return None
        stop = self.run_phases()
        if stop is None:
            self.evaluations.replace_last()
            self.evaluate(last)
        return stop

    def stopped(self, stop: Stop) -> str:
        """Save and evaluate where the run ends early; why, for the record."""
        if stop.kind == "loss":
            reason, trained = self.return_to_checkpoint(stop)
            if trained:
                self.evaluate()
            return reason
        self.save()  # without the row below: a resumed run evaluates the task at its end
        if stop.at_limit and self.position.task < len(self.prepared.stream.tasks):
            self.evaluate()
        return "interrupted" if stop.kind == "asked" else stop.text

    def return_to_checkpoint(self, stop: Stop) -> tuple[str, bool]:
        """(reason to end, whether the task has begun): everything, the record's figures included, as in the last saved
        state. The run ends there, since going on would repeat the loss.
        """
        out = self.prepared.config.out
        saved = None if out is None else checkpoint.load(out)
        if saved is None:
            return f"loss not finite at step {stop.step}; stopped before it changed a weight. {stop.text}", True
        self.restore(saved)
        back = self.core.trainer.steps
        reason = f"loss not finite at step {stop.step}; returned to the state saved at step {back}. {stop.text}"
        return reason, self.position.loop is not None or self.position.ending

    def discard_task(self) -> None:
        """A task whose samples could not all be stored has not begun: as it was saved."""
        out = self.prepared.config.out
        saved = None if out is None else checkpoint.load(out)
        if saved is not None:
            self.restore(saved)

    # -- a task

    def info(self, task: int) -> TaskInfo:
        """Joint training sees all classes so far, so nothing is masked to the task's."""
        everything = self.core.parts.method.wants_all_tasks
        units = None if everything else np.array(self.prepared.stream.tasks[task].classes)
        return TaskInfo(task, task == 0, units)

    def data(self, task: int) -> SourceData:
        """What the task trains on."""
        tasks = self.prepared.stream.tasks
        first = 0 if self.core.parts.method.wants_all_tasks else task
        sources, ids = [t.train for t in tasks[first : task + 1]], self.stored.ids[first : task + 1]
        if self.miro is not None and self.miro.rows is not None and ids[-1] is not None:
            sources, ids = [sources[-1].subset(self.miro.rows)], [ids[-1][self.miro.rows]]
        return SourceData(sources, ids)

    def make_loop(self, task: int) -> TaskLoop:
        return self.core.loop(self.info(task), self.data(task), self.prepared.config.epochs)

    def evaluate(self, task: int | None = None) -> None:
        core, task = self.core, self.position.task if task is None else task
        own = core.parts.sparse.params_at(core.parts.engine, task) is not None
        self.evaluations.add(lambda x, t: core.scores(x, None, t), core.trainer.seen, task, own)

    def after_step(self, log: StepLog) -> None:
        """Tell who listens; save every so many steps."""
        every, loop = self.prepared.config.checkpoint_every, self.position.loop
        if self.listen is not None:
            self.listen(self.progress(log))
        if every and self.core.trainer.steps % every == 0 and loop is not None and not loop.finished:
            self.save()

    def progress(self, log: StepLog) -> Progress:
        core, guard = self.core, self.session.guard
        return Progress(
            task=min(self.position.task, len(self.prepared.stream.tasks) - 1),
            tasks=len(self.prepared.stream.tasks),
            epoch=log.epoch,
            epochs=self.prepared.config.epochs,
            step=core.trainer.steps,
            steps=self.prepared.plan.steps,
            loss=log.loss,
            accuracy=self.evaluations.latest,
            resident_bytes=guard.last_resident,
            ram_limit=guard.memory.limit,
            flops=core.trainer.flops,
            dense_flops=core.parts.ledger.full_dense,
        )

    def _shed(self, step: int) -> None:
        """Give back what is not needed to go on, without a change of any result; say so once."""
        self.core.shed(step)
        if self.miro is not None:
            slots = self.miro.memory.slots // 2
            self.miro.changed(Resources(max(slots, 1), self.miro.resources.frugal))
        if not any(w.startswith(SHED) for w in self.warnings):
            self.warnings.append(f"{SHED} at step {step}: caches and idle buffers were given back.")

    def run_facts(self, reason: str) -> RunFacts:
        p = self.prepared
        return RunFacts(
            command=self.facts["command"],
            reason=reason,
            resumed_from=self.facts["resumed_from"],
            stream=p.stream,
            plan=p.plan,
            budget=p.budget,
            class_il=self.evaluations.class_il,
            task_il=self.evaluations.task_il,
            core=self.core.facts(),
            session=self.session.facts(),
            total_seconds=time.monotonic() - self.facts["began"],
            warnings=self.warnings,
        )

    # -- saved state

    def save(self) -> None:
        """Write a checkpoint."""
        config, stream, store = self.prepared.config, self.prepared.stream, self.core.parts.store
        if config.out is None:
            return
        state = {
            "identity": stream.identity,
            "config": essential(config.to_json(), CHANGEABLE),
            "store_id": None if store is None else store.id,
            "data": data_facts(stream),
            **self.position.state(),
            **self.stored.state(),
            **self.evaluations.state(),
            "warnings": self.warnings,
            **self.session.state(),
            **({} if self.prepared.front is None else {"front": self.prepared.front.state()}),
            "miro": None if self.miro is None else self.miro.state(),
            **self.core.state(),
        }
        checkpoint.save(config.out, seal(state, self.core.sealing))

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from `save`."""
        config = self.prepared.config
        check_resumable(saved, config, self.prepared.stream, self.core.parts.store)
        with readable_store_errors(config.store):
            self.core.load(unseal(saved, self.core.sealing))
        self.evaluations.load(saved)
        self.warnings = list(saved["warnings"])
        if self.prepared.front is not None:
            self.prepared.front.load(saved["front"])
        self.session.load(dict(saved))
        if self.miro is not None and saved.get("miro") is not None:
            self.miro.load(saved["miro"])
            self.session.energy.other_steps = self.miro.trial_steps
        self.stored.load(saved)
        self.position.load(saved, self.make_loop)
