"""A short life of a learner with a store, and what must hold of it afterwards; beside `store_life`.

What the life says: a/w samples are about to come, were acknowledged; t trained on; f/F forgetting, forgotten; r/R
removing, removed; l/L labelled late, done; s saved; B backed up; e a typed error.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from edgecl.storage import KeyFile, SampleStore, export_store, opening
from edgecl.storage.errors import StoreError

from edgecl import EdgeclError, Learner
from edgecl.graph.builders import build
from edgecl.learning.trainer import Trainer

SHAPE = (1, 6, 6)
SUBJECTS = 3
TYPED = (EdgeclError, StoreError, MemoryError)  # the latter where an allocation fails, and only there
Say = Callable[..., None]
Step = Callable[[Learner, Say], None]
LIVES = [(what, sealed) for what in ("records", "erasure") for sealed in (False, True)]


def pictures(first: int, n: int) -> np.ndarray:
    """Samples no two of which are alike, so that one can be looked for in files; they say their number."""
    numbers = np.arange(first, first + n)
    rows = np.random.default_rng(7).integers(0, 256, 36)[None] + numbers[:, None] * 31
    rows = (rows % 256).astype(np.uint8)
    rows[:, :4] = numbers.astype("<u4").view(np.uint8).reshape(n, 4)
    return rows.reshape(n, *SHAPE)


class LearnerLife:
    """A life of ``records`` or one of ``erasure``, plain or encrypted; two, as every call of a life costs a life.

    records: observe with and without labels, learn, end_task, relabel, remove, rename, save, backup. erasure: observe,
    learn, end_task, save, forget, compact, export, retrain.
    """

    def __init__(self, what: str, sealed: bool) -> None:
        self.name = f"learner, {what}{', encrypted' if sealed else ''}"
        self._sealed = sealed
        begun: tuple[Step, ...] = (self._observe, self._learn, self._observe, self._save, self._end_task)
        late: tuple[Step, ...] = (self._observe, self._late, self._amend)
        rest: dict[str, tuple[Step, ...]] = {
            "records": (*late, self._learn, self._save, self._backup, self._end_task),
            "erasure": (self._forget(1), self._observe, self._learn, self._tidy, self._retrain(2), self._save),
        }
        self._steps = (*begun, *rest[what])

    def _key(self, place: Path) -> KeyFile | None:
        return KeyFile(place / "root.key") if self._sealed else None

    def _open(self, place: Path) -> Learner:
        opening.FILE_BYTES = 1 << 13  # several files in a short life
        if list((place / "saved").glob("checkpoint-*.safetensors")):
            return Learner.open(place / "saved", store=place / "store", root_key=self._key(place))
        return Learner(
            build("mlp", SHAPE, 4, hidden=(8,)), method="der++", memory=12, batch=4, classes=4, buffer=200, gate="none",
            store=str(place / "store"), path=str(place / "saved"), root_key=self._key(place), durability="durable",
        )  # fmt: skip

    def live(self, place: Path, say: Say) -> None:
        self._next = 0
        learner = self._opened(place, say)
        self._place = place
        self._tell_of_steps(say)  # for good: a life has a process of its own
        for step in self._steps:
            if learner is None:
                return
            try:
                step(learner, say)
            except TYPED as error:
                say("e", type(error).__name__)
                with contextlib.suppress(*TYPED):
                    self._observe(learner, say)
                self._close(learner, say)
                learner = self._opened(place, say)
        if learner is not None:
            self._close(learner, say)

    def _opened(self, place: Path, say: Say) -> Learner | None:
        for _ in range(3):
            try:
                return self._open(place)
            except TYPED as error:
                say("e", type(error).__name__)
        return None

    @staticmethod
    def _close(learner: Learner, say: Say) -> None:
        try:
            learner.close()
        except TYPED as error:
            say("e", type(error).__name__)

    def _observe(self, learner: Learner, say: Say) -> None:
        for subject in range(SUBJECTS):
            first, self._next = self._next, self._next + 6
            say("a", first, 6, subject)
            own = f"<person {subject}>" if first < 6 * SUBJECTS else 0  # before anybody is forgotten
            if learner.observe(pictures(first, 6), [subject % 2] * 5 + [own], subject=subject).wait():
                say("w", first, 6, subject)

    @staticmethod
    def _tell_of_steps(say: Say) -> None:
        """Every step, a learner's that is trained anew too, says which samples it trained on."""
        step = Trainer.step

        def told(self, rows, *given, **more):  # type: ignore[no-untyped-def]
            done = step(self, rows, *given, **more)
            numbers = np.ascontiguousarray(rows.x.reshape(len(rows.x), 36)[:, :4]).view("<u4").ravel()
            say("t", *numbers.tolist())
            return done

        Trainer.step = told  # type: ignore[method-assign]

    @staticmethod
    def _learn(learner: Learner, say: Say) -> None:
        learner.learn(steps=2)

    def _late(self, learner: Learner, say: Say) -> None:
        """Samples whose labels come afterwards, at two times."""
        first, self._next = self._next, self._next + 6
        say("a", first, 6, 0)
        ticket = learner.observe(pictures(first, 6), None, subject=0)
        if ticket.wait():
            say("w", first, 6, 0)
        say("l", first, 6)
        for rows in (slice(0, 4), slice(4, 6)):
            learner.relabel(ticket.ids[rows], "late")
            say("L", first + rows.start, rows.stop - rows.start)

    def _amend(self, learner: Learner, say: Say) -> None:
        """One sample leaves, one gets another label, a label another name."""
        first, self._next = self._next, self._next + 2
        say("a", first, 2, 0)
        ticket = learner.observe(pictures(first, 2), [0, 1], subject=0)
        if ticket.wait():
            say("w", first, 2, 0)
        learner.relabel(ticket.ids[1:], 0)
        say("r", first)
        learner.remove(ticket.ids[:1], erase=True)
        say("R", first)
        if "late" in learner.labels:
            learner.rename_label("late", "later")

    def _backup(self, learner: Learner, say: Say) -> None:
        try:
            (self._place / "b.tar").unlink(missing_ok=True)
            if self._sealed:  # a backup opens with the root key of its time only
                shutil.copy(self._place / "root.key", self._place / "old.key")
        except OSError as error:  # the life's own calls, not the learner's
            raise StoreError(f"The backup of before cannot be replaced: {error}.") from error
        learner.backup(self._place / "b.tar")
        say("B")

    def _tidy(self, learner: Learner, say: Say) -> None:
        assert learner.life.store is not None
        learner.life.store.compact()
        export_store(learner.life.store, self._place / f"export{self._next}")

    @staticmethod
    def _end_task(learner: Learner, say: Say) -> None:
        learner.end_task()

    @staticmethod
    def _save(learner: Learner, say: Say) -> None:
        learner.save()
        say("s")

    def _forget(self, subject: int) -> Step:
        def forget(learner: Learner, say: Say) -> None:
            say("f", subject, self._next)
            learner.forget(subject)
            say("F", subject)

        return forget

    def _retrain(self, subject: int) -> Step:
        def retrain(learner: Learner, say: Say) -> None:
            say("f", subject, self._next)
            learner.retrain_without(subject)
            say("F", subject)

        return retrain

    def check(self, place: Path, ledger: list[list[str]]) -> dict[str, int]:
        """Opens the learner, and the store alone; how much is lost, wrong and leaked."""
        found = {"lost": 0, "wrong": 0, "leaked": 0}
        acked, forgetting, forgotten, saved = self._said(ledger)
        removing, removed = ({int(w[0]) for what, *w in ledger if what == kind} for kind in "rR")
        late, labelled = (
            {int(w[0]) + k for what, *w in ledger if what == kind for k in range(int(w[1]))} for kind in "lL"
        )
        unlabelled = late - labelled
        trained = {int(n) for what, *w in ledger if what == "t" for n in w}
        new: set[int] = set()
        begun = (place / "store" / "store.json").exists()
        if not begun and not acked and not saved:  # the life ended before there was a store
            return found
        if saved or begun:
            with self._open(place) as learner:
                new = self._new(learner)
                self._observe_one(learner)
                learner.learn(steps=1)
        with SampleStore(place / "store", root_key=self._key(place)) as store:
            batch = store.read(np.arange(store.next_id))
            held = batch["samples"][batch["ok"]].reshape(-1, 36)
            numbers = np.ascontiguousarray(held[:, :4]).view("<u4").ravel()
            there = dict(zip(numbers.tolist(), batch["subjects"][batch["ok"]].tolist()))
            right = np.concatenate([pictures(0, 0), *(pictures(n, 1) for n in numbers)])
            found["wrong"] += int((held.reshape(-1, *SHAPE) != right).any(axis=(1, 2, 3)).sum())
            found["wrong"] += sum(s != acked.get(n, s) for n, s in there.items())
            due = {n for n, s in acked.items() if n >= forgetting.get(s, 0) and n not in removing}
            found["lost"] += len(due - there.keys())
            found["lost"] += len(due - trained - new - unlabelled)  # neither learned nor to be
            found["wrong"] += len(removed & there.keys())
            gone = [n for n, s in acked.items() if n < forgotten.get(s, 0)]
            found["leaked"] += sum(n in there for n in gone)
        if any(what == "B" for what, *_ in ledger):
            with Learner.restore(place / "b.tar", place / "restored", root_key=self._old_key(place)) as again:
                found["lost"] += again.counters["stored"] == 0
        folders = [place / "store", place / "saved"]
        text = b"".join(p.read_bytes() for f in folders for p in sorted(f.rglob("*")) if p.is_file())
        named = [s for s in range(SUBJECTS) if s in forgotten or self._sealed]
        found["leaked"] += sum(f"<person {s}>".encode() in text for s in named)
        if not self._sealed:
            found["leaked"] += sum(pictures(n, 1).tobytes() in text for n in gone)
        return found

    def _old_key(self, place: Path) -> KeyFile | None:
        return KeyFile(place / "old.key") if self._sealed else None

    @staticmethod
    def _new(learner: Learner) -> set[int]:
        """Numbers of the samples that the next `learn` calls new."""
        buffer, store = learner.life.intake.buffer, learner.life.store
        assert store is not None
        ids = buffer.ids[buffer.rows.visited == 0]
        samples = store.read(ids)["samples"].reshape(len(ids), 36)
        return set(np.ascontiguousarray(samples[:, :4]).view("<u4").ravel().tolist())

    @staticmethod
    def _observe_one(learner: Learner) -> None:
        learner.observe(pictures(1 << 20, 1), [0], subject=0).wait()

    @staticmethod
    def _said(ledger: list[list[str]]) -> tuple[dict[int, int], dict[int, int], dict[int, int], bool]:
        acked: dict[int, int] = {}
        forgetting: dict[int, int] = {}
        forgotten: dict[int, int] = {}
        saved = False
        for what, *words in ledger:
            if what == "w":
                first, n, subject = map(int, words)
                acked |= dict.fromkeys(range(first, first + n), subject)
            elif what == "f":
                forgetting[int(words[0])] = int(words[1])
            elif what == "F":
                forgotten[int(words[0])] = forgetting[int(words[0])]
            saved |= what == "s"
        return acked, forgetting, forgotten, saved
