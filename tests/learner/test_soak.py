"""A service that trains for years must not grow: the resident set of a run with the carousel on."""

import numpy as np
import pytest

from edgecl.budget.meters import resident
from edgecl.planning.run_plan import prepare
from edgecl.run import Run


def growth(folder, steps):
    """(bytes between the first and the last of ten equal parts of the steps, swaps done)."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 64)
    np.savez(folder / "stream.npz", x=rng.integers(0, 256, (256, 1, 8, 8)).astype(np.uint8), y=y)
    options = {
        "stream": str(folder / "stream.npz"), "network": "mlp", "method": "der++", "batch": 8, "memory": 32,
        "memory_policy": "balanced", "epochs": steps // 8, "lr": 0.001, "store": str(folder / "store"), "gate": "all",
    }  # fmt: skip
    with Run(prepare(options), "test") as job:
        job.stored.begin()
        loop = job.begin_task()
        for _ in range(16):
            loop.advance()
        job.end_task()
        loop = job.begin_task()
        for _ in range(200):  # until every buffer has its size
            loop.advance()
        sizes = []
        for _ in range(10):
            for _ in range(steps // 10):
                loop.advance()
            sizes.append(resident())
        return sizes[-1] - sizes[0], job.core.parts.carousel.counters["swaps_done"]


def test_two_thousand_steps_do_not_grow_the_process(tmp_path):
    grown, swaps = growth(tmp_path, 2000)
    assert grown < 300_000 and swaps > 10_000


@pytest.mark.campaign
def test_a_million_steps_do_not_grow_the_process(tmp_path):
    grown, swaps = growth(tmp_path, 1_000_000)
    assert grown < 1_000_000 and swaps > 5_000_000
