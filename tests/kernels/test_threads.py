"""The pool gives the same bits whatever the machine does to its threads, and survives a fork."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph.builders import build

GRAPH = build("cnn", (1, 12, 12), 4, input_dtype="float32", widths=(4, 8, 8))


def make(threads):
    rng = np.random.default_rng(4)
    model = Model(GRAPH, rng)
    for name in GRAPH.prunable():
        p = model[name]
        p.set_pattern(np.sort(rng.choice(p.spec.size, p.spec.size // 4, replace=False)))
    engine = NativeEngine(model, compile_plan(GRAPH, batch=20, threads=threads, optimizer=Optimizer(momentum=0.9)))
    return engine, rng.normal(size=(20, *GRAPH.input_shape)).astype(np.float32)


def train(engine, x, steps=6):
    for _ in range(steps):
        logits = engine.forward({GRAPH.input: x})["logits"]
        engine.backward({"logits": np.tanh(logits)})
        engine.step(0.05)
    return b"".join(p.values.tobytes() for p in engine.model.parameters.values())


def trained(threads):
    return train(*make(threads))


@pytest.fixture(scope="module")
def expected():
    return trained(1)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_more_threads_than_cores_give_the_bits_of_one(threads, expected):
    assert trained(threads) == expected


def test_a_process_that_takes_the_cores_changes_no_bit(expected):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(min(4, os.cpu_count() or 1))]
    try:
        assert trained(4) == expected
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_engines_in_several_threads_do_not_disturb_each_other(expected):
    found = []
    workers = [threading.Thread(target=lambda: found.append(trained(2))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 4


def test_a_forked_child_makes_a_pool_of_its_own(expected):
    code = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_threads as t
engine, x = t.make(3)
t.train(engine, x, 3)
out, into = os.pipe()
child = os.fork()
if child == 0:
    os.write(into, t.train(engine, x, 3))
    os._exit(0)
os.close(into)
with os.fdopen(out, "rb") as pipe:
    assert pipe.read() == t.train(engine, x, 3) == t.trained(1)
os.waitpid(child, 0)
"""
    assert subprocess.run([sys.executable, "-P", "-c", code], timeout=600, check=False).returncode == 0
