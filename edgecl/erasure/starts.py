"""Where training anew without a subject may begin, and why not elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, CannotRetrain
from ..storage import SampleStore
from ..storage.transfer import live_ids
from .calls import FORGOT, FOUND, REMOVED, STORED, UNSTORED, length_of
from .diary import Diary


@dataclass(frozen=True)
class Start:
    """A state older than the subject's first sample.

    name : ``seed`` or the task's end;  number : of the first call after it
    next_id, count, forgotten_count : of the store then;  subjects : observed before
    state : the kept one, sealed as it was, or None for the seed;  task : at whose end, -1 for the seed
    ids : of the samples that were in the store, ascending;  lost : whether some had been evicted
    without : subjects whose samples are left out
    """

    name: str
    number: int = 0
    next_id: int = 0
    count: int = 0
    forgotten_count: int = 0
    subjects: frozenset[int] = frozenset()
    state: Mapping[str, Any] | None = None
    task: int = -1
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    without: frozenset[int] = frozenset()

    @property
    def lost(self) -> bool:
        return self.count + self.forgotten_count < self.next_id


def choose(diary: Diary, store: SampleStore | None, subject: int, made_values: bool) -> Start:
    """The newest possible start. Raises `BadInput` for a subject that was never observed, `CannotRetrain` when there
    is no start.

    made_values : whether fields that the network made lie beside the samples (logits)
    """
    log = diary.calls
    if store is None:
        raise CannotRetrain("Without a store the samples are gone.", "Make the Learner with store=DIR.")
    if subject not in log.subjects:
        raise BadInput(f"No sample of subject {subject} was observed.", "Check the number.")
    ids = live_ids(store)
    reasons = {}
    for start in _starts(diary):
        found = replace(start, ids=ids[ids < start.next_id])
        without = {subject}
        if start.number >= log.first:
            without |= {c.a for c in log.since(start.number) if c.kind == FORGOT}
        why = _why_not(diary, store, found, ids, without, made_values)
        if why is None:
            return replace(found, without=frozenset(without))
        reasons[start.name] = why
    raise CannotRetrain(
        "The weights cannot be made again: " + "; ".join(f"from {name}, {why}" for name, why in reasons.items()) + ".",
        "A larger store_limit and keep_checkpoints=N make it possible for what comes next; a new Learner over an "
        "export of the store starts afresh.",
    )


def _starts(diary: Diary) -> list[Start]:
    """Newest first; the seed is the last."""
    found = []
    for task, state in diary.kept.newest_first():
        about, store = state["learner"], state["trainer"]["store"]
        log = about["calls"]
        found.append(
            Start(
                name=f"the end of task {task + 1}",
                number=int(log["first"]) + length_of(log),
                next_id=int(store["next_id"]),
                count=int(store["count"]),
                forgotten_count=int(about["forgotten_count"]),
                subjects=frozenset(log["subjects"].tolist()),
                state=state,
                task=task,
            )
        )
    return [*found, Start(name="the seed")]


def _why_not(
    diary: Diary, store: SampleStore, start: Start, ids: np.ndarray, without: set[int], made_values: bool
) -> str | None:
    """Why training cannot start there; None when it can."""
    log = diary.calls
    if start.number < log.first:
        return f"the log of calls begins with the {log.first + 1}th"
    if seen := sorted(without & start.subjects):
        return f"subject {seen[0]} was seen before"
    calls = log.since(start.number)
    if kept := sum(c.b for c in calls if c.kind == UNSTORED):
        return f"{kept} samples were in RAM only, for want of write budget"
    if start.state is None:
        if calls and calls[0].kind in (STORED, FOUND) and made_values:
            return f"{calls[0].b} samples were in the store before, with logits of another learner"
        if log.weights is not None and log.weights != digest(log.weights[0]):
            return f"the weights it started from are not in '{log.weights[0]}' any more"
    elif made_values and start.state["learner"]["config"].get("refresh_logits"):
        return "stored logits were refreshed since"
    if store.count_of(-1):
        return "the store holds samples without a class"
    missing = start.count - len(start.ids)
    missing += store.next_id - start.next_id - (len(ids) - len(start.ids))
    missing -= store.forgotten_count - start.forgotten_count + sum(c.b for c in calls if c.kind == REMOVED)
    if missing:
        return f"{missing} samples it needs were evicted from the store or are damaged"
    return None


def digest(path: str | Path | None) -> tuple[str, str] | None:
    """(path, sha256) of a file of weights; None without one, an empty sum when it cannot be read."""
    if path is None:
        return None
    try:
        return str(path), hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return str(path), ""
