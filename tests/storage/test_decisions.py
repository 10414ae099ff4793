"""The log of decisions stays small for years and loses nothing that a replay asks for."""

from __future__ import annotations

from edgecl.storage.decisions import DecisionLog, is_frequent
from hypothesis import given
from hypothesis import strategies as st

decisions = st.tuples(
    st.integers(0, 9), st.sampled_from([-1, 4]), st.sampled_from(["late", "governor slow", "queue full: 3", "shed"])
)


@given(st.lists(decisions, max_size=80), st.integers(1, 12))
def test_frequent_entries_are_bounded_and_the_newest_others_all_stay_in_order(made, limit):
    log = DecisionLog(limit)
    for decision in made:
        log.append(decision)
    assert [d for d in log if not is_frequent(d)] == [d for d in made if not is_frequent(d)]
    kept, frequent = [d for d in log if is_frequent(d)], [d for d in made if is_frequent(d)]
    assert len(kept) <= limit and kept == frequent[len(frequent) - len(kept) :]
    assert log.cut == len(frequent) - len(kept)


@given(st.lists(decisions, max_size=40), st.lists(decisions, max_size=40))
def test_a_restored_log_goes_on_like_the_one_that_was_saved(before, after):
    ours, again = DecisionLog(5), DecisionLog(5)
    for decision in before:
        ours.append(decision)
    again.restore([list(d) for d in ours], ours.cut)
    for decision in after:
        ours.append(decision)
        again.append(decision)
    assert ours == again and ours.cut == again.cut
