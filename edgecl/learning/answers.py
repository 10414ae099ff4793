"""What a learner answers: labels of samples, or their probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import NothingLearned
from ..intake.labels import LabelMap
from ..methods.losses import probabilities
from .core import Core
from .tasks import Tasks

Array = np.ndarray


def answers(core: Core, tasks: Tasks, known: LabelMap, x: Array, proba: bool, task: Any = None) -> Any:
    """Labels of samples x [n, ...], or float32 [n, k] probabilities in the order of the labels ``known``; from any
    thread but where a task is named. Raises `NothingLearned` before anything was learned.
    """
    if not core.trainer.seen.any():
        raise NothingLearned("Nothing has been learned yet.", "Call observe() and learn() first.")
    if task is None:
        scores = core.scores(x, core.trainer.seen)
    else:
        number, units = tasks.of(task)
        among = np.zeros(core.classes, bool)
        among[units] = True
        scores = core.scores(x, among & core.trainer.seen, number)
    labels = list(known.labels)
    if not proba:
        return [labels[k] for k in np.argmax(scores, axis=1)]
    shares = probabilities(scores, len(labels))
    if known.plain:
        return shares
    full, columns = np.zeros((len(x), len(known.distinct)), np.float32), known.columns()[: len(labels)]
    np.add.at(full.T, columns[columns >= 0], shares.T[columns >= 0])
    return full
