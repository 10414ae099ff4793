"""Data removal: what each form scores, when it fires, and that it resumes exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.data import DataRemoval, check_removal, expected_visits, removal_points
from edgecl.errors import BadInput


def visits(removal, flags, losses=None):
    """Feed flag lists per sample, e.g. ["1101", "0000"], one visit of every sample at a time."""
    table = np.array([[c == "1" for c in f] for f in flags])
    for step in range(table.shape[1]):
        removal.observe(np.arange(len(flags)), table[:, step], losses)


def test_forgetting_counts_correct_to_wrong_and_never_correct_is_hardest():
    removal = DataRemoval(5)
    visits(removal, ["1111", "1010", "0000", "0111", "1001"])
    assert removal.scores().tolist() == [0, 2, 50, 0, 1]


def test_errors_counts_wrong_predictions():
    removal = DataRemoval(4, criterion="errors")
    visits(removal, ["1111", "1010", "0000", "0111"])
    assert removal.scores().tolist() == [0, 2, 4, 1]


@pytest.mark.parametrize("criterion", ["forgetting", "errors"])
def test_a_sample_that_was_not_visited_is_kept(criterion):
    removal = DataRemoval(4, total=0.5, stages=1, criterion=criterion)
    removal.observe(np.array([1, 3]), np.array([True, True]))
    assert removal.remove().tolist() == [0, 2]


def test_the_released_form_breaks_ties_by_order_and_forgets_after_each_stage():
    removal = DataRemoval(8, total=0.5, stages=2)
    visits(removal, ["10", "11", "11", "11", "00", "11", "11", "11"])
    assert removal.remove().tolist() == [0, 3, 4, 5, 6, 7]
    assert (removal.scores() == 50).all()
    # sample 0 forgot in the first window only: in the second it is the first of the easy ones
    removal.observe(removal.kept, np.ones(6, bool))
    assert removal.remove().tolist() == [4, 5, 6, 7]


def test_carrying_over_sees_a_transition_across_a_stage():
    for carry, score in ((False, 50), (True, 1)):
        removal = DataRemoval(4, total=0.25, stages=1, carry_over=carry)
        visits(removal, ["1", "1", "1", "1"])
        removal.remove()
        removal.observe(np.array([2]), np.array([False]))
        assert removal.scores()[2] == score


def test_the_lowest_mean_loss_goes_first_among_ties_only():
    removal = DataRemoval(4, total=0.5, stages=1, tie_break="loss")
    visits(removal, ["11", "11", "11", "10"], np.array([0.9, 0.1, 0.5, 0.0]))
    assert removal.remove().tolist() == [0, 3]


def test_mean_loss_is_per_visit():
    removal = DataRemoval(2, total=0.5, stages=1, tie_break="loss")
    for _ in range(3):
        removal.observe(np.array([0]), np.array([True]), np.array([0.2]))
    removal.observe(np.array([1]), np.array([True]), np.array([0.3]))
    assert removal.remove().tolist() == [1]


def test_random_ties_follow_the_generator():
    def kept(seed):
        removal = DataRemoval(100, tie_break="random")
        removal.observe(np.arange(100), np.ones(100, bool))
        return removal.remove(np.random.default_rng(seed)).tolist()

    assert kept(0) == kept(0) != kept(1)


def test_order_empties_the_first_class_and_equal_shares_do_not():
    labels = np.repeat([0, 1], 50)
    for given_labels, lost in ((None, [30, 0]), (labels, [15, 15])):
        removal = DataRemoval(100, total=0.3, stages=4, labels=given_labels)
        for _ in range(4):
            removal.observe(removal.kept, np.ones(removal.kept.size, bool))
            removal.remove()
        gone = [50 - (labels[removal.kept] == c).sum() for c in (0, 1)]
        # 7 of the 7.5 of a stage: int() as in the released code
        assert np.abs(np.array(gone) - np.array(lost)).max() <= 2 and sum(gone) == 28


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 60),
    total=st.floats(0, 0.95),
    stages=st.integers(1, 6),
    criterion=st.sampled_from(["forgetting", "errors"]),
    tie=st.sampled_from(["order", "loss", "random"]),
    balanced=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_kept_samples_only_shrink_by_the_planned_number_and_no_class_dies(
    n, total, stages, criterion, tie, balanced, seed
):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n) if balanced else None
    removal = DataRemoval(n, total, stages, criterion, tie, labels)
    before = removal.kept
    for stage in range(stages + 2):
        seen = rng.permutation(before)
        removal.observe(seen, rng.random(seen.size) < 0.7, rng.random(seen.size))
        after = removal.remove(rng)
        assert np.isin(after, before).all() and (np.diff(after) > 0).all()
        planned = int(total * n / stages + 1e-9) if stage < stages else 0
        assert before.size - after.size == min(planned, before.size)
        before = after
    if labels is not None:
        for c, size in zip(*np.unique(labels, return_counts=True)):
            lost = size - (labels[before] == c).sum()
            assert abs(lost - size * (n - before.size) / n) <= 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 30), st.sampled_from(["order", "loss", "random"]), st.booleans())
def test_a_resumed_removal_continues_bit_for_bit(cut, tie, carry):
    def new():
        return DataRemoval(40, tie_break=tie, carry_over=carry)

    def play(removal, rng, start, stop):
        for step in range(start, stop):
            seen = removal.kept[rng.integers(0, removal.kept.size, 1)[0] :][:10]
            removal.observe(seen, rng.random(seen.size) < 0.6, rng.random(seen.size))
            if step % 8 == 7:
                removal.remove(rng)

    whole, rng = new(), np.random.default_rng(3)
    play(whole, rng, 0, 32)
    first, rng = new(), np.random.default_rng(3)
    play(first, rng, 0, cut)
    saved = {k: v.copy() for k, v in first.state().items()}
    play(first, np.random.default_rng(99), 0, 5)  # what happens to the old object does not reach the state
    second = new()
    second.load(saved)
    play(second, rng, cut, 32)
    for a, b in zip(whole.state().values(), second.state().values()):
        assert a.dtype == b.dtype and np.array_equal(a, b)


def test_a_state_of_another_task_size_is_refused():
    with pytest.raises(BadInput, match="40 samples"):
        DataRemoval(30).load(DataRemoval(40).state())


@pytest.mark.parametrize("epochs, points", [(50, (5, 10, 15, 20)), (20, (2, 4, 6, 8)), (10, (1, 2, 3, 4)),
                                            (12, (1, 2, 3, 4)), (5, (0.5, 1.0, 1.5, 2.0))])  # fmt: skip
def test_stages_fall_at_multiples_of_a_tenth_of_the_epochs(epochs, points):
    assert removal_points(epochs) == pytest.approx(points)


@pytest.mark.parametrize("epochs", [10, 20, 50])
def test_the_average_visits_are_77_5_percent(epochs):
    assert expected_visits(epochs, 0.30) == pytest.approx(0.775)


@pytest.mark.parametrize("epochs", [10, 20, 50])
def test_a_played_task_visits_what_was_expected(epochs):
    n, removal, count = 1000, DataRemoval(1000), 0
    points = removal_points(epochs)
    for epoch in range(epochs):
        if removal.stage < 4 and epoch >= points[removal.stage]:
            removal.remove()
        removal.observe(removal.kept, np.ones(removal.kept.size, bool))
        count += removal.kept.size
    assert count / (n * epochs) == pytest.approx(expected_visits(epochs, 0.30))


def test_removal_that_would_never_act_is_refused_at_plan_time():
    check_removal(800, 10, 32, 0.3)
    check_removal(800, 2, 32, 0.3)
    check_removal(800, 1, 32, 0.0)
    with pytest.raises(BadInput, match="never takes effect"):
        check_removal(800, 1, 32, 0.3)
    with pytest.raises(BadInput, match="less than one sample"):
        check_removal(12, 10, 4, 0.3)


@pytest.mark.parametrize("options", [{"total": 1.0}, {"total": -0.1}, {"total": float("nan")}, {"stages": 0},
                                     {"criterion": "error"}, {"tie_break": "losss"}])  # fmt: skip
def test_unusable_options_are_refused(options):
    with pytest.raises(BadInput):
        DataRemoval(10, **options)


def test_the_tie_breaks_ask_for_what_they_need():
    with pytest.raises(BadInput, match="losses"):
        DataRemoval(4, tie_break="loss").observe(np.arange(2), np.ones(2, bool))
    with pytest.raises(BadInput, match="generator"):
        DataRemoval(4, tie_break="random").remove()
