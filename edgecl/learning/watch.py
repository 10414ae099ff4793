"""What a run or a learner asks of clocks and sensors: its governor and its energy account, made from a config."""

from __future__ import annotations

from collections.abc import Callable

from ..budget.energy import EnergyAccount, check_energy_source
from ..budget.governor import Conditions, Governor, Limits, Surroundings
from ..budget.planner import RunPlan
from ..config import Config
from ..report.record import read_record
from .trainer import Trainer


def governor_limits(config: Config) -> Limits:
    """What the governor keeps to by sensors; nothing when it follows a log."""
    if config.governor_log is not None:
        return Limits()
    return Limits(config.max_temperature, config.min_battery, config.max_load)


def make_governor(config: Config, trainer: Trainer, wait: Callable[[float], object]) -> Governor | None:
    """Writes into the trainer's decision log. None without limits or a log to follow."""
    limits = governor_limits(config)

    def log(step: int, text: str) -> None:
        trainer.log.append((step, -1, text))

    if config.governor_log is not None:
        decisions = read_record(config.governor_log)["carousel"]["decisions"]
        return Governor(limits, Conditions, log, wait=wait, replay=[(int(s), int(n), str(t)) for s, n, t in decisions])
    return Governor(limits, Surroundings(limits), log, wait=wait) if limits else None


def make_energy_account(config: Config, limit: float | None, plan: RunPlan) -> EnergyAccount:
    """limit : joules, or None. Raises `BadInput` when nothing counts what was asked for."""
    source = check_energy_source(config, limit, plan.step_joules)
    return EnergyAccount(source, plan.step_joules, plan.step_source)
