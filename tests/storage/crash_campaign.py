"""SIGKILLs and power cuts at random moments, and what must hold when the store is opened again."""

from __future__ import annotations

import fcntl
import math
import os
import select
import shutil
import signal
import struct
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from crash_child import Kind, child, subject_of, weight_of
from store_samples import logits_of, sample_of

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2  # drop everything that is not on the device
CARD_BYTES = 256 << 20  # so that a segment's space is reserved ahead
LIVES = 12  # crashes a store goes through
WINDOW_MS = 50
REPORTS = 250  # of a child before it is ended, at most
PATIENCE = 5.0  # seconds, for them
TICK = 0.05  # seconds between looks at the clock
PAUSE = 0.25  # seconds between two looks that nobody but a paused machine lets go by
LATE = 1.0  # seconds: a flush of a busy machine's card, and what such a machine delays the thread that flushes
KINDS = [
    Kind(),
    Kind(limit=1 << 20),
    Kind(codec="zstd"),
    Kind(sealed=True),
    Kind(sealed=True, codec="zstd", limit=1 << 20),
    Kind(f"batched:{WINDOW_MS}"),
    Kind(f"batched:{WINDOW_MS}", limit=1 << 20),
    Kind(f"batched:{WINDOW_MS}", sealed=True),
    Kind(file_bytes=16 << 20),
    Kind(f"batched:{WINDOW_MS}", file_bytes=16 << 20),  # nothing but the thread flushes
]


class Wrong(Exception):
    """A promise that was not kept."""


def require(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


class Watch:
    """Looks at the clock every `TICK` from the start of a child to its crash. While a machine pauses the child and this
    process nothing can be flushed: such a gap adds nothing to a sample's age.
    """

    def __init__(self) -> None:
        self.now = time.monotonic()  # at the last look
        self.gaps: list[tuple[float, float]] = []

    def look(self) -> float:
        before, self.now = self.now, time.monotonic()
        if self.now - before > PAUSE:
            self.gaps.append((before, self.now))
        return self.now

    def age(self, since: float) -> float:
        """Seconds from ``since`` to the last look, without the gaps."""
        return self.now - since - sum(max(0.0, b - max(since, a)) for a, b in self.gaps)


@dataclass
class Ledger:
    """What a store's processes reported over its lives."""

    appended: dict[int, float] = field(default_factory=dict)  # id -> monotonic time
    acked: set[int] = field(default_factory=set)
    weights: set[int] = field(default_factory=set)
    seen: int = -1
    forgetting: dict[int, int] = field(default_factory=dict)  # subject -> ids below may be gone
    forgotten: dict[int, int] = field(default_factory=dict)  # ... are gone

    def note(self, text: str, counts: Counter[str], cut: float = math.inf) -> None:
        for line in text.splitlines(keepends=True):
            if not line.endswith("\n"):
                continue  # cut off by the kill: not reported
            what, *words = line.split()
            if what in "wu" and float(words[2]) > cut:  # there is no machine any more that could promise anything
                counts["promises after the cut"] += 1
                continue
            if what == "a":
                self.appended |= dict.fromkeys(self._ids(words), float(words[2]))
            elif what == "w":
                self.acked |= set(self._ids(words))
            elif what == "u":
                self.weights |= set(self._ids(words))
            elif what == "m":
                self.seen = int(words[0])
            elif what == "f":
                self.forgetting[int(words[0])] = int(words[1])
            elif what == "F":
                self.forgotten[int(words[0])] = self.forgetting[int(words[0])]
            elif what == "e":
                counts[f"typed errors {words[0]}"] += 1
            elif what == "x":
                raise Wrong(f"an error without a type: {line.strip()}")

    @staticmethod
    def _ids(words: list[str]) -> range:
        return range(int(words[0]), int(words[0]) + int(words[1]))

    def below(self, which: dict[int, int], ids: np.ndarray) -> np.ndarray:
        limits = np.zeros(50, np.int64)
        for subject, limit in which.items():
            limits[subject] = limit
        return ids < limits[subject_of(ids)]


def check(kind: Kind, path: Path, key: Path, ledger: Ledger, cut: Watch | None, counts: Counter[str]) -> None:
    """Opens the store and compares all of it with the ledger. ``cut``: the power went at its end; None: SIGKILL."""
    try:
        store = kind.open(path, key)
    except Exception as error:
        raise Wrong(f"it does not open: {error!r}") from error
    with store:
        _next_id(store, kind, ledger, cut, counts)
        damaged = store.verify()
        holes = {d.id for d in damaged}
        if cut is None or kind.durability == "durable":
            require(not damaged, f"damaged: {damaged[:3]}")
        counts["unflushed records found torn"] += len(damaged)
        every = np.arange(store.next_id)
        none = [np.zeros(0, np.int64)]
        live = np.sort(np.concatenate(none + [store.ids_of_class(c) for c in store.classes()]))
        require(len(live) == store.count and (np.diff(live) > 0).all(), "the classes do not add up")
        required, gone = _expected(store, kind, ledger, every, holes)
        missing = every[required & ~np.isin(every, live)]
        require(not len(missing), f"{len(missing)} samples lost: {missing[:5]}")
        require(not gone[live].any(), "a forgotten sample is served")
        subject = int(live[0]) // 40 % 50 if len(live) else 0
        require((store.ids_of_subject(subject) == live[subject_of(live) == subject]).all(), "subjects do not add up")
        for at in range(0, len(live), 4000):
            _content(store, ledger, live[at : at + 4000])
        counts["samples read and compared"] += len(live)
        seen = store.meta_get("seen")
        require(int(seen or b"-1") >= ledger.seen, "a small value went back")


def _next_id(store: Any, kind: Kind, ledger: Ledger, cut: Watch | None, counts: Counter[str]) -> None:
    top = store.next_id
    require(top > max(ledger.acked, default=-1), f"acknowledged samples lost: the next id is {top}")
    lost = {i: t for i, t in ledger.appended.items() if i >= top}
    if lost:
        require(cut is not None, "samples lost that a process had appended before it was killed")
        oldest = cut.age(min(lost.values()))
        if kind.durability != "durable":
            counts["unacknowledged samples lost"] += len(lost)
            over = [i for i, t in lost.items() if cut.age(t) > WINDOW_MS / 1000]
            counts[f"of these older than {WINDOW_MS} ms when the power went"] += len(over)
            counts["oldest lost, ms"] = max(counts["oldest lost, ms"], round(oldest * 1000))
            require(oldest < WINDOW_MS / 1000 + LATE, f"a sample {oldest:.2f} s old was lost")
        for i in lost:
            del ledger.appended[i]  # the ids are given again


def _expected(
    store: Any, kind: Kind, ledger: Ledger, every: np.ndarray, holes: set[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Per id: whether it must be live, whether it must be gone."""
    gone = ledger.below(ledger.forgotten, every)
    required = ~gone & ~ledger.below(ledger.forgetting, every)
    torn = np.isin(every, sorted(holes - ledger.acked)) if holes else np.zeros(len(every), bool)
    required &= ~torn
    if kind.limit is not None:  # eviction takes the oldest of the largest class: the newest are there
        required[:-64] = False
    return required, gone


def _content(store: Any, ledger: Ledger, ids: np.ndarray) -> None:
    batch = store.read(ids)
    require(batch["ok"].all(), "a live sample is not served")
    require((batch["samples"] == sample_of(ids, store.schema)).all(), "a wrong sample was served")
    require((batch["classes"] == ids % 5).all() and (batch["subjects"] == subject_of(ids)).all(), "wrong labels")
    for name, right, sure in (("logits", logits_of, ledger.acked), ("weight", weight_of, ledger.weights)):
        values, widths = batch["fields"][name]
        there = widths > 0
        if there.any():
            width = right(ids[:1]).shape[1]
            require((widths[there] == width).all() and (values[there] == right(ids[there])).all(), f"wrong {name}")
        lost = ids[~there & np.isin(ids, list(sure))]
        require(not len(lost), f"{name} of {lost[:5]} lost")


def start(kind: Kind, path: Path, key: Path, seed: int) -> tuple[int, int]:
    """A forked child (nothing to import again): its process id and the reading end of its pipe."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    pid = os.fork()
    if pid == 0:
        os.close(read)
        child(kind, str(path), str(key), seed, write)
    os.close(write)
    return pid, read


def end(pid: int, pipe: int, heard: str, ledger: Ledger, counts: Counter[str], cut: float = math.inf) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with open(pipe) as file:
        text = heard + file.read()
    counts["while opening"] += not text.startswith("o")
    counts["while forgetting"] += text.count("\nf ") > text.count("\nF ")
    ledger.note(text, counts, cut)


def await_moment(pipe: int, rng: np.random.Generator, watch: Watch) -> str:
    """Waits for a random moment: one in five falls into the opening, the others come some time after a random number of
    reports, whatever the machine's load. What was reported so far.
    """
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 0.02))
        watch.look()
        return ""
    heard, lines, began = b"", int(rng.integers(1, REPORTS)), watch.look()
    while heard.count(b"\n") < lines and watch.age(began) < PATIENCE:
        if select.select([pipe], [], [], TICK)[0]:
            if not (part := os.read(pipe, 1 << 16)):
                break
            heard += part
        watch.look()
    time.sleep(rng.uniform(0, 0.005))
    watch.look()
    return heard.decode()


class Course:
    """Stores of every kind in turn, each crashed `LIVES` times in the folder ``place``."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.seed = place, seed
        self.rng = np.random.default_rng(seed)
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    def run(self, rounds: int, crash: Any) -> dict[str, Any]:
        began = time.perf_counter()
        done = 0
        for number in range(1 << 30):
            if done >= rounds:
                break
            kind = KINDS[number % len(KINDS)]
            path, key, ledger = self.place / f"s{number}", Path(f"{self.place}.key{number}"), Ledger()
            for _ in range(min(LIVES, rounds - done)):
                seed = self.seed * 1_000_000 + done
                done += 1
                self.counts[kind.name] += 1
                cut = None
                try:
                    cut = crash(kind, path, key, seed, ledger, self.counts)
                    check(kind, path, key, ledger, cut, self.counts)
                except Wrong as wrong:
                    self.failures.append(f"{kind.name}, seed {seed}: {wrong}")
                    self._keep(path, key, seed)
                    break
            self.counts["samples acknowledged"] += len(ledger.acked)
            self.counts["samples appended"] += len(ledger.appended)
            self.counts["stores"] += 1
            shutil.rmtree(path, ignore_errors=True)
            key.unlink(missing_ok=True)
        return {"rounds": done, "failures": self.failures, **self.counts, "seconds": time.perf_counter() - began}

    def _keep(self, path: Path, key: Path, seed: int) -> None:
        if kept := os.environ.get("KEEP_FAILED"):
            shutil.copytree(path, Path(kept) / str(seed), dirs_exist_ok=True)
            if key.exists():
                shutil.copy(key, Path(kept) / f"{seed}.key")


def kills(place: Path, rounds: int, seed: int) -> dict[str, Any]:
    """SIGKILLs of a writing process."""
    course = Course(place, seed)

    def crash(kind, path, key, seed, ledger, counts) -> None:
        pid, pipe = start(kind, path, key, seed)
        end(pid, pipe, await_moment(pipe, course.rng, Watch()), ledger, counts)

    return course.run(rounds, crash)


def power_cuts(place: Path, rounds: int, seed: int) -> dict[str, Any]:
    """Power cuts of the card a process writes to; needs root, a loop device and mkfs.ext4."""
    card = Card(place)
    course = Course(card.mount, seed)

    def crash(kind, path, key, seed, ledger, counts) -> Watch:
        watch = Watch()
        pid, pipe = start(kind, path, key, seed)
        heard = await_moment(pipe, course.rng, watch)
        cut = watch.look()
        card.cut()
        time.sleep(0.01)  # the child lives on: from now on it must get errors, not promises
        try:
            end(pid, pipe, heard, ledger, counts, cut)
        finally:
            card.off()
            card.on()
        return watch

    try:
        return course.run(rounds, crash)
    finally:
        subprocess.run(["umount", "-l", card.mount], capture_output=True)


def call(*command: Any) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Card:
    """A file system on a loop device from which the power can be taken."""

    def __init__(self, place: Path) -> None:
        self.image, self.mount = place / "card.img", place / "card"
        self.mount.mkdir(parents=True, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(CARD_BYTES)
        call("mkfs.ext4", "-q", "-F", self.image)
        self.on()

    def on(self) -> None:
        """Mounts it, once nobody has the card of before: a test beside this may, in a mount namespace of its own."""
        for _ in range(100):
            call("mount", "-o", "loop", self.image, self.mount)
            try:
                (self.mount / "probe").touch()
                return
            except OSError:  # still the one whose power went
                self.off()
                time.sleep(0.1)
        raise RuntimeError("the card without power stays mounted elsewhere")

    def cut(self) -> None:
        fd = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)

    def off(self) -> None:
        for _ in range(100):
            if subprocess.run(["umount", self.mount], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError("the card stays busy")
