"""When a task's updates fall: ten periods per task, by epochs or, for short tasks, by steps."""

from __future__ import annotations

from ..errors import BadInput
from .base import StepInfo

PERIODS = 10


def period_epochs(epochs: int) -> int:
    """P = max(1, round(E / 10)): the released 5 at E = 50."""
    return max(1, round(epochs / PERIODS))


def in_epochs(info: StepInfo) -> bool:
    """Whether the schedule counts epochs (at least one per period) rather than steps."""
    return info.epochs is not None and info.epochs >= PERIODS


def open_ended(info: StepInfo) -> bool:
    """Whether the end of the task is unknown, so that no schedule by fractions is possible."""
    return info.steps is None and not in_epochs(info)


def position(info: StepInfo) -> tuple[int, int] | None:
    """(epochs or periods done, their total) when an update is due before this step, else None.

    With E >= 10 epochs updates fall on the first step of epochs 0, P, 2P, ...; (epoch, E) comes back.
    With fewer they fall at the same fractions in steps, at step k * steps // 10 for k = 0..9; (k, 10) comes
    back, the last k when several fall on one step. An open-ended stream has none.
    """
    if in_epochs(info):
        assert info.epochs is not None
        due = info.iteration == 0 and info.epoch % period_epochs(info.epochs) == 0
        return (info.epoch, info.epochs) if due else None
    if info.steps is None:
        return None
    due_k = [k for k in range(PERIODS) if k * info.steps // PERIODS == info.step]
    return (due_k[-1], PERIODS) if due_k else None


def last_before_update(info: StepInfo) -> bool:
    """Whether the next step has an update, or would be the first of the next task."""
    if in_epochs(info):
        assert info.epochs is not None
        if info.epoch_steps is not None and info.iteration < info.epoch_steps - 1:
            return False
        return (info.epoch + 1) % period_epochs(info.epochs) == 0 or info.epoch + 1 == info.epochs
    if info.steps is None:
        return False
    following = StepInfo(info.task, info.step + 1, info.steps)
    return info.step + 1 == info.steps or position(following) is not None


def check_length(technique: str, epochs: int | None, steps: int | None) -> None:
    """`BadInput` when a task of this many epochs and steps is too short for ten updates."""
    if (epochs is not None and epochs >= PERIODS) or steps is None or steps >= PERIODS:
        return
    raise BadInput(
        f"{technique} was asked for but would never run its schedule: a task has only {steps} steps.",
        f"Train at least {PERIODS} steps or {PERIODS} epochs a task (smaller batch, more epochs), "
        f"or switch {technique} off.",
    )
