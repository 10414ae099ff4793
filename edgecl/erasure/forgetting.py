"""Forgetting a subject: every part that holds samples gives up what is the subject's.

With a root key each row of a saved state is sealed with its subject's key, so that dropping the key is enough; without
one the files are rewritten without the rows and the old ones overwritten.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from ..errors import EdgeclError
from ..storage import SampleStore
from ..storage.errors import StoreError
from ..storage.forgetting import OVERWRITTEN

Array = np.ndarray
STILL_IN_WEIGHTS = "The weights still carry the subject's influence; only training anew without it removes that."


class Holder(Protocol):
    """A part that holds samples in RAM."""

    def forget(self, subject: int, ids: Array) -> dict[str, int]:
        """Give up the samples of ``subject`` and those with ``ids``; how many, by where."""


class Keeper(Protocol):
    """A part that holds samples in files."""

    def forget_in_files(self, subject: int) -> list[str]:
        """Take the samples of ``subject`` out of its files; those that were changed."""


@dataclass(frozen=True)
class Receipt:
    """What `Learner.forget` did.

    ids : of the samples that were on flash;  slots, buffered, swaps : memory slots emptied, samples taken out of the
        stream buffer, swaps on their way given up;  labels : that only its samples had, and nobody knows any more
    files : rewritten and overwritten;  time : seconds since the epoch
    holds : ``key dropped`` (unreadable in every copy of the files) or ``overwritten`` (gone from every live file)
    weights : what still carries the subject
    statistics : whether the sums that the method keeps are those that never saw the subject: ``exact``, or why not;
        None where it keeps none. Saved states hold the earlier ones until the next `save`
    below, store, place : of the store: ids of its samples, its id, where it lay;  saved : folders of saved states
    """

    subject: int
    time: float
    holds: str
    ids: list[int]
    files: list[str]
    slots: int
    buffered: int
    swaps: int
    labels: int = 0
    weights: str = STILL_IN_WEIGHTS
    statistics: str | None = None
    below: int = 0
    store: str = ""
    place: str = ""
    saved: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def forget(subject: int, store: SampleStore | None, holders: Sequence[Holder], keepers: Sequence[Keeper]) -> Receipt:
    """Take a subject out of the store, then out of all that holds samples. Nothing may train or take samples
    meanwhile."""
    ids, files, at, holds = np.zeros(0, np.int64), list[str](), time.time(), OVERWRITTEN
    where: dict[str, Any] = {}
    if store is not None:
        try:
            done = store.forget(subject)
        except StoreError as error:
            raise EdgeclError(error.cause, error.remedy) from error
        ids, files, at, holds = done.ids, list(done.files), done.time, done.holds
        where = {"below": done.below, "store": done.store, "place": done.place}
    counts: dict[str, int] = {}
    for holder in holders:
        counts.update(holder.forget(subject, ids))
    for keeper in keepers:
        try:
            files += keeper.forget_in_files(subject)
        except OSError as error:
            what = f"Files that hold something of subject {subject} cannot be rewritten: {error.strerror}."
            raise EdgeclError(what, "Check the device and its space, then forget the subject again.") from error
    slots, buffered, swaps, labels = (counts.get(k, 0) for k in ("slots", "buffered", "swaps", "labels"))
    return Receipt(subject, at, holds, ids.tolist(), files, slots, buffered, swaps, labels, **where)
