"""Does a learner that lives for years get slower or larger? A life of observe, learn, end_task and save, watched.

    python bench/learner_soak.py [--quick] [--json FILE] [--place DIR] [--tasks N]

5,000 tasks of 200 samples and 40 steps each, over the same 20 labels, with a store of bounded capacity; a save every
ten tasks: 1 million samples, 200,000 steps, 500 saves. Bytes and open files: the last tenth of the tasks against the
first one after the store is full and has been replaced once (medians). CPU time of a step, an observe and a save: the
last tenth against the same tenth of a fresh learner in a process of its own, the two task by task in turn, so that a
machine that gets slower meanwhile slows both (median of the pairs' ratios). --quick: a hundredth.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, quantile, table, write

from edgecl import Learner
from edgecl.budget.meters import resident

LABELS, SAMPLES, STEPS, SAVE_EVERY, KEPT = 20, 200, 40, 10, 20_000
WARM = 2 * KEPT // SAMPLES  # tasks until the store is full and every segment of it has been replaced
SHAPE = (1, 8, 8)
TIMES, SIZES = ("step_us", "observe_us", "save_us"), ("rss", "files", "flash_extra")
Measured = dict[str, float]


def flash_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def life(place: Path) -> Iterator[Measured]:
    """Lives a task at each turn; what was measured in it."""
    rng = np.random.default_rng(0)
    learner = Learner(
        "mlp", input_shape=SHAPE, method="er", memory=200, batch=8, lr=0.01, classes=LABELS, buffer=SAMPLES,
        store=str(place / "store"), store_limit=f"{KEPT} samples", path=place / "saved", durability="batched:1000",
    )  # fmt: skip
    task = 0
    with learner:
        while True:
            x = rng.integers(0, 256, (SAMPLES, *SHAPE), dtype=np.uint8)
            y = ((np.arange(SAMPLES) + task) % LABELS).tolist()
            began = time.process_time()
            for at in range(0, SAMPLES, 20):
                learner.observe(x[at : at + 20], y[at : at + 20], task=task)
            observed = time.process_time()
            for _ in range(STEPS // 8):
                learner.learn(steps=8)
            learned = time.process_time()
            found = {"observe_us": (observed - began) / 10 * 1e6, "step_us": (learned - observed) / STEPS * 1e6}
            if task % SAVE_EVERY == SAVE_EVERY - 1:
                before = time.process_time()
                learner.save()
                found["save_us"] = (time.process_time() - before) * 1e6
                payload = learner.counters["stored"] * int(np.prod(SHAPE))
                found["flash_extra"] = flash_bytes(place) - payload
            task += 1
            yield {**found, "rss": resident(), "files": len(os.listdir("/proc/self/fd"))}


def fresh_learner(place: Path, asked: Connection) -> None:
    """A life in a process of its own, a task for each number of tasks that is asked for."""
    tasks = life(place)
    while n := asked.recv():
        found = [next(tasks) for _ in range(n)]
        asked.send(found[-1])


def lives(place: Path, tasks: int) -> tuple[list[Measured], list[tuple[Measured, Measured]]]:
    """What each task of the old learner gave, and the pairs (fresh, old) of its last tenth."""
    (place / "old").mkdir()
    (place / "fresh").mkdir()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=fresh_learner, args=(place / "fresh", theirs))
    process.start()
    old = life(place / "old")
    tenth = max(SAVE_EVERY, tasks // 10)
    found = [next(old) for _ in range(tasks - tenth)]
    warm = min(WARM, tasks - tenth)

    def next_fresh(n: int = 1) -> Measured:
        ours.send(n)
        return ours.recv()  # type: ignore[no-any-return]

    next_fresh(warm)
    pairs = []
    for turn in range(tenth):
        fresh = next_fresh() if turn % 2 else None
        found.append(next(old))
        pairs.append((fresh or next_fresh(), found[-1]))
    ours.send(0)
    process.join()
    return found, pairs


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--tasks", type=int, help="how many (default 5000)")
    parser.add_argument("--place", help="folder for the store (default: a temporary one)")
    options = parser.parse_args()
    tasks = options.tasks or (50 if options.quick else 5000)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        found, pairs = lives(Path(place), tasks)
    rows: list[dict[str, Any]] = []
    for what in TIMES:
        both = [(fresh[what], old[what]) for fresh, old in pairs if what in old]
        first, last = (quantile([pair[i] for pair in both], 0.5) for i in (0, 1))
        ratio = quantile([old / fresh for fresh, old in both], 0.5)
        rows.append({"what": what, "tasks": tasks, "first": first, "last": last, "ratio": ratio, "grew": last - first})
    for what in SIZES:
        values = [each[what] for each in found if what in each]
        tenth = max(1, len(values) // 10)
        warm = max(0, min(WARM * len(values) // tasks, len(values) - 2 * tenth))
        first, last = (quantile(part, 0.5) for part in (values[warm:][:tenth], values[-tenth:]))
        grew = {"ratio": last / first, "grew": last - first}
        rows.append({"what": what, "tasks": tasks, "first": first, "last": last, **grew})
    table(rows)
    write("learner_soak", rows, options.json, key=("what", "tasks"), seconds=round(time.perf_counter() - began, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
