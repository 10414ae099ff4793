"""Evaluation on the test sets of the tasks so far: the rows of the accuracy matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data import Task
from ..methods import evaluate_logits
from .core import Core


class Evaluations:
    """class_il, task_il : accuracy on task j after task i as fractions, None where not evaluated
    tasks : of the stream
    """

    def __init__(self, tasks: Sequence[Task], batch: int) -> None:
        self.tasks, self.batch = tasks, batch
        self.class_il: list[list[float | None]] = []
        self.task_il: list[list[float | None]] = []

    def add(self, core: Core, last: int) -> None:
        """A row after task ``last`` (0-based): Class-IL over the units seen, Task-IL among each task's."""
        class_il: list[float | None] = []
        task_il: list[float | None] = []
        for number, task in enumerate(self.tasks[: last + 1]):
            correct = correct_in_task = 0
            own = core.parts.sparse.params_at(core.parts.engine, number) is not None  # weights kept for the task
            units = np.array(task.classes)
            for x, y in task.test.batches(self.batch):
                ours, theirs = evaluate_logits(core.scores(x), y, core.trainer.seen, units)
                if own:
                    theirs = evaluate_logits(core.scores(x, None, number), y, core.trainer.seen, units)[1]
                correct += ours
                correct_in_task += theirs or 0
            n = len(task.test)
            class_il.append(correct / n if n else None)
            task_il.append(correct_in_task / n if n else None)
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
        return {"class_il": self.class_il, "task_il": self.task_il}

    def load(self, state: Mapping[str, Any]) -> None:
        self.class_il, self.task_il = list(state["class_il"]), list(state["task_il"])
