"""Training steps through `Learner`, this version against another commit, in interleaved pairs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from base import Worker, build, revision
from common import SETTLE, Neighbours, median

PAIRS = 40
# net, shape, batch, sparsity, steps of a turn
CASES = {
    "resnet20:8": ("resnet20", (3, 32, 32), 8, 0.9, 12),
    "mlp:8": ("mlp", (1, 4, 4), 8, 0.0, 1500),
}
WORKER = """
import json, sys, time
import numpy as np
from edgecl import Learner
net, shape, batch, sparsity, steps = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
learner = Learner(net, input_shape=tuple(shape), classes=4, method="er", memory=100, batch=batch, sparsity=sparsity)
learner.observe(rng.integers(0, 256, (64, *shape)).astype(np.uint8), np.arange(64) % 4)
learner.learn(steps=steps)
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    learner.learn(steps=steps)
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)
"""


def interval(ratios: list[float]) -> tuple[float, float]:
    """95 % interval of the median of paired ratios: percentiles of 4,000 resamples, seeded."""
    drawn = np.random.default_rng(0).choice(ratios, (4000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


def measure(commit: str, names: list[str], pairs: int = PAIRS) -> list[dict[str, Any]]:
    """A row per case; ``against_base`` is our CPU time of a step over the base's, below 1 where we are faster."""
    folder = build(commit)
    return [_case(commit, folder, name, pairs) for name in names]


def _case(commit: str, folder: Path, name: str, pairs: int) -> dict[str, Any]:
    import json

    net, shape, batch, sparsity, steps = CASES[name]
    workers = {who: Worker(WORKER, place, json.dumps(CASES[name])) for who, place in (("ours", None), ("base", folder))}
    wall: dict[str, list[float]] = {"ours": [], "base": []}
    cpu: dict[str, list[float]] = {"ours": [], "base": []}
    try:
        for worker in workers.values():
            worker.ask("")
        with Neighbours() as others:
            for pair in range(pairs):
                for who in ("ours", "base")[:: 1 if pair % 2 else -1]:
                    time.sleep(SETTLE)
                    w, c = workers[who].ask("")
                    wall[who].append(w / steps)
                    cpu[who].append(c / steps)
    finally:
        for worker in workers.values():
            worker.close()
    ratios = [a / b for a, b in zip(cpu["ours"], cpu["base"])]
    return {
        "net": net,
        "shape": "x".join(map(str, shape)),
        "batch": batch,
        "density": 1 - sparsity,
        "gradient_keep": 1.0,
        "threads": 1,
        "peer_kind": "base",
        "peer": f"edgecl {revision(commit)[:12]}",
        "base_us": median(cpu["base"]) * 1e6,
        "ours_us": median(cpu["ours"]) * 1e6,
        "against_base": median(ratios),
        "against_base_interval": list(interval(ratios)),
        "against_base_wall": median([a / b for a, b in zip(wall["ours"], wall["base"])]),
        "others_share": others.share,
        "n": pairs,
    }
