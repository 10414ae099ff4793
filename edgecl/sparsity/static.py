"""Static sparsity: the first pattern stays."""

from __future__ import annotations

from typing import ClassVar

from .base import SparsityPolicy


class Static(SparsityPolicy):
    """One-shot magnitude patterns that never change."""

    name: ClassVar[str] = "static"
    moves: ClassVar[bool] = False
