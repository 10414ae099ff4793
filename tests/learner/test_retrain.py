"""`Learner.retrain_without`: bit for bit the learner that never saw the subject."""

from __future__ import annotations

import json
import shutil
import threading

import numpy as np
import pytest
from retrain_story import EPOCHS, STORY, assert_same, bring, everything, make, tell
from test_learner import samples

from edgecl import EdgeclError, Learner
from edgecl.learning.learn import Asked


@pytest.mark.parametrize("subject", [1, 3, 4], ids=["from the first task on", "in the midst", "in the last task"])
@pytest.mark.parametrize("keep", [0, 3], ids=["seed", "kept"])
def test_it_is_bit_for_bit_the_learner_that_never_saw_the_subject(tmp_path, subject, keep):
    with make(tmp_path, "ours", keep_checkpoints=keep) as ours, make(tmp_path, "never") as never:
        tell(ours)
        tell(never, without=(subject,))
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


@pytest.mark.parametrize(
    "options",
    [
        {"memory_policy": "balanced", "replay_forward": "separate"},
        {"method": "er", "gate": "none", "sparsity": 0, "augment": "none"},
        {"refresh_logits": True, "gate": "all", "keep_checkpoints": 2},
        {"optimizer": "adam", "momentum": 0, "lr": 0.001, "memory_policy": "ring", "buffer": 20},
        {"late_swaps": "drop"},  # what it makes anew is a run in exact mode
    ],
    ids=["balanced", "er without a carousel", "refreshed logits", "samples that come back from flash", "live"],
)
def test_whatever_the_options(tmp_path, options):
    exact = options | {"late_swaps": "wait"}
    with make(tmp_path, "ours", **options) as ours, make(tmp_path, "never", **exact) as never:
        tell(ours)
        tell(never, without=(3,))
        assert ours.retrain_without(3).start == "the seed"
        assert_same(ours, never)


def test_labels_that_only_the_subject_brought_go_and_the_head_with_them(tmp_path):
    story = [(0, 9, (3, 2)), (0, 1, (0, 1)), (1, 9, (4, 5)), (2, 1, (2, 3))]
    with make(tmp_path, "ours", classes=2) as ours, make(tmp_path, "never", classes=2) as never:
        tell(ours, story)
        tell(never, story, without=(9,))
        assert len(ours.labels) == 6
        ours.retrain_without(9)
        assert ours.labels == never.labels == ("class 0", "class 1", "class 2", "class 3")
        assert_same(ours, never)
        x, _ = samples((0, 1, 2, 3), count=14, seed=5)
        np.testing.assert_array_equal(ours.predict(x, proba=True), never.predict(x, proba=True))


def test_after_it_the_saved_states_are_the_new_ones_also_encrypted(tmp_path, root):
    with make(tmp_path, "ours", root, keep_checkpoints=2) as ours:
        tell(ours, between=lambda ours, task: ours.save() and ours)
        ours.retrain_without(3)
    with make(tmp_path, "never") as never, Learner.open(tmp_path / "ours.saved", root_key=root) as again:
        tell(never, without=(3,))
        assert_same(again, never)
        # from a state that was kept before, and came with the new store
        assert again.retrain_without(4).start == "the end of task 2"
        with make(tmp_path, "neither") as neither:
            tell(neither, without=(3, 4))
            assert_same(again, neither)


def test_a_state_from_before_it_is_not_opened_again(tmp_path):
    with make(tmp_path, "ours") as ours:
        tell(ours, STORY[:2])
        ours.save()
        shutil.copytree(tmp_path / "ours.saved", tmp_path / "copy")
        ours.save(tmp_path / "elsewhere")
        ours.retrain_without(1)
        wanted = everything(ours)
    with pytest.raises(EdgeclError, match="before its learner was trained anew"):
        Learner.open(tmp_path / "copy")
    with Learner.open(tmp_path / "elsewhere") as again:
        np.testing.assert_equal(everything(again), wanted)


def test_a_life_of_saving_dying_and_opening_is_repeated_as_well(tmp_path):
    def opened(ours: Learner, task: int) -> Learner:
        ours.save()
        bring(ours, task, 5, (0, 1), count=3).wait()  # on flash, but in no saved state
        ours.close()
        return Learner.open(ours.path)

    ours = tell(make(tmp_path, "ours", keep_checkpoints=1), between=opened)
    never = tell(make(tmp_path, "never"), without=(1,), between=opened)
    with ours, never:
        assert ours.retrain_without(1).start == "the seed"
        assert_same(ours, never)


def test_subjects_forgotten_before_are_left_out_too(tmp_path):
    def forget(ours: Learner, task: int) -> Learner:
        if task == 1:
            ours.forget(2)
        return ours

    with make(tmp_path, "ours", keep_checkpoints=3) as ours, make(tmp_path, "never") as never:
        tell(ours, between=forget)
        tell(never, [line for line in STORY if line[:2] != (0, 2)], without=(3,))  # 2 came again in the last task
        receipt = ours.retrain_without(3)
        assert receipt.without == [2, 3] and receipt.start == "the seed"
        assert_same(ours, never)


def test_a_learn_that_a_clock_or_a_caller_ended_ends_at_the_same_step(tmp_path):
    with make(tmp_path, "ours") as ours, make(tmp_path, "never") as never:
        for subject in (1, 2):
            bring(ours, 0, subject, (0, 1))
        bring(never, 0, 2, (0, 1))
        done = ours.learn(seconds=0.05).steps
        never.learn(steps=done)
        step = ours.core.trainer.step

        def stopping(*given, **named):
            if ours.core.trainer.steps == done + 3:
                ours.stop()
            return step(*given, **named)

        ours.core.trainer.step = stopping
        assert ours.learn(epochs=EPOCHS).stopped == "stop() was called"
        never.life.learn(Asked(4, EPOCHS))  # after the step in which it was called
        ours.retrain_without(1)
        assert_same(ours, never)


def test_samples_that_come_while_it_learns_and_while_it_learns_anew(tmp_path):
    options = {"gate": "none"}  # without swaps the moment of their coming changes nothing
    with make(tmp_path, "ours", **options) as ours, make(tmp_path, "never", **options) as never:
        for one in (ours, never):
            bring(one, 0, 2, (0, 1))
        bring(ours, 0, 1, (0, 1))
        threads = [threading.Thread(target=bring, args=(ours, 7, 2, (0, 1)))]
        step = ours.core.trainer.step

        def coming(*given, **named):
            if ours.core.trainer.steps == 5:
                threads[0].start()
                threads[0].join()
            return step(*given, **named)

        ours.core.trainer.step = coming
        ours.learn(epochs=EPOCHS)
        never.learn(epochs=EPOCHS)
        bring(never, 7, 2, (0, 1))
        for one in (ours, never):
            one.learn(epochs=EPOCHS)
        threads.append(threading.Thread(target=ours.retrain_without, args=(1,)))
        threads[1].start()
        while len(ours.core.parts.store.forgotten()) == 0 and threads[1].is_alive():
            pass
        for n in range(8, 11):
            bring(ours, n, 2, (0, 1), count=2).wait()
        threads[1].join()
        for n in range(8, 11):
            bring(never, n, 2, (0, 1), count=2)
        assert_same(ours, never)


def test_the_present_task_keeps_its_name(tmp_path):
    x, y = samples((0, 1), count=14)
    with make(tmp_path, "ours") as ours:
        for subject in (1, 2):
            ours.observe(x, y, subject=subject, task="first")
        ours.learn(epochs=EPOCHS)
        ours.retrain_without(1)
        assert ours.counters["buffered"] == len(x)
        ours.observe(x, y, subject=2, task="second")
        assert ours.counters["buffered"] == len(x)  # the first one ended
