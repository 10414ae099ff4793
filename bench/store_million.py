"""A store of a million samples: write amplification, resident memory, time to open. Each case in a fresh process.

python bench/store_million.py CASE DIR PAYLOAD COUNT      (called by bench/store.py; prints JSON)
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from edgecl.storage import Carousel, EpisodicMemory, SampleStore, StreamSchema

GROUP, BATCH, CLASSES = 256, 32, 100


def rss() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    return 0


def peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def written() -> int:
    """Bytes this process caused to be sent to the block layer."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def classes_of(order: str, first: int, total: int) -> np.ndarray:
    """Classes of a group: drawn at random, or class-incremental (they come one after the other)."""
    ids = first + np.arange(GROUP)
    if order == "tasks":
        return ids * CLASSES // total % CLASSES
    return np.random.default_rng(first).integers(0, CLASSES, GROUP)


def fill(store: SampleStore, payload: int, first: int, end: int, order: str, total: int) -> None:
    rng = np.random.default_rng(0)
    block = rng.integers(0, 256, (GROUP, payload), np.uint8)
    for at in range(first, end, GROUP):
        block[:, :8] = (at + np.arange(GROUP)).astype("<u8").view(np.uint8).reshape(GROUP, 8)
        store.append(block, classes_of(order, at, total))
    store.flush()


def limit_for(payload: int, count: int) -> int:
    """Bytes that hold ``count`` samples: found by asking stores made for it."""
    low, high = count * payload, 4 * count * (payload + 64) + (1 << 28)
    while high - low > payload * 256:
        middle = (low + high) // 2
        with tempfile.TemporaryDirectory() as place, SampleStore(
            place, StreamSchema((payload,)), limit_bytes=middle
        ) as store:
            low, high = (middle, high) if store.capacity < count else (low, middle)
    return high


def amplification(path: Path, payload: int, count: int) -> list[dict[str, object]]:
    """Fill, then as many more offers at capacity; for classes in random order and class by class."""
    rows: list[dict[str, object]] = []
    limit = limit_for(payload, count)
    for order in ("random", "tasks"):
        place = path / order
        with SampleStore(place, StreamSchema((payload,)), limit_bytes=limit) as store:
            before, counted, began = written(), store.wear.total, time.perf_counter()
            for phase, first, end in (("fill", 0, count), ("at capacity", count, 2 * count)):
                fill(store, payload, first, end, order, 2 * count)
                now, total = written(), store.wear.total
                blocks = sum(f.stat().st_blocks * 512 for f in place.rglob("*") if f.is_file())
                rows.append(
                    {
                        "case": phase, "classes": order, "payload": payload, "n": count, "live": store.count,
                        "write_amplification": (now - before) / (count * payload),
                        "counted_amplification": (total - counted) / (count * payload),
                        "flash_bytes": blocks, "limit_bytes": limit,
                        "seconds": time.perf_counter() - began,
                    }
                )  # fmt: skip
                before, counted, began = now, total, time.perf_counter()
        shutil.rmtree(place)
    return rows


def make(path: Path, payload: int, count: int) -> list[dict[str, object]]:
    """A cleanly closed store."""
    with SampleStore(path, StreamSchema((payload,))) as store:
        fill(store, payload, 0, count, "random", count)
    return []


def opening(path: Path, payload: int, count: int, how: str) -> list[dict[str, object]]:
    before, began = rss(), time.perf_counter()
    store = SampleStore(path)
    seconds = time.perf_counter() - began
    assert store.count >= count and store.rebuilt == (how == "index rebuild")
    gc.collect()
    row = {"case": how, "payload": payload, "n": store.count, "seconds": seconds, "rss_bytes": rss() - before,
           "peak_bytes": peak() - before}  # fmt: skip
    if how == "clean open":
        row |= reading(store)
    os._exit(0 if print(json.dumps([row]), flush=True) is None else 1)  # a crash: nothing is closed


def reading(store: SampleStore) -> dict[str, object]:
    """Resident memory with memory and carousel at work on a store that is far larger."""
    store_only = rss()
    memory = EpisodicMemory(500, store.schema)
    rng = np.random.default_rng(0)
    batch = store.read(rng.integers(0, store.count, 500), fields=())
    memory.put_many(range(500), batch["samples"], batch["classes"], batch["ids"])
    slots_only = rss() - store_only
    with Carousel(store, memory, queue=64) as carousel:
        for step in range(2000):
            carousel.begin_step(step)
            carousel.request(step, memory.draw(rng, BATCH), rng)
        store.read(rng.integers(0, store.count, 4096)[:BATCH])
        gc.collect()
        return {"slots_bytes": memory.bytes, "with_carousel_bytes": rss() - store_only - memory.bytes,
                "slots_rss": slots_only, "swaps_done": carousel.counters["swaps_done"]}  # fmt: skip


def main() -> None:
    case, path, payload, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) // GROUP * GROUP
    if case == "amplification":
        rows = amplification(path, payload, count)
    elif case == "go on":  # until it is killed
        store = SampleStore(path)
        print("begun", flush=True)
        fill(store, payload, count, 2 * count, "random", count)
    elif case == "make":
        rows = make(path, payload, count)
    else:
        if case == "index rebuild":
            shutil.rmtree(path / "index")
        rows = opening(path, payload, count, case)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
