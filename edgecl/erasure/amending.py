"""Samples that change after they were observed: other labels, labels that come late, samples taken out one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from ..errors import BadInput, EdgeclError
from ..intake.intake import PIECE, Intake
from ..intake.labels import plain_label, plain_labels
from ..storage import SampleStore
from ..storage.errors import StoreError
from ..storage.sets import distinct
from .diary import Diary

Array = np.ndarray
GONE = -2  # head unit of a sample that was removed


class AmendHolder(Protocol):
    """A part that holds samples in RAM."""

    def amend(self, ids: Array, units: Array, again: bool) -> None:
        """Samples ``ids``, ascending, of the store have other head units [n] now, -2 where they were removed.

        again : they are to be trained on once more
        """


class Amending:
    """One change of samples: durable in the store first, then in every part that holds samples.

    Parameters
    ----------
    holders : of samples in RAM
    statistics : the samples leave what the method sums up while something is done within
    hide_nameless : head units that have no label any more are predicted no more
    """

    def __init__(
        self,
        intake: Intake,
        diary: Diary,
        holders: Sequence[AmendHolder],
        statistics: Callable[[Array], AbstractContextManager[Any]],
        hide_nameless: Callable[[], None],
    ) -> None:
        self.intake, self.diary, self.holders = intake, diary, holders
        self._statistics, self._hide_nameless = statistics, hide_nameless

    @property
    def _store(self) -> SampleStore:
        if self.intake.store is None:
            raise BadInput("Samples have ids in a store, and this learner has none.", "Give store=.")
        return self.intake.store

    def relabel(self, ids: Any, y: Any) -> None:
        """Samples ``ids`` get labels ``y``, one for all or one each; all of them or none."""
        store, which = self._store, checked_ids(ids)
        labels = plain_labels(y, len(which))
        if None in labels:
            raise BadInput("A sample cannot lose its label.", "Give a label, or remove() the sample.")
        last = {int(i): label for i, label in zip(which, labels)}  # of two labels for one sample the later counts
        which = np.array(sorted(last), np.int64)
        late = np.isin(which, store.ids_of_class(-1))
        unknown = which[~np.isin(which, live_of(store, which))]
        if unknown.size:
            raise BadInput(f"There is no sample {int(unknown[0])}.", "Give ids that observe() returned.")
        known = len(self.intake.labels)
        units = self.intake.labels.units([last[int(i)] for i in which], len(which)).astype(np.int32)
        self.intake.labels.used_by(units, owners(store, which), known)
        self.intake.name_labels(self.intake.labels)
        self._change(which, units, lambda: store.relabel(which, units), again=True)
        for first, end in stretches(which[late]):
            self.diary.labelled(first, end - first)

    def remove(self, ids: Any, label: Any, erase: bool) -> int:
        """Take samples ``ids``, or all of ``label``, out for good; how many."""
        store = self._store
        if (ids is None) == (label is None):
            raise BadInput("remove() takes ids or a label.", "Give one of them.")
        if label is not None:
            label = plain_label(label)
            unit = self.intake.labels.known(label)
            which = store.ids_of_class(unit)
        else:
            which = distinct(checked_ids(ids))
        live = live_of(store, which)
        done: list[int] = []
        gone = np.full(len(live), GONE, np.int32)
        self._change(live, gone, lambda: done.append(store.remove(which, erase)), again=False)
        self.diary.removed(done[0])
        if label is not None:
            self.intake.name_labels(self.intake.labels.without(label))
            self._hide_nameless()
        return done[0]

    def rename(self, old: Any, new: Any, merge: bool) -> None:
        """The label ``old`` is called ``new``. merge: which is a label already, and the two are one."""
        old, new = plain_label(old), plain_label(new)
        labels = self.intake.labels
        unit, merged = labels.known(old), labels.known(new) if merge else None
        if old == new:
            return
        if not merge and new in labels:
            raise BadInput(f"There is a label {new!r} already.", "merge_label() makes the two one.")
        self.intake.name_labels(labels.renamed(old, new))
        if merged is not None and self.intake.store is not None:
            first, other = min(unit, merged), max(unit, merged)
            store = self._store
            ids = store.ids_of_class(other)
            units = np.full(len(ids), first, np.int32)
            if len(ids):
                self._change(ids, units, lambda: store.relabel(ids, units), again=False)

    def _change(self, ids: Array, units: Array, durable: Callable[[], Any], again: bool) -> None:
        with self._statistics(ids):  # while the samples can still be read as they were
            try:
                durable()
            except StoreError as error:
                raise EdgeclError(error.cause, error.remedy) from error
        for holder in self.holders:
            holder.amend(ids, units, again)


def checked_ids(ids: Any) -> Array:
    """int64 [n] of whole numbers. Raises `BadInput`."""
    found = np.atleast_1d(np.asarray(ids))
    if found.size and (found.dtype.kind not in "iu" or found.ndim != 1 or found.min() < 0):
        raise BadInput(f"{ids!r} are no ids of samples.", "Give ids that observe() returned, whole numbers from 0.")
    return found.astype(np.int64)


def owners(store: SampleStore, ids: Array) -> Array:
    """int32 [n], whose these samples are, as they say themselves: what other subjects there are costs nothing."""
    parts = [store.read(ids[at : at + PIECE], fields=())["subjects"] for at in range(0, len(ids), PIECE)]
    return np.concatenate([np.zeros(0, np.int32), *parts])


def live_of(store: SampleStore, ids: Array) -> Array:
    """Those of ``ids``, ascending, whose samples are there."""
    live = np.concatenate([np.zeros(0, np.int64), *(store.ids_of_class(c) for c in store.classes())])
    return ids[np.isin(ids, live)]


def stretches(ids: Array) -> list[tuple[int, int]]:
    """(first, end) of each run of consecutive ids, which ascend."""
    cuts = np.flatnonzero(np.diff(ids) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(ids, cuts) if len(part)]
