"""Which samples the episodic memory holds: reservoir, class-balanced ring, class-balanced at the end of a
task.

Common interface: `offer` once a step with the samples of the stream (un-augmented), `end_task` at a task
boundary. All state is in the memory, so `state` is empty; a policy that needs more adds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from .errors import BadRecord
from .memory import EpisodicMemory
from .sets import distinct
from .store import SampleStore

Values = Mapping[str, Any]


class Candidates(Protocol):
    """Where `end_task` takes samples from: their classes, and any of them by position."""

    classes: np.ndarray

    def take(self, positions: np.ndarray) -> dict[str, Any]:
        """samples, ids, subjects, fields of the given positions; may return fewer (``positions`` says
        which).
        """
        ...


class ArrayCandidates:
    """Candidates in RAM: samples [N, *shape], classes [N], ids [N], subjects [N], fields name -> [N, w]."""

    def __init__(
        self, samples: Any, classes: Any, ids: Any = None, fields: Values | None = None, subjects: Any = None
    ) -> None:
        self.classes = np.asarray(classes)
        n = len(self.classes)
        self._samples = samples
        self._ids = np.full(n, -1, np.int64) if ids is None else np.asarray(ids)
        self._subjects = np.full(n, -1, np.int32) if subjects is None else np.asarray(subjects)
        self._fields = {k: np.asarray(v) for k, v in (fields or {}).items()}

    def take(self, positions: np.ndarray) -> dict[str, Any]:
        fields = {k: v[positions] for k, v in self._fields.items()}
        return {
            "positions": positions,
            "samples": np.asarray(self._samples)[positions],
            "ids": self._ids[positions],
            "subjects": self._subjects[positions],
            "fields": fields,
        }


class StoreCandidates:
    """Candidates on flash: the live samples with first_id <= id < end_id, of these ``among`` where given. Only chosen
    ones are read.
    """

    def __init__(self, store: SampleStore, first_id: int, end_id: int, among: np.ndarray | None = None) -> None:
        self._store = store
        ids, classes = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for c in store.classes():
            own = store.ids_of_class(c)
            own = own[(own >= first_id) & (own < end_id)]
            own = own if among is None else own[np.isin(own, among)]
            if c >= 0:
                ids.append(own)
                classes.append(np.full(len(own), c, np.int32))
        all_ids, all_classes = np.concatenate(ids), np.concatenate(classes)
        order = np.argsort(all_ids, kind="stable")
        self._ids, self.classes = all_ids[order], all_classes[order]

    def take(self, positions: np.ndarray) -> dict[str, Any]:
        batch = self._store.read(self._ids[positions])
        ok = batch["ok"]  # a damaged record is left out
        fields = {k: (v[ok], w[ok]) for k, (v, w) in batch["fields"].items()}
        return {
            "positions": positions[ok],
            "samples": batch["samples"][ok],
            "ids": batch["ids"][ok],
            "subjects": batch["subjects"][ok],
            "fields": fields,
        }


class MemoryPolicy:
    """Base: counts offers, keeps nothing."""

    name = "none"
    chooses_at_end = False  # whether `end_task` wants the task's samples as candidates
    takes_scores = False  # whether `offer` has an argument ``scores``, float [n] or None

    def offer(
        self,
        memory: EpisodicMemory,
        rng: np.random.Generator,
        samples: Any,
        classes: Any,
        ids: Any = None,
        fields: Values | None = None,
        subjects: Any = None,
    ) -> np.ndarray:
        """Offers samples [n, *shape]; int64 [n]: the slot each went to, -1 for not kept."""
        memory.offered += len(classes)
        return np.full(len(classes), -1, np.int64)

    def end_task(self, memory: EpisodicMemory, rng: np.random.Generator, candidates: Candidates | None = None) -> None:
        """Called at a task boundary with the task's samples."""

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        pass


def _put(
    memory: EpisodicMemory,
    slots: np.ndarray,
    samples: Any,
    classes: Any,
    ids: Any,
    fields: Values | None,
    subjects: Any,
) -> None:
    kept = np.flatnonzero(slots >= 0)
    if not len(kept):
        return
    # Of several samples for one slot only the last is written; the others were overwritten at once.
    last = {int(slots[i]): i for i in kept}
    rows = np.array(sorted(last.values()), np.int64)
    pick = lambda a: None if a is None else np.asarray(a)[rows]  # noqa: E731
    values = {k: np.asarray(v)[rows] for k, v in (fields or {}).items()}
    memory.put_many(
        slots[rows], np.asarray(samples)[rows], np.asarray(classes)[rows], pick(ids), values, pick(subjects)
    )


class Reservoir(MemoryPolicy):
    """Vitter's reservoir as in Mammoth: with n offers before, slot n if n < slots, else j uniform on 0..n
    and slot j
    if j < slots. Every offer counts, also of a sample offered before."""

    name = "reservoir"

    def offer(self, memory, rng, samples, classes, ids=None, fields=None, subjects=None):  # type: ignore[no-untyped-def]
        n = memory.offered + np.arange(len(classes), dtype=np.int64)
        slots = n.copy()
        full = n >= memory.slots
        if full.any():
            slots[full] = rng.integers(0, n[full] + 1)
        slots[slots >= memory.slots] = -1
        _put(memory, slots, samples, classes, ids, fields, subjects)
        memory.offered += len(classes)
        return slots


class Ring(MemoryPolicy):
    """CarM's class-balanced ring: the floor(slots / classes) newest of each class; when a class appears,
    the others
    drop their oldest."""

    name = "ring"

    def offer(self, memory, rng, samples, classes, ids=None, fields=None, subjects=None):  # type: ignore[no-untyped-def]
        slots = np.full(len(classes), -1, np.int64)
        for i, cls in enumerate(np.asarray(classes)):
            slots[i] = self._place(memory, int(cls))
            one = slice(i, i + 1)
            values = {k: np.asarray(v)[one] for k, v in (fields or {}).items()}
            memory.put_many(
                slots[one],
                np.asarray(samples)[one],
                np.asarray(classes)[one],
                None if ids is None else np.asarray(ids)[one],
                values,
                None if subjects is None else np.asarray(subjects)[one],
            )
            memory.offered += 1
        taken: dict[int, int] = {}
        for i, s in enumerate(slots):  # a slot used twice in one call holds the later sample
            if int(s) in taken:
                slots[taken[int(s)]] = -1
            taken[int(s)] = i
        return slots

    def _place(self, memory: EpisodicMemory, cls: int) -> int:
        places, own = memory.places, memory.places.counts.get(cls, 0)
        quota = max(1, memory.slots // (len(places.counts) + (not own)))
        if not own:
            for other in sorted(places.counts):
                extra = places.counts[other] - quota
                if extra > 0:  # several at once: a class appears seldom
                    theirs = np.flatnonzero(memory.classes == other)
                    memory.clear(theirs[np.argsort(memory.order[theirs], kind="stable")[:extra]])
        free = places.free()
        if own < quota and free >= 0:
            return free
        return places.oldest(cls) if own else places.oldest_of_all()  # more classes than slots: the oldest goes


class Balanced(MemoryPolicy):
    """Filled at the end of a task: floor(slots / classes) random members of each class; old classes shrink
    at random.
    """

    name = "balanced"
    chooses_at_end = True

    def end_task(self, memory: EpisodicMemory, rng: np.random.Generator, candidates: Candidates | None = None) -> None:
        if candidates is None:
            raise BadRecord("The policy 'balanced' needs the task's samples.", "Pass candidates to end_task.")
        new = [int(c) for c in distinct(candidates.classes) if c >= 0]
        known = memory.class_histogram()
        classes = sorted({*known, *new})
        if not classes:
            return
        quota = max(1, memory.slots // len(classes))
        for cls in sorted(known):
            own = np.flatnonzero(memory.classes == cls)
            keep = 0 if cls in new and cls not in known else quota
            if len(own) > keep:
                memory.clear(rng.choice(own, len(own) - keep, replace=False))
        for cls in new:
            free = np.flatnonzero(memory.classes < 0)
            room = min(quota - int((memory.classes == cls).sum()), len(free))
            pool = np.flatnonzero(candidates.classes == cls)
            pool = pool[~np.isin(self._ids(candidates, pool), memory.ids[memory.ids >= 0])]
            if room <= 0 or not len(pool):
                continue
            chosen = np.sort(rng.choice(pool, min(room, len(pool)), replace=False))
            got = candidates.take(chosen)
            n = len(got["positions"])
            labels = candidates.classes[got["positions"]]
            memory.put_many(free[:n], got["samples"], labels, got["ids"], got["fields"], got["subjects"])

    @staticmethod
    def _ids(candidates: Candidates, positions: np.ndarray) -> np.ndarray:
        ids = getattr(candidates, "_ids", None)
        return np.full(len(positions), -1, np.int64) if ids is None else ids[positions]


class Greedy(MemoryPolicy):
    """GDumb's greedy balance: a sample enters while its class has less than slots / classes, in place of a random
    member of the largest class when the memory is full. One that is there already does not enter again.
    """

    name = "greedy"

    def offer(self, memory, rng, samples, classes, ids=None, fields=None, subjects=None):  # type: ignore[no-untyped-def]
        slots = np.full(len(classes), -1, np.int64)
        counts = memory.class_histogram()
        for i, cls in enumerate(np.asarray(classes).tolist()):
            memory.offered += 1
            own, known = counts.get(cls, 0), len(counts) + (cls not in counts)
            if own >= memory.slots / known or self._holds(memory, cls, samples[i]):
                continue
            free = np.flatnonzero(memory.classes < 0)
            if len(free):
                slot = int(free[0])
            else:
                largest = max(sorted(counts), key=lambda c: counts[c])
                slot = int(rng.choice(np.flatnonzero(memory.classes == largest)))
                counts[largest] -= 1
                if not counts[largest]:
                    del counts[largest]
            counts[cls] = own + 1
            slots[slots == slot] = -1  # given to a sample of this call before
            slots[i] = slot
            _put(memory, np.array([slot]), *_row(i, samples, classes, ids, fields, subjects))
        return slots

    @staticmethod
    def _holds(memory: EpisodicMemory, cls: int, sample: np.ndarray) -> bool:
        own = np.flatnonzero(memory.classes == cls)
        return any(np.array_equal(memory.samples[slot], sample) for slot in own)


def _row(i: int, samples: Any, classes: Any, *more: Any) -> list[Any]:
    """Row i of what `MemoryPolicy.offer` takes, as an offer of one."""
    ids, fields, subjects = more
    one = slice(i, i + 1)
    pick = lambda a: None if a is None else np.asarray(a)[one]  # noqa: E731
    values = {k: np.asarray(v)[one] for k, v in (fields or {}).items()}
    return [np.asarray(samples)[one], np.asarray(classes)[one], pick(ids), values, pick(subjects)]


class Diverse(MemoryPolicy):
    """GSS's greedy replacement: a low score means unlike what is held. Once the memory is full, a sample that scores
    below 1 meets slot i, drawn with probability score_i / sum, and takes its place with probability
    score_i / (score_i + its own). Scores, at least 0, come with the offer.
    """

    name = "diverse"
    takes_scores = True

    def __init__(self) -> None:
        self.scores = np.zeros(0)

    def offer(self, memory, rng, samples, classes, ids=None, fields=None, subjects=None, scores=None):  # type: ignore[no-untyped-def]
        if scores is None:
            raise BadRecord("The policy 'diverse' keeps samples by scores, and none were offered.", "Use method gss.")
        if len(self.scores) != memory.slots:
            self.scores = np.resize(self.scores, memory.slots) if len(self.scores) else np.zeros(memory.slots)
        slots = np.full(len(classes), -1, np.int64)
        for i, score in enumerate(np.asarray(scores, np.float64).tolist()):
            memory.offered += 1
            slot = self._place(memory, rng, score)
            if slot < 0:
                continue
            self.scores[slot] = score
            slots[slots == slot] = -1
            slots[i] = slot
            _put(memory, np.array([slot]), *_row(i, samples, classes, ids, fields, subjects))
        return slots

    def _place(self, memory: EpisodicMemory, rng: np.random.Generator, score: float) -> int:
        free = np.flatnonzero(memory.classes < 0)
        if len(free):
            return int(free[0])
        if score >= 1:
            return -1
        weights = np.maximum(self.scores, 1e-9)
        slot = int(rng.choice(memory.slots, p=weights / weights.sum()))
        return slot if rng.random() < weights[slot] / (weights[slot] + max(score, 1e-9)) else -1

    def state(self) -> dict[str, Any]:
        return {"scores": self.scores.copy()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.scores = np.array(state["scores"], np.float64)


POLICIES: dict[str, Callable[[], MemoryPolicy]] = {p.name: p for p in (Reservoir, Ring, Balanced, Greedy, Diverse)}


def make_policy(name: str) -> MemoryPolicy:
    """A policy by name; `BadRecord` lists the known ones."""
    if name not in POLICIES:
        raise BadRecord(f"Unknown memory policy '{name}'.", f"Known: {', '.join(POLICIES)}.")
    return POLICIES[name]()
