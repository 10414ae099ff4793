"""What a run or a learner asks of clocks and sensors: its governor and its energy account, made from a config."""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..report.record import read_record
from .energy import EnergyAccount, check_energy_source
from .governor import Conditions, Governor, Limits, Surroundings
from .planner import RunPlan


def governor_limits(config: Config) -> Limits:
    """What the governor keeps to by sensors; nothing when it follows a log."""
    if config.governor_log is not None:
        return Limits()
    return Limits(config.max_temperature, config.min_battery, config.max_load)


def make_governor(
    config: Config, log: Callable[[int, str], None], wait: Callable[[float], object]
) -> Governor | None:
    """Writes its decisions by ``log(step, text)``. None without limits or a log to follow."""
    limits = governor_limits(config)

    if config.governor_log is not None:
        decisions = read_record(config.governor_log)["carousel"]["decisions"]
        return Governor(limits, Conditions, log, wait=wait, replay=[(int(s), int(n), str(t)) for s, n, t in decisions])
    return Governor(limits, Surroundings(limits), log, wait=wait) if limits else None


def make_energy_account(config: Config, limit: float | None, plan: RunPlan) -> EnergyAccount:
    """limit : joules, or None. Raises `BadInput` when nothing counts what was asked for."""
    source = check_energy_source(config, limit, plan.step_joules)
    return EnergyAccount(source, plan.step_joules, plan.step_source)
