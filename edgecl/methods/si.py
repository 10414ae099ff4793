"""Synaptic intelligence (Zenke et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..engine.base import Engine
from ..options import option
from ..parsing import real
from .context import Context
from .needs import Needs
from .penalty import Quadratic, pieces
from .phase import Phase


class SI(Quadratic):
    """CE + c * sum Om (th - th*)^2 with Om <- Om + max(w, 0) / ((th - th*)^2 + xi) at a task's end.

    w, the path, grows each step by lr g g_total: g of the loss alone, g_total with the penalty, the step of plain SGD
    being -lr g_total. Gradients are clipped to +- ``clip`` per value, as in Mammoth.
    """

    name: ClassVar[str] = "si"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "domain-il")
    reference: ClassVar[str] = "Zenke et al., ICML 2017"
    importance: ClassVar[str] = "omega"
    strength: ClassVar[str] = "c"

    c: float = option(0.5, real(), "weight of the penalty")
    xi: float = option(1.0, real(0.0, True), "damping: what the path is divided by at least")
    clip: float = option(1.0, real(0.0, True), "largest size of a gradient's value")

    @property
    def needs(self) -> Needs:
        return Needs(per_weight=("omega", "anchor", "path"), gradient_copies=1)

    def begin_task(self, c: Context) -> Sequence[Phase]:
        if c.task.first:
            self.anchor_here(c.engine)
        return ()

    def penalise(self, engine: Engine, lr: float) -> None:
        flat = engine.gradients.flat
        np.clip(flat, -np.float32(self.clip), np.float32(self.clip), out=flat)
        own = engine.gradients.copy()
        super().penalise(engine, lr)
        path = engine.per_weight("path").flat
        for at in pieces(path.size):
            path[at] += np.float32(lr) * own[at] * flat[at]

    def end_task(self, c: Context) -> Sequence[Phase]:
        engine = c.engine
        omega, anchor, path = (engine.per_weight(n) for n in ("omega", "anchor", "path"))
        for name, p in engine.model.parameters.items():
            if name in engine.gradients:  # type: ignore[operator]
                for at in pieces(p.values.size):
                    moved = (p.values[at] - anchor[name][at]) ** 2 + np.float32(self.xi)
                    omega[name][at] += np.maximum(path[name][at], 0) / moved
                path[name][:] = 0
        self.anchor_here(engine)
        return ()
