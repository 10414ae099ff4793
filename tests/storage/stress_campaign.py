"""Four actors at once on one store for a long time: two writers with different habits, a reader, a keeper.

The writers append, wait, refresh values and forget subjects; the reader checks what it is given and drives a carousel;
the keeper verifies, compacts, sets small values and opens the store as another process would. Any error, wrong sample
or growth of memory or descriptors is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from edgecl.storage import Carousel, EpisodicMemory, SampleStore
from store_samples import SCHEMA, logits_of, sample_of

LIMIT = 4 << 20
SUBJECTS = 40
SAMPLES_A_SECOND = 4000  # so that ids last and every actor gets its turn
READER = """
import sys
sys.path.insert(0, sys.argv[2])
from edgecl.storage import SampleStore
from store_samples import sample_of
with SampleStore(sys.argv[1], read_only=True) as store:
    ids = store.newest(500)
    batch = store.read(ids)
    ok = batch["ok"]
    assert (batch["samples"][ok] == sample_of(ids[ok])).all() and store.next_id > 0
"""


class Stress:
    """The store, its actors and what they saw."""

    def __init__(self, place: Path, seed: int) -> None:
        self.store = SampleStore(place / "s", SCHEMA, limit_bytes=LIMIT, durability="batched:50")
        self.place, self.seed = place, seed
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.stop = threading.Event()
        self.order = threading.Lock()  # a sample's content follows from its id, which only the store knows

    def append(self, n: int) -> Any:
        with self.order:
            ids = self.store.next_id + np.arange(n)
            fields = {"logits": logits_of(ids)}
            ticket = self.store.append(sample_of(ids), ids % 5, ids // 40 % SUBJECTS, fields=fields)
        self.counts["samples written"] += n
        return ticket

    def steady(self, rng: np.random.Generator) -> None:
        """Small groups, each waited for."""
        ticket = self.append(int(rng.integers(1, 20)))
        assert any(ticket.wait(1) for _ in range(60)), "not on flash"  # a paused machine uses up one of them
        time.sleep(len(ticket.ids) / SAMPLES_A_SECOND * 2)

    def bursts(self, rng: np.random.Generator) -> None:
        """Large groups, then values for old samples; now and then a subject goes."""
        ids = self.append(int(rng.integers(100, 600))).ids
        newest = self.store.newest(200)
        weights = (newest % 13 + 1).astype(np.float32)[:, None]
        self.store.update_field("weight", newest, weights)
        if rng.random() < 0.02:
            self.store.forget(int(rng.integers(SUBJECTS)))
            self.counts["subjects forgotten"] += 1
        time.sleep(len(ids) / SAMPLES_A_SECOND * 2)

    def reader(self) -> Callable[[np.random.Generator], None]:
        memory = EpisodicMemory(64, SCHEMA)
        first = np.arange(64)
        memory.put_many(first, sample_of(first), first % 5, first)
        carousel = Carousel(self.store, memory, mode="live")
        step = 0

        def act(rng: np.random.Generator) -> None:
            nonlocal step
            if self.stop.is_set():
                carousel.close()
                return
            newest = self.store.next_id
            ids = rng.integers(max(0, newest - 20_000), newest, 64)
            batch = self.store.read(ids)
            ok = batch["ok"]
            assert (batch["samples"][ok] == sample_of(ids[ok])).all(), "a wrong sample"
            assert (batch["classes"][ok] == ids[ok] % 5).all(), "a wrong class"
            values, widths = batch["fields"]["logits"]
            assert (values[widths == 4][:, :4] == logits_of(ids[widths == 4])).all(), "a wrong value"
            self.counts["samples read"] += int(ok.sum())
            carousel.begin_step(step)
            carousel.request(step, memory.draw(rng, 8), rng)
            step += 1
            assert (memory.samples == sample_of(memory.ids)).all(), "a torn slot"
            self.counts["swaps"] = carousel.counters["swaps_done"]
            self.counts["swaps dropped"] = carousel.counters["swaps_dropped"]
            time.sleep(0.001)

        return act

    def keeper(self, rng: np.random.Generator) -> None:
        """Verifies, compacts and looks at the store from outside."""
        assert self.store.verify() == [], "damage"
        self.counts["verified"] += 1
        self.store.compact()
        self.counts["compacted"] += 1
        self.store.meta_set({"at": str(self.store.next_id).encode()})
        self.store.stats()
        if rng.random() < 0.1:
            here = str(Path(__file__).parent)
            run = [sys.executable, "-P", "-c", READER, str(self.place / "s"), here]
            done = subprocess.run(run, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            self.counts["opened by a reader"] += 1
        time.sleep(0.1)

    def act(self, number: int, what: Callable[[np.random.Generator], None]) -> None:
        rng = np.random.default_rng([self.seed, number])
        try:
            while not self.stop.is_set():
                what(rng)
            what(rng)
        except BaseException:
            self.failures.append(traceback.format_exc())
            self.stop.set()


def resident() -> int:
    """Bytes of the resident set, pages of files left out."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def stress(place: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Runs for ``seconds``; the memory's growth is between the medians of the second and the last fifth."""
    began = time.perf_counter()
    run = Stress(place, seed)
    run.append(200)
    threads = [
        threading.Thread(target=run.act, args=(k, what))
        for k, what in enumerate((run.steady, run.bursts, run.reader(), run.keeper))
    ]
    for thread in threads:
        thread.start()
    memory, open_files = [], []
    while time.perf_counter() - began < seconds and not run.stop.wait(min(1.0, seconds / 50)):
        memory.append(resident())
        open_files.append(len(os.listdir("/proc/self/fd")))
    run.stop.set()
    for thread in threads:
        thread.join()
    stats = run.store.stats()
    run.store.close()
    with SampleStore(place / "s", limit_bytes=LIMIT) as again:
        if again.verify() or again.count != stats["samples"]:
            run.failures.append("not the same after it was closed and opened again")
    fifth = max(1, len(memory) // 5)
    grown = int(np.median(memory[-fifth:]) - np.median(memory[fifth : 2 * fifth])) if memory else 0
    more = max(open_files[-fifth:]) - max(open_files[:-fifth]) if len(open_files) > fifth else 0
    if seconds >= 60 and grown > 2_000_000:
        run.failures.append(f"resident memory grew by {grown} bytes")
    if seconds >= 60 and more > 4:
        run.failures.append(f"{more} more files open")
    return {
        "rounds": seconds, "failures": run.failures, **run.counts, "flash_bytes": stats["flash_bytes"],
        "limit_bytes": LIMIT, "rss_growth_bytes": grown, "rss_bytes": memory[-1], "descriptors": open_files[-1],
        "descriptors_most": max(open_files), "seconds": time.perf_counter() - began,
    }  # fmt: skip
