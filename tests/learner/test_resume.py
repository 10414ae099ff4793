"""Resume after SIGKILL ends with the same weights, memory and record as a run that was never killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_run import facts, same_state

from edgecl import checkpoint
from edgecl.run import run

CHILD = """
import json, os, signal, sys
import edgecl.checkpoint
from edgecl.run import run

job = json.loads(sys.argv[1])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def listen(progress):
    if progress.step == job["step"]:
        die()

if job["write"]:  # die between the writing of a checkpoint and its renaming
    real, done = os.replace, []
    def replace(a, b):
        done.append(b)
        if len(done) == job["write"]:
            die()
        real(a, b)
    edgecl.checkpoint.os.replace = replace
run(job["options"], listen=listen, resume=job["resume"])
"""


def killed(options: dict, *, step: int = -1, write: int = 0, resume: str | None = None) -> None:
    """A run in a child that gets SIGKILL at that step, or in the middle of its ``write``-th checkpoint."""
    job = json.dumps({"options": options, "step": step, "write": write, "resume": resume})
    child = subprocess.run([sys.executable, "-c", CHILD, job], capture_output=True, timeout=120, check=False, cwd="/")
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()


@pytest.mark.parametrize("points", [3, pytest.param(10, marks=pytest.mark.campaign)], ids=["few", "ten"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "90%"])
def test_killed_runs_end_as_if_never_killed(options, tmp_path, sparse, points):
    given = {**options, "epochs": 10, "checkpoint_every": 7, "seed": 5}
    if sparse:
        given |= {"sparsity": 0.9, "gradient_keep": 0.8, "remove": 0.3, "momentum": 0.5}
    whole = run({**given, "store": str(tmp_path / "s0"), "out": str(tmp_path / "o0")})
    end = checkpoint.load(tmp_path / "o0")
    moments = np.random.default_rng(int(os.environ.get("EDGECL_TEST_SEED", "1")) + sparse)
    deaths = [{"step": int(s)} for s in moments.integers(1, whole["steps"], points)]
    deaths.append({"write": int(moments.integers(1, 8))})
    for i, point in enumerate(deaths):
        out = tmp_path / f"o{i + 1}"
        killed({**given, "store": str(tmp_path / f"s{i + 1}"), "out": str(out)}, **point)
        record = run({}, resume=out)
        assert facts(record) == facts(whole), point
        same_state(checkpoint.load(out)["trainer"], end["trainer"])


def test_a_run_killed_twice_still_ends_the_same(options, tmp_path):
    given = {**options, "checkpoint_every": 5}
    whole = run({**given, "store": str(tmp_path / "s0"), "out": str(tmp_path / "o0")})
    killed({**given, "store": str(tmp_path / "s1"), "out": str(tmp_path / "o1")}, step=33)
    killed({}, step=90, resume=str(tmp_path / "o1"))
    assert facts(run({}, resume=tmp_path / "o1")) == facts(whole)


def test_a_damaged_generation_is_passed_over(options, tmp_path):
    run({**options, "checkpoint_every": 5, "out": str(tmp_path)})
    newest = max(tmp_path.glob("checkpoint-*"), key=checkpoint._generation)
    block = bytearray(newest.read_bytes())
    block[-9] ^= 1
    newest.write_bytes(block)
    other = next(p for p in tmp_path.glob("checkpoint-*") if p != newest)
    same_state(checkpoint.load(tmp_path), checkpoint.read(other))


def test_no_pickle_is_read_or_written(options, tmp_path):
    run({**options, "store": str(tmp_path / "s"), "out": str(tmp_path / "o")})
    names = {p.name for p in Path(tmp_path / "o").iterdir()}
    assert names == {"config.json", "run.json", "checkpoint-a.safetensors", "checkpoint-b.safetensors"}
