"""Does a device that trains for years get slower or larger? Step time and resident set over many steps.

A small mlp on 8x8 images, batch 8, ER with 64 slots, every replayed sample exchanged with the store, exact mode.
A step's time is the CPU time of the whole process, movers included; of every hundred steps the mean, of a block the
lower quartile, beside the wall clock. Both follow what else the machine does (shared caches, a core's other half) over
the half hour of a run, so the slope is also taken between twins: a young run of the same settings takes turns with the
old one, fifty steps each, before the million steps and after them; ``aged`` is how much the median ratio old / young
changed between the two, and ``aged_error`` its standard error (bootstrap over the pairs). RSS is read before the
second twin begins. Growth compares the last tenth of the blocks with the first, a slope is a line through all of
them, over the whole run.

    python bench/soak.py --json FILE [--steps 1000000]
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, median, quantile, table, write

from edgecl.budget.meters import resident
from edgecl.learning.task_loop import TaskLoop
from edgecl.planning.run_plan import prepare
from edgecl.run import Run

BLOCKS = 200
PIECE = 100  # steps of one sample of the clock
TURN = 50  # steps of a twin
PAIRS = 600
PER_CLASS = 256


def slope(series: Sequence[float]) -> float:
    """Growth over the whole run of the line through the middle of all pairs (Theil and Sen), in the series' unit."""
    values = np.asarray(series, np.float64)
    i, j = np.triu_indices(len(values), 1)
    return float(np.median((values[j] - values[i]) / (j - i))) * len(values)


@contextlib.contextmanager
def running(stream: Path, store: Path, steps: int, warm_up: int) -> Iterator[tuple[Run, TaskLoop]]:
    """A run at the beginning of its second task, every cache and buffer at its size."""
    per_epoch = 4 * PER_CLASS // 2 // 8
    options = {
        "stream": str(stream),
        "network": "mlp",
        "method": "er",
        "batch": 8,
        "memory": 64,
        "memory_policy": "balanced",
        "epochs": 2 * steps // per_epoch + 100 + 2 * warm_up,  # more than needed: some samples are kept for testing
        "lr": 0.001,
        "store": str(store),
        "gate": "all",
        "threads": 1,
    }
    with Run(prepare(options), "bench") as job:
        job.stored.begin()
        loop = job.begin_task()
        for _ in range(per_epoch):
            loop.advance()
        job.end_task()
        loop = job.begin_task()
        for _ in range(warm_up):
            loop.advance()
        yield job, loop


def cpu_of(loop: TaskLoop, steps: int) -> float:
    """CPU seconds of the process per step."""
    began = time.process_time()
    for _ in range(steps):
        loop.advance()
    return (time.process_time() - began) / steps


def against_a_young_one(old: TaskLoop, stream: Path, store: Path, warm_up: int, pairs: int) -> np.ndarray:
    """Step times of the old run over those of a new one, in turns."""
    ratios = []
    with running(stream, store, 2 * pairs * TURN, warm_up) as (_, young):
        for n in range(pairs):
            if n % 2:
                b, a = cpu_of(young, TURN), cpu_of(old, TURN)
            else:
                a, b = cpu_of(old, TURN), cpu_of(young, TURN)
            ratios.append(a / b)
    return np.array(ratios)


def soak(folder: Path, steps: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), PER_CLASS)
    x = rng.integers(0, 256, (len(y), 1, 8, 8)).astype(np.uint8)
    stream = folder / "stream.npz"
    np.savez(stream, x=x, y=y)
    warm_up, pairs = max(steps // 100, 1000), 100 if steps < 100_000 else PAIRS
    with running(stream, folder / "store", 2 * steps + 4 * pairs * TURN, warm_up) as (job, loop):
        at_first = against_a_young_one(loop, stream, folder / "first", warm_up, pairs)
        for _ in range(warm_up):  # what the twin left behind is in place too
            loop.advance()
        block = max(steps // BLOCKS // PIECE, 1) * PIECE
        cpu, wall, bytes_ = [], [], []
        began = time.perf_counter()
        for n in range(BLOCKS):
            start = time.perf_counter()
            pieces = [cpu_of(loop, PIECE) for _ in range(block // PIECE)]
            wall.append((time.perf_counter() - start) / block)
            cpu.append(quantile(pieces, 0.25))
            bytes_.append(resident())
            if n % 20 == 0:
                line = f"{n * block} steps, {cpu[-1] * 1e6:.0f} us, {bytes_[-1] / 1e6:.2f} MB"
                print(line, file=sys.stderr, flush=True)
        seconds = time.perf_counter() - began
        assert job.core.parts.carousel is not None
        counters = dict(job.core.parts.carousel.counters)
        at_last = against_a_young_one(loop, stream, folder / "last", warm_up, pairs)
    change = [
        np.median(rng.choice(at_last, pairs)) / np.median(rng.choice(at_first, pairs)) - 1 for _ in range(1000)
    ]
    row: dict[str, Any] = {
        "steps": block * BLOCKS,
        "aged": float(np.median(at_last) / np.median(at_first) - 1),
        "aged_error": float(np.std(change)),
        "old_over_young_first": float(np.median(at_first)),
        "old_over_young_last": float(np.median(at_last)),
        "pairs": pairs,
    }
    tenth = BLOCKS // 10
    for name, series in (("cpu", cpu), ("wall", wall)):
        first, last = median(series[:tenth]), median(series[-tenth:])
        row |= {
            f"{name}_us_first": first * 1e6,
            f"{name}_us_last": last * 1e6,
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
        "seconds": seconds,
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
