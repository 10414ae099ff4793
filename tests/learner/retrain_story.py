"""What the tests of `retrain_without` tell their learners, and how two of them are compared."""

from __future__ import annotations

import contextlib

import numpy as np
from test_learner import learner as plain_learner
from test_learner import samples

from edgecl import BadInput, Learner

# der++ with logits, sparse masks that move, gradient masks, data removal and a carousel
SPARCL = {
    "method": "der++", "sparsity": 0.7, "sparsity_policy": "tdm", "gradient_keep": 0.8, "remove": 0.3, "memory": 24,
    "batch": 8, "momentum": 0.9,
}  # fmt: skip
EPOCHS = 5
# (task, subject, classes): who brings what, in order
STORY = [(0, 1, (0, 1)), (0, 2, (0, 1)), (1, 3, (2, 3)), (1, 1, (2, 3)), (2, 2, (4, 5)), (2, 4, (4, 5))]


def make(folder, name, root=None, **options) -> Learner:
    given = SPARCL | {"store": str(folder / name), "path": folder / f"{name}.saved", "root_key": root} | options
    return plain_learner(**given)


def bring(ours: Learner, task: int, subject: int, classes, count: int = 14):
    x, y = samples(classes, count=count, seed=10 * task + subject)
    return ours.observe(x, [f"class {k}" for k in y], subject=subject)


def tell(ours: Learner, story=STORY, without=(), between=lambda ours, task: ours, **how) -> Learner:
    """The story, a `learn` after each task's last sample, ``between`` after each."""
    tasks = sorted({t for t, _, _ in story})
    for task in tasks:
        for t, subject, classes in story:
            if t == task and subject not in without:
                bring(ours, t, subject, classes)
        with contextlib.suppress(BadInput):  # nobody else had a sample
            ours.learn(**(how or {"epochs": EPOCHS}))
        if task != tasks[-1]:
            ours.end_task()
        ours = between(ours, task)
    return ours


VOLATILE = {"train_seconds", "energy", "config", "forgotten", "forgotten_count", "calls", "kept", "keep_checkpoints",
            "store_id", "lineage", "generation"}  # fmt: skip


def everything(ours: Learner) -> dict[str, object]:
    """Flat: all that decides what the learner does from now on, and the values on flash."""
    flat: dict[str, object] = {}

    def walk(name, value):
        if isinstance(value, dict):
            for k, v in value.items():
                walk(f"{name}/{k}", v)
        else:
            flat[name] = value

    state = ours.life.state()
    walk("learner", {k: v for k, v in state.pop("learner").items() if k not in VOLATILE})
    for name in ("choices", "store", "decisions"):
        state["trainer"].pop(name)
    if state["trainer"]["carousel"] is not None:
        for name in ("counters", "time", "backoff"):
            state["trainer"]["carousel"].pop(name, None)
    walk("", state)
    store = ours.core.parts.store
    if store is not None:
        got = store.read(np.arange(store.next_id))
        walk("store", {k: got[k] for k in ("samples", "classes", "subjects", "ok")} | {"fields": got["fields"]})
    return flat


def assert_same(ours: Learner, other: Learner) -> None:
    found, wanted = everything(ours), everything(other)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_equal(found[name], value, err_msg=name)
