"""Joint training on the data of all tasks seen so far. The upper bound."""

from __future__ import annotations

from typing import ClassVar

from .naive import Naive


class Joint(Naive):
    """The naive loss; ``wants_all_tasks`` tells the runner to feed the union of all tasks seen so far.

    With ``current_loss='masked'`` the task's units are those of the union, so the runner passes
    ``task_units=None``.
    """

    name: ClassVar[str] = "joint"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "class-il", "domain-il")
    reference: ClassVar[str] = "upper bound"
    wants_all_tasks: ClassVar[bool] = True
