"""A process that dies while `forget` rewrites saved states: a good state at every moment, the subject gone at the next
opening."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
from test_forget_subject import live_bytes, mark, taught

from edgecl import Learner, checkpoint

CHILD = """
    import os, signal, sys
    from edgecl import Learner
    folder, file, function, line = sys.argv[1:]
    ours = Learner.open(folder + "/saved", store=folder + "/s")
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
    ours.forget(2)
"""
SAVED, WRITE, REPLACE, REWRITE, OVERWRITE = (
    ("erasure/overwriting.py", "rewrite_saved"), ("checkpoint.py", "_write"), ("checkpoint.py", "replace"),
    ("checkpoint.py", "rewrite"), ("storage/whole.py", "overwrite"),
)  # fmt: skip
# before the first file, with a new one beside the old, between the two names, before and in the middle of overwriting
MOMENTS = [
    (*SAVED, 0), (*SAVED, 9), (*WRITE, 4), (*WRITE, 8), (*REPLACE, 0), (*REPLACE, 1), (*REPLACE, 2), (*REPLACE, 3),
    (*REWRITE, 3), (*REWRITE, 7), (*OVERWRITE, 3), (*OVERWRITE, 9), (*OVERWRITE, 20),
]  # fmt: skip


def kill_at(tmp_path, moments) -> None:
    first = tmp_path / "first"
    first.mkdir()
    with taught(first, None, keep_checkpoints=2) as ours:
        ours.save()  # both generations and a kept state hold the subject
    for i, moment in enumerate(moments):
        folder = tmp_path / str(i)
        shutil.copytree(first, folder)
        child = subprocess.run(
            [sys.executable, "-P", "-c", textwrap.dedent(CHILD), str(folder), *map(str, moment)],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert (child.stdout, child.returncode) == (b"ready\n", -signal.SIGKILL), moment
        assert checkpoint.load(folder / "saved") is not None, moment
        with Learner.open(folder / "saved", store=folder / "s") as again:
            memory = again.core.parts.memory
            assert 2 not in memory.subjects and 2 not in again.life.intake.buffer.rows.subjects
            assert mark(2) not in live_bytes(folder), moment
            assert mark(3) in live_bytes(folder) and {1, 3} <= set(memory.subjects.tolist())
            left = sorted(p.name for p in (folder / "saved").iterdir())
            assert left == ["checkpoint-a.safetensors", "checkpoint-b.safetensors"], moment


def test_a_few_moments(tmp_path):
    kill_at(tmp_path, [MOMENTS[5], MOMENTS[8], MOMENTS[11]])


@pytest.mark.campaign
def test_every_moment(tmp_path):
    kill_at(tmp_path, MOMENTS)
