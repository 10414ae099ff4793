"""The plan of a learner: like that of a run, with a stream buffer and an undo copy, and open-ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..budget import Budget, RunPlan, plan_run
from ..compiler import Plan
from ..config import Config
from ..graph import Graph
from ..intake.front import FrontInUse
from ..intake.spec import SampleSpec
from .configured import configured_method, configured_sparsity, engine_plan, trains_at
from .costs import with_costs
from .memory import planned, state_bytes, with_later

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
        return plan, {**growth, **_of_a_learner(c, plan, growth, graph, spec, buffer)}

    counted = baseline if budget.scope == "process" else 0
    ram = None if budget.ram is None else int(budget.ram)
    plan = plan_run(config, candidate, baseline=counted, budget=ram, free=free)
    method = configured_method(plan.config)
    plan = with_later(with_costs(plan, graph, method, [], front), graph, method, spec, buffer, front)
    if plan.later is not None:
        trains = trains_at(method.needs, False)
        last = engine_plan(plan.config, graph, method, configured_sparsity(plan.config, graph), trains)
        plan = replace(
            plan, later={**plan.later, **_of_a_learner(plan.config, last, plan.later, graph, spec, buffer)}
        )
    return replace(plan, baseline=baseline)


def _of_a_learner(
    config: Config, plan: Plan, growth: Mapping[str, int], graph: Graph, spec: SampleSpec, buffer: int
) -> dict[str, int]:
    """Bytes beyond those of a run. While it learns, a learner keeps a copy of what a step can change: the method's
    statistics, and where anything is trained weights, optimizer state and what lies beside them. A closed-form head is
    solved when that copy is gone, so of what both take only the larger counts.
    """
    statistics = growth.get("statistics", 0)
    solving = growth.get("linear_algebra", 0)
    undo = 0 if plan.extras.trains == "none" else state_bytes(plan, configured_sparsity(config, graph))
    if configured_method(config).needs.body == "first task":
        solving += statistics
    else:
        undo += statistics
    found = {"buffer": buffer * (spec.bytes + 16), "undo": max(0, undo - solving)}
    if config.store is not None:  # batches on their way from the store, the one at hand, a mover's stack
        found["read_ahead"] = (AHEAD + 1) * config.batch * spec.bytes + THREAD_BYTES
    return found
