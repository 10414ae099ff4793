import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.budget.miro import (
    CUTLINE,
    FRUGAL_CUTLINE,
    SHARES,
    Resources,
    Score,
    Setting,
    averaged,
    candidates,
    choose,
    reduction,
)
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
        least = (1 - (FRUGAL_CUTLINE if frugal else CUTLINE)) * max(s.accuracy for s in fitting)
        assert chosen.accuracy >= least
        kept = [s for s in fitting if s.accuracy >= least]
        if frugal:
            assert chosen.joules == min(s.joules for s in kept)
        else:
            assert chosen.accuracy / chosen.joules == max(s.accuracy / s.joules for s in kept)
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


def test_candidates_differ_in_what_costs_joules_and_keep_every_class():
    assert candidates(200, 1000, 5000, 4) == [Setting(200, 1000), Setting(200, 500), Setting(200, 250)]
    assert {s.memory for s in candidates(200, 1000, 60, 4)} == {60}
    assert min(s.buffer for s in candidates(6, 5, 5000, 4)) == 4
    assert candidates(1, 1, 0, 3) == [Setting(1, 1)]


@given(st.integers(1, 20000), st.integers(1, 60))
def test_a_trial_is_a_small_part_that_keeps_the_ratios(task, new):
    scale = reduction(candidates(100, task, 1000, new), new)
    assert 0.05 <= scale <= 0.25
    if scale < 0.25 and task * min(SHARES) >= new:
        assert scale * min(s.buffer for s in candidates(100, task, 1000, new)) >= 8 * new - 1e-6


def test_profiles_are_averaged_unless_the_candidates_changed():
    one, two = [Score(Setting(9, 8), 0.5, 2.0)], [Score(Setting(9, 4), 0.8, 1.0)]
    assert averaged(one, 2, two) == [Score(Setting(9, 4), pytest.approx(0.6), 1.0)]
    assert averaged(one, 0, two) == two and averaged(one * 2, 1, two) == two


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(BadInput, match="no setting"):
        choose([], Resources(5))
