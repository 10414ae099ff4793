"""How many steps a task takes, and whether what was asked for happens within them."""

from __future__ import annotations

from ..config import Config
from ..data import check_removal, removal_points
from ..intake.order import steps_of as steps_of
from ..methods.needs import Passes
from ..sparsity import SparseTraining

REMOVAL_STAGES = 4
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)  # that `--lr auto` tries
TRIAL_SHARE, MOST_TRIAL_STEPS, LEAST_TRIAL_STEPS = 0.02, 60, 5  # of each: share of the first task's steps, bounds


def planned_steps(config: Config, n: int, epochs: int, merged: int = 0) -> int:
    """Steps of a task of ``n`` samples, with ``merged`` memory slots in every epoch: removal is known in size
    beforehand.
    """
    if not config.remove:
        return epochs * steps_of(n + merged, config.batch, config.drop_last)
    total, per_stage = 0, int(config.remove * n / REMOVAL_STAGES + 1e-9)
    points = removal_points(epochs, REMOVAL_STAGES)
    for epoch in range(epochs):
        kept = n - per_stage * sum(point <= epoch + 1e-9 for point in points)
        total += steps_of(kept + merged, config.batch, config.drop_last)
    return total


def phase_steps(config: Config, passes: Passes, n: int) -> int:
    """At most so many steps of a method's phases in a task of ``n`` samples."""
    over = [(passes.epochs, n), (passes.memory_epochs, config.memory)]
    epochs = sum(round(e * steps_of(rows, config.batch, config.drop_last)) for e, rows in over if rows)
    return epochs + round(passes.steps)


def final_steps(config: Config, passes: Passes) -> int:
    """At most so many steps of the phases at the end of a stream."""
    rows = config.memory
    return round(passes.final_memory_epochs * steps_of(rows, config.batch, config.drop_last)) if rows else 0


def rate_steps(config: Config, n: int) -> int:
    """Steps of a trial of one learning rate on a first task of ``n`` samples."""
    whole = planned_steps(config.replace(remove=0.0), n, config.epochs)
    return int(min(max(TRIAL_SHARE * whole, LEAST_TRIAL_STEPS), MOST_TRIAL_STEPS, whole))


def check_schedules(config: Config, sparse: SparseTraining, sizes: list[int]) -> None:
    """Plan time: `BadInput` when a technique that was asked for would never fire on one of the tasks."""
    for n in sizes:
        check_removal(n, config.epochs, config.batch, config.remove, REMOVAL_STAGES)
        sparse.check(config.epochs, planned_steps(config, n, config.epochs))
