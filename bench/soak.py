"""Does a device that trains for years get slower or larger? Step time and resident set over many steps.

A small mlp on 8x8 images, batch 8, ER with 64 slots, every replayed sample exchanged with the store, exact mode.
Time is the CPU time of the training thread, so that a busy neighbour shows little.

    python bench/soak.py --json FILE [--steps 1000000]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, median, table, write

from edgecl.budget.meters import resident
from edgecl.learning.prepare import prepare
from edgecl.run import Run

BLOCKS = 200
PER_CLASS = 256


def soak(folder: Path, steps: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), PER_CLASS)
    x = rng.integers(0, 256, (len(y), 1, 8, 8)).astype(np.uint8)
    np.savez(folder / "stream.npz", x=x, y=y)
    per_epoch = len(y) // 2 // 8
    options = {
        "stream": str(folder / "stream.npz"),
        "model": "mlp",
        "method": "er",
        "batch": 8,
        "memory": 64,
        "memory_policy": "balanced",
        "epochs": 2 * steps // per_epoch + 100,  # more than needed: part of the samples is kept for testing
        "lr": 0.001,
        "store": str(folder / "store"),
        "gate": "all",
        "threads": 1,
    }
    with Run(prepare(options), "bench") as job:
        job.begin_store()
        loop = job.begin_task(0)
        for _ in range(per_epoch):
            loop.advance()
        job.end_task(0)
        loop = job.begin_task(1)
        for _ in range(max(steps // 20, 100)):  # until every cache and buffer has its size
            loop.advance()
        block = max(steps // BLOCKS, 1)
        cpu, bytes_ = [], []
        began = time.perf_counter()
        for n in range(BLOCKS):
            t = time.thread_time()
            for _ in range(block):
                loop.advance()
            cpu.append((time.thread_time() - t) / block)
            bytes_.append(resident())
            if n % 20 == 0:
                print(
                    f"{n * block} steps, {cpu[-1] * 1e6:.0f} us, {bytes_[-1] / 1e6:.2f} MB", file=sys.stderr, flush=True
                )
        assert job.parts.carousel is not None
        counters = job.parts.carousel.counters
    at = np.arange(BLOCKS)
    tenth = BLOCKS // 10
    return {
        "steps": block * BLOCKS,
        "step_us_first": median(cpu[:tenth]) * 1e6,
        "step_us_last": median(cpu[-tenth:]) * 1e6,
        "step_growth": median(cpu[-tenth:]) / median(cpu[:tenth]) - 1,
        "step_slope": float(np.polyfit(at, cpu, 1)[0]) * BLOCKS / median(cpu),
        "rss_bytes_first": int(median(bytes_[:tenth])),
        "rss_bytes_last": int(median(bytes_[-tenth:])),
        "rss_growth_bytes": int(median(bytes_[-tenth:]) - median(bytes_[:tenth])),
        "swaps": counters["swaps_done"],
        "stall_seconds": counters["stall_seconds"],
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [soak(Path(folder), 20_000 if o.quick else o.steps)]
    table(rows)
    write("soak", rows, o.json)


if __name__ == "__main__":
    main()
