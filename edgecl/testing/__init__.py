"""Conformance suites for classes of your own: run one in your own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check_front import check_front
    from .check_method import check_method
    from .check_policy import check_policy

__all__ = ["check_front", "check_method", "check_policy"]


def __getattr__(name: str) -> Any:
    """Each suite is imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{name}"), name)
    globals()[name] = found  # the module of the same name stood here
    return found
