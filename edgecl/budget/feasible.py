"""Whether a run fits its seconds and joules, before its first step; fewer epochs where the user left them open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import BadInput, InfeasibleBudget
from .limits import Budget
from .planner import RunPlan


@dataclass(frozen=True)
class Need:
    """One limit and what a plan needs of it. band : factors within which the true need is expected."""

    name: str
    flag: str
    unit: str
    limit: float
    need: float
    band: tuple[float, float]

    @property
    def fits(self) -> bool:
        return self.need <= self.limit

    def text(self) -> str:
        low, high = (self.need * factor for factor in self.band)
        return f"{self.need:.3g} {self.unit} ({low:.3g} to {high:.3g})"


def needs(budget: Budget, plan: RunPlan, joules: bool) -> list[Need]:
    """What the cost model says of the limits that are set. joules : whether energy is counted by the model."""
    found = []
    if budget.seconds is not None and plan.run_seconds is not None:
        limit = float(budget.seconds)
        found.append(Need("training time", "--seconds", "s", limit, plan.run_seconds, plan.step_band))
    if budget.energy is not None and plan.run_joules is not None and joules:
        limit = float(budget.energy)
        found.append(Need("energy", "--energy", "J", limit, plan.run_joules, plan.step_joules_band))
    return found


def fit_time_and_energy(
    budget: Budget, plan: RunPlan, with_epochs: Callable[[int], RunPlan], *, free: bool, joules: bool
) -> RunPlan:
    """``plan``, or one with fewer epochs (``free``: the user did not set them) so that all tasks are reached.

    with_epochs : the plan at another number of epochs; may raise `BadInput` where a schedule would never fire
    Raises `InfeasibleBudget` when not even one epoch of the stream fits at the fast end of the model's band. Between
    the two the run goes ahead and will end at its limit in order; `RunPlan.choices` says so.
    """
    if all(need.fits for need in needs(budget, plan, joules)):
        return plan
    asked = plan.config.epochs
    shortest = plan
    for epochs in range(asked - 1, 0, -1):
        try:
            shortest = with_epochs(epochs)
        except BadInput:
            break
        found = needs(budget, shortest, joules)
        if free and all(need.fits for need in found):
            note = f"epochs lowered from {asked} to {epochs}: the whole stream then takes " + ", ".join(
                f"{need.text()}, {shortest.step_source}" for need in found
            )
            return replace(shortest, choices=(*shortest.choices, note))
    for need in needs(budget, shortest, joules):
        if need.need * need.band[0] > need.limit:
            raise InfeasibleBudget(
                f"The budget for {need.name}, {need.limit:g} {need.unit}, does not hold the stream at "
                f"{shortest.config.epochs} epoch(s) a task: {need.text()}, {shortest.step_source}.",
                f"The nearest budget that would: {need.flag} {_up(need.need)}{need.unit}; or a sparser or smaller "
                "network, fewer samples (--limit-train).",
            )
    best = shortest if free else plan
    notes = [
        f"{need.name}: {need.limit:g} {need.unit} is modelled to last for {need.limit / need.need:.0%} of the steps; "
        "the run will end there in order"
        for need in needs(budget, best, joules)
        if not need.fits
    ]
    if best.config.epochs != asked:
        notes.insert(0, f"epochs lowered from {asked} to {best.config.epochs}")
    return replace(best, choices=(*best.choices, *notes))


def _up(value: float) -> str:
    """Two significant digits, rounded up."""
    from math import ceil, floor, log10

    scale = 10.0 ** (floor(log10(value)) - 1)
    return f"{ceil(value / scale - 1e-9) * scale:g}"
