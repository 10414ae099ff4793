"""Parts of the contract of methods that few use: merged batches, holdout, candidates, accept with scores, a phase at
the end of a run, frozen statistics; each in the run and the learner."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import made_up_methods
import numpy as np
import pytest
from edgecl.storage import MemoryPolicy

import edgecl
from edgecl import checkpoint
from edgecl.data import load_stream
from edgecl.methods import METHODS
from edgecl.methods.memory_policies import MEMORY_POLICIES
from edgecl.run import run
from edgecl.testing.method_run import MethodRun, Setting

COMMON = {"network": "mlp", "batch": 16, "memory": 24, "lr": 0.05, "seed": 4}
SPARSE = {"sparsity": 0.5, "gradient_keep": 0.8, "sparse_schedule": "paper"}


@pytest.fixture(autouse=True)
def own_registries(tmp_path, monkeypatch):
    """As they were, after the test; data that is converted goes to a cache of the test's own."""
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))
    before = [(r, dict(r.loaded()), dict(r._origins)) for r in (METHODS, MEMORY_POLICIES)]
    yield
    for registry, entries, origins in before:
        registry._entries, registry._origins = entries, origins


@pytest.fixture(params=["native", "torch"])
def kind(request):
    if request.param == "torch":
        pytest.importorskip("torch").set_num_threads(1)
    return request.param


def arrays_of(state: dict) -> dict[str, np.ndarray]:
    trainer = state["trainer"]
    parts = {part: trainer[part] or {} for part in ("engine", "method", "memory")}
    return {f"{part}/{k}": v for part, values in parts.items() for k, v in values.items()}


def same(one: dict, other: dict) -> None:
    ours, theirs = arrays_of(one), arrays_of(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


# Each of them dense, two of them sparse every time, all in a campaign.
EVERY_TIME = ("phased", "most-interfered")
CASES = [pytest.param(m, {}, id=f"{m.name}-dense") for m in made_up_methods.ALL] + [
    pytest.param(m, SPARSE, id=f"{m.name}-sparse", marks=() if m.name in EVERY_TIME else pytest.mark.campaign)
    for m in made_up_methods.ALL
]


@pytest.mark.parametrize(("method", "sparse"), CASES)
def test_run_and_learner_give_the_same_bits_and_a_run_goes_on_as_if_never_stopped(stream, tmp_path, method, sparse):
    options = {**COMMON, **sparse, "stream": stream, "method": method, "epochs": 10 if sparse else 3}
    whole = run({**options, "out": str(tmp_path / "whole")})
    s = load_stream(stream)
    shape = {"input_shape": s.input_shape, "mean": s.mean, "std": s.std, "classes": s.class_count}
    with edgecl.Learner(**COMMON, **sparse, **shape, method=method) as learner:
        for task in s.tasks:
            learner.observe(task.train.read(np.arange(len(task.train))), task.train.labels.tolist())
            learner.learn(epochs=options["epochs"])
            learner.end_task()
        learner.finish()
        learner.save(tmp_path / "saved")
    same(checkpoint.load(tmp_path / "whole"), checkpoint.load(tmp_path / "saved"))
    for share in (0.8,) if sparse else (0.3, 0.99):
        stop, out, at = Event(), tmp_path / f"cut{share}", int(share * whole["steps"])
        listen = lambda p, at=at, s=stop: s.set() if p.step == at else None  # noqa: E731
        cut = run({**options, "out": str(out)}, stop=stop, listen=listen)
        assert cut["status"]["reason"] == "interrupted" and cut["steps"] == at
        resumed = run({}, resume=out)
        assert resumed["accuracy_matrix"] == whole["accuracy_matrix"] and resumed["flops"] == whole["flops"]
        same(checkpoint.load(out), checkpoint.load(tmp_path / "whole"))


def test_what_a_method_trains_at_the_end_is_saved_and_not_trained_again(stream, tmp_path):
    options = {**COMMON, "stream": stream, "method": made_up_methods.AtTheEnd, "epochs": 1, "out": str(tmp_path / "o")}
    record = run(options)
    assert record["steps"] == 2 * 6 + 3 * 2  # 24 slots: two steps an epoch
    assert checkpoint.load(tmp_path / "o")["trainer"]["steps"] == record["steps"]
    again = run({}, resume=tmp_path / "o")
    assert again["steps"] == record["steps"] and again["accuracy_matrix"] == record["accuracy_matrix"]


def test_rows_held_out_are_trained_on_by_nobody_and_balanced(kind):
    run = MethodRun(made_up_methods.BiasCorrected, Setting(engine=kind, samples=40, memory=12))
    trained: set[tuple] = set()
    step = run.core.trainer.step

    def watched(rows, info, c, *, slots=None, **more):
        held = run.core.holdout.rows
        if held is not None and held[0].size:
            assert not np.isin(rows.indices, held[0]).any() and not np.isin(slots, held[1]).any()
            trained.add(info.task)
        assert len(rows.x) + len(slots) <= run.setting.batch
        return step(rows, info, c, slots=slots, **more)

    run.core.trainer.step = watched
    while run.advance():
        held = run.core.holdout.rows
        if run.task and held is not None:
            assert len(held[1]) == round(0.3 * 12) and len(held[0]) == len(held[1])
    assert trained == {1, 2}


def test_an_epoch_of_merged_batches_visits_task_and_memory_once_and_the_plan_foresees_its_steps(kind):
    setting = Setting(engine=kind, samples=40, memory=12, tasks=2)
    run = MethodRun(made_up_methods.BiasCorrected, setting)
    seen = []
    step = run.core.trainer.step

    def watched(rows, info, c, *, slots=None, **more):
        seen.append((info.task, info.epoch, info.steps, rows.indices.copy(), slots.copy()))
        return step(rows, info, c, slots=slots, **more)

    run.core.trainer.step = watched
    while run.advance():
        pass
    for task in range(2):
        mine = [s for s in seen if s[0] == task]
        assert {s[2] for s in mine} == {len(mine)}
        for epoch in range(setting.epochs):
            positions = np.concatenate([s[3] for s in mine if s[1] == epoch])
            slots = np.concatenate([s[4] for s in mine if s[1] == epoch])
            held = 0 if task == 0 else round(0.3 * 12)
            assert np.unique(positions).size == positions.size == 40 - held
            assert np.unique(slots).size == slots.size == (0 if task == 0 else 12 - held)


def test_only_chosen_candidates_are_replayed(kind):
    run = MethodRun(made_up_methods.MostInterfered, Setting(engine=kind))
    choose, drawn = run.method.choose, []

    def chosen(c, batch, candidates):
        rows = choose(c, batch, candidates)
        drawn.append((len(candidates), candidates.y[rows]))
        return rows

    run.method.choose = chosen
    step, results = run.method.train_step, []

    def watched(*given, **how):
        results.append(step(*given, **how))
        return results[-1]

    run.method.train_step = watched
    while run.advance():
        pass
    assert max(n for n, _ in drawn) == 10
    with_replay = [r for r in results if r.chosen is not None]
    assert len(with_replay) == len(drawn) == len(results) - 1  # the first step has nothing to draw
    assert all(len(r.logits_replay[0]) == len(y) <= 8 for r, (_, y) in zip(with_replay, drawn))


class Scored(MemoryPolicy):
    """Keeps the samples with the smallest score."""

    name, takes_scores = "scored", True

    def __init__(self):
        self.kept: dict[int, float] = {}

    def offer(self, memory, rng, samples, classes, ids=None, fields=None, subjects=None, *, scores):
        slots = np.full(len(classes), -1, np.int64)
        for i, score in enumerate(scores):
            free = np.flatnonzero(memory.classes < 0)
            worst = max(self.kept, key=self.kept.get, default=-1)
            slot = int(free[0]) if free.size else worst
            if free.size or score < self.kept[worst]:
                memory.put(slot, samples[i], int(classes[i]))
                self.kept[slot], slots[i] = float(score), slot
        memory.offered += len(classes)
        return slots

    def state(self):
        return {"slots": np.array(list(self.kept)), "scores": np.array(list(self.kept.values()))}

    def load(self, state):
        self.kept = dict(zip(state["slots"].tolist(), state["scores"].tolist()))


def test_a_policy_that_takes_scores_is_given_those_of_the_rows_that_were_accepted(stream):
    MEMORY_POLICIES.register(Scored)
    s = load_stream(stream)
    shape = {"input_shape": s.input_shape, "mean": s.mean, "std": s.std, "classes": s.class_count}
    options = {**COMMON, **shape, "method": made_up_methods.Picky, "memory_policy": "scored"}
    with edgecl.Learner(**options) as learner:
        parts, offered = learner.core.parts, []
        accept = parts.method.accept

        def watched(c, batch, result):
            rows, scores = accept(c, batch, result)
            offered.append((len(batch), scores))
            return rows, scores

        parts.method.accept = watched
        learner.observe(s.tasks[0].train.read(np.arange(60)), s.tasks[0].train.labels[:60].tolist())
        learner.learn(epochs=2)
        scores = np.sort(np.concatenate([found for _, found in offered]))
        assert scores.size < sum(rows for rows, _ in offered)
        assert parts.memory.offered == scores.size and parts.memory.filled == 24
        np.testing.assert_allclose(np.sort(list(parts.policy.kept.values())), scores[:24])


@pytest.mark.parametrize("policy", ["reservoir", "ring"])
def test_scores_are_left_out_where_the_policy_takes_none(kind, policy):
    run = MethodRun(made_up_methods.Picky, Setting(engine=kind))
    while run.advance():
        pass
    assert 0 < run.core.parts.memory.offered < 3 * 22 * 2


def test_statistics_of_a_frozen_body_do_not_move_nor_come_back_later(kind):
    """What batch norm saw while its statistics were frozen is not committed by the first step after it."""
    run = MethodRun(made_up_methods.Phased, Setting(engine=kind, net="cnn", tasks=2))
    engine = run.core.parts.engine
    names = [n for n in engine.model.parameters if "running" in n]
    assert names
    step, expected = engine.step, {}
    while not (run.task == 1 and run.begun and not run.in_phase):
        was = {n: engine.model[n].values.copy() for n in names}
        run.advance()
        if run.at.startswith("in phase") and "before" in run.at:
            for n in names:
                np.testing.assert_array_equal(engine.model[n].values, was[n])
            expected = was
    assert expected and engine.step == step
    run.core.phases.queue.clear()
    twin = MethodRun(made_up_methods.Phased, replace(run.setting), seed=8)
    twin.load(run.state())
    run.advance(), twin.advance()
    for n in names:
        np.testing.assert_array_equal(engine.model[n].values, twin.core.parts.engine.model[n].values)
