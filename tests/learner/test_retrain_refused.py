"""When `retrain_without` cannot give the exact weights it says why, and leaves everything as it was."""

from __future__ import annotations

import numpy as np
import pytest
from retrain_story import EPOCHS, STORY, assert_same, bring, everything, make, tell
from safetensors.numpy import save_file

from edgecl import BadInput, Budget, Learner
from edgecl.erasure import calls
from edgecl.errors import CannotRetrain
from edgecl.intake.labels import LabelMap


def refused(ours: Learner, subject: int, why: str) -> None:
    before, held = everything(ours), len(ours.core.parts.store.ids_of_subject(subject)) if ours.core.parts.store else 0
    with pytest.raises(CannotRetrain, match=why) as error:
        ours.retrain_without(subject)
    assert error.value.remedy
    after = everything(ours)
    for name, value in before.items():
        np.testing.assert_equal(after[name], value, err_msg=name)
    if ours.core.parts.store is not None:
        assert len(ours.core.parts.store.ids_of_subject(subject)) == held
        assert not (ours.core.parts.store.path / "retrained").exists()


def test_without_a_store(tmp_path):
    with make(tmp_path, "ours", store=None) as ours:
        tell(ours, STORY[:2])
        refused(ours, 1, "Without a store")


def test_a_subject_that_was_never_there(tmp_path):
    with make(tmp_path, "ours") as ours:
        tell(ours, STORY[:2])
        for nobody in (7, -1):
            with pytest.raises(BadInput):
                ours.retrain_without(nobody)


def test_samples_that_were_evicted(tmp_path):
    with make(tmp_path, "ours", store_limit="100 samples", keep_checkpoints=3) as ours:
        tell(ours)
        assert ours.core.parts.store.count == 100
        refused(ours, 1, "from the seed, 68 samples it needs were evicted")
        refused(ours, 4, "from the end of task 2, 56 samples it needs were evicted")


def test_samples_that_are_damaged(tmp_path):
    with make(tmp_path, "ours") as ours:
        tell(ours)
        store = ours.core.parts.store
        no, offset = store._index.where(3)
        with open(store.path / "segments" / f"{no:08x}.seg", "r+b") as file:
            file.seek(offset + 60)
            file.write(b"rot" * 5)
        store._index.close_files()
        assert not store.read([3])["ok"][0]
        refused(ours, 4, "1 samples it needs were evicted from the store or are damaged")


def test_a_log_that_no_longer_holds_the_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(calls, "MOST", 6)
    monkeypatch.setattr(calls, "BLOCK", 1)
    with make(tmp_path, "ours", keep_checkpoints=1) as ours, make(tmp_path, "never") as never:
        tell(ours)
        refused(ours, 1, "from the end of task 2, subject 1 was seen before; from the seed, the log of calls begins")
        tell(never, without=(4,))
        assert ours.retrain_without(4).start == "the end of task 2"
        assert_same(ours, never)


def test_weights_that_are_no_longer_in_their_file(tmp_path):
    with make(tmp_path, "first", method="er") as first:
        rng = np.random.default_rng(1)
        weights = {n: rng.normal(0, 0.1, s).astype(np.float32) for n, s in first.parameters.items()}
    save_file(weights, tmp_path / "w.safetensors")
    with make(tmp_path, "ours", weights=tmp_path / "w.safetensors") as ours:
        tell(ours)
        (tmp_path / "w.safetensors").rename(tmp_path / "elsewhere")
        refused(ours, 1, "the weights it started from are not in")
        (tmp_path / "elsewhere").rename(tmp_path / "w.safetensors")
        with make(tmp_path, "never", weights=tmp_path / "w.safetensors") as never:
            tell(never, without=(1,))
            ours.retrain_without(1)
            assert_same(ours, never)


def test_a_store_that_another_learner_filled_before(tmp_path):
    with make(tmp_path, "ours") as ours:
        tell(ours, STORY[:2])
    with make(tmp_path, "ours") as second:
        tell(second, STORY[2:4])
        refused(second, 3, "56 samples were in the store before")


def test_samples_for_which_there_was_no_write_budget(tmp_path):
    with make(tmp_path, "ours", budget=Budget(flash_writes_per_day=40_000)) as ours:
        while not ours.counters["kept_in_ram_only"]:
            bring(ours, 0, 1, (0, 1), count=5)
        refused(ours, 1, "in RAM only, for want of write budget")


def test_a_day_that_has_no_room_for_the_writes(tmp_path):
    with make(tmp_path, "ours", budget=Budget(flash_writes_per_day=200_000)) as ours:
        tell(ours)
        refused(ours, 1, "more than the flash may take today")


def test_stop_ends_it_and_it_can_be_done_again(tmp_path, monkeypatch):
    units = LabelMap.units
    with make(tmp_path, "ours") as ours, make(tmp_path, "never") as never:
        tell(ours)
        tell(never, without=(3,))
        before = everything(ours)
        with monkeypatch.context() as patch:
            patch.setattr(LabelMap, "units", lambda *given: ours.stop() or units(*given))
            with pytest.raises(CannotRetrain, match="stop"):
                ours.retrain_without(3)
        for name, value in before.items():
            if name.startswith("/trainer/engine"):
                np.testing.assert_equal(everything(ours)[name], value)
        assert not (ours.core.parts.store.path / "retrained").exists()
        ours.learn(epochs=EPOCHS)
        never.learn(epochs=EPOCHS)
        ours.retrain_without(3)
        assert_same(ours, never)


def test_a_ram_budget_that_a_second_learner_does_not_fit(tmp_path):
    with make(tmp_path, "ours") as ours:
        tell(ours, STORY[:2])
        ours.save()
    with Learner.open(tmp_path / "ours.saved", budget=Budget(ram=int(1.2 * ours.plan.growth_bytes))) as again:
        refused(again, 1, "does not fit the budget")
    with Learner.open(tmp_path / "ours.saved", budget=Budget(ram=100_000_000)) as again:
        assert again.retrain_without(1).samples == 28
