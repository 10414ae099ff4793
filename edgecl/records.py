"""Records: what a learner does with samples by their ids, after they were observed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .backup import archive
from .errors import EdgeclError
from .intake.labels import Label
from .intake.samples import as_samples
from .learning.live_model import LiveModel
from .learning.standing import standing
from .life import Life
from .storage.errors import UseAfterFork


class Records:
    """The part of a `Learner` that changes samples and labels. Each call waits for a running `learn`; what it did is on
    flash when it returns, and memory, stream buffer, saved order and training anew know it.
    """

    life: Life
    _work: threading.RLock

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels observed so far, in the order of their head units."""
        return self.life.intake.labels.distinct

    @property
    def units(self) -> tuple[Label | None, ...]:
        """The label of each head unit that has samples; None where it was removed."""
        return tuple(self.life.intake.labels.labels)

    @property
    def model(self) -> LiveModel:
        """The weights as they are now: their version, to keep, to go back to, to take away."""
        return LiveModel(self.life.core, self.life.diary, self._work)

    def standing(self) -> Callable[[Any], np.ndarray]:
        """A function that answers as ``predict(x, proba=True)`` of many samples does now, whatever is learned
        afterwards; for one thread at a time. Raises `BadInput` for a method that predicts by more than the logits.
        """
        with self._still():
            answer = standing(self.life.core, self.life.intake.labels)
            return lambda x: answer(self.life.behind_front(as_samples(x, self.life.spec)))

    def samples(self, ids: Any) -> dict[int, np.ndarray]:
        """Stored samples [C, H, W] by id, as the network takes them; an id that is not there is left out."""
        self._check_open()
        store, ids = self.life.store, np.asarray(ids, np.int64).reshape(-1)
        if store is None or not ids.size:
            return {}
        found = store.read(ids, ())
        return {int(i): x for i, x, ok in zip(ids, found["samples"], found["ok"]) if ok}

    def flush(self) -> None:
        """Returns when every sample observed so far is on flash."""
        self._check_open()
        if self.life.store is not None:
            self.life.store.flush()

    def relabel(self, ids: Any, y: Any) -> None:
        """Samples ``ids`` (of a ticket) get labels ``y``, one for all or one each; all of them or none. Those that had
        no label, and those whose label was wrong, are new to the next `learn`.

        Raises `BadInput` for an id that is not there.
        """
        with self._still():
            self.life.amending.relabel(ids, y)

    def remove(self, ids: Any = None, *, label: Any = None, erase: bool = False) -> int:
        """Take samples ``ids`` out, or all of a ``label``, which is predicted no more; how many there were. The weights
        still carry what they learned of them.

        erase : also overwrite their bytes at once, as `forget` does; by default their space is returned in time
        """
        with self._still():
            return self.life.amending.remove(ids, label, erase)

    def rename_label(self, label: Any, to: Any) -> None:
        """Call a label by another name, which is no label yet."""
        with self._still():
            self.life.amending.rename(label, to, merge=False)

    def merge_label(self, label: Any, into: Any) -> None:
        """Two labels become one: their samples have ``into``, and what was predicted as either is predicted as it."""
        with self._still():
            self.life.amending.rename(label, into, merge=True)

    def backup(self, file: str | Path) -> dict[str, Any]:
        """`save`, then write state, store and settings to one new file; `restore` brings them back, also on another
        machine. Returns {"file", "files", "bytes"}.
        """
        with self._still():
            saved = self.life.saves.folder(None)
            self.life.save(saved)
            store = self.life.store
            return archive(Path(file), saved, None if store is None else store.path)

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Nothing trains and no sample comes meanwhile."""
        self._check_open()
        with self._work, self.life.intake.lock:
            self._check_open()
            yield

    def _check_open(self) -> None:
        if self.life.forked:
            raise UseAfterFork("The learner was used in a fork of its process.", "Open it in the process that uses it.")
        if self.life.closed:
            raise EdgeclError("This learner is closed.", "Make or open another one.")
