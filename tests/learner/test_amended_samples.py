"""Samples that change after they were observed (cases/labels-late-or-wrong): memory, stream buffer, saved states,
predictions and training anew know it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from edgecl.storage import SampleStore
from test_training_plan import OPTIONS, engine_of, per_class, same_bits, some

from edgecl import BadInput, Learner


def made(tmp_path, name="s", **more):
    return Learner("mlp", store=str(tmp_path / name), path=tmp_path / f"{name}-saved", **{**OPTIONS, **more})


def test_labels_that_come_late_make_new_samples(tmp_path):
    x, y = some([0, 1])
    with made(tmp_path) as ours:
        ticket = ours.observe(x, None)
        assert ticket.wait() and ours.counters["new"] == 0 and ours.counters["stored"] == 60
        with pytest.raises(BadInput, match="no sample"):
            ours.learn()
        ours.relabel(ticket.ids[:40], y[:40])
        assert ours.counters["new"] == 40 and ours.learn(epochs=10).new == 40
        ours.save()
    with Learner.open(tmp_path / "s-saved") as again:
        assert again.counters["new"] == 0
        again.relabel(ticket.ids[40:], y[40:])
        assert again.learn(epochs=5).new == 20 and min(per_class(again, [0, 1])) > 0.9


def test_a_label_that_came_after_the_last_save_makes_its_sample_new_at_the_next_opening(tmp_path):
    x, y = some([0, 1])
    with made(tmp_path) as ours:
        ids = ours.observe(x, [*y[:30], *[None] * 30]).ids
        ours.learn()
        ours.save()
        ours.relabel(ids[30:50], y[30:50])
    with Learner.open(tmp_path / "s-saved") as again:
        assert again.counters["new"] == 20 and again.learn().new == 20


def test_a_corrected_label_is_the_one_that_memory_and_training_have(tmp_path):
    x, y = some([0, 1])
    with made(tmp_path, memory=200) as ours:
        ids = ours.observe(x, [1 - label for label in y]).ids
        ours.learn(epochs=5)
        assert max(per_class(ours, [0, 1])) < 0.2
        ours.relabel(ids, y)
        assert ours.counters["new"] == 60
        memory = ours.core.parts.memory
        units = {label: unit for unit, label in enumerate(ours.life.intake.labels.labels)}
        held = memory.classes >= 0
        assert held.any() and (memory.classes[held] == np.array([units[y[i]] for i in memory.ids[held]])).all()
        ours.learn(epochs=20)
        assert min(per_class(ours, [0, 1])) > 0.9
    with SampleStore(tmp_path / "s") as store:
        labels = store.class_names().names
        assert [labels[c] for c in store.read(ids)["classes"]] == y


def test_changes_after_the_save_hold_in_the_state_that_is_opened(tmp_path):
    x, y = some([0, 1])
    with made(tmp_path, memory=200) as ours:
        ids = ours.observe(x, y).ids
        ours.learn()
        ours.save()
        ours.relabel(ids[:5], 7)
        assert ours.remove(ids[5:9]) == 4
    with Learner.open(tmp_path / "s-saved") as again:
        memory = again.core.parts.memory
        seven = again.life.intake.labels.known(7)
        assert set(memory.classes[np.isin(memory.ids, ids[:5])]) == {seven}
        assert not np.isin(memory.ids, ids[5:9]).any() and not np.isin(again.life.intake.buffer.ids, ids[5:9]).any()


def test_opening_twice_after_a_change_gives_the_same_bits(tmp_path):
    with made(tmp_path, method="der++") as ours:
        ids = ours.observe(*some([0, 1])).ids
        ours.learn(epochs=2)
        ours.relabel(ids[:3], "odd")
        ours.end_task()
        ours.learn()
        ours.end_task()
        ours.save()
        before = ours.life.state()["trainer"]
        with Learner.open(shutil.copytree(tmp_path / "s-saved", tmp_path / "b"),
                          store=shutil.copytree(tmp_path / "s", tmp_path / "s2")) as again:  # fmt: skip
            for name, value in again.life.state()["trainer"]["memory"].items():
                np.testing.assert_array_equal(value, before["memory"][name], err_msg=name)
            for learner in (ours, again):
                learner.observe(*some([2, 3]))
                learner.learn(epochs=2)
            same_bits(again, ours)


def test_samples_are_removed_by_id_and_by_label(tmp_path):
    x, y = some([0, 1, 2])
    with made(tmp_path) as ours:
        ids = ours.observe(x, y).ids
        ours.learn(epochs=5)
        assert ours.remove(ids[:2]) == 2 and ours.remove(ids[:2]) == 0
        assert ours.remove(label=2) == np.count_nonzero(np.array(y[2:]) == 2)
        assert 2 not in ours.labels and 2 not in ours.predict(x)
        assert ours.predict(x, proba=True).shape == (60, 2)
        memory = ours.core.parts.memory
        assert not np.isin(memory.ids, ids[np.array(y) == 2]).any()
        ours.learn(epochs=1)
        again = ours.observe(x[:1], 2)
        assert ours.learn(steps=1).steps == 1 and again.ids[0] == 60 and ours.labels[-1] == 2
        for wrong in ({}, {"ids": ids, "label": 1}, {"label": "never"}, {"ids": [1.5]}, {"ids": [-1]}):
            with pytest.raises(BadInput):
                ours.remove(**wrong)


def test_labels_are_renamed_and_merged_without_training(tmp_path):
    x, y = some([0, 1, 2], 90)
    names = ["cat", "dog", "kitten"]
    with made(tmp_path) as ours:
        ours.observe(x, [names[c] for c in y])
        ours.learn(epochs=10)
        ours.end_task()
        steps = ours.counters["steps"]
        ours.rename_label("dog", "hound")
        assert set(ours.labels) == {"cat", "hound", "kitten"}
        with pytest.raises(BadInput, match="merge"):
            ours.rename_label("kitten", "cat")
        ours.merge_label("kitten", "cat")
        assert set(ours.labels) == {"cat", "hound"} and ours.counters["steps"] == steps and not ours.counters["new"]
        found = ours.predict(x)
        wanted = [{0: "cat", 1: "hound", 2: "cat"}[c] for c in y]
        assert np.mean([a == b for a, b in zip(found, wanted)]) > 0.9
        shares = ours.predict(x, proba=True)
        assert shares.shape == (90, 2) and np.allclose(shares.sum(axis=1), 1, atol=1e-5)
        ours.save()
    with Learner.open(tmp_path / "s-saved") as again:
        assert set(again.labels) == {"cat", "hound"}
        assert again.predict(x) == found
        with pytest.raises(BadInput, match="never"):
            again.merge_label("never", "cat")
    with SampleStore(tmp_path / "s") as store:
        assert len(store.classes()) == 2


def test_what_cannot_be_relabelled_changes_nothing(tmp_path):
    with made(tmp_path) as ours:
        ids = ours.observe(*some([0, 1])).ids
        before = ours.core.parts.store.read(ids)["classes"].tolist()
        for wrong in (([*ids[:3], 900], 1), (ids[:2], [1]), (ids[:2], None), (ids[:2], 1.5), ("a", 1)):
            with pytest.raises(BadInput):
                ours.relabel(*wrong)
        assert ours.core.parts.store.read(ids)["classes"].tolist() == before and len(ours.labels) == 2
    with Learner("mlp", **OPTIONS) as ours:
        with pytest.raises(BadInput, match="store"):
            ours.observe(some([0])[0], None)
        for verb in (lambda: ours.relabel([0], 1), lambda: ours.remove([0])):
            with pytest.raises(BadInput, match="store"):
                verb()


def test_sums_of_a_closed_form_head_follow_a_correction(tmp_path):
    x, y = some([0, 1, 2])
    wrong = [(c + 1) % 3 if i < 30 else c for i, c in enumerate(y)]
    with made(tmp_path, method="ncm") as ours:
        ids = ours.observe(x, wrong).ids
        ours.learn()
        ours.end_task()
        sums = ours.core.parts.method.counted
        assert sums.counts.sum() == 60
        ours.relabel(ids[:30], y[:30])
        assert sums.counts.sum() == 30
        ours.learn()
        units = [ours.life.intake.labels.known(label) for label in range(3)]
        np.testing.assert_allclose(sums.counts[units], np.bincount(y))
        assert ours.remove(ids[:7]) == 7 and sums.counts.sum() == 53


def test_training_anew_sees_corrected_late_and_removed_samples(tmp_path):
    """The twin is a learner that got the labels of now, and late ones when they came."""
    x, y = some([0, 1])
    with made(tmp_path, keep_checkpoints=0) as ours, made(tmp_path, "other") as other:
        ours.observe(x[:10], y[:10], subject=1)
        ids = ours.observe(x[10:], [*y[10:40], *[None] * 20], subject=2).ids
        ours.learn(epochs=2)
        ours.relabel(ids[30:], y[40:])
        ours.remove(ids[:5])
        ours.learn(epochs=2)
        done = ours.retrain_without(1)
        assert done.samples == 45
        other.observe(x[15:40], y[15:40], subject=2)
        other.learn(epochs=2)
        other.observe(x[40:], y[40:], subject=2)
        other.learn(epochs=2)
        mine, theirs = engine_of(ours), engine_of(other)
        for name in theirs:
            np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
