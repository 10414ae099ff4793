"""A service that trains for years must not grow: the resident set of a run with the carousel on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    from edgecl.erasure.calls import BLOCK, LEARNED, OBSERVED, Call, CallLog, length_of
    from edgecl.learning.tasks import Tasks

    tasks, log = Tasks(True), CallLog()
    for k in range(2000):
        tasks.name = repr(k)
        tasks.info(np.arange(k % 2, 20))
        tasks.waiting = [None]
        tasks.ended()
        log.add(Call(OBSERVED, 200 * k, 200, -1))
        log.add(Call(LEARNED, 0, 40, 33 if k == 7 else -1))
    state, calls = tasks.state(), log.state()
    arrays = [v for v in (*state.values(), *calls.values()) if isinstance(v, np.ndarray)]
    assert sum(a.nbytes for a in arrays) < 2000 * (4 + 8 + 5) + BLOCK * 2 * 8 + 6000
    again, log_again = Tasks(True), CallLog()
    again.load(state), log_again.load(calls)
    assert [again.of(k)[1].tolist() for k in (0, 1, 1999)] == [list(range(k % 2, 20)) for k in (0, 1, 1999)]
    assert [log_again[n] for n in range(log_again.end)] == [log[n] for n in range(log.end)]
    log_again.ended_after(3, 5)
    assert log_again[3].c == 5 and log[15].c == 33 and length_of(calls) == log.end
    assert log.since(1500) == [log[n] for n in range(1500, log.end)]

    sizes = np.array([20 - k % 2 for k in range(2000)])
    units = np.concatenate([np.arange(k % 2, 20) for k in range(2000)])
    former = {k: v for k, v in state.items() if k != "task_sets"} | {"task_units": units, "task_sizes": sizes}
    again.load(former | {"task_names": [repr(k) for k in range(2000)]})
    assert again.of(1999)[1].tolist() == list(range(1, 20))
    plain = {k: v for k, v in calls.items() if not k.startswith(("entries_", "packed"))}
    log_again.load({**plain, "entries": np.array(log.since(0), np.int64).ravel()})
    assert log_again.state().keys() == calls.keys() and log_again.end == log.end
    assert [log_again[n] for n in range(log_again.end)] == [log[n] for n in range(log.end)]
    with pytest.raises(Exception, match="does not fit"):
        again.load({**state, "task_sets": np.array([5])})
    for change in ({"packed_sizes": calls["packed_sizes"][1:]}, {"packed": calls["packed"][::-1].copy()}):
        with pytest.raises(Exception, match="does not fit"):
            log_again.load({**calls, **change})
    for change in ({"task_name_ends": state["task_name_ends"][:-1]}, {"task_names": state["task_names"][::-1].copy()}):
        with pytest.raises(Exception, match="does not fit"):
            again.load({**state, **change})


@given(st.lists(st.none() | st.text(max_size=5) | st.sampled_from(["a", "\x01a", "a\x01a", "\ud800"]), max_size=12))
def test_a_task_is_found_by_its_name_and_by_no_part_of_it(named):
    from edgecl.learning.task_names import Names

    names = Names()
    for number, name in enumerate(named):
        names.put(number, "another")
        names.put(number, name)
    again = Names.of(names.state())
    assert [again[k] for k in range(len(again))] == named
    for name in {"a", *named} - {None}:
        assert again.find(name) == (named.index(name) if name in named else None)
