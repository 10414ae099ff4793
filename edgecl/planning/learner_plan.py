"""The plan of a learner: like that of a run, with a stream buffer and an undo copy, and open-ended."""

from __future__ import annotations

from dataclasses import replace

from ..budget import Budget, RunPlan, plan_run
from ..compiler import Plan
from ..config import Config
from ..graph import Graph
from ..intake.front import FrontInUse
from ..intake.spec import SampleSpec
from .configured import configured_method, configured_sparsity
from .costs import with_costs
from .memory import beside_bytes, planned, with_later

THREAD_BYTES = 64_000  # touched stack of a mover's thread
AHEAD = 2  # batches named to the stream buffer before they are read


def plan_learner(
    config: Config,
    graph: Graph,
    spec: SampleSpec,
    buffer: int,
    budget: Budget,
    baseline: int,
    free: frozenset[str] = frozenset(),
    front: FrontInUse | None = None,
) -> RunPlan:
    """``baseline``: bytes resident before;  ``free``: options the planner may choose. Raises `InfeasibleBudget`."""

    def candidate(c: Config) -> tuple[Plan, dict[str, int]]:
        plan, growth = planned(c, graph, configured_method(c), spec, buffer, front=front)
        # an undo copy of weights, optimizer state and what lies beside them is kept during `learn`
        growth["buffer"] = buffer * (spec.bytes + 16)
        beside = beside_bytes(plan, configured_sparsity(c, graph))
        growth["undo"] = plan.memory.get("parameters", 0) + beside + growth.get("statistics", 0)
        if c.store is not None:  # batches on their way from the store, the one at hand, a mover's stack
            growth["read_ahead"] = (AHEAD + 1) * c.batch * spec.bytes + THREAD_BYTES
        return plan, growth

    counted = baseline if budget.scope == "process" else 0
    ram = None if budget.ram is None else int(budget.ram)
    plan = plan_run(config, candidate, baseline=counted, budget=ram, free=free)
    method = configured_method(plan.config)
    plan = with_later(with_costs(plan, graph, method, [], front), graph, method, spec, buffer, front)
    return replace(plan, baseline=baseline)
