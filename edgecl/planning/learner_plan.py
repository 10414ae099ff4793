"""The plan of a learner: like that of a run, with a stream buffer and an undo copy, and open-ended."""

from __future__ import annotations

from dataclasses import replace

from ..budget import Budget, RunPlan, plan_run
from ..compiler import Plan
from ..config import Config
from ..devices import CostModel, load_profile
from ..learning.costs import step_costs
from ..learning.parts import (
    SampleSpec,
    configured_method,
    configured_sparsity,
    engine_plan,
    make_graph,
    predicted_growth,
)
from ..learning.task_loop import AHEAD

THREAD_BYTES = 64_000  # touched stack of a mover's thread


def plan_learner(
    config: Config,
    spec: SampleSpec,
    classes: int,
    buffer: int,
    budget: Budget,
    baseline: int,
    free: frozenset[str] = frozenset(),
) -> RunPlan:
    """``baseline``: bytes resident before;  ``free``: options the planner may choose. Raises `InfeasibleBudget`."""
    graph = make_graph(config, spec, classes)

    def candidate(c: Config) -> tuple[Plan, dict[str, int]]:
        method, sparse = configured_method(c), configured_sparsity(c, graph)
        plan = engine_plan(c, graph, method, sparse)
        growth = predicted_growth(c, plan, method, sparse, spec, classes, buffer)
        # an undo copy of weights and optimizer state is kept during `learn`
        growth["buffer"] = buffer * (spec.bytes + 16)
        growth["undo"] = plan.memory.get("parameters", 0)
        if c.store is not None:  # batches on their way from the store, the one at hand, a mover's stack
            growth["read_ahead"] = (AHEAD + 1) * c.batch * spec.bytes + THREAD_BYTES
        return plan, growth

    counted = baseline if budget.scope == "process" else 0
    ram = None if budget.ram is None else int(budget.ram)
    plan = plan_run(config, candidate, baseline=counted, budget=ram, free=free)
    sparse = configured_sparsity(plan.config, graph)
    rows = plan.config.batch + configured_method(plan.config).needs.draws * plan.config.replay_rows
    costs = step_costs(graph, rows, sparse.training_densities(), sparse.gradient_keep)
    plan = replace(plan, step_flops=int(sum(c.flops for c in costs)))
    if config.device is not None:
        cost = CostModel(load_profile(config.device), config.threads).step(costs)
        plan = replace(plan, step_seconds=cost.seconds, step_joules=cost.joules, step_source=cost.label)
    return replace(plan, baseline=baseline)
