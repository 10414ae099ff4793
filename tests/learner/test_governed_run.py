"""A run under the governor: it waits where a scripted day says so, and ends with the bits of a run left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import jsonschema
import pytest
from test_run import facts, same_state

import edgecl.budget.governor
from edgecl import checkpoint
from edgecl.budget.governor import governed
from edgecl.errors import BadInput
from edgecl.report.record import record_schema
from edgecl.run import run

# a thread that writes a thermal zone and a battery, entry after entry, as a device would over a day
WEATHER = """
import os, pathlib, threading, time

DAY = [(50, 90), (76, 90), (81, 90), (78, 90), (70, 60), (60, 38), (60, 25), (60, 45), (50, 90)]

def set_to(root, heat, charge):
    for path, value in (
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal"),
        ("sys/class/thermal/thermal_zone0/temp", heat * 1000),
        ("sys/class/power_supply/battery/type", "Battery"),
        ("sys/class/power_supply/battery/status", "Discharging"),
        ("sys/class/power_supply/battery/capacity", charge),
    ):
        file = pathlib.Path(root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{value}\\n")
        os.replace(fresh, file)

def weather(root, over):
    while True:
        for heat, charge in DAY:
            set_to(root, heat, charge)
            if over.wait(0.012):
                return
"""

CHILD = (
    WEATHER
    + """
import json, signal, sys
import edgecl.budget.governor
from edgecl.run import run

edgecl.budget.governor.INTERVAL = 0.004
job = json.loads(sys.argv[1])
set_to(os.environ["EDGECL_SENSORS_ROOT"], 50, 90)
threading.Thread(target=weather, args=(os.environ["EDGECL_SENSORS_ROOT"], threading.Event()), daemon=True).start()

def listen(progress):
    if progress.step == job["step"]:
        os.kill(os.getpid(), signal.SIGKILL)

run(job["options"], listen=listen, resume=job["resume"])
"""
)


@pytest.fixture
def day(tmp_path, monkeypatch):
    """Sensors whose readings go through the scripted day, again and again."""
    script: dict = {}
    exec(WEATHER, script)
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(edgecl.budget.governor, "INTERVAL", 0.004)
    script["set_to"](tmp_path / "root", 50, 90)
    over = threading.Event()
    thread = threading.Thread(target=script["weather"], args=(tmp_path / "root", over))
    thread.start()
    yield tmp_path / "root"
    over.set()
    thread.join()


LIMITS = {"max_temperature": 80, "min_battery": 0.3}


def without_watch(record):
    """What a governed run and one left alone have in common."""
    kept = {k: v for k, v in facts(record).items() if k not in ("governor", "budget", "seconds")}
    kept["config"] = {k: v for k, v in kept["config"].items() if k not in LIMITS}
    kept["carousel"] = {k: v for k, v in kept["carousel"].items() if k != "decisions"}
    return kept


def trained(folder):
    """The last saved state but for the decision log."""
    return {k: v for k, v in checkpoint.load(folder)["trainer"].items() if k != "decisions"}


def test_a_governed_run_waits_and_ends_with_the_bits_of_one_left_alone(options, tmp_path, day):
    given = {**options, "epochs": 20}
    alone = run({**given, "store": str(tmp_path / "s0"), "out": str(tmp_path / "o0")})
    record = run({**given, **LIMITS, "store": str(tmp_path / "s1"), "out": str(tmp_path / "o1")})
    jsonschema.validate(record, record_schema())
    assert without_watch(record) == without_watch(alone)
    same_state(trained(tmp_path / "o1"), trained(tmp_path / "o0"))
    assert (
        record["carousel"]["samples_stored"] == alone["carousel"]["samples_stored"] == record["stream"]["train_samples"]
    )
    watch = record["governor"]
    log = governed(record["carousel"]["decisions"])
    assert watch["pauses"] == sum(level == 2 for _, level, _ in log) > 0
    assert watch["slowed_steps"] > 0 and record["seconds"]["waited"] == pytest.approx(watch["waited_seconds"])
    assert 0 < record["seconds"]["train"] <= record["seconds"]["total"] - record["seconds"]["waited"]
    assert [step for step, _, _ in log] == sorted(step for step, _, _ in log)
    assert {why.split()[0] for _, _, why in log} <= {"temperature", "battery"}


def test_a_run_can_follow_the_log_of_another_where_no_sensor_says_the_same(options, tmp_path, day, monkeypatch):
    given = {**options, "epochs": 20}
    first = run({**given, **LIMITS, "store": str(tmp_path / "s1"), "out": str(tmp_path / "o1")})
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path / "nothing"))
    log = str(tmp_path / "o1" / "run.json")
    again = run({**given, "governor_log": log, "store": str(tmp_path / "s2"), "out": str(tmp_path / "o2")})
    decisions = [[e for e in r["carousel"]["decisions"] if e[2].startswith("governor")] for r in (first, again)]
    assert decisions[0] == decisions[1] != []
    counted = [{k: r["governor"][k] for k in ("slowed_steps", "pauses")} for r in (first, again)]
    assert counted[0] == counted[1] and again["governor"]["waited_seconds"] == 0
    same_state(trained(tmp_path / "o1"), trained(tmp_path / "o2"))
    with pytest.raises(BadInput, match="readable run record"):
        run({**given, "governor_log": str(tmp_path / "none.json")})


def test_a_governed_run_killed_and_resumed_ends_with_the_same_bits(options, tmp_path, day):
    given = {**options, "checkpoint_every": 9}
    alone = run({**given, "store": str(tmp_path / "s0"), "out": str(tmp_path / "o0")})
    job = {"options": {**given, **LIMITS, "store": str(tmp_path / "s1"), "out": str(tmp_path / "o1")}}
    for step, resume in ((31, None), (88, str(tmp_path / "o1"))):
        text = json.dumps({"options": job["options"] if resume is None else {}, "step": step, "resume": resume})
        child = subprocess.run(
            [sys.executable, "-P", "-c", CHILD, text], capture_output=True, timeout=120, check=False, cwd="/",
            env={**os.environ, "EDGECL_SENSORS_ROOT": str(tmp_path / "theirs")},
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    record = run({}, resume=tmp_path / "o1")
    assert without_watch(record) == without_watch(alone)
    same_state(trained(tmp_path / "o1"), trained(tmp_path / "o0"))


def test_a_limit_without_its_sensor_is_refused(options, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path))
    for limit, word in (("max_temperature", "temperature"), ("min_battery", "battery")):
        with pytest.raises(BadInput, match=word) as error:
            run({**options, limit: 0.5})
        assert limit.replace("_", "-") in error.value.remedy


def test_a_paused_run_stops_when_it_is_asked_to(options, tmp_path, monkeypatch):
    script: dict = {}
    exec(WEATHER, script)
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path / "hot"))
    script["set_to"](tmp_path / "hot", 95, 90)
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    record = run({**options, **LIMITS, "out": str(tmp_path / "o")}, stop=stop)
    assert record["status"]["reason"] == "interrupted" and record["steps"] == 0
    assert record["governor"]["pauses"] == 1
