"""Evaluation on the test sets of the tasks so far, one forward for Class-IL and Task-IL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..data import Task
from ..methods import Method, evaluate_logits

Array = np.ndarray


def evaluate_tasks(
    predict: Callable[[Array], dict[str, Array]], method: Method, tasks: Sequence[Task], seen: Array, batch: int
) -> tuple[list[float | None], list[float | None]]:
    """(Class-IL, Task-IL) accuracy per task as fractions; Class-IL over the units ``seen`` (bool [C]).

    predict : samples [n, ...] -> outputs by name, ``logits`` float32 [n, C];  batch : samples read at a time
    """
    class_il: list[float | None] = []
    task_il: list[float | None] = []
    for task in tasks:
        correct = correct_in_task = 0
        units = np.array(task.classes)
        for x, y in task.test.batches(batch):
            logits = method.scores(predict(x), None)
            ours, theirs = evaluate_logits(logits, y, seen, units)
            correct += ours
            correct_in_task += theirs or 0
        n = len(task.test)
        class_il.append(correct / n if n else None)
        task_il.append(correct_in_task / n if n else None)
    return class_il, task_il
