"""Miro in a run: trial trainings choose the sizes, leave no trace in the model, and repeat."""

import numpy as np
import pytest

from edgecl.budget.miro import Resources
from edgecl.errors import BadInput
from edgecl.planning.run_plan import prepare
from edgecl.run import Run


@pytest.fixture
def options(tmp_path):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(6), 80)
    x = rng.integers(0, 60, (480, 1, 8, 8)).astype(np.uint8)
    for c in range(6):
        x[y == c, 0, c] += 150
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    return {
        "stream": str(tmp_path / "stream.npz"), "network": "mlp", "method": "er", "batch": 8, "memory": 48,
        "memory_policy": "balanced", "epochs": 2, "store": str(tmp_path / "store"), "gate": "all", "miro": 2,
        "device": "rpi_4b",
    }  # fmt: skip


def finished(options):
    with Run(prepare(options), "test") as job:
        record = job.execute()
        return job, record


def test_each_task_from_the_named_one_on_gets_its_sizes_and_the_log_says_which(options):
    job, record = finished(options)
    said = [text for _, _, text in job.core.trainer.log if text.startswith("miro")]
    assert len(said) == len(job.prepared.stream.tasks) - 1
    assert all("of 3)" in text for text in said)
    assert job.core.parts.memory.slots <= 48 and job.miro.trial_steps > 0
    assert record["metrics"]["average_accuracy"] > 0.5


def test_trials_count_as_energy(options):
    job, record = finished(options)
    per_step = job.prepared.plan.step_joules
    joules = record["device"]["energy_joules"]["value"]
    assert joules == pytest.approx(per_step * (job.core.trainer.steps + job.miro.trial_steps))


def test_a_run_repeats_its_choices(options, tmp_path):
    first, a = finished(options)
    second, b = finished({**options, "store": str(tmp_path / "other")})
    assert first.core.trainer.log == second.core.trainer.log
    assert a["accuracy_matrix"] == b["accuracy_matrix"]


def test_trials_leave_the_model_as_it_was_and_its_sizes_travel(options):
    with Run(prepare(options), "test") as job:
        job.stored.begin()
        loop = job.begin_task()
        while not loop.finished:
            loop.advance()
        job.end_task()
        before = job.core.parts.engine.state()
        job.begin_task()
        after = job.core.parts.engine.state()
        assert before.keys() == after.keys()
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)
        memory = job.core.parts.memory
        counts = memory.class_histogram().values()
        assert max(counts) - min(counts) <= 1 and sum(counts) >= memory.slots - 2
        held = memory.ids[memory.ids >= 0]
        assert len(held) == len(set(held.tolist()))
        saved, scores = job.miro.state(), job.miro.scores
        job.miro.scores, job.miro.rows = [], None
        job.miro.load(saved)
        assert job.miro.scores == scores


def test_less_ram_cuts_the_memory_at_once(options):
    with Run(prepare(options), "test") as job:
        job.stored.begin()
        loop = job.begin_task()
        while not loop.finished:
            loop.advance()
        job.end_task()
        loop = job.begin_task()
        loop.advance()
        job.miro.changed(Resources(10))
        assert job.core.parts.memory.slots <= 10 and len(job.core.parts.memory.class_histogram()) == 2
        assert job.core.trainer.log[-1][2].startswith("miro, less RAM: memory 10")
        tried = job.miro.trial_steps
        while not loop.finished:
            loop.advance()
        job.end_task()
        job.begin_task()
        assert job.miro.trial_steps > tried and {s.setting.memory for s in job.miro.scores} == {10}
        for _ in range(5):
            loop.advance()


def test_without_a_store_it_is_refused(options):
    with pytest.raises(BadInput, match="Miro"):
        prepare({**options, "store": None, "gate": None})


def test_what_trials_found_holds_until_the_tasks_have_doubled_and_a_low_battery_chooses_among_it(options):
    with Run(prepare(options), "test") as job:
        job.stored.begin()
        loop = job.begin_task()
        while not loop.finished:
            loop.advance()
        job.end_task()
        job.begin_task()
        tried, train = job.miro.trial_steps, job.prepared.stream.tasks[2].train
        job.miro.begin_task(2, train, np.array(job.prepared.stream.tasks[2].classes), frugal=True)
        assert job.miro.trial_steps == tried > 0
        frugal = len(train) if job.miro.rows is None else len(job.miro.rows)
        job.miro.begin_task(2, train, np.array(job.prepared.stream.tasks[2].classes))
        assert frugal <= (len(train) if job.miro.rows is None else len(job.miro.rows))
        job.miro.begin_task(3, train, np.array(job.prepared.stream.tasks[2].classes))
        assert job.miro.trial_steps > tried and job.miro.profiles == 2
