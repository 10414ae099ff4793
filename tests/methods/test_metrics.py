"""Metrics computed by hand."""

import numpy as np
import pytest

from edgecl.methods import accuracy_metrics, evaluate_logits

R = [[0.9, None, None], [0.6, 0.8, None], [0.7, 0.5, 1.0]]


def test_metrics_of_a_matrix_by_hand():
    m = accuracy_metrics(R, [[0.9, None, None], [0.9, 0.9, None], [1.0, 0.9, 0.8]])
    assert m["average_accuracy"] == pytest.approx((0.7 + 0.5 + 1.0) / 3)
    assert m["average_incremental_accuracy"] == pytest.approx((0.9 + 0.7 + 2.2 / 3) / 3)
    assert m["forgetting"] == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert m["backward_transfer"] == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    assert m["learning_accuracy"] == pytest.approx((0.9 + 0.8 + 1.0) / 3)
    assert m["task_il_average_accuracy"] == pytest.approx(0.9)


def test_forgetting_is_never_negative_but_backward_transfer_can_be_positive():
    m = accuracy_metrics([[0.5, None], [0.75, 0.8]])
    assert m["forgetting"] == 0.0
    assert m["backward_transfer"] == pytest.approx(0.25)


def test_what_was_not_evaluated_is_none_and_not_zero():
    m = accuracy_metrics([[None, None], [0.6, 0.8]])
    assert m["average_accuracy"] == pytest.approx(0.7)
    assert m["average_incremental_accuracy"] is None
    assert m["forgetting"] is None and m["backward_transfer"] is None and m["learning_accuracy"] is None
    assert m["task_il_average_accuracy"] is None


def test_one_task_has_no_forgetting_and_no_matrix_has_no_metric():
    m = accuracy_metrics([[0.4]])
    assert m["average_accuracy"] == pytest.approx(0.4)
    assert m["forgetting"] is None and m["backward_transfer"] is None
    assert set(accuracy_metrics([]).values()) == {None}


def test_a_stopped_run_counts_the_tasks_it_reached():
    stopped = [*[[*row, None] for row in R[:2]], [None] * 4, [None] * 4]
    assert accuracy_metrics(stopped) == accuracy_metrics([row[:2] for row in R[:2]])


def test_class_il_chooses_among_seen_units_and_task_il_among_the_tasks():
    logits = np.array([[5.0, 1.0, 2.0, 9.0], [0.0, 1.0, 2.0, 9.0]], np.float32)
    seen = np.array([True, True, True, False])  # unit 3 was never seen, however loud
    assert evaluate_logits(logits, np.array([1, 2]), seen, np.array([1, 2])) == (1, 1)
    assert evaluate_logits(logits, np.array([0, 2]), seen) == (2, None)
