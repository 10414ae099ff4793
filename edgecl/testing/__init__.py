"""Conformance suites for classes of your own: run one in your own tests."""

from .check_policy import check_policy

__all__ = ["check_policy"]
