"""Limits, the planner that keeps to them, and the meters that check."""

from .limits import Budget
from .meters import MemoryMeter, peak_resident, resident
from .planner import RunPlan, plan_run

__all__ = ["Budget", "MemoryMeter", "RunPlan", "peak_resident", "plan_run", "resident"]
