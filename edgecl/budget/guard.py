"""Guard: before each step, whether a limit asks training to stop."""

from __future__ import annotations

from collections.abc import Callable

from ..give_back import give_back
from .energy import EnergyAccount
from .limits import Budget
from .meters import MemoryMeter
from .planner import MARGIN, STOP, RunPlan
from .stop import Stop


class Guard:
    """Checks RAM, FLOPs, energy and seconds. A limit is not crossed: the step that would cross it is not begun.

    Parameters
    ----------
    shed : called with the step when RAM stands above 95 % of its limit, to give back what results do not depend on;
        training goes on when that brought it below 97.5 %
    energy : counts joules
    """

    def __init__(self, budget: Budget, plan: RunPlan, shed: Callable[[int], None], energy: EnergyAccount) -> None:
        self.budget = budget
        self.shed = shed
        limit = None if budget.ram is None else int(budget.ram)
        self.memory = MemoryMeter(limit, plan.baseline if budget.scope == "learner" else 0)
        self.energy = energy
        self.last_resident = 0
        self._flops = 0
        self._step_flops = plan.step_flops

    def reason(self, steps: int, flops: int, seconds: float, apart: int = 0) -> Stop | None:
        """Why to stop now, or None, after so many steps, FLOPs and seconds of training. ``apart``: FLOPs beside
        those of steps: of a front."""
        b = self.budget
        if b.flops is not None:
            self._step_flops = max(self._step_flops, flops - self._flops if self._flops else 0)
            self._flops = flops
            if flops + apart + self._step_flops > float(b.flops):
                return Stop("flops", f"budget reached: FLOPs ({flops + apart:.4g} of {float(b.flops):.4g})", steps)
        if b.seconds is not None and seconds >= float(b.seconds):
            return Stop("seconds", f"budget reached: seconds ({seconds:.3f} of {b.seconds:g})", steps)
        joules = self.energy.joules(steps)
        reserve = self.energy.next_step(steps)
        if b.energy is not None and joules is not None and joules + reserve > float(b.energy):
            kind = self.energy.source.partition("(")[0]
            return Stop("energy", f"budget reached: energy ({joules:.4g} of {b.energy:g} J, {kind})", steps)
        self.last_resident = self.memory.use() + self.memory.baseline
        if self.memory.limit is not None and self.memory.share() > MARGIN:
            self.shed(steps)
            give_back()
            self.last_resident = self.memory.use() + self.memory.baseline
            if self.memory.share() > STOP:
                used, limit = self.memory.use() / 1e6, self.memory.limit / 1e6
                return Stop("ram", f"budget reached: RAM ({used:.1f} of {limit:.1f} MB)", steps)
        return None
