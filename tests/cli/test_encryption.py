"""`--root-key-file`: a run whose store and checkpoints are encrypted, and a learner trained anew from the shell."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edgecl import Learner

pytest.importorskip("cryptography")


@pytest.fixture
def options(stream) -> list:
    small = ["--stream", stream, "--model", "mlp", "--batch", 16, "--memory", 24, "--epochs", 3, "--method", "der++"]
    return [*small, "--store", "s", "--out", "o", "--json"]


def held(folder) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_an_encrypted_run_learns_the_same_and_holds_no_sample_in_the_clear(edgecl, options, stream, tmp_path):
    secret = [a if a not in ("s", "o") else a + "2" for a in options]
    plain, done = edgecl("run", *options), edgecl("run", *secret, "--root-key-file", "root.key")
    assert done.returncode == 0, done.stderr
    records = [json.loads(p.stdout) for p in (plain, done)]
    assert records[0]["accuracy_matrix"] == records[1]["accuracy_matrix"]
    marks = [x.tobytes()[24:64] for x in np.load(stream)["x"]]
    folders = [tmp_path / name for name in ("s", "o", "s2", "o2")]
    store, out, store2, out2 = ([m in text for m in marks] for text in map(held, folders))
    assert sum(store) > 100 and any(out) and not any(store2) and not any(out2)
    key = (tmp_path / "root.key").read_text().strip()
    for folder in folders:
        assert key.encode() not in held(folder) and bytes.fromhex(key) not in held(folder)
    assert edgecl("store", "verify", "s2", "--root-key-file", "root.key").returncode == 0


def test_an_encrypted_run_goes_on_where_it_was_stopped_and_only_with_its_key(edgecl, options, environment, tmp_path):
    whole = edgecl("run", *options)
    secret = [str(a if a not in ("s", "o") else a + "2") for a in options]
    command = [sys.executable, "-m", "edgecl", "run", *secret, "--root-key-file", "root.key", "--checkpoint-every", "1"]
    child = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while child.poll() is None and not (tmp_path / "o2" / "checkpoint-b.safetensors").exists():
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (tmp_path / "root.key").rename(tmp_path / "moved.key")
    (tmp_path / "other.key").write_text("00" * 32 + "\n")
    assert edgecl("run", "--resume", "o2", "--root-key-file", "other.key").returncode == 2
    done = edgecl("run", "--resume", "o2", "--root-key-file", "moved.key", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accuracy_matrix"] == json.loads(whole.stdout)["accuracy_matrix"]


def test_a_key_must_lie_outside_and_needs_a_store(edgecl, options):
    inside = edgecl("run", *options, "--root-key-file", "o/root.key")
    assert inside.returncode == 2 and "lies in 'o'" in inside.stderr
    without = edgecl("run", "--root-key-file", "root.key")
    assert without.returncode == 2 and "without a store" in without.stderr


def test_forget_with_retrain_makes_the_weights_anew(edgecl, tmp_path):
    rng = np.random.default_rng(0)
    options = {"input_shape": (1, 12, 12), "method": "er", "batch": 8, "memory": 20, "lr": 0.05}

    def taught(name, subjects):
        with Learner("mlp", store=str(tmp_path / name), path=tmp_path / f"{name}.saved", **options) as ours:
            for subject in subjects:
                x = np.random.default_rng(subject).integers(0, 255, (20, 1, 12, 12)).astype(np.uint8)
                ours.observe(x, [0, 1] * 10, subject=subject)
            ours.learn(epochs=2)
            ours.save()

    taught("s", (1, 2))
    taught("never", (1,))
    done = edgecl("store", "forget", "s", "--subject", 2, "--retrain", "s.saved", "--json")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["start"] == "the seed" and receipt["samples"] == 20 and len(receipt["forgotten"]["ids"]) == 20
    x = rng.integers(0, 255, (20, 1, 12, 12)).astype(np.uint8)
    with Learner.open(tmp_path / "s.saved") as ours, Learner.open(tmp_path / "never.saved") as never:
        np.testing.assert_array_equal(ours.predict(x, proba=True), never.predict(x, proba=True))
        assert ours.counters["stored"] == 20  # the same store, though this is another folder than the command's
    nobody = edgecl("store", "forget", "s", "--subject", 9, "--retrain", "s.saved")
    assert nobody.returncode == 2 and "No sample of subject 9" in nobody.stderr
