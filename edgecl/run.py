"""run: train a stream task by task inside a plan, with checkpoints, budgets and a record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from . import checkpoint, plugins
from .budget.miro import Resources
from .budget.stop import Stop
from .data import Stream
from .erasure.forgetting import seal, unseal
from .errors import BadInput, EdgeclError
from .learning.evaluate import evaluate_tasks
from .learning.ledger import DenseRows
from .learning.miro import make_miro
from .learning.out_folder import OutFolder, essential, kept_options
from .learning.parts import APPEND, build_parts, close_parts, holds_store
from .learning.root_key import root_key
from .learning.session import Session
from .learning.task_data import SourceData
from .learning.task_loop import StepLog, TaskLoop
from .learning.trainer import Trainer
from .planning.run_plan import Prepared, prepare
from .report.build import build_record
from .report.record import write_record
from .storage.errors import StoreError, WriteBudgetSpent

SHED = "RAM came near its budget"
# what a resumed run may change: budgets, who watches, and where the key lies
CHANGEABLE = (
    "ram", "flops", "energy", "energy_source", "seconds", "flash_writes_per_day",
    "max_temperature", "min_battery", "max_load", "root_key_file",
)  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """A moment of a run, for displays. accuracy : Class-IL after the last finished task, or None."""

    task: int
    tasks: int
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None
    resident_bytes: int
    ram_limit: int | None
    flops: int
    dense_flops: int


Listener = Callable[[Progress], None]


def run(
    options: Mapping[str, Any],
    *,
    command: str = "edgecl run",
    listen: Listener | None = None,
    stop: Event | None = None,
    resume: str | Path | None = None,
    use: str | Path | Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Train as ``options`` say and return the run record (also written to ``out``/run.json when ``out`` is
    set).

    stop   : set it from another thread or a signal handler to end the run in order after the present step
    resume : the ``out`` folder of a run that was cut short; ``options`` may then only change budgets
    use    : files or modules to import first, which register what ``options`` name
    Raises `EdgeclError` for what a user can mend. A run that reaches a budget returns normally.
    """
    plugins.use(use)
    saved = None
    if resume is not None:
        options, saved = resumed_options(Path(resume), options)
    prepared = prepare(options)
    with Run(prepared, command, listen, stop) as job:
        return job.execute(saved)


def resumed_options(folder: Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The options of the run in ``folder`` with new budgets, and its last good state (None: it never got
    that far)."""
    old = kept_options(folder)
    changed = {k: v for k, v in options.items() if v is not None}
    for name in changed:
        if name not in CHANGEABLE and not (name == "out" and Path(changed[name]).resolve() == folder.resolve()):
            raise BadInput(
                f"--{name.replace('_', '-')} cannot change in a resumed run.", "Drop it, or start a new run."
            )
    saved = checkpoint.load(folder)
    if saved is None and (states := checkpoint.generations(folder)):
        checkpoint.read(states[-1])  # says what is wrong with it: to begin anew would overwrite it
    store = old.get("store")
    if saved is not None and store is not None and not holds_store(store):
        raise BadInput(f"The store of this run is not in '{store}'.", "Resume in the folder where the run was begun.")
    return {
        **{k: v for k, v in old.items() if k not in CHANGEABLE or k not in changed},
        **changed,
        "out": str(folder),
    }, saved


class Run:
    """One run. A context manager: leaving it stops movers and closes store and stream."""

    def __init__(
        self, prepared: Prepared, command: str, listen: Listener | None = None, stop: Event | None = None
    ) -> None:
        self.prepared = prepared
        self.command = command
        self.config = prepared.config
        self.stream = prepared.stream
        self.listen = listen
        self.stop = stop or Event()
        self.out = None if self.config.out is None else Path(self.config.out)
        self.folder = None if self.out is None else OutFolder(self.out, self.config.to_json())
        self.started = time.monotonic()
        self.class_il: list[list[float | None]] = []
        self.task_il: list[list[float | None]] = []
        self.warnings: list[str] = list(prepared.plan.choices)
        self.resumed_from: int | None = None
        try:
            new = self.config.store is not None and not holds_store(self.config.store)
            key = root_key(self.config.root_key_file, self.config.store, self.config.out, make=new)
            self.parts = build_parts(prepared.plan, prepared.graph, prepared.spec, self.stream.identity, root_key=key)
            try:
                self.assemble()
            except BaseException:  # the store is for another try
                close_parts(self.parts)
                raise
        except BaseException:
            if self.folder is not None:
                self.folder.refuse()
            raise

    def assemble(self) -> None:
        """What goes around the parts."""
        prepared = self.prepared
        self.trainer = Trainer(self.parts)
        slots = 0 if self.parts.memory is None else self.config.memory
        self.dense = DenseRows(slots, self.config.memory_policy == "reservoir")
        self.session = Session(self.trainer, prepared.budget, prepared.plan, self.stop, self.shed)
        self.predict_batch = prepared.plan.plan.predict_batch
        self.predict = self.parts.engine.predictor(self.predict_batch)
        self.ids: list[np.ndarray | None] = []
        self.miro = make_miro(self.trainer, prepared.plan)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        close_parts(self.parts)
        self.stream.close()
        if self.folder is not None:
            self.folder.close()

    # -- the way through the stream

    def execute(self, saved: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Train from the start, or from a saved state, to the end of the stream or the reason to stop."""
        first, loop = 0, None
        if saved is not None:
            first, loop = self.restore(saved)
            self.resumed_from = self.trainer.steps
            if self.folder is not None:
                self.folder.keep(self.config.to_json())
        else:
            self.begin_store()
            if self.folder is not None:
                self.folder.begin()
                self.folder.keep(self.config.to_json())
            self.save(0, None)
        reason = "completed"
        for task in range(first, len(self.stream.tasks)):
            try:
                if loop is None:
                    loop = self.begin_task(task)
            except WriteBudgetSpent as error:
                reason = f"budget reached: flash writes a day ({error.cause})"
                self.discard_task()
                break
            stop = self.train(task, loop)
            if stop is not None and stop.kind == "loss":
                reason, task, loop = self.return_to_checkpoint(task, loop, stop)
                if loop is not None:
                    self.evaluate(task)
                break
            if stop is not None:
                reason = "interrupted" if stop.kind == "asked" else stop.text
                self.save(task, loop)  # without the row below: a resumed run evaluates the task at its end
                if stop.at_limit:
                    self.evaluate(task)
                break
            self.end_task(task)
            loop = None
            self.save(task + 1, None)
        else:
            self.parts.method.finish(self.parts.engine, self.parts.memory)
        record = build_record(self, reason)
        if self.out is not None:
            write_record(self.out / "run.json", record)
        return record

    def begin_task(self, task: int) -> TaskLoop:
        """Store the task's samples, tell the method, save."""
        now = self.stream.tasks[task]
        self.trainer.seen[list(now.classes)] = True
        self.ids.append(self.append(task))
        self.parts.method.begin_task(self.parts.engine, task)
        self.parts.sparse.begin_task(task)
        if self.miro is not None:
            governor, energy = self.session.governor, self.session.energy
            energy.begin()
            self.miro.begin_task(task, now.train, np.array(now.classes), governor is not None and governor.level > 0)
            energy.end()
            energy.other_steps = self.miro.trial_steps
        loop = self.make_loop(task)
        self.save(task, loop)
        return loop

    def discard_task(self) -> None:
        """A task whose samples could not all be stored has not begun: as it was saved."""
        saved = None if self.out is None else checkpoint.load(self.out)
        if saved is not None:
            self.restore(saved)

    def make_loop(self, task: int) -> TaskLoop:
        everything = self.parts.method.wants_all_tasks
        first = 0 if everything else task
        sources, ids = [t.train for t in self.stream.tasks[first : task + 1]], self.ids[first : task + 1]
        if self.miro is not None and self.miro.rows is not None and ids[-1] is not None:
            sources, ids = [sources[-1].subset(self.miro.rows)], [ids[-1][self.miro.rows]]
        data = SourceData(sources, ids)
        units = None if everything else np.array(self.stream.tasks[task].classes)
        return TaskLoop(self.trainer, data, self.dense, task=task, epochs=self.config.epochs, task_units=units)

    def append(self, task: int) -> np.ndarray | None:
        """The task's samples into the store, a piece at a time; their ids, once they are on flash."""
        store, source = self.parts.store, self.stream.tasks[task].train
        if store is None:
            return None
        ids = []
        for start in range(0, len(source), APPEND):
            rows = np.arange(start, min(start + APPEND, len(source)))
            subjects = None if source.subjects is None else source.subjects[rows]
            # A fixed time: a resumed run stores the same bytes again.
            ticket = store.append(source.read(rows), source.labels[rows], subjects, times=np.zeros(rows.size))
            ids.append(ticket.ids)
        store.flush()
        return np.concatenate(ids)

    def train(self, task: int, loop: TaskLoop) -> Stop | None:
        """All remaining steps of the task; why it must stop before its end."""
        every = self.config.checkpoint_every

        def after(log: StepLog) -> None:
            if self.listen is not None:
                self.listen(self.progress(task, loop, log.epoch, log.loss))
            if every and self.trainer.steps % every == 0 and not loop.finished:
                self.save(task, loop)

        return self.session.run(loop, after=after, on_pause=lambda: self.save(task, loop))

    def return_to_checkpoint(self, task: int, loop: TaskLoop, stop: Stop) -> tuple[str, int, TaskLoop | None]:
        """(reason to end, task, its loop or None): everything, the record's figures included, as in the last
        saved state. The run ends there, since going on would repeat the loss."""
        step = stop.step
        saved = None if self.out is None else checkpoint.load(self.out)
        if saved is None:
            reason = f"loss not finite at step {step}; stopped before it changed a weight. {stop.text}"
            return reason, task, loop
        found = self.restore(saved)
        back = self.trainer.steps
        reason = f"loss not finite at step {step}; returned to the state saved at step {back}. {stop.text}"
        return reason, *found

    def end_task(self, task: int) -> None:
        """Drop exchanges not yet done, update the memory, evaluate."""
        p = self.parts
        if p.carousel is not None:
            p.carousel.drop_pending()
        if p.memory is not None:
            p.policy.end_task(p.memory, p.random["memory"], self.candidates(task))
        p.method.end_task(p.engine, p.memory)
        self.evaluate(task)

    def candidates(self, task: int) -> Any:
        """The task's samples for a policy that chooses at its end: read from the store, or from the
        stream."""
        from .learning.candidates import source_candidates, store_candidates

        ids = self.ids[task]
        if self.config.memory_policy != "balanced":
            return None
        if self.parts.store is not None and ids is not None:
            return store_candidates(self.parts.store, ids)
        return source_candidates(self.stream.tasks[task].train, self.parts, self.predict, self.trainer.seen)

    def evaluate(self, task: int) -> None:
        tasks = self.stream.tasks[: task + 1]
        class_il, task_il = evaluate_tasks(
            self.predict, self.parts.method, tasks, self.trainer.seen, self.predict_batch
        )
        rest: list[float | None] = [None] * (len(self.stream.tasks) - task - 1)
        self.class_il.append(class_il + rest)
        self.task_il.append(task_il + rest)

    def progress(self, task: int, loop: TaskLoop, epoch: int, loss: float) -> Progress:
        evaluated = [a for a in self.class_il[-1] if a is not None] if self.class_il else []
        return Progress(
            task=task,
            tasks=len(self.stream.tasks),
            epoch=epoch,
            epochs=self.config.epochs,
            step=self.trainer.steps,
            steps=self.prepared.plan.steps,
            loss=loss,
            accuracy=sum(evaluated) / len(evaluated) if evaluated else None,
            resident_bytes=self.session.guard.last_resident,
            ram_limit=self.session.guard.memory.limit,
            flops=self.trainer.flops,
            dense_flops=self.parts.ledger.full_dense,
        )

    def shed(self, step: int) -> None:
        """Give back what is not needed to go on, without a change of any result; say so once."""
        carousel = self.parts.carousel
        if carousel is not None:
            carousel.trim()
        self.trainer.log.append((step, -1, "shed"))
        if self.miro is not None:
            slots = self.miro.memory.slots // 2
            self.miro.changed(Resources(max(slots, 1), self.miro.resources.frugal))
        if not any(w.startswith(SHED) for w in self.warnings):
            self.warnings.append(f"{SHED} at step {step}: caches and idle buffers were given back.")

    # -- saved state

    def begin_store(self) -> None:
        """A store of an earlier run of this stream is seen as empty again; the same samples are then not
        written twice."""
        store = self.parts.store
        if store is None:
            return
        start = store.meta_get("start")
        if start is None:
            store.meta_set({"start": checkpoint.to_bytes(store.state())})
            return
        if store.count:
            self.warnings.append(f"The store held {store.count} samples of an earlier run; it was seen as empty.")
        with _readable_store_errors(self.config.store):
            store.load(checkpoint.from_bytes(start))

    def save(self, task: int, loop: TaskLoop | None) -> None:
        """Write a checkpoint; ``loop`` None means the task has not begun."""
        if self.out is None:
            return
        state = {
            "identity": self.stream.identity,
            "config": essential(self.config.to_json(), CHANGEABLE),
            "store_id": None if self.parts.store is None else self.parts.store.id,
            "data": data_facts(self.stream),
            "task": task,
            "loop": None if loop is None else loop.state(),
            "ids": {str(i): a for i, a in enumerate(self.ids) if a is not None},
            "stored_tasks": len(self.ids),
            "dense": self.dense.state(),
            "class_il": self.class_il,
            "task_il": self.task_il,
            "warnings": self.warnings,
            **self.session.state(),
            "miro": None if self.miro is None else self.miro.state(),
            "trainer": self.trainer.state(),
        }
        checkpoint.save(self.out, seal(state, self.sealing))

    @property
    def sealing(self) -> Any:
        """What seals checkpoints; None without a root key."""
        return None if self.parts.store is None else self.parts.store._sealing

    def restore(self, saved: Mapping[str, Any]) -> tuple[int, TaskLoop | None]:
        """Continue from `save`: (task, its loop or None when it had not begun)."""
        if saved["identity"] != self.stream.identity:
            raise BadInput("The saved state belongs to another stream.", "Resume with the stream the run began with.")
        facts = data_facts(self.stream)
        if saved.get("data", facts) != facts:
            raise BadInput(
                f"The data of '{self.config.stream}' has changed since the state was saved.",
                "Put it back, or start a new run.",
            )
        now = essential(self.config.to_json(), CHANGEABLE)
        before = essential(saved.get("config", now), CHANGEABLE)
        if other := [name for name, value in before.items() if now.get(name) != value]:
            raise BadInput(
                f"The saved state was made with another {', '.join(other)} than '{self.out}/config.json' says.",
                "Put back what was there, or start a new run.",
            )
        store = self.parts.store
        if store is not None and saved.get("store_id", store.id) != store.id:
            raise BadInput(
                f"'{self.config.store}' is not the store that this run was saved with.", "Put that one in its place."
            )
        if store is not None and (gone := store.forgotten()):
            raise BadInput(
                f"Subject {gone[-1][0]} was forgotten by the run's store; its saved states and stream still hold it.",
                f"Remove '{self.out}', and start a new run on a stream without the subject.",
            )
        with _readable_store_errors(self.config.store):
            self.trainer.load(unseal(saved, self.sealing)["trainer"])
        self.dense.load(saved["dense"])
        self.class_il, self.task_il = list(saved["class_il"]), list(saved["task_il"])
        self.warnings = list(saved["warnings"])
        self.session.load(dict(saved))
        if self.miro is not None and saved.get("miro") is not None:
            self.miro.load(saved["miro"])
            self.session.energy.other_steps = self.miro.trial_steps
        self.ids = [saved["ids"].get(str(i)) for i in range(saved["stored_tasks"])]
        self.predict = self.parts.engine.predictor(self.predict_batch)
        if saved["loop"] is None:
            return saved["task"], None
        loop = self.make_loop(saved["task"])
        loop.load(saved["loop"])
        return saved["task"], loop


def data_facts(stream: Stream) -> dict[str, Any]:
    """What tells a stream's samples apart from others of the same name, shape and labels."""
    sizes = [[len(task.train), len(task.test)] for task in stream.tasks]
    return {"sizes": sizes, "mean": list(stream.mean), "std": list(stream.std)}


@contextlib.contextmanager
def _readable_store_errors(path: str | None):
    """Store errors of this block as user errors."""
    try:
        yield
    except StoreError as error:
        raise EdgeclError(error.cause, f"{error.remedy} (store: {path})") from error
