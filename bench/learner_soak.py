"""Does a learner that lives for years get slower or larger? A life of observe, learn, end_task and save, watched.

    python bench/learner_soak.py [--quick] [--json FILE] [--place DIR] [--tasks N]

5,000 tasks of 200 samples and 40 steps each, over the same 20 labels, with a store of bounded capacity; a save every
ten tasks: 1 million samples, 200,000 steps, 500 saves. Bytes and open files: the last tenth of the tasks against the
first one after the store is full and has been replaced once (medians). CPU time of a step, an observe and a save: the
last tenth against the same tenth of a fresh learner in a process of its own, the two task by task in turn, so that a
machine that gets slower meanwhile slows both (median of the pairs' ratios). --quick: a hundredth.
"""

from __future__ import annotations

import math
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
from common import arguments, table, write

from edgecl import Learner
from edgecl.budget.meters import resident

LABELS, SAMPLES, STEPS, SAVE_EVERY, KEPT = 20, 200, 40, 10, 20_000
WARM = 2 * KEPT // SAMPLES  # tasks until the store is full and every segment of it has been replaced
SHAPE = (1, 8, 8)
TIMES, SIZES = ("step_us", "observe_us", "save_us"), ("rss", "files", "flash_extra")
NAMES = (*TIMES, *SIZES)
Measured = tuple[float, ...]  # by NAMES; nan in a task without a save


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
            step, observe, save, extra = (learned - observed) / STEPS, (observed - began) / 10, math.nan, math.nan
            if task % SAVE_EVERY == SAVE_EVERY - 1:
                before = time.process_time()
                learner.save()
                save = time.process_time() - before
                extra = flash_bytes(place) - learner.counters["stored"] * int(np.prod(SHAPE))
            task += 1
            yield step * 1e6, observe * 1e6, save * 1e6, resident(), len(os.listdir("/proc/self/fd")), extra


def fresh_learner(place: Path, asked: Connection) -> None:
    """A life in a process of its own, a task for each number of tasks that is asked for."""
    tasks = life(place)
    while n := asked.recv():
        for _ in range(n):
            found = next(tasks)
        asked.send(found)


def lives(place: Path, tasks: int) -> tuple[np.ndarray, np.ndarray]:
    """What each task of the old learner gave [tasks, names], and the fresh one's beside its last tenth."""
    (place / "old").mkdir()
    (place / "fresh").mkdir()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=fresh_learner, args=(place / "fresh", theirs))
    process.start()
    tenth = max(SAVE_EVERY, tasks // 10)
    found, fresh = np.zeros((tasks, len(NAMES))), np.zeros((tenth, len(NAMES)))  # of full size: it does not grow
    found[:], fresh[:] = math.nan, math.nan
    old = life(place / "old")
    for task in range(tasks - tenth):
        found[task] = next(old)

    def next_fresh(n: int = 1) -> Measured:
        ours.send(n)
        return ours.recv()  # type: ignore[no-any-return]

    next_fresh(min(WARM, tasks - tenth))
    for turn in range(tenth):
        if turn % 2:
            fresh[turn] = next_fresh()
        found[tasks - tenth + turn] = next(old)
        if not turn % 2:
            fresh[turn] = next_fresh()
    ours.send(0)
    process.join()
    return found, fresh


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--tasks", type=int, help="how many (default 5000)")
    parser.add_argument("--place", help="folder for the store (default: a temporary one)")
    options = parser.parse_args()
    tasks = options.tasks or (50 if options.quick else 5000)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        found, fresh = lives(Path(place), tasks)
    tenth, warm = len(fresh), max(0, min(WARM, tasks - 2 * len(fresh)))
    rows: list[dict[str, Any]] = []
    for i, what in enumerate(NAMES):
        before, after = (fresh if what in TIMES else found[warm:][:tenth])[:, i], found[-tenth:, i]
        first, last = float(np.nanmedian(before)), float(np.nanmedian(after))
        ratio = float(np.nanmedian(after / before)) if what in TIMES else last / first
        rows.append({"what": what, "tasks": tasks, "first": first, "last": last, "ratio": ratio, "grew": last - first})
    table(rows)
    write("learner_soak", rows, options.json, key=("what", "tasks"), seconds=round(time.perf_counter() - began, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
