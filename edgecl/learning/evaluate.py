"""Evaluation on the test sets of the tasks so far: the rows of the accuracy matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data import Stream, Task
from ..methods import evaluate_logits
from ..methods.losses import mask_units
from .core import Core
from .health import health_facts
from .history import History
from .session import Session

Array = np.ndarray
MOST_SHOWN = 128  # classes whose confusions are kept


class Evaluations:
    """class_il, task_il : accuracy on task j after task i as fractions, None where not evaluated
    tasks : of the stream
    tested : of the latest row, int64 [C] each: test samples of a unit, those of them that were right, its predictions
    confused : of the latest row, int32 [C, C]: test samples by unit and prediction; None with more than `MOST_SHOWN`
    history : over the steps
    """

    def __init__(self, tasks: Sequence[Task], batch: int) -> None:
        self.tasks, self.batch = tasks, batch
        self.class_il: list[list[float | None]] = []
        self.task_il: list[list[float | None]] = []
        self.tested: tuple[Array, Array, Array] = (np.zeros(0, np.int64),) * 3
        self.confused: Array | None = None
        self.history = History(tasks)

    def watch(self, core: Core, session: Session, task: int) -> None:
        """Note a step of ``task``, a task's own."""
        self.history.after(core, session, task, self.batch)

    def add(self, core: Core, last: int) -> None:
        """A row after task ``last`` (0-based): Class-IL over the units seen, Task-IL among each task's."""
        class_il: list[float | None] = []
        task_il: list[float | None] = []
        samples, right, predicted = (np.zeros(core.classes, np.int64) for _ in range(3))
        confused = np.zeros((core.classes,) * 2, np.int32) if core.classes <= MOST_SHOWN else None
        for number, task in enumerate(self.tasks[: last + 1]):
            correct = correct_in_task = 0
            own = core.parts.sparse.params_at(core.parts.engine, number) is not None  # weights kept for the task
            units = np.array(task.classes)
            for x, y in task.test.batches(self.batch):
                scores = core.scores(x)
                ours, theirs = evaluate_logits(scores, y, core.trainer.seen, units)
                guess = np.argmax(mask_units(scores, core.trainer.seen), axis=1)
                np.add.at(samples, y, 1)
                np.add.at(right, y, guess == y)
                np.add.at(predicted, guess, 1)
                if confused is not None:
                    np.add.at(confused, (y, guess), 1)
                if own:
                    theirs = evaluate_logits(core.scores(x, None, number), y, core.trainer.seen, units)[1]
                correct += ours
                correct_in_task += theirs or 0
            n = len(task.test)
            class_il.append(correct / n if n else None)
            task_il.append(correct_in_task / n if n else None)
        self.tested, self.confused = (samples, right, predicted), confused
        rest: list[float | None] = [None] * (len(self.tasks) - last - 1)
        self.class_il.append(class_il + rest)
        self.task_il.append(task_il + rest)

    def replace_last(self) -> None:
        """The last row is evaluated again."""
        self.class_il.pop()
        self.task_il.pop()

    @property
    def latest(self) -> float | None:
        """Mean Class-IL accuracy after the last evaluated task."""
        found = [a for a in self.class_il[-1] if a is not None] if self.class_il else []
        return sum(found) / len(found) if found else None

    def state(self) -> dict[str, Any]:
        return {
            "class_il": self.class_il, "task_il": self.task_il, "tested": list(self.tested),
            "confused": self.confused, "history": self.history.state(),
        }  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Of the record: matrices, history, and which classes were taken for which."""
        units = np.flatnonzero(self.tested[0]) if self.confused is not None else np.zeros(0, np.int64)
        found = None
        if self.confused is not None:
            found = {"units": units.tolist(), "counts": self.confused[units][:, units].tolist()}
        shown = {"history": self.history.to_json(), "confusion": found}
        return {"class_il": self.class_il, "task_il": self.task_il, "shown": shown}

    def load(self, state: Mapping[str, Any]) -> None:
        self.class_il, self.task_il = list(state["class_il"]), list(state["task_il"])
        none = np.zeros(0, np.int64)
        samples, right, predicted = (np.array(a, np.int64) for a in state.get("tested", (none,) * 3))
        self.tested = samples, right, predicted
        confused = state.get("confused")
        self.confused = None if confused is None else np.array(confused, np.int32)
        self.history.load(state.get("history"))


def health_of(core: Core, evaluations: Evaluations, stream: Stream) -> dict[str, Any]:
    """Whether a run learned at all, for its record."""
    kept = core.parts.method.scenarios if core.parts.method.name != "naive" else ()
    row = evaluations.class_il[-1] if evaluations.class_il else []
    tasks = [t.classes for t in stream.tasks]
    return health_facts(core.trainer.health, core.parts.memory, evaluations.tested, row, tasks, kept)
