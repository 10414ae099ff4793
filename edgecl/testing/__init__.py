"""Conformance suites for classes of your own: run one in your own tests."""

from .check_front import check_front
from .check_policy import check_policy

__all__ = ["check_front", "check_policy"]
