"""Whether a call costs more, the more a learner has seen: CPU time of one call against that of a fresh learner.

    python bench/calls.py [--quick] [--json FILE] [--place DIR] [--only learn|observe|predict|ring|labels|wait ...]

learn, observe, predict: ``at`` samples of one task in the stream buffer (the first step of an epoch draws its order,
once for all samples: ``draw_us``, not in the ratio). ring: a full memory of ``at`` slots against a full one of 1,000.
labels: a head that grew to ``at`` labels as they came, against one made for exactly as many: what its FLOPs ask. wait:
a single `wait` in wall time, with the fsync of the same folder measured beside it. --quick: a tenth of everything.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, interleave, median, table, write

from edgecl import Learner

SHAPE = (1, 8, 8)
OPTIONS: dict[str, Any] = {"input_shape": SHAPE, "batch": 16, "memory": 200, "lr": 0.01, "tasks": False}
PIECE = 20_000


def samples(n: int, classes: int = 10, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8), (np.arange(n) % classes).tolist()


def filled(n: int, **more: Any) -> Learner:
    """A learner in the middle of an epoch over ``n`` samples."""
    learner = Learner("mlp", **{**OPTIONS, "buffer": n + 200_000, **more})
    for at in range(0, n, PIECE):
        learner.observe(*samples(min(PIECE, n - at), seed=at))
    return learner


def compared(what: str, at: int, fresh: Callable[[], None], aged: Callable[[], None], rounds: int) -> dict[str, Any]:
    _, cpu = interleave({"fresh": fresh, "aged": aged}, rounds)
    one, other = median(cpu["fresh"]), median(cpu["aged"])
    return {"what": what, "at": at, "cpu_us": other * 1e6, "fresh_us": one * 1e6, "ratio": other / one}


def step_of(learner: Learner) -> Callable[[], None]:
    return lambda: learner.learn(steps=1) and None


def past(scale: int, rounds: int, only: set[str]) -> list[dict[str, Any]]:
    """learn, observe and predict beside ``at`` samples."""
    at = 1_000_000 // scale
    rows = []
    with filled(1000) as young, filled(at) as old:
        began = time.process_time()
        old.learn(steps=1)
        draw = time.process_time() - began
        young.learn(steps=1)
        x, y = samples(1)
        calls: dict[str, Callable[[Learner], Callable[[], None]]] = {
            "learn": step_of,
            "observe": lambda ours: lambda: ours.observe(x[0], y[0]) and None,
            "predict": lambda ours: lambda: ours.predict(x[0]) and None,
        }
        for what, call in calls.items():
            if what in only:
                row = compared(what, at, call(young), call(old), rounds)
                rows.append(row | ({"draw_us": draw * 1e6} if what == "learn" else {}))
    return rows


def ring(scale: int, rounds: int) -> list[dict[str, Any]]:
    """Steps with a ring of many slots, full, against a few."""
    slots = 100_000 // scale
    with (
        filled(1000, memory=1000, memory_policy="ring") as young,
        filled(slots + 20_000, memory=slots, memory_policy="ring") as old,
    ):
        young.learn(steps=200)
        old.learn(steps=slots // 16 + 200)
        assert old.counters["remembered"] == slots, old.counters["remembered"]
        return [compared("ring", slots, step_of(young), step_of(old), rounds)]


def labels(scale: int, rounds: int) -> list[dict[str, Any]]:
    """A head that grew against one that was made as wide as it has to be."""
    count = 5000 // scale
    x, y = samples(count, count)
    with (
        Learner("mlp", **OPTIONS, method="der++", classes=count, buffer=count) as exact,
        Learner("mlp", **OPTIONS, method="der++", classes=10, buffer=count) as grown,
    ):
        for learner in (exact, grown):
            learner.observe(x, y)
            learner.learn(steps=50)
        row = compared("labels", count, step_of(exact), step_of(grown), rounds)
        units = [learner.parameters["logits.weight"][0] for learner in (exact, grown)]
        return [row | {"units": units[1], "units_ratio": units[1] / units[0]}]


def waits(place: Path, rounds: int) -> list[dict[str, Any]]:
    """A single `wait`, and an fsync of one more block beside it."""
    wall, sync, cpu = [], [], []
    x, y = samples(1)
    with Learner("mlp", **OPTIONS, store=str(place / "store")) as learner:
        fd = os.open(place / "beside", os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(rounds):
            began = time.perf_counter()
            os.write(fd, bytes(4096))
            os.fsync(fd)
            sync.append(time.perf_counter() - began)
            ticket = learner.observe(x[0], y[0])
            began, used = time.perf_counter(), time.process_time()
            assert ticket.wait()
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - used)
        os.close(fd)
    figures = {"cpu_us": median(cpu) * 1e6, "wall_us": median(wall) * 1e6, "fsync_us": median(sync) * 1e6}
    return [{"what": "wait", "at": 1, **figures, "ratio": median(wall) / median(sync)}]


def main() -> int:
    parser = arguments(__doc__ or "")
    known = ("learn", "observe", "predict", "ring", "labels", "wait")
    parser.add_argument("--only", nargs="*", choices=known, default=known)
    parser.add_argument("--place", help="folder for the store of `wait` (default: a temporary one)")
    options = parser.parse_args()
    scale, rounds, only = (10, 10, set(options.only)) if options.quick else (1, 30, set(options.only))
    rows = past(scale, rounds, only) if only & {"learn", "observe", "predict"} else []
    rows += ring(scale, rounds) if "ring" in only else []
    rows += labels(scale, rounds) if "labels" in only else []
    if "wait" in only:
        with tempfile.TemporaryDirectory(dir=options.place) as place:
            rows += waits(Path(place), 20 if options.quick else 100)
    table(rows, ["what", "at", "cpu_us", "fresh_us", "ratio", "draw_us", "units", "wall_us", "fsync_us"])
    write("calls", rows, options.json, key=("what", "at"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
