"""Seconds, joules and flash writes: planned before the first step, metered, ended in order."""

import threading

import numpy as np
import pytest
from edgecl.storage import SampleStore

from edgecl import Budget, Learner
from edgecl.budget.energy import EnergyAccount
from edgecl.commands.show_plan import prepare
from edgecl.errors import BadInput, InfeasibleBudget
from edgecl.run import run

DEVICE = "rpi_4b"


@pytest.fixture
def options(stream):
    return {"stream": stream, "network": "mlp", "method": "er", "batch": 16, "memory": 24, "lr": 0.05}


def planned(options, **more):
    made = prepare({**options, "device": DEVICE, **more})
    made.stream.close()
    return made.plan


@pytest.mark.parametrize("name, step", [("seconds", "step_seconds"), ("energy", "step_joules")])
class TestPlanned:
    def test_open_epochs_are_lowered_until_the_whole_stream_fits(self, options, name, step):
        whole = planned(options, epochs=10)
        limit = getattr(whole, step) * whole.steps * 0.55
        plan = planned(options, **{name: limit})
        assert plan.config.epochs == 5
        open_ = planned(options).config.epochs  # what few samples are given
        assert any(c.startswith(f"epochs lowered from {open_} to 5") for c in plan.choices)
        assert getattr(plan, step) * plan.steps <= limit

    def test_epochs_the_user_set_stay_and_the_plan_says_how_far_the_budget_lasts(self, options, name, step):
        whole = planned(options, epochs=10)
        plan = planned(options, epochs=10, **{name: getattr(whole, step) * whole.steps / 2})
        assert plan.config.epochs == 10 and any("last for 50% of the steps" in c for c in plan.choices)

    def test_what_does_not_hold_one_epoch_is_refused_with_the_nearest_budget_that_would(self, options, name, step):
        one = planned(options, epochs=1)
        need, low = getattr(one, step) * one.steps, one.step_band[0]
        with pytest.raises(InfeasibleBudget) as error:
            planned(options, **{name: need * low * 0.9})
        assert f"modelled({DEVICE})" in error.value.cause
        nearest = error.value.remedy.split(f"--{name} ")[1].split(";")[0]
        assert float(nearest[:-1]) == pytest.approx(need, rel=0.1) and float(nearest[:-1]) >= need
        assert planned(options, **{name: nearest}).config.epochs == 1

    def test_a_generous_budget_changes_nothing(self, options, name, step):
        assert planned(options, **{name: 1e9}).choices == planned(options).choices


def test_a_modelled_energy_budget_ends_the_run_before_the_step_that_would_cross_it(options):
    whole = planned(options, epochs=10)
    limit = whole.step_joules * whole.steps * 0.4
    record = run({**options, "epochs": 10, "device": DEVICE, "energy": limit})
    used = record["budget"]["energy"]["used"]
    assert "energy" in record["status"]["reason"] and not record["status"]["finished"]
    assert limit - whole.step_joules < used <= limit
    assert record["budget"]["energy"]["source"] == f"modelled({DEVICE})" == record["device"]["energy_joules"]["source"]


@pytest.fixture
def rapl(tmp_path, monkeypatch):
    """A package counter that a write of this fixture moves on."""
    folder = tmp_path / "root/sys/class/powercap/intel-rapl:0"
    folder.mkdir(parents=True)
    for name, value in (("name", "package-0"), ("max_energy_range_uj", 10**12), ("energy_uj", 0)):
        (folder / name).write_text(f"{value}\n")
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path / "root"))
    return lambda joules: (folder / "energy_uj").write_text(f"{int(joules * 1e6)}\n")


def test_a_sensor_ends_the_run_at_its_joules_and_the_record_says_who_measured(options, rapl):
    steps = []

    def listen(progress):
        steps.append(progress.step)
        rapl(2.0 * len(steps))

    from edgecl.devices.sensors import RaplSensor

    RaplSensor.interval, before = 0.0, RaplSensor.interval
    try:
        record = run({**options, "epochs": 5, "energy": 41.0}, listen=listen)
    finally:
        RaplSensor.interval = before
    assert "measured" in record["status"]["reason"]
    assert 36 <= record["budget"]["energy"]["used"] <= 41
    assert record["device"]["energy_joules"]["source"].startswith("measured(rapl")
    assert record["device"]["step_seconds"]["source"] == "measured"


def test_measured_joules_go_on_after_a_resume(rapl):
    account = EnergyAccount("rapl", None, None)
    rapl(2)
    account.begin()
    rapl(5)
    account.end()
    rapl(6)  # an evaluation is not training
    state = account.state()
    assert state["joules"] == pytest.approx(3)
    again = EnergyAccount("rapl", None, None)
    again.load(state)
    again.begin()
    rapl(8)
    assert again.joules(1, force=True) == pytest.approx(5)
    assert again.source.startswith("measured")


def test_a_named_sensor_that_is_not_there_is_refused(options, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path))
    from edgecl.devices.sensors import SensorError

    with pytest.raises(SensorError, match="RAPL"):
        run({**options, "energy": "5J", "energy_source": "rapl"})


@pytest.mark.parametrize(
    "text, value", [("500J", 500), ("2Wh", 7200), ("1.5kJ", 1500), (3, 3), ("90s", None), ("-1J", None), ("nan", None)]
)
def test_energy_is_read_as_people_write_it(text, value):
    if value is None:
        with pytest.raises(BadInput):
            Budget(energy=text)
    else:
        assert Budget(energy=text).energy == pytest.approx(value)


@pytest.mark.parametrize(
    "text, value", [("90s", 90), ("2h", 7200), ("1.5min", 90), ("1d", 86400), (0.5, 0.5), ("2Wh", None), (0, None)]
)
def test_durations_are_read_as_people_write_them(text, value):
    if value is None:
        with pytest.raises(BadInput):
            Budget(seconds=text)
    else:
        assert Budget(seconds=text).seconds == pytest.approx(value)


@pytest.mark.parametrize("text", ["50MB", "50MB/day", "50 MB per day", 50_000_000])
def test_flash_writes_are_bytes_a_day(text):
    assert Budget(flash_writes_per_day=text).flash_writes_per_day == 50_000_000


# --- flash writes


def stored(options, tmp_path, name="s", **more):
    return {**options, "epochs": 2, "store": str(tmp_path / name), **more}


@pytest.mark.parametrize("method", ["er", "der++"])
def test_the_planned_flash_writes_are_what_the_store_counts(options, tmp_path, method):
    given = stored(options, tmp_path, method=method)
    record = run({**given, "flash_writes_per_day": "1GB"})
    used, plan = record["budget"]["flash_writes_per_day"]["used"], record["plan"]["flash_write_bytes"]
    assert used <= plan <= 1.5 * used + 400_000


def test_a_day_that_does_not_hold_the_stream_is_refused_with_the_nearest_that_would(options, tmp_path):
    with pytest.raises(InfeasibleBudget) as error:
        run(stored(options, tmp_path, flash_writes_per_day=20_000))
    nearest = error.value.remedy.split("--flash-writes-per-day ")[1].split(";")[0]
    assert run(stored(options, tmp_path, flash_writes_per_day=nearest))["status"]["finished"]


def test_a_day_already_spent_by_something_else_ends_the_run_in_order_and_it_can_go_on_tomorrow(options, tmp_path):
    given = stored(options, tmp_path, out=str(tmp_path / "o"), flash_writes_per_day="40MB")
    stop = threading.Event()
    stop.set()
    run({**given, "out": None}, stop=stop)  # stores the first task and trains nothing
    with SampleStore(tmp_path / "s") as store:
        store.wear.add(39_150_000)
        store.meta_set({"note": b"written"})
    record = run(given)
    assert "flash writes a day" in record["status"]["reason"] and not record["status"]["finished"]
    assert record["steps"] == 0
    assert record["budget"]["flash_writes_per_day"]["used"] <= 40_000_000
    later = run({"flash_writes_per_day": "1GB"}, resume=tmp_path / "o")
    assert later["status"]["finished"] and later["carousel"]["samples_stored"] == later["stream"]["train_samples"]


def samples(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (n, 1, 12, 12)).astype(np.uint8), [int(v) for v in rng.integers(0, 2, n)]


def test_a_learner_whose_day_is_spent_keeps_samples_in_ram_and_goes_on_learning(tmp_path):
    learner = Learner(
        "mlp", input_shape=(1, 12, 12), store=str(tmp_path / "s"), memory=20, batch=8, classes=2,
        budget=Budget(flash_writes_per_day=120_000),
    )  # fmt: skip
    with learner:
        for i in range(12):
            learner.observe(*samples(60, i))
        counters = learner.counters
        assert 0 < counters["kept_in_ram_only"] < 720
        assert counters["stored"] + counters["kept_in_ram_only"] == counters["buffered"] == 720  # none lost
        log = learner.learn(epochs=1)
        assert log.stopped is None and log.steps == 90
