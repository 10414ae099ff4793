"""GrowingArray: what a stream buffer keeps its samples in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.intake.growing import GrowingArray


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12)), max_size=40))
def test_rows_are_those_added_less_those_dropped_and_what_was_given_out_stays(steps):
    rows, model, given_out, number = GrowingArray(np.zeros((0, 2), np.int64)), np.zeros((0, 2), np.int64), [], 0
    for added, dropped in steps:
        new = np.arange(number, number + 2 * added).reshape(added, 2)
        number += 2 * added
        rows = rows.appended(new)
        model = np.concatenate([model, new])
        given_out.append((rows.values, model))
        rows = rows.without_first(min(dropped, len(model)))
        model = model[min(dropped, len(model)) :]
        given_out.append((rows.values, model))
    for now, then in given_out:
        np.testing.assert_array_equal(now, then)


def test_a_row_more_costs_the_same_however_many_there_are():
    rows, one, moves = GrowingArray(np.zeros((0, 4), np.uint8)), np.ones((1, 4), np.uint8), 0
    for count in range(20_000):
        held = rows._held
        rows = rows.appended(one)
        moves += len(rows.values) if rows._held is not held else 0  # rows that were copied to a larger place
        if count > 5000:
            rows = rows.without_first(1)
    assert moves < 10 * 20_000 and len(rows._held) < 1.2 * 5010


def test_nothing_stands_in_wiped_rows():
    rows = GrowingArray(np.ones((3, 4), np.uint8))
    rows = rows.appended(np.ones((2, 4), np.uint8)).without_first(2)
    rows.wipe()
    assert not rows._held[: rows._end].any()
