import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.budget.miro import Resources, Score, Setting, candidates, choose
from edgecl.errors import BadInput

scores = st.lists(
    st.builds(
        Score,
        st.builds(Setting, st.integers(1, 400), st.integers(1, 2000)),
        st.floats(0, 1),
        st.floats(0.1, 100),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(scores, st.integers(1, 400), st.booleans())
def test_the_choice_fits_where_anything_fits_and_lies_above_the_cutline(found, slots, frugal):
    chosen = choose(found, Resources(slots, frugal))
    fitting = [s for s in found if s.setting.memory <= slots]
    if fitting:
        assert chosen in fitting
        better = sum(s.accuracy > chosen.accuracy for s in fitting)
        assert better < max(1, -(-len(fitting) * (8 if frugal else 5) // 10))
    else:
        assert chosen.setting.memory == min(s.setting.memory for s in found)


def test_among_the_accurate_the_thrifty_wins_and_a_cheap_bad_one_does_not():
    good, thrifty = Score(Setting(200, 1000), 0.90, 10.0), Score(Setting(200, 250), 0.88, 2.5)
    bad = Score(Setting(50, 100), 0.30, 0.5)  # the most accuracy per joule of all
    other = Score(Setting(100, 1000), 0.85, 10.0)
    assert choose([good, thrifty, bad, other], Resources(200)) == thrifty


def test_less_ram_and_a_low_battery_lead_to_another_choice():
    large, small = Score(Setting(200, 1000), 0.9, 4.0), Score(Setting(50, 1000), 0.7, 4.0)
    cheap = Score(Setting(200, 250), 0.6, 1.0)
    dear = Score(Setting(50, 250), 0.5, 1.0)
    every = [large, small, cheap, dear]
    assert choose(every, Resources(200)) == large
    assert choose(every, Resources(100)) == small
    assert choose(every, Resources(200, frugal=True)) == cheap


def test_candidates_are_distinct_fit_the_plan_and_keep_every_class():
    found = candidates(200, 1000, 5000, 4)
    assert len(found) == len(set(found)) == 9 and found[0] == Setting(200, 1000)
    assert candidates(200, 1000, 60, 4)[0].memory == 60
    assert min(s.memory for s in candidates(6, 5, 5000, 4)) == 4
    assert candidates(1, 1, 0, 3) == [Setting(1, 1)]


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(BadInput, match="no setting"):
        choose([], Resources(5))
