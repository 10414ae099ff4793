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


def test_tasks_that_come_again_and_many_calls_cost_a_saved_state_little():
    """A state of tasks and calls goes back and forth, an earlier version's included."""
    from edgecl.erasure.calls import LEARNED, OBSERVED, Call, CallLog, entries_of
    from edgecl.learning.tasks import Tasks

    tasks, log = Tasks(True), CallLog()
    for k in range(2000):
        tasks.name = str(k)
        tasks.info(np.arange(k % 2, 20))
        tasks.waiting = [None]
        tasks.ended()
        log.add(Call(OBSERVED, 200 * k, 200, -1))
        log.add(Call(LEARNED, 0, 40, 33 if k == 7 else -1))
    state, calls = tasks.state(), log.state()
    arrays = [v for v in (*state.values(), *calls.values()) if isinstance(v, np.ndarray)]
    assert sum(a.nbytes for a in arrays) < 2000 * (4 + 2 * 8) + 1000
    again, log_again = Tasks(True), CallLog()
    again.load(state), log_again.load(calls)
    assert [again.of(k)[1].tolist() for k in (0, 1, 1999)] == [list(range(k % 2, 20)) for k in (0, 1, 1999)]
    assert [log_again[n] for n in range(log_again.end)] == [log[n] for n in range(log.end)]
    log_again.ended_after(3, 5)
    assert log_again[3].c == 5 and log[15].c == 33

    sizes = np.array([20 - k % 2 for k in range(2000)])
    units = np.concatenate([np.arange(k % 2, 20) for k in range(2000)])
    former = {k: v for k, v in state.items() if k != "task_sets"} | {"task_units": units, "task_sizes": sizes}
    again.load(former)
    assert again.of(1999)[1].tolist() == list(range(1, 20))
    plain = {k: v for k, v in calls.items() if not k.startswith("entries_")}
    log_again.load({**plain, "entries": np.stack(entries_of(calls), axis=1).astype(np.int64).ravel()})
    assert [log_again[n] for n in range(log_again.end)] == [log[n] for n in range(log.end)]
    with pytest.raises(Exception, match="does not fit"):
        again.load({**state, "task_sets": np.array([5])})
