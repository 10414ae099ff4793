"""Does a learner that lives for years get slower or larger? A life of observe, learn, end_task and save, watched.

    python bench/learner_soak.py [--quick] [--json FILE] [--place DIR] [--tasks N]

5,000 tasks of 200 samples and 40 steps each, over the same 20 labels, with a store of bounded capacity; a save every
ten tasks: 1 million samples, 200,000 steps, 500 saves. A row compares the last tenth of the tasks with the first one
after it has warmed up: CPU time of a step, an observe and a save (lower quartiles of the tasks' means), resident bytes,
open files, bytes on flash beyond the samples' own. --quick: a hundredth.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, quantile, table, write

from edgecl import Learner
from edgecl.budget.meters import resident

LABELS, SAMPLES, STEPS, SAVE_EVERY, KEPT = 20, 200, 40, 10, 20_000
SHAPE = (1, 8, 8)


def flash_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def life(place: Path, tasks: int) -> dict[str, list[float]]:
    """What was measured in each task."""
    names = ("step_us", "observe_us", "save_us", "rss", "files", "flash_extra")
    found: dict[str, list[float]] = {name: [] for name in names}
    rng = np.random.default_rng(0)
    learner = Learner(
        "mlp", input_shape=SHAPE, method="er", memory=200, batch=8, lr=0.01, classes=LABELS, buffer=SAMPLES,
        store=str(place / "store"), store_limit=f"{KEPT} samples", path=place / "saved", durability="batched:1000",
    )  # fmt: skip
    with learner:
        for task in range(tasks):
            x = rng.integers(0, 256, (SAMPLES, *SHAPE), dtype=np.uint8)
            y = ((np.arange(SAMPLES) + task) % LABELS).tolist()
            began = time.process_time()
            for at in range(0, SAMPLES, 20):
                learner.observe(x[at : at + 20], y[at : at + 20], task=task)
            observed = time.process_time()
            for _ in range(STEPS // 8):
                learner.learn(steps=8)
            learned = time.process_time()
            found["observe_us"].append((observed - began) / 10 * 1e6)
            found["step_us"].append((learned - observed) / STEPS * 1e6)
            if task % SAVE_EVERY == SAVE_EVERY - 1:
                before = time.process_time()
                learner.save()
                found["save_us"].append((time.process_time() - before) * 1e6)
                payload = learner.counters["stored"] * int(np.prod(SHAPE))
                found["flash_extra"].append(flash_bytes(place) - payload)
            found["rss"].append(resident())
            found["files"].append(len(os.listdir("/proc/self/fd")))
    return found


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--tasks", type=int, help="how many (default 5000)")
    parser.add_argument("--place", help="folder for the store (default: a temporary one)")
    options = parser.parse_args()
    tasks = options.tasks or (50 if options.quick else 5000)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        found = life(Path(place), tasks)
    rows: list[dict[str, Any]] = []
    for what, values in found.items():
        tenth = max(1, len(values) // 10)
        warm = min(KEPT // SAMPLES * len(values) // tasks, len(values) - 2 * tenth)  # the store is full by then
        first, last = (quantile(part, 0.25) for part in (values[max(0, warm) :][:tenth], values[-tenth:]))
        grew = {"first": first, "last": last, "ratio": last / first, "grew": last - first}
        rows.append({"what": what, "tasks": tasks, **grew})
    table(rows)
    write("learner_soak", rows, options.json, key=("what", "tasks"), seconds=round(time.perf_counter() - began, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
