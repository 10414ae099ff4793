"""The learning rate over a task: constant, or a cosine from lr towards 0 that starts again with every task."""

import math

import pytest

from edgecl.config import Config
from edgecl.learning.schedule import learning_rate
from edgecl.run import run
from edgecl.sparsity import StepInfo


def at(step, steps, schedule="cosine"):
    return learning_rate(Config.make({"lr": 0.2, "lr_schedule": schedule}), StepInfo(1, step, steps, 0, 1, step, steps))


def test_cosine_falls_from_lr_to_zero_over_a_task():
    rates = [at(k, 100) for k in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[50] == pytest.approx(0.1)
    assert rates == sorted(set(rates), reverse=True)
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * 0.99)))


def test_without_a_planned_end_the_rate_is_constant():
    assert at(7, None) == 0.2
    assert at(99, 100, "constant") == 0.2


def test_a_run_under_the_schedule_repeats_and_says_so(options):
    records = [run({**options, "epochs": 1, "lr_schedule": "cosine", "sparsity_policy": "none"}) for _ in range(2)]
    assert records[0]["config"]["lr_schedule"] == "cosine"
    assert records[0]["accuracy_matrix"] == records[1]["accuracy_matrix"]
