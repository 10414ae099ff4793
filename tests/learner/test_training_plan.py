"""Every acknowledged sample has a place in the training plan: whatever comes between `observe` and `learn`, it is
trained on, in the order of its task, and counted new until then."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from edgecl.storage import SampleStore
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl import BadInput, Learner
from edgecl.intake.order import Order

SHAPE = (1, 8, 8)
PROTO = np.random.default_rng(0).integers(30, 220, (8, *SHAPE))
OPTIONS = {"input_shape": SHAPE, "batch": 8, "memory": 40, "lr": 0.05}


def some(classes, n=60, seed=0):
    rng = np.random.default_rng([seed, *classes])
    y = rng.choice(classes, n)
    return np.clip(rng.normal(0, 25, (n, *SHAPE)) + PROTO[y], 0, 255).astype(np.uint8), y.tolist()


def per_class(ours, classes):
    x, y = some(classes, 200, seed=9)
    found = ours.predict(x)
    return [float(np.mean([a == c for a, b in zip(found, y) if b == c])) for c in classes]


def engine_of(ours):
    return ours.life.state()["trainer"]["engine"]


def same_bits(ours, other):
    mine, theirs = engine_of(ours), engine_of(other)
    for name, value in theirs.items():
        np.testing.assert_array_equal(mine[name], value, err_msg=name)


def power_cut(tmp_path, folder, to):
    """What the card holds now, as another one."""
    shutil.copytree(tmp_path / folder, tmp_path / to)
    return tmp_path / to


def test_a_change_of_task_before_learn_teaches_both_tasks_in_their_order(tmp_path):
    """cases/task-change-before-learn"""
    stores = [{"store": str(tmp_path / name)} for name in ("s", "other")]
    with Learner("mlp", **stores[0], **OPTIONS) as ours, Learner("mlp", **stores[1], **OPTIONS) as other:
        ours.observe(*some([0, 1]), task="morning").wait()
        ours.observe(*some([2, 3]), task="evening").wait()
        assert ours.counters["new"] == 120
        log = ours.learn(epochs=20)
        assert log.new == 120 and ours.counters["new"] == 0 and ours.life.tasks.number == 1
        assert min(per_class(ours, [0, 1, 2, 3])) > 0.9
        other.observe(*some([0, 1]), task="morning")
        other.learn(epochs=20)
        other.observe(*some([2, 3]), task="evening")
        other.learn(epochs=20)
        same_bits(ours, other)  # as if each had been learned in its time


@pytest.mark.parametrize("saved", [True, False], ids=["after a save", "without one"])
def test_what_came_before_a_power_cut_is_learned_as_if_there_had_been_none(tmp_path, saved):
    """cases/crash-after-save"""
    ours = Learner("mlp", store=str(tmp_path / "s"), path=tmp_path / "p", **OPTIONS)
    ours.observe(*some([0, 1])).wait()
    if saved:
        ours.learn(epochs=20)
        ours.save()
    ours.observe(*some([2, 3])).wait()
    store = power_cut(tmp_path, "s", "s2")
    if saved:
        again = Learner.open(power_cut(tmp_path, "p", "p2"), store=store)
    else:
        again = Learner("mlp", store=str(store), **OPTIONS)
    with ours, again:
        assert again.counters["new"] == (60 if saved else 120)
        assert any("new" in entry[2] for entry in again.life.state()["trainer"]["decisions"])
        ours.learn(epochs=20)
        assert again.learn(epochs=20).new == (60 if saved else 120)
        assert min(per_class(again, [0, 1, 2, 3])) > 0.9
        same_bits(again, ours)


def test_tasks_that_came_after_the_save_come_back_as_tasks(tmp_path):
    ours = Learner("mlp", store=str(tmp_path / "s"), path=tmp_path / "p", method="der++", **OPTIONS)
    ours.observe(*some([0, 1]), task="a").wait()
    ours.learn(epochs=3)
    ours.save()
    for task, classes in (("b", [2, 3]), ("c", [4, 5])):
        ours.observe(*some(classes), task=task).wait()
    with ours, Learner.open(power_cut(tmp_path, "p", "p2"), store=power_cut(tmp_path, "s", "s2")) as again:
        for learner in (ours, again):
            learner.learn(epochs=3)
            assert learner.life.tasks.number == 2 and learner.life.tasks.name == "'c'"
            assert set(learner.predict(some([2, 3])[0], task="b")) <= {2, 3}
        same_bits(again, ours)


def test_samples_that_the_store_evicts_before_they_were_learned_are_told(tmp_path):
    given = {**OPTIONS, "buffer": 20, "store_limit": "60 samples"}
    with Learner("mlp", store=str(tmp_path / "s"), path=tmp_path / "p", **given) as ours:
        x, y = some([0, 1])
        for _ in range(3):
            ours.observe(x, y).wait()
        seen = ours.counters["new"]
        ours.learn()
        gone = ours.counters["lost_unlearned"]
        assert gone == seen - 60 - 20  # RAM holds the first 20
        assert any(f"{gone} samples were evicted" in text for _, _, text in ours.core.trainer.log)
        ours.save()
    with Learner.open(tmp_path / "p") as again:
        assert again.counters["lost_unlearned"] == gone


def test_right_after_a_task_the_memory_is_replayed(tmp_path):
    """cases/learn-right-after-end-task"""
    for method in ("er", "der++", "er-ace"):
        with Learner("mlp", method=method, **OPTIONS) as ours:
            with pytest.raises(BadInput, match="no sample"):
                ours.learn()
            ours.observe(*some([0, 1]))
            ours.learn(epochs=2)
            assert ours.end_task() is None
            before = engine_of(ours)
            log = ours.learn(steps=5)
            assert (log.steps, log.new, log.stopped) == (5, 0, None) and np.isfinite(log.loss)
            assert any((before[k] != v).any() for k, v in engine_of(ours).items())
            assert ours.learn().epochs == 1 and ours.counters["remembered"] == 40


def test_a_task_ends_when_each_of_its_samples_was_trained_on(tmp_path):
    with Learner("mlp", store=str(tmp_path / "s"), memory_policy="balanced", **OPTIONS) as ours:
        ours.observe(*some([0, 1]))
        ours.learn(steps=3)
        assert "36 of its samples" in ours.end_task()
        assert ours.counters["remembered"] == 0 and ours.counters["new"] == 36
        ours.observe(*some([2, 3]))
        log = ours.learn(steps=6)  # 5 for those that were not visited, 1 of the next task
        assert (log.steps, log.new) == (6, 44) and ours.life.tasks.number == 1
        assert ours.counters["remembered"] == 40


def test_an_older_generation_finds_new_what_came_after_it(tmp_path):
    with Learner("mlp", store=str(tmp_path / "s"), path=tmp_path / "p", **OPTIONS) as ours:
        ours.observe(*some([0, 1])).wait()
        ours.learn()
        older = ours.save()
        mark = ours.life.store.mark
        assert mark["generation"] == 1 and mark["next_id"] == 60
        shutil.copytree(older, tmp_path / "older")
        ours.observe(*some([2, 3])).wait()
        ours.learn()
        ours.save()
        assert ours.life.store.mark == {**mark, "generation": 2, "next_id": 120}
    with Learner.open(tmp_path / "p") as again:
        assert again.counters["new"] == 0
    with Learner.open(tmp_path / "older") as again:
        assert again.counters["new"] == 60
    with Learner("mlp", store=str(tmp_path / "s"), **OPTIONS) as another:  # of another lineage
        assert another.counters["new"] == 120 and another.learn().new == 120


def test_new_records_lie_on_flash_until_their_turn(tmp_path):
    with Learner("mlp", store=str(tmp_path / "s"), buffer=10, **OPTIONS) as ours:
        ours.observe(*some([0, 1], n=200)).wait()
    with Learner("mlp", store=str(tmp_path / "s"), buffer=10, **OPTIONS) as again:
        assert again.counters["new"] == 200 and len(again.life.intake.buffer.samples) == 10
        assert again.learn(epochs=4).new == 200 and min(per_class(again, [0, 1])) > 0.9


def test_an_interrupted_save_marks_nothing(tmp_path, monkeypatch):
    from edgecl import checkpoint

    with Learner("mlp", store=str(tmp_path / "s"), path=tmp_path / "p", **OPTIONS) as ours:
        ours.observe(*some([0, 1])).wait()
        monkeypatch.setattr(checkpoint, "save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ours.save()
        assert ours.life.store.mark is None


def test_a_loss_that_was_taken_back_leaves_its_samples_new():
    with Learner("mlp", **{**OPTIONS, "lr": 1e30}) as ours:
        ours.observe(*some([0, 1]))
        log = ours.learn(epochs=5)
        assert "not finite" in log.stopped and log.new == 0 and ours.counters["new"] == 60


# -- the order of an epoch


def visits_of(ours):
    """Counts by first pixel value, which tells the samples of `told`."""
    counts = np.zeros(256, int)
    step = ours.core.trainer.step

    def counted(rows, *given, **more):
        np.add.at(counts, rows.x[:, 0, 0, 0], 1)
        return step(rows, *given, **more)

    ours.core.trainer.step = counted
    return counts


def told(n, first=0):
    x, y = some([0, 1], n)
    x[:, 0, 0, 0] = np.arange(first, first + n)
    return x, y


@settings(deadline=None, max_examples=12)
@given(st.lists(st.one_of(st.integers(1, 7), st.sampled_from(["epoch", "save"])), min_size=1, max_size=8))
def test_every_sample_is_visited_once_before_any_is_twice_however_the_calls_are_cut(calls):
    with Learner("mlp", method="naive", input_shape=SHAPE, batch=7) as ours:
        ours.observe(*told(50))
        counts = visits_of(ours)
        for call in calls:
            if call == "save":
                ours.life.load(ours.life.state())
                continue
            ours.learn(**({"epochs": 1} if call == "epoch" else {"steps": call}))
            own = counts[:50]
            assert own.max() - own.min() <= 1
            assert ours.counters["new"] == (own == 0).sum()


def test_samples_that_come_in_the_middle_of_an_epoch_are_visited_in_it():
    with Learner("mlp", method="naive", input_shape=SHAPE, batch=7) as ours:
        ours.observe(*told(50))
        counts = visits_of(ours)
        ours.learn(steps=3)
        ours.observe(*told(27, 50))
        ours.learn(steps=8)
        assert (counts[:77] == 1).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 9), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), max_size=12))
def test_an_order_visits_what_is_there_and_nothing_twice(n, batch, story):
    rng = np.random.default_rng(n)
    order = Order(batch)
    order.draw(np.arange(n), rng)
    wanted, seen, size = set(range(n)), [], n
    for new, leaves in story:
        order.join(np.arange(size, size + new), rng)
        wanted |= set(range(size, size + new))
        size += new
        seen += order.rows().tolist()
        wanted -= set(order.rows().tolist())
        order.done()
        assert sorted(order.waiting().tolist()) == sorted(wanted) and len(seen) == len(set(seen))
        if leaves and size > leaves:  # the first of all positions leave
            kept = np.arange(size) >= leaves
            order.keep(kept)
            wanted = {p - leaves for p in wanted if p >= leaves}
            seen = [p - leaves for p in seen if p >= leaves]
            size -= leaves
            assert sorted(order.waiting().tolist()) == sorted(wanted)


# -- without a store, without tasks


def test_observing_and_learning_go_on_for_ever_without_a_store_and_without_tasks(tmp_path):
    with Learner("mlp", buffer=50, tasks=False, path=tmp_path, **OPTIONS) as ours:
        for round_ in range(40):
            x, y = some([0, 1, 2, 3], 20, seed=round_)
            ours.observe(x, y)
            ours.learn(steps=1)  # learns 8 of 20
        counters = ours.counters
        assert counters["buffered"] == 50 and counters["passed_by"] > 0
        assert sum("reservoir" in entry[2] for entry in ours.life.state()["trainer"]["decisions"]) == 1
        ours.learn(epochs=5)
        assert ours.counters["new"] == 0 and min(per_class(ours, [0, 1, 2, 3])) > 0.9
        ours.observe(*some([4], 10))
        assert ours.counters["new"] == 10  # what was trained on made room
        ours.save()
        with Learner.open(tmp_path) as again:
            for learner in (ours, again):
                learner.observe(*some([5], 60))
                learner.learn(steps=9)
            same_bits(again, ours)


def test_a_full_buffer_that_nothing_was_learned_of_refuses():
    with Learner("mlp", buffer=50, **OPTIONS) as ours:
        ours.observe(*some([0, 1], 50))
        with pytest.raises(BadInput, match="learn"):
            ours.observe(*some([0, 1], 1))


def test_a_stream_that_flows_while_learn_runs_replaces_rows_afterwards():
    with Learner("mlp", buffer=30, **OPTIONS) as ours:
        ours.observe(*some([0, 1], 30))
        rows = ours.life.intake.buffer.rows

        def flow(p):
            before = rows.samples.copy()
            ours.observe(*some([2], 3, seed=p.step))
            assert (ours.life.intake.buffer.rows.samples == before).all()

        log = ours.learn(epochs=2, progress=flow)
        assert log.steps == 8 and 2 in ours.life.intake.buffer.labels
        assert ours.life.intake.buffer.portions[0].count == 30


def test_progress_tells_where_a_call_is():
    heard = []
    with Learner("mlp", **OPTIONS) as ours:
        ours.observe(*some([0, 1]))
        ours.learn(epochs=2, progress=heard.append)
        assert [p.step for p in heard] == list(range(1, 17)) and heard[-1].epochs == 2 and heard[-1].steps == 16
        with pytest.raises(BadInput, match="progress"):
            ours.learn(progress=3)
        with pytest.raises(ZeroDivisionError):
            ours.learn(progress=lambda p: 1 / 0)
        assert ours.learn(steps=2).steps == 2


def test_a_learner_killed_at_any_moment_trains_on_all_that_was_acknowledged(tmp_path):
    script = """
import sys, numpy as np
sys.path.insert(0, sys.argv[2])
from test_training_plan import OPTIONS, some
from edgecl import Learner
ours = Learner("mlp", store="s", path="p", **OPTIONS)
for task in range(100):
    ours.observe(*some([task % 4, (task + 1) % 4], 20, seed=task), task=task).wait()
    print(task, flush=True)
    if task % 3 == 1:
        ours.learn(steps=2)
    if task % 5 == 2:
        ours.save()
"""
    here = os.path.dirname(__file__)
    worker = subprocess.Popen([sys.executable, "-P", "-c", script, "x", here], cwd=tmp_path, stdout=subprocess.PIPE)
    acknowledged = 0
    for line in worker.stdout:
        acknowledged = 20 * (int(line) + 1)
        if acknowledged == 180:
            worker.send_signal(signal.SIGKILL)
            break
    worker.wait()
    worker.stdout.close()
    with SampleStore(tmp_path / "s") as store:
        stored = store.count
    assert stored >= acknowledged
    with Learner.open(tmp_path / "p", store=tmp_path / "s") as again:
        known = again.life.core.trainer.steps
        new = again.counters["new"]
        assert known >= 2 and 0 < new <= stored
        visited = np.zeros(stored, bool)
        step = again.core.trainer.step
        again.core.trainer.step = lambda rows, *a, **k: visited.__setitem__(rows.ids, True) or step(rows, *a, **k)
        buffer = again.life.intake.buffer
        waiting = buffer.ids[buffer.rows.visited == 0]
        log = again.learn(epochs=1)
        assert log.new == new and visited[waiting].all() and again.counters["new"] == 0
        assert again.life.tasks.number == stored // 20 - 1  # each as the task it was
