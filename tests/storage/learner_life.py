"""A short life of a learner with a store, and what must hold of it afterwards; beside `store_life`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from edgecl.storage import KeyFile, SampleStore
from edgecl.storage.errors import StoreError

from edgecl import EdgeclError, Learner

SHAPE = (1, 6, 6)
SUBJECTS = 3
Say = Callable[..., None]


def pictures(first: int, n: int) -> np.ndarray:
    """Samples no two of which are alike, so that one can be looked for in files; they say their number."""
    numbers = np.arange(first, first + n)
    rows = np.random.default_rng(7).integers(0, 256, 36)[None] + numbers[:, None] * 31
    rows = (rows % 256).astype(np.uint8)
    rows[:, :4] = numbers.astype("<u4").view(np.uint8).reshape(n, 4)
    return rows.reshape(n, *SHAPE)


class LearnerLife:
    """Observe, learn, end_task, save, forget, retrain; plain and encrypted."""

    def __init__(self, sealed: bool) -> None:
        self.name = "learner, encrypted" if sealed else "learner"
        self._sealed = sealed

    def _key(self, place: Path) -> KeyFile | None:
        return KeyFile(place / "root.key") if self._sealed else None

    def _open(self, place: Path) -> Learner:
        if list((place / "saved").glob("checkpoint-*.safetensors")):
            return Learner.open(place / "saved", store=place / "store", root_key=self._key(place))
        return Learner(
            "mlp", input_shape=SHAPE, method="der++", memory=12, batch=4, classes=4, buffer=200, gate="none",
            store=str(place / "store"), path=str(place / "saved"), root_key=self._key(place), durability="durable",
        )  # fmt: skip

    def live(self, place: Path, say: Say) -> None:
        self._next = 0
        learner = self._opened(place, say)
        begun = (self._observe, self._learn, self._observe, self._save, self._end_task, self._observe, self._learn)
        gone = (self._save, self._forget(1), self._observe, self._learn, self._retrain(2), self._save)
        for step in (*begun, *gone):
            if learner is None:
                return
            try:
                step(learner, say)
            except (EdgeclError, StoreError) as error:
                say("e", type(error).__name__)
                with contextlib.suppress(EdgeclError, StoreError):
                    self._observe(learner, say)
                self._close(learner, say)
                learner = self._opened(place, say)
        if learner is not None:
            self._close(learner, say)

    def _opened(self, place: Path, say: Say) -> Learner | None:
        for _ in range(3):
            try:
                return self._open(place)
            except (EdgeclError, StoreError) as error:
                say("e", type(error).__name__)
        return None

    @staticmethod
    def _close(learner: Learner, say: Say) -> None:
        try:
            learner.close()
        except (EdgeclError, StoreError) as error:
            say("e", type(error).__name__)

    def _observe(self, learner: Learner, say: Say) -> None:
        for subject in range(SUBJECTS):
            first, self._next = self._next, self._next + 6
            say("a", first, 6, subject)
            if learner.observe(pictures(first, 6), [subject % 2] * 6, subject=subject).wait():
                say("w", first, 6, subject)

    @staticmethod
    def _learn(learner: Learner, say: Say) -> None:
        learner.learn(steps=2)

    @staticmethod
    def _end_task(learner: Learner, say: Say) -> None:
        learner.end_task()

    @staticmethod
    def _save(learner: Learner, say: Say) -> None:
        learner.save()
        say("s")

    def _forget(self, subject: int) -> Callable[[Learner, Say], None]:
        def forget(learner: Learner, say: Say) -> None:
            say("f", subject, self._next)
            learner.forget(subject)
            say("F", subject)

        return forget

    def _retrain(self, subject: int) -> Callable[[Learner, Say], None]:
        def retrain(learner: Learner, say: Say) -> None:
            say("f", subject, self._next)
            learner.retrain_without(subject)
            say("F", subject)

        return retrain

    def check(self, place: Path, ledger: list[list[str]]) -> dict[str, int]:
        """Opens the learner, and the store alone; how much is lost, wrong and leaked."""
        found = {"lost": 0, "wrong": 0, "leaked": 0}
        acked, forgetting, forgotten, saved = self._said(ledger)
        if saved or (place / "store" / "store.json").exists():
            with self._open(place) as learner:
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
            found["lost"] += sum(n not in there and n >= forgetting.get(s, 0) for n, s in acked.items())
            gone = [n for n, s in acked.items() if n < forgotten.get(s, 0)]
            found["leaked"] += sum(n in there for n in gone)
        if not self._sealed:
            folders = [place / "store", place / "saved"]
            text = b"".join(p.read_bytes() for f in folders for p in sorted(f.rglob("*")) if p.is_file())
            found["leaked"] += sum(pictures(n, 1).tobytes() in text for n in gone)
        return found

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
