"""An interrupt in the middle of `learn` spends what was spent: the budget of seconds goes on from there, and no energy
is counted while nothing trains."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

import edgecl


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def alarm():
    """alarm(seconds): a KeyboardInterrupt in this thread after so many."""
    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def power(tmp_path):
    """A file that a meter of 10 W writes a line to every 20 ms."""
    path, done = tmp_path / "power.csv", threading.Event()
    path.write_text("seconds,watts\n")

    def write() -> None:
        with open(path, "a") as file:
            while not done.wait(0.02):
                print(time.time(), 10, sep=",", file=file, flush=True)

    writer = threading.Thread(target=write)
    writer.start()
    yield path
    done.set()
    writer.join()


def test_an_interrupted_call_has_spent_its_seconds_and_its_joules(alarm, power):
    budget = edgecl.Budget(seconds=2.0)
    learner = edgecl.Learner("mlp", input_shape=(1, 8, 8), budget=budget, energy_source=f"csv:{power}")
    with learner:
        learner.observe(np.zeros((8, 1, 8, 8), np.uint8), np.arange(8))
        alarm(0.8)
        with pytest.raises(KeyboardInterrupt):
            learner.learn(steps=10**9)
        spent = learner.counters["train_seconds"]
        joules = learner.counters["energy_joules"]["value"]
        assert 0.5 < spent < 1.2 and joules > 0
        time.sleep(0.3)
        assert learner.counters["energy_joules"]["value"] == joules
        log = learner.learn(steps=10**9)
        assert "seconds" in log.stopped and log.seconds == pytest.approx(2.0 - spent, abs=0.3)
