"""The governor on scripted traces: temperature, battery, load. Time passes only by steps and rests."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.budget.governor import INTERVAL, PAUSE, RUN, SLOW, Conditions, Governor, Limits, bands, governed

STEP = 0.5  # seconds a step takes


class World:
    """Conditions by the second, and a clock that steps and rests move."""

    def __init__(self, trace):
        self.trace, self.now, self.log = trace, 0.0, []

    def clock(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds

    def read(self):
        return self.trace(self.now)

    def note(self, step, decision):
        self.log.append((step, -1, decision))

    def run(self, limits, steps, replay=None):
        """Take ``steps`` steps; (the governor, [(time it began, level)])."""
        governor = Governor(limits, self.read, self.note, clock=self.clock, wait=self.wait, replay=replay)
        taken = []
        for step in range(steps):
            governor.before_step(step, stopping=lambda: False)
            taken.append((self.now, governor.level))
            self.now += STEP
            governor.after_step(STEP)
        return governor, taken


def table(**values):
    """A trace that takes each list's entry of the second, the last one from then on."""
    return lambda now: Conditions(**{k: v[min(int(now), len(v) - 1)] for k, v in values.items()})


def decisions(world):
    return [(step, text.split(":")[0].removeprefix("governor ")) for step, _, text in world.log]


def test_a_temperature_trace_slows_pauses_slows_and_runs_again_at_the_stated_thresholds():
    #        seconds: 0   1   2   3   4   5   6   7   8   9  10  11  12  13
    trace = table(temperature=[60, 70, 74, 75, 78, 80, 79, 76, 75, 74, 73, 72, 71, 60])
    world = World(trace)
    governor, taken = world.run(Limits(temperature=80), 20)
    assert decisions(world) == [(6, "slow"), (8, "pause"), (8, "slow"), (11, "run")]
    paused = [b - a for (a, _), (b, _) in pairwise(taken)]
    assert paused[7] == pytest.approx(2 * STEP + 4)  # 80 degrees at 5 s, below 75 at 9 s
    assert governor.pauses == 1 and governor.slowed == 2 + 3
    assert governor.waited == pytest.approx(4 + 5 * STEP) and governor.highest_temperature == 80


def test_between_the_thresholds_the_pace_stays_what_it_was():
    world = World(table(temperature=[74, 73, 72.5, 73, 74]))
    world.run(Limits(temperature=80), 10)
    assert world.log == []  # never reached 75
    world = World(table(temperature=[75, 73, 72.5, 73, 74, 73]))
    world.run(Limits(temperature=80), 10)
    assert decisions(world) == [(0, "slow")]  # never fell below 72


def test_a_battery_trace_pauses_at_the_limit_and_goes_on_at_once_on_external_power():
    world = World(table(charge=[0.45, 0.42, 0.40, 0.35, 0.30, 0.29, 0.29, 0.29, 0.29], external=[False] * 8 + [True]))
    governor, _ = world.run(Limits(battery=0.30), 20)
    assert [d for _, d in decisions(world)] == ["slow", "pause", "run"]
    assert "battery 40%" in world.log[0][2] and "external power" in world.log[2][2]
    assert governor.waited > 3


def test_a_load_trace_gives_way_to_others_and_comes_back():
    world = World(table(load=[0.1, 0.2, 0.5, 0.6, 0.8, 0.9, 0.4, 0.45, 0.3, 0.1]))
    world.run(Limits(load=0.5), 20)
    assert [d for _, d in decisions(world)] == ["slow", "pause", "slow", "run"]


def test_the_hardest_of_several_limits_decides_and_is_named():
    world = World(table(temperature=[81] * 3 + [50], load=[0.6] * 6 + [0.0]))
    world.run(Limits(temperature=80, load=0.5), 12)
    assert [d for _, d in decisions(world)] == ["pause", "slow", "run"]
    assert "temperature" in world.log[0][2] and "load" in world.log[1][2]


def test_under_voltage_pauses_and_throttling_slows():
    flags = [("under-voltage", "throttled")] * 2 + [("throttled",)] * 2 + [()]
    world = World(table(temperature=[50], flags=flags))
    world.run(Limits(temperature=80), 10)
    assert [d for _, d in decisions(world)] == ["pause", "slow", "run"]


def test_a_sensor_that_vanishes_slows_the_run_and_never_stops_it():
    world = World(table(temperature=[60, 85, None, None]))
    governor, taken = world.run(Limits(temperature=80), 8)
    assert [d for _, d in decisions(world)] == ["pause", "slow"] and len(taken) == 8
    assert "not known" in world.log[-1][2] and governor.level == SLOW


def test_a_pause_ends_when_the_run_is_to_stop_and_saves_once():
    world, saves = World(table(temperature=[90])), []
    governor = Governor(Limits(temperature=80), world.read, world.note, clock=world.clock, wait=world.wait)
    governor.before_step(3, stopping=lambda: world.now > 10, on_pause=lambda: saves.append(world.now))
    assert 10 < world.now < 12 and saves == [0.0]


def test_without_limits_there_is_no_governor():
    assert not Limits() and Limits(load=0.0) and not bands(Limits())


def test_a_replay_follows_the_log_and_not_the_sensors():
    first = World(table(temperature=[60, 76, 80, 70, 60]))
    governor, taken = first.run(Limits(temperature=80), 12)
    assert first.log
    second = World(table(temperature=[99]))
    again, repeated = second.run(Limits(temperature=80), 12, replay=first.log)
    assert second.log == first.log
    assert [level for _, level in repeated] == [level for _, level in taken]
    assert (again.slowed, again.pauses) == (governor.slowed, governor.pauses) and again.waited == 0


def test_a_replay_that_is_stopped_goes_on_where_it_was_in_the_log():
    first = World(table(temperature=[60, 76, 80, 70, 60]))
    _, taken = first.run(Limits(temperature=80), 12)
    for stop in range(12):
        world = World(table(temperature=[99]))
        begun, head = world.run(Limits(), stop, replay=first.log)
        later = Governor(Limits(), world.read, world.note, clock=world.clock, wait=world.wait, replay=first.log)
        later.load(begun.state())
        levels = [level for _, level in head]
        for step in range(stop, 12):
            later.before_step(step, stopping=lambda: False)
            levels.append(later.level)
            later.after_step(STEP)
        assert world.log == first.log and levels == [level for _, level in taken]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(20, 110), min_size=1, max_size=40), st.floats(50, 95))
def test_no_step_begins_at_or_above_the_limit_as_last_read(trace, limit):
    world = World(table(temperature=[*trace, 20.0]))
    read = []
    governor = Governor(
        Limits(temperature=limit), lambda: read.append(world.read()) or read[-1], world.note,
        clock=world.clock, wait=world.wait,
    )  # fmt: skip
    for step in range(30):
        governor.before_step(step, stopping=lambda: False)
        assert read[-1].temperature < limit and governor.level in (RUN, SLOW)
        world.now += STEP
        governor.after_step(STEP)


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 120), st.sampled_from([RUN, SLOW, PAUSE]))
def test_a_level_is_stable_under_the_value_that_led_to_it(value, level):
    for band in bands(Limits(temperature=80.0, battery=0.3, load=0.5)).values():
        scaled = value if band.pause > 1 else value / 100
        once = band.level(scaled, level)
        assert band.level(scaled, once) == once
        assert (once == PAUSE) >= (scaled >= band.pause)


def test_the_log_is_read_back_and_other_entries_are_left_alone():
    log = [(1, 4, "late"), (2, -1, "governor pause: temperature 80.0 C, limit 80 C"), (3, -1, "shed")]
    assert governed(log) == [(2, PAUSE, "temperature 80.0 C, limit 80 C")]
    assert INTERVAL > 0
