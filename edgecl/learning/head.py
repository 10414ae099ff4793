"""A wider head: the same network with more classes, every weight kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..config import Config
from ..engine.model import Model, Parameter, initial_values
from ..graph import Graph
from .parts import SampleSpec, configured_method, configured_sparsity, engine_plan, make_graph
from .trainer import Trainer


def widen_head(trainer: Trainer, spec: SampleSpec, classes: int) -> None:
    """Replan for ``classes`` units. Present units keep weights and optimizer state, new ones start fresh.

    Stored logits keep the width they had; predictors of the engine must be made again.
    """
    parts = trainer.parts
    config: Config = parts.config
    old = parts.engine.model.graph
    graph = make_graph(config, spec, classes)
    plan = engine_plan(config, graph, configured_method(config), configured_sparsity(config, graph))
    model, before = parts.engine.model, (dict(parts.engine.model.parameters), parts.engine.plan)
    with parts.engine.changing():
        try:
            grow_parameters(model, graph, parts.random["head"])
            parts.ledger.use(graph)
            parts.engine.replan(plan)
            trainer.seen = np.concatenate([trainer.seen, np.zeros(classes - old.classes, bool)])
        except BaseException:  # an interrupt, or no memory: as it was
            model.graph = old
            model.parameters.update(before[0])
            parts.ledger.use(old)
            parts.engine.replan(before[1])
            raise


def grow_parameters(model: Model, graph: Graph, rng: np.random.Generator) -> None:
    """Give ``model`` the parameters of ``graph``, which differs from its own in the first axis of the head
    only. Optimizer state and arrays per weight are zero for new rows; an engine's sides follow in `Engine.replan`."""
    for name, spec in graph.parameters.items():
        p = model.parameters[name]
        if p.spec.shape == spec.shape:
            model.parameters[name] = replace(p, spec=spec)
            continue
        values = initial_values(spec, rng)
        values[: p.spec.size] = p.dense().reshape(-1)
        moments, per_weight = (
            {k: np.concatenate([p.dense(a).reshape(-1), np.zeros(spec.size - p.spec.size, np.float32)])
             for k, a in arrays.items()}
            for arrays in (p.moments, p.per_weight)
        )  # fmt: skip
        model.parameters[name] = Parameter(spec, values, None, moments, None, p.frozen, p.step_count, per_weight)
    model.graph = graph
