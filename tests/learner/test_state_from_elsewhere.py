"""A saved state from elsewhere: its checksum has no key, so its numbers are looked at before native code sees them."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from edgecl.storage.errors import StoreError
from safetensors.numpy import load, save
from test_forget_subject import live_bytes, mark, pictures, taught
from test_learner import learner

from edgecl import EdgeclError, Learner, checkpoint


def forged(path, change):
    """The state in a file with ``change(tree, arrays)``, and a checksum that holds."""
    raw = path.read_bytes()
    arrays = dict(load(raw))
    tree = json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["edgecl"])
    change(tree, arrays)
    about = json.dumps(tree)
    path.write_bytes(save(arrays, {"edgecl": about, "sha256": checkpoint.checksum(about, arrays)}))


def pending_swaps(slot):
    def change(tree, arrays):
        n, stage = 4, 144 + 2048
        kinds = dict(cls=np.int32, subject=np.int32, ready=np.uint8, bytes=np.uint8, field_bytes=np.uint32)
        values = dict(
            due=np.full(n, 10**6), slot=np.full(n, slot), id=np.arange(n), version=np.zeros(n), time=np.zeros(n),
            cls=np.zeros(n), subject=np.full(n, -1), ready=np.ones(n), bytes=np.zeros(n * stage),
            field_bytes=np.zeros(n),
        )  # fmt: skip
        for name, value in values.items():
            arrays[f"trainer/carousel/{name}"] = np.ascontiguousarray(value, kinds.get(name, np.int64))
            tree["state"]["trainer"]["carousel"][name] = {"@array": f"trainer/carousel/{name}"}

    return change


def blocks(value):
    def change(tree, arrays):
        chosen = tree["state"]["trainer"]["choices"]["blocking"]
        for name in chosen:
            chosen[name] = value

    return change


@pytest.fixture
def saved(tmp_path):
    taught(tmp_path, None).close()
    return tmp_path


BAD = {f"slot {s}": pending_swaps(s) for s in (-1, -(1 << 40), 2**31 - 1)}
BAD |= {f"blocks {b}": blocks(b) for b in ([-3, -3], [0, 0], [1 << 40, 1], [1], "x", [1.5, 2], [True, True])}


@pytest.mark.parametrize("name", BAD)
def test_a_number_out_of_bounds_is_named(saved, name):
    for path in checkpoint.generations(saved / "saved"):
        forged(path, BAD[name])
    with pytest.raises((EdgeclError, StoreError), match="does not fit") as caught:
        Learner.open(saved / "saved", store=saved / "s")
    assert caught.value.remedy


def test_a_save_that_was_killed_leaves_nothing_for_forget_to_miss(tmp_path):
    if (pid := os.fork()) == 0:
        try:
            with learner(method="er", store=str(tmp_path / "s"), path=tmp_path / "saved") as ours:
                for subject in (2, 3):
                    x, y = pictures(subject)
                    ours.observe(x, y.tolist(), subject=subject).wait()
                ours.learn(steps=2)
                ours.save()
                os.replace = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
                ours.save()  # the second generation, half-written
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert [p for p in (tmp_path / "saved").iterdir() if p.name.endswith(".tmp")]
    with Learner.open(tmp_path / "saved") as again:
        again.forget(2)
    assert mark(2) not in live_bytes(tmp_path) and mark(3) in live_bytes(tmp_path)


def test_forgetting_needs_no_hard_links(saved, monkeypatch):
    def none(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    with Learner.open(saved / "saved", store=saved / "s") as ours:
        ours.forget(2)
    assert mark(2) not in live_bytes(saved)
    Learner.open(saved / "saved", store=saved / "s").close()


def test_a_saved_state_is_its_owners_alone(saved):
    for path in checkpoint.generations(saved / "saved"):
        assert path.stat().st_mode & 0o777 == 0o600
    for missing in ("checkpoint-a.safetensors", "checkpoint-b.safetensors"):  # between the two renames of a rewrite
        path = saved / "saved" / missing
        path.rename(path.with_name(missing + ".gone"))
        assert checkpoint.load(saved / "saved") is not None and path.exists()


@pytest.mark.parametrize("times", [1, 99])
def test_a_state_that_the_device_does_not_give_is_not_taken_for_a_damaged_one(saved, monkeypatch, times):
    """`forget` overwrites damaged states; one that cannot be read may be the only sound one."""
    left, real = [times], checkpoint.safe_open

    def open_(*given):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(5, "Input/output error")
        return real(*given)

    with Learner.open(saved / "saved", store=saved / "s") as learner:
        before = {p.name for p in (saved / "saved").iterdir()}
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "safe_open", open_)
            with pytest.raises(EdgeclError) as caught:
                learner.forget(1)
        assert caught.value.remedy and {p.name for p in (saved / "saved").iterdir()} == before
        assert learner.forget(1).files
    Learner.open(saved / "saved", store=saved / "s").close()
