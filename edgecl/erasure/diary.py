"""Diary: what a learner was asked to do, and the states kept at the ends of its tasks; both for training anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..storage import SampleStore
from . import calls
from .calls import Call, CallLog
from .kept import KeptStates


class Diary:
    """The log of calls, and the states kept.

    Parameters
    ----------
    classes, labels : head units, and how many of them had labels, when the learner was made
    weights : (path, sha256) of what it started from, or None
    folder, most : where states are kept, and how many
    """

    def __init__(
        self,
        classes: int,
        labels: int,
        weights: tuple[str, str] | None,
        folder: Path | None,
        most: int,
    ) -> None:
        self.calls = CallLog(classes, labels, weights)
        self.kept = KeptStates(folder, most)
        self._since: int | None = None  # trainer's step at which the running `learn` began

    # -- writing

    def note_stored(self, store: SampleStore | None) -> None:
        """Samples that the store holds and the log does not know."""
        if store is not None and store.next_id > self.calls.next_id:
            self.calls.add(Call(calls.STORED, self.calls.next_id, store.next_id - self.calls.next_id))
            self.calls.subjects.update(s for s in store.subjects() if s >= 0)

    def observed(self, ids: np.ndarray, count: int, *, buffered: bool, steps: int) -> None:
        """``count`` samples with ``ids`` (-1: not on flash) came when the trainer had done ``steps``."""
        during = calls.NOT_DURING if self._since is None else steps - self._since
        if ids.size and ids[0] >= 0:
            kind, when = (calls.OBSERVED, during) if buffered else (calls.STORED, 0)
            self.calls.add(Call(kind, int(ids[0]), count, when))

    def found(self, first: int, end: int) -> None:
        """Records ``first`` to ``end`` of the store, which the log does not know, are new to this learner."""
        first = max(first, self.calls.next_id)
        if end > first:
            self.calls.add(Call(calls.FOUND, first, end - first))

    def labelled(self, first: int, count: int) -> None:
        """Samples observed without a label have one now."""
        self.calls.add(Call(calls.LABELLED, first, count))

    def removed(self, count: int) -> None:
        """So many samples were taken out one by one."""
        self.calls.add(Call(calls.REMOVED, 0, count))

    def unstored(self, count: int) -> None:
        """So many samples were kept in RAM only."""
        self.calls.add(Call(calls.UNSTORED, 0, count))

    def of_subjects(self, subjects: Iterable[int]) -> None:
        self.calls.subjects.update(s for s in subjects if s >= 0)

    def began_learning(self, epochs: int | None, steps: int | None, at: int) -> int:
        """A `learn` begins at the trainer's step ``at``; the number of its entry."""
        number = self.calls.add(Call(calls.LEARNED, epochs or 0, steps or 0, 0))
        self._since = at
        return number

    def stopped_learning(self) -> None:
        self._since = None

    def task_ended(self) -> None:
        self.calls.add(Call(calls.TASK_ENDED))

    def forgot(self, subject: int) -> None:
        self.calls.add(Call(calls.FORGOT, subject))

    def forget_in_files(self, subject: int) -> list[str]:
        """Note that the subject was forgotten, and drop the states kept since its first sample; their files."""
        if subject in self.calls.subjects:
            self.forgot(subject)
        return self.kept.forget(subject)

    # -- saved state

    def state(self) -> dict[str, Any]:
        return {"calls": self.calls.state(), "keep_checkpoints": self.kept.most, "kept": self.kept.tasks}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, of this version or an earlier one."""
        self.kept.tasks = [int(t) for t in state.get("kept", ())]
        if "calls" in state:
            self.calls.load(state["calls"])
        else:  # saved before calls were logged
            self.calls.cut()
