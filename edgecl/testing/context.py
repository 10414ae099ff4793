"""context_of: what an event sees, made by hand for a test of a method or a policy without a learner around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.base import Engine
from ..learning.context import EventContext
from ..learning.ledger import Ledger
from ..methods.context import TaskInfo


def context_of(
    engine: Engine,
    rng: np.random.Generator | int = 0,
    *,
    memory: Any = None,
    task: int | None = 0,
    units: Any = None,
    data: Any = None,
    **more: Any,
) -> EventContext:
    """An `EventContext` over ``engine``.

    Parameters
    ----------
    rng : a generator, or its seed
    task : 0-based, None for a stream without tasks;  units : head units of its classes
    data : the task's samples (`TaskData`)
    """
    graph = engine.model.graph
    drawn = np.random.default_rng(rng) if isinstance(rng, int) else rng
    info = TaskInfo(task, task == 0, None if units is None else np.asarray(units, np.int64))
    return EventContext(
        engine, memory, drawn, info, np.ones(graph.classes, bool), Ledger(graph, 1.0, 1, 1), data, **more
    )
