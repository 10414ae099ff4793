"""A process that dies while it trains anew leaves a whole learner: the old one, or the new one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from edgecl.storage import KeyFile
from retrain_story import assert_same, everything, make, tell

from edgecl import EdgeclError, Learner

CHILD = """
    import os, signal, sys
    from edgecl import Learner
    from edgecl.storage import KeyFile
    folder, encrypted, file, function, line = sys.argv[1:]
    root = KeyFile(folder + "/root.key") if int(encrypted) else None
    ours = Learner.open(folder + "/ours.saved", store=folder + "/ours", root_key=root)
    left = int(line)
    def lines(frame, event, arg):
        global left
        left -= event == "line"
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return lines
    def trace(frame, event, arg):
        code = frame.f_code
        return lines if code.co_filename.endswith(file) and code.co_name == function else None
    print("ready", flush=True)
    sys.settrace(trace)
    ours.retrain_without(3)
    print("done", flush=True)
"""
# (file, function, lines into it): before the new store counts, and after
OLD = [
    ("storage/forgetting.py", "forget", 12), ("kept.py", "forget", 6), ("replacing.py", "begin", 3),
    ("retrain.py", "_give", 12), ("retrain.py", "_learn", 8), ("retrain.py", "_write", 9),
    ("replacing.py", "commit", 3),
]  # fmt: skip
NEW = [
    ("learner.py", "_adopt", 0), ("learner.py", "_adopt", 5), ("replacing.py", "finish", 9),
    ("replacing.py", "finish", 16), ("replacing.py", "finish", 22), ("replacing.py", "finish", 26),
    ("pending.py", "take_over", 6), ("pending.py", "take_over", 9), ("pending.py", "take_over", 14),
    ("replacing.py", "done", 1), ("replacing.py", "done", 2),
]  # fmt: skip


SHORT = [OLD[4], NEW[4], NEW[7]]


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_the_old_learner_or_the_new_one(tmp_path, encrypted):
    kill_at(tmp_path, SHORT[encrypted::2], encrypted)


def test_the_new_learner_is_given_to_no_other_learners_folder(tmp_path):
    with make(tmp_path, "ours", keep_checkpoints=2) as ours, make(tmp_path, "other") as other:
        for one in (ours, other):
            tell(one)
            one.save()
        before = other.counters["stored"]
    command = [sys.executable, "-P", "-c", textwrap.dedent(CHILD), str(tmp_path), "0", "pending.py", "take_over", "6"]
    assert subprocess.run(command, stdout=subprocess.PIPE).returncode == -signal.SIGKILL
    with pytest.raises(EdgeclError, match="not the store"):
        Learner.open(tmp_path / "other.saved", store=tmp_path / "ours")
    with Learner.open(tmp_path / "other.saved") as other, Learner.open(tmp_path / "ours.saved") as ours:
        assert other.counters["stored"] == before and 3 in other.life.diary.calls.subjects
        assert 3 not in ours.life.diary.calls.subjects


@pytest.mark.campaign
@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_at_every_moment(tmp_path, encrypted):
    kill_at(tmp_path, OLD + NEW, encrypted)


def kill_at(tmp_path, moments, encrypted) -> None:
    if encrypted:
        pytest.importorskip("cryptography")
    first = tmp_path / "first"
    first.mkdir()
    key = KeyFile(first / "root.key") if encrypted else None
    with make(tmp_path, "never") as never, make(first, "ours", key, keep_checkpoints=2) as ours:
        tell(never, without=(3,))
        tell(ours)
        ours.save()
        before = everything(ours)
        ours.close()
        for i, moment in enumerate(moments):
            folder = tmp_path / str(i)
            shutil.copytree(first, folder)
            root = KeyFile(folder / "root.key") if encrypted else None
            command = [sys.executable, "-P", "-c", textwrap.dedent(CHILD), str(folder)]
            child = subprocess.run(
                [*command, str(int(encrypted)), *map(str, moment)],
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            assert (child.stdout, child.returncode) == (b"ready\n", -signal.SIGKILL), moment
            with Learner.open(folder / "ours.saved", store=folder / "ours", root_key=root) as again:
                if moment in OLD:
                    after = everything(again)
                    for name, value in before.items():
                        if name.startswith(("/trainer/engine", "/trainer/random", "/trainer/sparse")):
                            np.testing.assert_equal(after[name], value, err_msg=f"{moment}: {name}")
                    assert 3 not in again.core.parts.memory.subjects
                    again.retrain_without(3)
                assert_same(again, never)
                assert not (folder / "ours" / "retrained").exists()
