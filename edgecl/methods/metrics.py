"""Continual-learning metrics of an accuracy matrix, as Mammoth defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .losses import mask_units

Array = np.ndarray
Matrix = Sequence[Sequence[float | None]] | Array


def accuracy_metrics(class_il: Matrix, task_il: Matrix | None = None) -> dict[str, float | None]:
    """Metrics of R, R[i][j] = accuracy on task j after task i as a fraction, None or NaN where not evaluated.

    average_accuracy : mean of the last row
    average_incremental_accuracy : mean over i of mean_{j <= i} R[i][j]
    forgetting : Mammoth's, mean_{j < T-1} of (max_i R[i][j] - R[T-1][j]), unseen entries 0, never negative
    backward_transfer : mean_{j < T-1} of R[T-1][j] - R[j][j]
    learning_accuracy : mean of R[j][j]
    task_il_average_accuracy : mean of the last row of ``task_il``
    Tasks after the last evaluated one (a run that was stopped) do not count.
    A metric is None where an entry it needs was not evaluated, or where there is too little of the matrix
    (forgetting and backward transfer of one task).
    """
    r = _array(class_il)
    tasks = len(r)
    rows = [r[i, : i + 1].mean() for i in range(tasks)]
    last = r[-1, :tasks] if tasks else np.zeros(0)
    learned = np.tril(r)  # a task not learned yet counts as 0 in the maximum
    diagonal = np.diagonal(r)
    return {
        "average_accuracy": _mean(last),
        "average_incremental_accuracy": _mean(np.array(rows)),
        "forgetting": _mean(learned.max(axis=0)[: tasks - 1] - last[:-1]) if tasks > 1 else None,
        "backward_transfer": _mean(last[:-1] - diagonal[:-1]) if tasks > 1 else None,
        "learning_accuracy": _mean(diagonal),
        "task_il_average_accuracy": None if task_il is None else _last_row(task_il),
    }


def evaluate_logits(
    logits: Array, y: Array, seen_units: Array | None = None, task_units: Array | None = None
) -> tuple[int, int | None]:
    """Correct predictions (Class-IL, Task-IL) of a batch of test samples of one task.

    logits float32 [N, C], y int [N] head units. Class-IL: argmax over ``seen_units`` (bool [C]).
    Task-IL: argmax over ``task_units`` (int [k] units of the samples' task); None without them.
    """
    y = np.asarray(y)
    class_il = int(np.count_nonzero(np.argmax(mask_units(logits, seen_units), axis=1) == y))
    if task_units is None:
        return class_il, None
    units = np.zeros(logits.shape[1], bool)
    units[np.asarray(task_units)] = True
    return class_il, int(np.count_nonzero(np.argmax(mask_units(logits, units), axis=1) == y))


def _array(matrix: Matrix) -> Array:
    """Float64 [T, T], NaN where not evaluated; T ends with the last task that was evaluated."""
    rows = [[np.nan if v is None else float(v) for v in row] for row in matrix]
    while rows and np.isnan(rows[-1]).all():
        rows.pop()
    tasks = len(rows)
    full = np.full((tasks, tasks), np.nan)
    for i, row in enumerate(rows):
        row = row[:tasks]
        full[i, : len(row)] = row
    return full


def _mean(values: Array) -> float | None:
    return float(values.mean()) if values.size and not np.isnan(values).any() else None


def _last_row(matrix: Matrix) -> float | None:
    r = _array(matrix)
    return _mean(r[-1]) if len(r) else None
