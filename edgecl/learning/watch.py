"""What a run or a learner asks of clocks and sensors: its governor and its energy account, made from a config."""

from __future__ import annotations

from collections.abc import Callable

from ..budget.energy import EnergyAccount, check_energy_source
from ..budget.governor import Governor, Limits, Surroundings
from ..budget.planner import RunPlan
from ..config import Config
from .trainer import Trainer


def governor_limits(config: Config) -> Limits:
    """What the governor keeps to."""
    return Limits(config.max_temperature, config.min_battery, config.max_load)


def make_governor(config: Config, trainer: Trainer, wait: Callable[[float], object]) -> Governor | None:
    """Writes into the trainer's decision log. None without limits."""
    limits = governor_limits(config)
    if not limits:
        return None
    return Governor(limits, Surroundings(limits), lambda step, text: trainer.log.append((step, -1, text)), wait=wait)


def make_energy_account(config: Config, limit: float | None, plan: RunPlan) -> EnergyAccount:
    """limit : joules, or None. Raises `BadInput` when nothing counts what was asked for."""
    source = check_energy_source(config, limit, plan.step_joules)
    return EnergyAccount(source, plan.step_joules, plan.step_source)
