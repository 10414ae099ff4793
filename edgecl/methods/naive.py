"""Naive fine-tuning: the current data only. The lower bound."""

from __future__ import annotations

from typing import ClassVar

from .base import SCENARIOS, Method


class Naive(Method):
    """Cross-entropy on the current batch, nothing against forgetting."""

    name: ClassVar[str] = "naive"
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    reference: ClassVar[str] = "lower bound"
