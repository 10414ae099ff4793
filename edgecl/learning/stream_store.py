"""What a run's store holds of its stream: ids of each task's samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checkpoint
from ..data import SampleSource
from ..planning.memory import APPEND
from ..storage import SampleStore
from .resuming import readable_store_errors

Array = np.ndarray


class StreamStore:
    """ids : int64 [n] of each task stored so far, None without a store"""

    def __init__(self, store: SampleStore | None, path: str | None) -> None:
        self.store, self._path = store, path
        self.ids: list[Array | None] = []

    def begin(self) -> list[str]:
        """See a store of an earlier run of this stream as empty again; the same samples are then not written twice.
        What to tell of it.
        """
        if self.store is None:
            return []
        start = self.store.meta_get("start")
        if start is None:
            self.store.meta_set({"start": checkpoint.to_bytes(self.store.state())})
            return []
        held = self.store.count
        with readable_store_errors(self._path):
            self.store.load(checkpoint.from_bytes(start))
        return [f"The store held {held} samples of an earlier run; it was seen as empty."] if held else []

    def append(self, source: SampleSource) -> None:
        """A task's samples, a piece at a time; they are on flash then."""
        if self.store is None:
            self.ids.append(None)
            return
        ids = []
        for start in range(0, len(source), APPEND):
            rows = np.arange(start, min(start + APPEND, len(source)))
            subjects = None if source.subjects is None else source.subjects[rows]
            # A fixed time: a resumed run stores the same bytes again.
            ticket = self.store.append(source.read(rows), source.labels[rows], subjects, times=np.zeros(rows.size))
            ids.append(ticket.ids)
        self.store.flush()
        self.ids.append(np.concatenate(ids))

    def state(self) -> dict[str, Any]:
        return {"ids": {str(i): a for i, a in enumerate(self.ids) if a is not None}, "stored_tasks": len(self.ids)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.ids = [state["ids"].get(str(i)) for i in range(state["stored_tasks"])]
