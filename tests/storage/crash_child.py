"""The process that a crash campaign ends: it appends, updates, forgets and compacts, and reports each promise.

Reports go to a pipe, a line each, at once: ``o`` opened; ``a first n time`` `append` returned at a monotonic time;
``w first n time`` a ticket's `wait` returned True; ``u first n time`` the same of field values; ``m value`` a small
value was set; ``f subject below`` a `forget` begins, ``F subject`` it returned; ``e name`` it ended with a typed error,
``x`` with any other.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

import numpy as np
from edgecl.storage import FieldSpec, KeyFile, SampleStore, StreamSchema, opening
from edgecl.storage.errors import StoreError
from store_samples import logits_of, sample_of

FIELDS = {"logits": FieldSpec("float16", 12), "weight": FieldSpec("float32", 1)}
MOST = 3000  # samples a life


@dataclass(frozen=True)
class Kind:
    """A store's settings. file_bytes: the usual size of a segment; small ones are sealed and cleaned often."""

    durability: str = "durable"
    codec: str = "raw"
    sealed: bool = False
    limit: int | None = None
    file_bytes: int = 1 << 16

    @property
    def schema(self) -> StreamSchema:
        return StreamSchema((1, 10, 20), "uint8", FIELDS, self.codec)

    @property
    def name(self) -> str:
        parts = [self.durability, self.codec, "sealed" if self.sealed else "", "limit" if self.limit else ""]
        return " ".join(p for p in [*parts, "16 MB" if self.file_bytes > 1 << 20 else ""] if p)

    def open(self, path: str | os.PathLike[str], key: str | os.PathLike[str]) -> SampleStore:
        root = KeyFile(key) if self.sealed else None
        opening.FILE_BYTES = self.file_bytes
        return SampleStore(path, self.schema, durability=self.durability, limit_bytes=self.limit, root_key=root)


def subject_of(ids):
    return np.asarray(ids) // 40 % 50


def weight_of(ids):
    return (np.asarray(ids) % 13 + 1).astype(np.float32)[:, None]


def child(kind: Kind, path: str, key: str, seed: int, out: int) -> None:
    """Never returns."""

    def say(*words: object) -> None:
        os.write(out, (" ".join(map(str, words)) + "\n").encode())

    def work(number: int) -> None:
        try:
            _work(store, kind, np.random.default_rng([seed, number]), number, lock, say)
        except StoreError as error:
            say("e", type(error).__name__)
        except BaseException as error:
            say("x", repr(error).replace("\n", " "))

    try:
        store = kind.open(path, key)
        say("o")
        lock = threading.Lock()
        second = threading.Thread(target=work, args=(1,), daemon=True)
        second.start()
        work(0)
        time.sleep(60)
    except StoreError as error:
        say("e", type(error).__name__)
        time.sleep(60)
    except BaseException as error:
        say("x", repr(error).replace("\n", " "))
    finally:
        os._exit(1)


def _work(store, kind, rng, number, lock, say) -> None:
    end = store.next_id + MOST
    while True:
        if store.next_id < end:
            n = int(rng.integers(1, 40))
            with lock:  # the content follows from the id, which only the store knows
                ids = store.next_id + np.arange(n)
                ticket = store.append(
                    sample_of(ids, store.schema), ids % 5, subject_of(ids), fields={"logits": logits_of(ids)}
                )
                say("a", ids[0], n, time.monotonic())
            if kind.durability == "durable" or rng.random() < 0.1:
                assert ticket.wait()
                say("w", ids[0], n, time.monotonic())
        else:
            time.sleep(0.002)
        if rng.random() < 0.1 and store.update_field("weight", ids, weight_of(ids)).wait():
            say("u", ids[0], n, time.monotonic())
        if number == 0 and rng.random() < 0.03:
            value = store.next_id
            store.meta_set({"seen": str(value).encode()})
            say("m", value)
        if number == 0 and rng.random() < 0.02:
            subject = int(rng.integers(50))
            with lock:
                say("f", subject, store.next_id)
                store.forget(subject)
            say("F", subject)
        if number == 1 and rng.random() < 0.01:
            store.compact()
        if kind.durability != "durable":
            time.sleep(0.0005)
