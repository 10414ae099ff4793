"""In a forked child every verb of a learner says so at once, whatever locks the parent's threads hold."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from edgecl.storage.errors import UseAfterFork
from test_training_plan import OPTIONS, some

from edgecl import Learner

X = some([0, 1])[0]
VERBS = {
    "observe": lambda ours: ours.observe(X[0], 1),
    "observe of another task": lambda ours: ours.observe(X[0], 1, task="new"),
    "learn": lambda ours: ours.learn(steps=1),
    "end_task": lambda ours: ours.end_task(),
    "finish": lambda ours: ours.finish(),
    "predict": lambda ours: ours.predict(X),
    "flush": lambda ours: ours.flush(),
    "save": lambda ours: ours.save(),
    "backup": lambda ours: ours.backup("backup.tar"),
    "forget": lambda ours: ours.forget(1),
    "retrain_without": lambda ours: ours.retrain_without(1),
    "relabel": lambda ours: ours.relabel([0], 1),
    "remove": lambda ours: ours.remove([0]),
    "rename_label": lambda ours: ours.rename_label(0, 5),
    "merge_label": lambda ours: ours.merge_label(0, 1),
}


def in_child(call) -> int:
    """0: said so; 2: returned; 3: something else; negative: killed."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        status = 3
        try:
            call()
            status = 2
        except UseAfterFork:
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_verbs_in_a_fork_say_so_while_threads_of_the_parent_hold_every_lock(tmp_path):
    with Learner("mlp", store=str(tmp_path / "s"), path=tmp_path / "p", **OPTIONS) as ours:
        ours.observe(*some([0, 1]), subject=1).wait()
        ours.learn()
        ours.save()
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        with ours.life.intake.lock, ours.life.store._lock:
            answers = {name: in_child(lambda verb=verb: verb(ours)) for name, verb in VERBS.items()}
            assert answers == dict.fromkeys(VERBS, 0)
            assert in_child(ours.close) == 2  # closes nothing, and does not wait
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
        assert ours.learn(steps=2).steps == 2 and np.isfinite(ours.predict(X, proba=True)).all()
