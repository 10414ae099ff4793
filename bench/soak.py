"""Does a device that trains for years get slower or larger? Step time and resident set over many steps.

A small mlp on 8x8 images, batch 8, ER with 64 slots, every replayed sample exchanged with the store, exact mode.
A step's time is the CPU time of the whole process, movers included; of every hundred steps the mean, of a block the
lower quartile, beside the wall clock. A neighbour still shows in CPU time (shared caches, a core's other half), so a
fixed piece of work (small arrays, Python) is timed among the steps: ``relative`` is the step over that piece. Growth
compares the last tenth of the blocks with the first, the slope is a line through all of them, over the whole run.

    python bench/soak.py --json FILE [--steps 1000000]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, median, quantile, table, write

from edgecl.budget.meters import resident
from edgecl.learning.prepare import prepare
from edgecl.run import Run

BLOCKS = 200
PIECE = 100
PER_CLASS = 256


def yardstick() -> float:
    """CPU seconds of a fixed piece of work that keeps nothing."""
    a = np.full((8, 64), 0.5, np.float32)
    w = np.full((64, 64), 1 / 64, np.float32)
    began = time.thread_time()
    for _ in range(150):
        a = np.maximum(a @ w, 0.1)
        {k: k + 1 for k in range(20)}
    return time.thread_time() - began


def slope(series: Sequence[float]) -> float:
    """Growth over the whole run of the line through the middle of all pairs (Theil and Sen), in the series' unit."""
    values = np.asarray(series, np.float64)
    i, j = np.triu_indices(len(values), 1)
    return float(np.median((values[j] - values[i]) / (j - i))) * len(values)


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
        block = max(steps // BLOCKS // PIECE, 1) * PIECE
        cpu, wall, fixed, bytes_ = [], [], [], []
        began = time.perf_counter()
        for n in range(BLOCKS):
            pieces, same, start = [], [], time.perf_counter()
            for _ in range(block // PIECE):
                t = time.process_time()
                for _ in range(PIECE):
                    loop.advance()
                pieces.append((time.process_time() - t) / PIECE)
                same.append(yardstick())
            wall.append((time.perf_counter() - start - sum(same)) / block)
            cpu.append(quantile(pieces, 0.25))
            fixed.append(quantile(same, 0.25))
            bytes_.append(resident())
            if n % 20 == 0:
                print(
                    f"{n * block} steps, {cpu[-1] * 1e6:.0f} us, yardstick {fixed[-1] * 1e6:.0f} us, "
                    f"{bytes_[-1] / 1e6:.2f} MB", file=sys.stderr, flush=True,
                )  # fmt: skip
        assert job.parts.carousel is not None
        counters = job.parts.carousel.counters
    tenth = BLOCKS // 10
    row: dict[str, Any] = {"steps": block * BLOCKS}
    for name, series in (("cpu", cpu), ("wall", wall), ("relative", [c / f for c, f in zip(cpu, fixed)])):
        first, last = median(series[:tenth]), median(series[-tenth:])
        scale = 1.0 if name == "relative" else 1e6
        row |= {
            f"{name}{'' if scale == 1 else '_us'}_first": first * scale,
            f"{name}{'' if scale == 1 else '_us'}_last": last * scale,
            f"{name}_growth": last / first - 1,
            f"{name}_slope": slope(series) / median(series),
        }
    return row | {
        "rss_bytes_first": int(median(bytes_[:tenth])),
        "rss_bytes_last": int(median(bytes_[-tenth:])),
        "rss_growth_bytes": int(median(bytes_[-tenth:]) - median(bytes_[:tenth])),
        "rss_slope_bytes": slope(bytes_),
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
