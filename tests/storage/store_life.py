"""A short life of a store with every call that changes one, and what must hold of it afterwards."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from edgecl.storage import FieldSpec, KeyFile, SampleStore, StreamSchema, export_store, import_store, opening
from edgecl.storage.errors import StoreError
from store_samples import logits_of, sample_of

SCHEMA = StreamSchema((1, 10, 20), "uint8", {"logits": FieldSpec("float16", 12), "weight": FieldSpec("float32", 1)})
SUBJECTS = 5
OF_ONE = "<all of subject 1>"  # the name of a class
TYPED = (StoreError, MemoryError)  # the latter where an allocation fails, and only there
Say = Callable[..., None]


def sample(ids: Any) -> np.ndarray:
    """Samples no two of which are alike, so that one can be looked for in files."""
    ids = np.asarray(ids)
    rows = sample_of(ids, SCHEMA)
    rows.reshape(len(ids), 200)[:, :4] = ids.astype("<u4").view(np.uint8).reshape(len(ids), 4)
    return rows


def subject_of(ids: Any) -> np.ndarray:
    return np.asarray(ids) // 3 % SUBJECTS


class StoreLife:
    """sealed: encrypted. place: a folder of its own; what is written lies below it."""

    def __init__(self, sealed: bool) -> None:
        self.name = "store, encrypted" if sealed else "store"
        self._sealed = sealed

    def open(self, place: Path, name: str = "store") -> SampleStore:
        opening.FILE_BYTES = 1 << 13
        key = KeyFile(place / "root.key") if self._sealed else None
        return SampleStore(place / name, SCHEMA, durability="durable", root_key=key)

    # -- the life

    def steps(self) -> list[Callable[[SampleStore, Path, Say], Any]]:
        more, fields = self._append, self._fields
        return [self._name, more, fields, self._meta, more, self._forget(1), more, self._state, self._relabel, more,
                self._remove, self._compact, self._export, more, self._forget(3), more]  # fmt: skip

    def live(self, place: Path, say: Say) -> None:
        """A call that fails is followed by an append on the same handle, and by another opening."""
        store = self._opened(place, say)
        for step in self.steps():
            if store is None:
                return
            try:
                step(store, place, say)
            except TYPED as error:
                say("e", type(error).__name__)
                with contextlib.suppress(*TYPED):
                    self._append(store, place, say)
                self._close(store, say)
                store = self._opened(place, say)
        if store is not None:
            self._close(store, say)
        self._import(place, say)

    def _import(self, place: Path, say: Say) -> None:
        """What was exported, into a second store."""
        try:
            with self.open(place, "second") as second:
                import_store(second, place / "export")
                say("i", second.count)
        except TYPED as error:
            say("e", type(error).__name__)

    def _opened(self, place: Path, say: Say) -> SampleStore | None:
        for _ in range(3):
            try:
                return self.open(place)
            except TYPED as error:
                say("e", type(error).__name__)
        return None

    @staticmethod
    def _close(store: SampleStore, say: Say) -> None:
        try:
            store.close()
        except TYPED as error:
            say("e", type(error).__name__)

    @staticmethod
    def _append(store: SampleStore, place: Path, say: Say, n: int = 24) -> None:
        ids = store.next_id + np.arange(n)
        say("a", ids[0], n)
        ticket = store.append(sample(ids), ids % 4, subject_of(ids), fields={"logits": logits_of(ids)})
        if ticket.wait():
            say("w", ids[0], n)

    @staticmethod
    def _fields(store: SampleStore, place: Path, say: Say) -> None:
        ids = np.arange(0, min(20, store.next_id))
        if len(ids) and store.update_field("weight", ids, (ids % 13 + 1).astype(np.float32)[:, None]).wait():
            say("u", ids[0], len(ids))

    @staticmethod
    def _meta(store: SampleStore, place: Path, say: Say) -> None:
        store.meta_set({"seen": str(store.next_id).encode()})
        say("m", store.next_id)

    @staticmethod
    def _name(store: SampleStore, place: Path, say: Say) -> None:
        store.name_classes(["zero", OF_ONE], {1: 1})
        say("n")

    @staticmethod
    def _forget(subject: int) -> Callable[[SampleStore, Path, Say], None]:
        def forget(store: SampleStore, place: Path, say: Say) -> None:
            say("f", subject, store.next_id)
            store.forget(subject)
            say("F", subject)

        return forget

    @staticmethod
    def _state(store: SampleStore, place: Path, say: Say) -> None:
        store.state()

    @staticmethod
    def _relabel(store: SampleStore, place: Path, say: Say) -> None:
        ids = np.arange(0, store.next_id, 7)
        ids = ids[np.isin(subject_of(ids), (0, 2, 4))]
        say("l", *ids)
        store.relabel(ids, np.full(len(ids), 9))
        say("L", *ids)

    @staticmethod
    def _remove(store: SampleStore, place: Path, say: Say) -> None:
        ids = np.arange(5, store.next_id, 31)
        say("r", *ids)
        store.remove(ids)
        say("R", *ids)

    @staticmethod
    def _compact(store: SampleStore, place: Path, say: Say) -> None:
        store.compact()

    @staticmethod
    def _export(store: SampleStore, place: Path, say: Say) -> None:
        shutil.rmtree(place / "export", ignore_errors=True)
        export_store(store, place / "export")

    # -- what must hold

    def check(self, place: Path, ledger: list[list[str]]) -> dict[str, int]:
        """Opens the store; how much is lost, wrong and leaked."""
        found = {"lost": 0, "wrong": 0, "leaked": 0}
        said = _Said(ledger)
        with self.open(place) as store:
            every = np.arange(max(store.next_id, max(said.acked, default=-1) + 1))
            batch = store.read(every)
            ok = batch["ok"]
            held = every[ok]
            may_go = said.below(said.forgetting, every) | np.isin(every, list(said.removing))
            must_go = said.below(said.forgotten, every) | np.isin(every, list(said.removed))
            found["lost"] += int((np.isin(every, list(said.acked)) & ~may_go & ~ok).sum())
            found["leaked"] += int((must_go & ok).sum())
            found["wrong"] += int((batch["samples"][ok] != sample(held)).any(axis=(1, 2, 3)).sum())
            found["wrong"] += self._labels(said, held, batch["classes"][ok])
            found["wrong"] += int((batch["subjects"][ok] != subject_of(held)).sum())
            for name, right, sure in (("logits", logits_of, said.acked), ("weight", _weight, said.weights)):
                values, widths = (a[ok] for a in batch["fields"][name])
                have = widths > 0
                width = right(held[:1]).shape[1] if len(held) else 0
                if have.any():
                    found["wrong"] += int((values[have][:, :width] != right(held[have])).any(axis=1).sum())
                found["lost"] += int((~have & np.isin(held, list(sure))).sum())
            found["lost"] += int(int(store.meta_get("seen") or b"-1") < said.seen)
            found["wrong"] += len(store.verify())
            named = store.class_names().names
            found["lost"] += "zero" not in named and said.named
            found["lost"] += OF_ONE not in named and said.named and 1 not in said.forgetting
            found["leaked"] += OF_ONE in named and 1 in said.forgotten
        if 1 in said.forgotten or self._sealed:
            written = (p for p in (place / "store").rglob("*") if p.is_file())
            found["leaked"] += any(OF_ONE.encode() in p.read_bytes() for p in written)
        if not self._sealed:
            forgotten = said.below(said.forgotten, every)
            found["leaked"] += plaintext(place / "store", every[forgotten])
        return found

    @staticmethod
    def _labels(said: _Said, ids: np.ndarray, classes: np.ndarray) -> int:
        old, new = classes == ids % 4, classes == 9
        asked, done = np.isin(ids, list(said.labelling)), np.isin(ids, list(said.labelled))
        return int((~(old | (new & asked)) | (done & ~new)).sum())


class ForgetLife(StoreLife):
    """Forgetting alone: samples of several subjects, one of them forgotten, more samples on the same handle."""

    def __init__(self) -> None:
        super().__init__(False)
        self.name = "forgetting"

    def steps(self) -> list[Callable[[SampleStore, Path, Say], Any]]:
        return [self._append, self._append, self._forget(1), self._append]

    def _import(self, place: Path, say: Say) -> None:
        pass


def _weight(ids: np.ndarray) -> np.ndarray:
    return (np.asarray(ids) % 13 + 1).astype(np.float32)[:, None]


def plaintext(folder: Path, ids: np.ndarray) -> int:
    """How many of the samples stand in some file below a folder."""
    text = b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
    return sum(sample([i]).tobytes() in text for i in ids)


class _Said:
    """What a life reported, as sets of ids."""

    def __init__(self, ledger: list[list[str]]) -> None:
        self.acked: set[int] = set()
        self.weights: set[int] = set()
        self.seen, self.named = -1, False
        self.forgetting: dict[int, int] = {}
        self.forgotten: dict[int, int] = {}
        self.labelling: set[int] = set()
        self.labelled: set[int] = set()
        self.removing: set[int] = set()
        self.removed: set[int] = set()
        sets = {"l": self.labelling, "L": self.labelled, "r": self.removing, "R": self.removed}
        for what, *words in ledger:
            if what in ("w", "u"):
                span = range(int(words[0]), int(words[0]) + int(words[1]))
                (self.acked if what == "w" else self.weights).update(span)
            elif what == "m":
                self.seen = int(words[0])
            elif what == "n":
                self.named = True
            elif what == "f":
                self.forgetting[int(words[0])] = int(words[1])
            elif what == "F":
                self.forgotten[int(words[0])] = self.forgetting[int(words[0])]
            elif what in sets:
                sets[what].update(map(int, words))

    @staticmethod
    def below(which: dict[int, int], ids: np.ndarray) -> np.ndarray:
        limits = np.zeros(SUBJECTS, np.int64)
        for subject, limit in which.items():
            limits[subject] = limit
        return ids < limits[subject_of(ids)]
