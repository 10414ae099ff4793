"""The text of a label that only one subject's samples had goes with the subject; others' labels stay."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
from edgecl.storage import SampleStore
from test_learner import SHAPE, learner

from edgecl import Learner

ANNA = "Anna at her door"
X = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), dtype=np.uint8)


def taught(tmp_path, root, **options) -> Learner:
    ours = learner(**{"store": str(tmp_path / "s"), "path": tmp_path / "saved", "root_key": root, **options})
    ours.observe(X[:10], "nobody")
    ours.observe(X[10:20], "shared", subject=1)
    ours.observe(X[20:30], ANNA, subject=2)
    ours.observe(X[30:], ["shared", "another's"] * 5, subject=3).wait()
    ours.learn(epochs=1)
    return ours


def files_hold(tmp_path, text: str) -> bool:
    return any(text.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "receipt.json")


def test_the_text_is_in_no_file_afterwards_and_the_label_is_not_predicted(tmp_path, root):
    with taught(tmp_path, root) as ours:
        ours.save()
        ours.save()
        assert files_hold(tmp_path, ANNA) == (root is None)
        receipt = ours.forget(2)
        assert receipt.labels == 1 and ANNA not in json.dumps(receipt.to_json())
        assert ours.labels == ("nobody", "shared", "another's") and not files_hold(tmp_path, ANNA)
        assert ANNA not in ours.predict(X)
        assert ours.predict(X[0], proba=True).shape == (3,)
        assert ours.forget(1).labels == 0 and ours.forget(3).labels == 1  # the others' label was two persons'
        ours.save()
    with Learner.open(tmp_path / "saved", root_key=root) as again:
        assert again.labels == ("nobody", "shared")


def test_a_state_saved_before_does_not_bring_it_back(tmp_path, root):
    with taught(tmp_path, root) as ours:
        ours.save()
    with SampleStore(tmp_path / "s", root_key=root) as store:
        store.forget(2)
    with Learner.open(tmp_path / "saved", root_key=root) as again:
        assert again.labels == ("nobody", "shared", "another's")
    assert not files_hold(tmp_path, ANNA)


def test_who_had_a_label_is_known_after_a_crash_and_in_ram_alone(tmp_path):
    child = os.fork()
    if not child:
        ours = taught(tmp_path, None)
        ours.save()
        ours.observe(X[0], ANNA, subject=1).wait()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Learner.open(tmp_path / "saved") as again:
        assert again.forget(2).labels == 0 and ANNA in again.labels
        assert again.forget(1).labels == 0 and ANNA in again.labels  # two had it
    with learner() as plain:
        plain.observe(X[:4], [ANNA, "x", ANNA, "x"], subject=2)
        plain.observe(X[0], "x", subject=1)
        assert plain.forget(2).labels == 1 and plain.labels == ("x",)


def test_renamed_merged_and_corrected_labels_keep_their_owner(tmp_path):
    with taught(tmp_path, None) as ours:
        ours.rename_label(ANNA, "Anna B.")
        assert not files_hold(tmp_path, ANNA)
        ours.relabel([0], "Anna B.")
        assert ours.forget(2).labels == 0 and "Anna B." in ours.labels  # a sample of nobody has it, too
    with taught(tmp_path / "b", None) as ours:
        ours.merge_label(ANNA, "another's")
        assert ours.forget(2).labels == 0 and ours.forget(3).labels == 0 and "another's" in ours.labels
    with taught(tmp_path / "c", None) as ours:
        ours.relabel([20], "Anna at work")
        assert ours.forget(2).labels == 2 and ours.labels == ("nobody", "shared", "another's")


def test_training_anew_without_a_subject_knows_its_labels_no_more(tmp_path, root):
    with taught(tmp_path, root) as ours:
        ours.save()
        ours.retrain_without(2)
        assert ours.labels == ("nobody", "shared", "another's") and not files_hold(tmp_path, ANNA)
        assert ours.forget(3).labels == 1
