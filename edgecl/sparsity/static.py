"""Static sparsity: the first pattern stays."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..engine.model import Parameter
from .base import Array, Importances, StepInfo, Update


class Static:
    """Never updates."""

    name: ClassVar[str] = "static"
    two_gradients = False
    last_gradient = False

    def due(self, info: StepInfo) -> Update | None:
        return None

    def due_after(self, info: StepInfo) -> bool:
        return False

    def new_patterns(
        self,
        parameter: Parameter,
        density: float,
        update: Update,
        importances: Importances,
        rng: np.random.Generator,
    ) -> list[Array]:
        return []

    def max_density(self, density: float) -> float:
        return density

    def check(self, epochs: int | None, steps: int | None) -> None:
        return None
