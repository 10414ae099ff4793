"""`Learner.retrain_without`: bit for bit the learner that never saw the subject, or a reason why not."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from edgecl.storage import KeyFile
from test_learner import learner as plain_learner
from test_learner import samples

from edgecl import BadInput, Learner

# der++ with logits, sparse masks that move, gradient masks, data removal and a carousel
SPARCL = {
    "method": "der++", "sparsity": 0.7, "mask": "tdm", "gradient_keep": 0.8, "remove": 0.3, "memory": 24, "batch": 8,
    "augment": "none", "momentum": 0.9,
}  # fmt: skip
EPOCHS = 10
# (task, subject, classes): who brings what, in order
STORY = [(0, 1, (0, 1)), (0, 2, (0, 1)), (1, 3, (2, 3)), (1, 1, (2, 3)), (2, 2, (4, 5)), (2, 4, (4, 5))]


def make(folder, name, root=None, **options) -> Learner:
    given = SPARCL | {"store": str(folder / name), "path": folder / f"{name}.saved", "root_key": root} | options
    return plain_learner(**given)


def tell(ours: Learner, story, without=(), epochs=EPOCHS, between=lambda ours, task: ours) -> Learner:
    """The story, a `learn` after each task's last sample."""
    tasks = sorted({t for t, _, _ in story})
    for task in tasks:
        for t, subject, classes in story:
            if t == task and subject not in without:
                x, y = samples(classes, count=14, seed=10 * t + subject)
                ours.observe(x, [f"class {k}" for k in y], subject=subject)
        with contextlib.suppress(BadInput):  # nobody else had a sample
            ours.learn(epochs=epochs)
        if task != tasks[-1]:
            ours.end_task()
        ours = between(ours, task)
    return ours


VOLATILE = {"train_seconds", "energy", "config", "forgotten", "forgotten_count", "calls", "kept", "keep_checkpoints"}


def everything(ours: Learner) -> dict[str, object]:
    """Flat: all that decides what the learner does from now on, and the values on flash."""
    flat: dict[str, object] = {}

    def walk(name, value):
        if isinstance(value, dict):
            for k, v in value.items():
                walk(f"{name}/{k}", v)
        else:
            flat[name] = value

    state = ours._state()
    walk("learner", {k: v for k, v in state.pop("learner").items() if k not in VOLATILE})
    for name in ("choices", "store", "decisions"):
        state["trainer"].pop(name)
    if state["trainer"]["carousel"] is not None:
        for name in ("counters", "time"):
            state["trainer"]["carousel"].pop(name, None)
    walk("", state)
    store = ours._parts.store
    if store is not None:
        got = store.read(np.arange(store.next_id))
        walk("store", {k: got[k] for k in ("samples", "classes", "subjects", "ok")} | {"fields": got["fields"]})
    return flat


def assert_same(ours: Learner, other: Learner) -> None:
    found, wanted = everything(ours), everything(other)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_equal(found[name], value, err_msg=name)


@pytest.fixture(params=["clear", "encrypted"])
def root(request, tmp_path):
    if request.param == "clear":
        return None
    pytest.importorskip("cryptography")
    return KeyFile(tmp_path / "root.key")


@pytest.mark.parametrize("subject", [1, 3, 4], ids=["from the first task on", "in the midst", "in the last task"])
@pytest.mark.parametrize("keep", [0, 3], ids=["seed", "kept"])
def test_it_is_bit_for_bit_the_learner_that_never_saw_the_subject(tmp_path, subject, keep):
    with make(tmp_path, "ours", keep_checkpoints=keep) as ours, make(tmp_path, "never") as never:
        tell(ours, STORY)
        tell(never, STORY, without=(subject,))
        with pytest.raises(AssertionError):
            assert_same(ours, never)
        receipt = ours.retrain_without(subject)
        first = {1: 0, 3: 1, 4: 2}[subject]
        assert receipt.start == (f"the end of task {first}" if keep and first else "the seed")
        assert receipt.steps and receipt.samples and receipt.seconds > 0 and receipt.without == [subject]
        assert json.loads(json.dumps(receipt.to_json()))["forgotten"]["ids"]
        assert_same(ours, never)
        x, y = samples((0, 1), count=14, seed=77)
        for one in (ours, never):  # and so it stays
            one.observe(x, [f"class {k}" for k in y], subject=8)
            one.learn(epochs=EPOCHS)
        assert_same(ours, never)


def test_after_it_the_saved_states_are_the_new_ones_also_encrypted(tmp_path, root):
    with make(tmp_path, "ours", root, keep_checkpoints=2) as ours:
        tell(ours, STORY, between=lambda ours, task: ours.save() and ours)
        ours.retrain_without(3)
    with make(tmp_path, "never") as never, Learner.open(tmp_path / "ours.saved", root_key=root) as again:
        tell(never, STORY, without=(3,))
        assert_same(again, never)
        again.retrain_without(4)  # from a state that was kept before, and came with the new store
        with make(tmp_path, "neither") as neither:
            tell(neither, STORY, without=(3, 4))
            assert_same(again, neither)


def test_a_life_of_saving_and_opening_is_repeated_as_well(tmp_path):
    def opened(ours: Learner, task: int) -> Learner:
        ours.save()
        ours.close()
        return Learner.open(tmp_path / "ours.saved")

    ours = tell(make(tmp_path, "ours", keep_checkpoints=1), STORY, between=opened)
    with ours, make(tmp_path, "never") as never:
        tell(never, STORY, without=(1,))
        assert ours.retrain_without(1).start == "the seed"
        assert_same(ours, never)
