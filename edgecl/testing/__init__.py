"""Conformance suites for classes of your own: run one in your own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .executors import check_executor
    from .fronts import check_front
    from .methods import check_method
    from .operator_case import OperatorCase
    from .operators import check_operator
    from .policies import check_policy

__all__ = ["OperatorCase", "check_executor", "check_front", "check_method", "check_operator", "check_policy"]

_ROOMS = {
    "check_executor": "executors", "check_front": "fronts", "check_method": "methods", "check_policy": "policies",
    "check_operator": "operators", "OperatorCase": "operator_case",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Each suite is imported when it is asked for."""
    if name not in _ROOMS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
