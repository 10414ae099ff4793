"""`Learner.forget`: a subject leaves RAM, store and saved states; the others stay."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgecl.storage import KeyFile
from test_learner import SHAPE, learner

from edgecl import BadInput, EdgeclError, Learner


def mark(subject: int) -> bytes:
    return f"person{subject:04d}<>".encode()


def pictures(subject: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """n samples that say whose they are twelve times; two classes."""
    x = np.tile(np.frombuffer(mark(subject), np.uint8), 12).reshape(1, *SHAPE).repeat(n, 0).copy()
    y = np.arange(n) % 2
    x[y == 1, :, 6:] += 1
    return x, y


def taught(tmp_path, root, **options) -> Learner:
    given = {"method": "der++", "store": str(tmp_path / "s"), "path": tmp_path / "saved", "root_key": root} | options
    ours = learner(**given)
    for task in range(2):
        for subject in (1, 2, 3):
            x, y = pictures(subject)
            ours.observe(x, (y + 2 * task).tolist(), subject=subject)
        ours.learn(epochs=2)
        ours.save()
        if task == 0:
            ours.end_task()
    return ours


def live_bytes(tmp_path) -> bytes:
    folders = [tmp_path / "s", tmp_path / "saved"]
    return b"".join(p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file())


def test_the_subject_is_gone_from_ram_and_files_and_learning_goes_on(tmp_path, root):
    with taught(tmp_path, root) as ours:
        memory = ours.core.parts.memory
        assert {1, 2, 3} <= set(memory.subjects.tolist()) and ours.core.parts.carousel.pending
        if root is None:
            assert mark(2) in live_bytes(tmp_path)
        others = memory.filled - int((memory.subjects == 2).sum())
        receipt = ours.forget(2)
        assert len(receipt.ids) == 80 and receipt.slots and receipt.buffered == 40
        assert receipt.holds == ("overwritten" if root is None else "key dropped")
        assert json.loads(json.dumps(receipt.to_json()))["weights"].startswith("The weights still carry")
        assert memory.filled == others and 2 not in memory.subjects
        held = [ours.core.parts.carousel.state()["bytes"], memory.samples, ours.life.intake.buffer.samples]
        assert all(mark(2) not in a.tobytes() for a in held) and mark(1) in memory.samples.tobytes()
        assert not memory.widths["logits"][memory.classes < 0].any()
        assert mark(2) not in live_bytes(tmp_path)
        ours.learn(epochs=1)
        ours.save()
        assert mark(2) not in live_bytes(tmp_path)


def test_saved_before_and_opened_after_it_is_without_the_subject(tmp_path, root):
    with taught(tmp_path, root) as ours:
        swaps = ours.core.parts.carousel.pending
        gone = ours.forget(2).swaps
    with Learner.open(tmp_path / "saved", root_key=root) as again:
        memory = again.core.parts.memory
        assert again.core.parts.carousel.pending == swaps - gone
        assert mark(2) not in memory.samples.tobytes() + again.life.intake.buffer.samples.tobytes()
        assert (memory.subjects[memory.classes >= 0] != 2).all() and mark(3) in memory.samples.tobytes()
        assert len(again.life.intake.buffer) == 80
        again.learn(epochs=1)


def test_what_the_store_forgot_alone_leaves_the_saved_states_at_the_next_opening(tmp_path, root):
    taught(tmp_path, root).close()
    from edgecl.storage import SampleStore

    with SampleStore(tmp_path / "s", root_key=root) as store:
        store.forget(2)
    with Learner.open(tmp_path / "saved", root_key=root) as again:
        assert 2 not in again.core.parts.memory.subjects and 2 not in again.life.intake.buffer.rows.subjects
    assert mark(2) not in live_bytes(tmp_path)


def test_encrypted_states_open_as_they_were_and_only_with_the_key(tmp_path):
    pytest.importorskip("cryptography")
    root = KeyFile(tmp_path / "root.key")
    with taught(tmp_path, root) as ours:
        wanted = ours.life.state()["trainer"]
    assert mark(1) not in live_bytes(tmp_path)
    with Learner.open(tmp_path / "saved", root_key=root) as again:
        found = again.life.state()["trainer"]
        for part in ("memory", "engine"):
            for name, values in wanted[part].items():
                np.testing.assert_array_equal(found[part][name], values, err_msg=name)
        np.testing.assert_array_equal(found["carousel"]["bytes"], wanted["carousel"]["bytes"])
    with pytest.raises(EdgeclError):
        Learner.open(tmp_path / "saved")


def test_without_a_store_it_leaves_ram_and_saved_states(tmp_path):
    with taught(tmp_path, None, store=None) as ours:
        receipt = ours.forget(2)
        assert receipt.slots and len(receipt.files) == 2 and not receipt.ids
        assert mark(2) not in (tmp_path / "saved" / "checkpoint-a.safetensors").read_bytes()
        with pytest.raises(BadInput):
            ours.forget(-1)
