"""Whether RAM has room for the second learner that training anew takes."""

from __future__ import annotations

import math

from ..budget.meters import MemoryMeter
from ..budget.planner import RunPlan
from ..errors import CannotRetrain


def check_room(ram: MemoryMeter, plan: RunPlan) -> None:
    """Raise `CannotRetrain` where two learners of ``plan`` do not fit the limit of ``ram``."""
    both = max(ram.use(), plan.peak_bytes - ram.baseline) + plan.growth_bytes
    if ram.limit is not None and both > ram.limit:
        raise CannotRetrain(
            f"A second learner of {plan.growth_bytes / 1e6:.1f} MB does not fit the budget of "
            f"{ram.limit / 1e6:.1f} MB of RAM.",
            f"Learner.open(path, budget=Budget(ram={math.ceil(both / 1e6)}_000_000)) gives it room.",
        )
