"""Every method under what a device does to it: moving masks, micro-batches, a head that grows, no tasks."""

from __future__ import annotations

import numpy as np
import pytest
from small_runs import OURS, learned, options

from edgecl import Learner
from edgecl.errors import BadInput
from edgecl.methods import METHODS, make_method
from edgecl.planning.configured import needs_tasks
from edgecl.planning.run_plan import prepare
from edgecl.run import Run, run

TRAINING = tuple(n for n in OURS if make_method(n).needs.trains == "all")
TASK_FREE = tuple(n for n in OURS if "task-free" in METHODS.get(n).scenarios)


@pytest.mark.parametrize("name", TRAINING)
def test_masks_move_in_the_middle_of_a_task(stream, name):
    sparse = {"sparsity": 0.8, "gradient_keep": 0.8, "sparsity_policy": "tdm"}
    given = {**options(name, epochs=4), "stream": stream, **sparse}
    with Run(prepare(given), "test") as job:
        record = job.execute()
        engine = job.core.parts.engine
        held = list(engine.model.parameters.values())
        assert record["status"]["finished"] and all(np.isfinite(p.values).all() for p in held)
        assert any(p.pattern is not None for p in held)
        for kind in job.core.parts.method.needs.per_weight:
            assert engine.per_weight(kind).flat.size == engine.gradients.flat.size


@pytest.mark.parametrize("name", TRAINING)
def test_micro_batches_give_the_step_of_the_whole_batch(stream, name):
    """On a net without batch norm, up to rounding; methods that choose or draw by what they computed may differ."""
    if name in ("mir", "gss", "online-ewc"):
        pytest.skip("rows that are taken, or batches that importance is estimated in, differ")
    whole, parts = (_weights({**options(name, epochs=1), "stream": stream, "micro_batch": m}) for m in (None, 5))
    assert np.allclose(whole, parts, atol=2e-3)


def _weights(given) -> np.ndarray:
    given = {k: v for k, v in given.items() if v is not None}
    with Run(prepare(given), "test") as job:
        job.execute()
        return np.concatenate([p.values for p in job.core.parts.engine.model.parameters.values()])


@pytest.mark.parametrize("name", [n for n in OURS if n != "joint"])
def test_a_head_that_grows_in_the_middle(stream, name):
    from edgecl.data import load_stream

    data, given = load_stream(stream), options(name)
    epochs, network = given.pop("epochs"), given.pop("network")
    with Learner(network, input_shape=data.input_shape, classes=2, buffer=500, **given) as learner:
        for task in data.tasks:
            x = task.train.read(np.arange(len(task.train)))
            learner.observe(x, task.train.labels.tolist())
            learner.learn(epochs=epochs)
            learner.end_task()
        learner.finish()
        assert learner.core.classes == 4
        found = learner.predict(data.tasks[1].test.read(np.arange(10)), proba=True)
        assert found.shape == (10, 4) and np.isfinite(found).all() and np.allclose(found.sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("name", TASK_FREE)
def test_a_stream_without_tasks(name):
    if make_method(name).needs.body == "first task":
        given = options(name, body="frozen")
    else:
        given = options(name)
    given.pop("epochs")
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 1, 6, 6))
    with Learner(given.pop("network"), input_shape=(1, 6, 6), classes=3, tasks=False, buffer=60, **given) as learner:
        for k in range(8):
            y = rng.integers(0, min(k + 1, 3), 7)
            x = np.clip(pictures[y] + rng.normal(0, 10, (7, 1, 6, 6)), 0, 255).astype(np.uint8)
            learner.observe(x, y.tolist())
            learner.learn()
        learner.finish()
        assert len(learner.predict(x)) == 7


@pytest.mark.parametrize("name", OURS)
def test_a_method_that_needs_the_ends_of_tasks_is_refused_where_there_are_none(name):
    if name in TASK_FREE and make_method(name).needs.body != "first task":
        assert not needs_tasks(make_method(name))
        return
    if not needs_tasks(make_method(name)):  # it does nothing there
        return
    with pytest.raises(BadInput, match="ends of tasks"):
        Learner("mlp", input_shape=(1, 6, 6), tasks=False, method=name)


@pytest.mark.parametrize("name", ["er-ace", "lwf", "icarl", "bic", "cls-er", "mir", "online-ewc", "a-gem", "slda"])
def test_both_engines_learn_the_same(stream, name):
    pytest.importorskip("torch").set_num_threads(1)
    given = {**options(name, epochs=1), "stream": stream}
    native, torch = (_scores({**given, "engine": e}, stream) for e in ("native", "torch"))
    known = np.isfinite(native)
    assert np.array_equal(known, np.isfinite(torch))
    scale = max(1.0, np.abs(native[known]).max())
    assert np.abs(native[known] - torch[known]).max() < 1e-3 * scale


def _scores(given, stream) -> np.ndarray:
    with Run(prepare(given), "test") as job:
        job.execute()
        tests = [task.test for task in job.prepared.stream.tasks]
        return np.concatenate([job.core.scores(t.read(np.arange(len(t)))) for t in tests])


@pytest.mark.parametrize("name", ["er-ace", "der++", "icarl", "bic", "tiny-er", "gdumb", "rainbow"])
def test_carousel_under_methods_that_keep_samples(stream, tmp_path, name):
    given = {**options(name), "stream": stream, "store": str(tmp_path / "s")}
    record = run(given)
    assert record["status"]["finished"] and record["carousel"]["samples_stored"] == 192
    if name not in ("gdumb",):  # it replays in no step, so no gate sees a row
        assert record["carousel"]["swaps_done"] > 0


def test_the_learners_end_is_the_runs(stream):
    with learned(stream, options("gdumb", memory_epochs=2)) as learner:
        assert learner.core.trainer.steps > 0
