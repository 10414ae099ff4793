"""A wider head, and other plans for the network that is there: every weight kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..engine.model import Model, Parameter, initial_values
from ..give_back import trim
from ..graph import Graph
from ..graph.scale import Scale, with_input_scale
from ..graph.widen import widen_graph
from ..planning.configured import configured_sparsity, engine_plan
from .trainer import Trainer


def widen_head(trainer: Trainer, classes: int) -> None:
    """Replan for ``classes`` units. Present units keep weights and optimizer state, new ones start fresh.

    Stored logits keep the width they had; predictors of the engine must be made again.
    """
    parts = trainer.parts
    old = parts.engine.model.graph
    graph, trains = widen_graph(old, classes), parts.engine.plan.extras.trains
    plan = engine_plan(parts.config, graph, parts.method, configured_sparsity(parts.config, graph), trains)
    model, before = parts.engine.model, (dict(parts.engine.model.parameters), parts.engine.plan)
    with parts.engine.changing():
        try:
            grow_parameters(model, graph, parts.random["head"])
            parts.ledger.use(graph, trains)
            parts.engine.replan(plan)
            trainer.seen = np.concatenate([trainer.seen, np.zeros(classes - old.classes, bool)])
        except BaseException:  # an interrupt, or no memory: as it was
            model.graph = old
            model.parameters.update(before[0])
            parts.ledger.use(old, trains)
            parts.engine.replan(before[1])
            raise


def replan_for(trainer: Trainer, trains: str) -> None:
    """Go on with a plan that trains ``all``, the ``head`` or ``none``; what it has no use for is released."""
    parts = trainer.parts
    graph = parts.engine.model.graph
    plan = engine_plan(parts.config, graph, parts.method, configured_sparsity(parts.config, graph), trains)
    with parts.engine.changing():
        parts.engine.replan(plan)
        parts.ledger.use(graph, trains)
    trim()


def rescale_input(trainer: Trainer, scale: Scale) -> None:
    """Normalise the input by another (mean, std); weights and optimizer state stay. Predictors must be made again."""
    parts = trainer.parts
    model, trains = parts.engine.model, parts.engine.plan.extras.trains
    old, before = model.graph, parts.engine.plan
    graph = with_input_scale(old, *scale)
    plan = engine_plan(parts.config, graph, parts.method, configured_sparsity(parts.config, graph), trains)
    with parts.engine.changing():
        try:
            grow_parameters(model, graph, parts.random["head"])
            parts.ledger.use(graph, trains)
            parts.engine.replan(plan)
        except BaseException:  # as it was
            model.graph = old
            parts.ledger.use(old, trains)
            parts.engine.replan(before)
            raise


def grow_parameters(model: Model, graph: Graph, rng: np.random.Generator) -> None:
    """Give ``model`` the parameters of ``graph``, which differs from its own in the first axis of the head
    only. Optimizer state and arrays per weight are zero for new rows; an engine's sides follow in `Engine.replan`.
    """
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
