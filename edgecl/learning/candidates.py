"""What a memory policy that chooses at a task's end may choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..storage import ArrayCandidates, StoreCandidates
from ..storage.sets import distinct
from .task_data import TaskData
from .wiring import Parts

Array = np.ndarray
Predict = Callable[[Array], Mapping[str, Array]]


class Judged:
    """Candidates that a policy can show to the network: ``evaluate(x)`` gives what its ``fetch`` names, [n, ...]."""

    def __init__(self, candidates: StoreCandidates | ArrayCandidates, evaluate: Predict) -> None:
        self.classes, self.take, self.evaluate = candidates.classes, candidates.take, evaluate


def candidates_of(
    parts: Parts, data: TaskData, predict: Predict, width: int
) -> StoreCandidates | ArrayCandidates | Judged | None:
    """The task's samples for a policy that asks for them: read from the store where they are, or from ``data``.

    predict : an evaluation forward that is metered;  width : of logits that are kept
    """
    if not getattr(parts.policy, "chooses_at_end", False):
        return None
    found: StoreCandidates | ArrayCandidates
    if parts.store is not None and len(data.ids) and (data.ids >= 0).all():
        first, end = int(data.ids.min()), int(data.ids.max()) + 1
        among = data.ids if end - first != len(data.ids) else None  # records of other tasks lie between them
        found = StoreCandidates(parts.store, first, end, among)  # only those chosen are read
    else:
        found = _drawn(parts, data, predict, width)
    return Judged(found, predict) if getattr(parts.policy, "fetch", ()) else found


def _drawn(parts: Parts, data: TaskData, predict: Predict, width: int) -> ArrayCandidates:
    """As many samples of each class as the memory has slots, drawn at random, with the model's present logits where
    the method stores them.
    """
    rng, slots, labels = parts.random["memory"], parts.config.memory, data.labels
    chosen = []
    for unit in distinct(labels):
        rows = np.flatnonzero(labels == unit)
        chosen.append(np.sort(rng.permutation(rows)[:slots]))
    rows = np.concatenate(chosen)
    x, subjects = data.read(rows), data.subjects
    fields = {}
    if parts.method.needs.field("logits") is not None:
        fields = {"logits": np.clip(predict(x)["logits"][:, :width], -65504, 65504).astype(np.float16)}
    return ArrayCandidates(x, labels[rows], fields=fields, subjects=None if subjects is None else subjects[rows])
