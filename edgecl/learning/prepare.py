"""prepare: from raw options to a plan. `edgecl plan` stops here, `edgecl run` goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..budget.limits import Budget
from ..budget.meters import resident
from ..budget.planner import RunPlan, plan_run
from ..compiler import Plan
from ..config import Config, normalise
from ..data import Stream, load_stream
from ..devices import CostModel, load_profile
from ..errors import BadInput
from ..graph import Graph
from ..methods import Method
from .costs import step_costs
from .parts import (
    SampleSpec,
    configured_method,
    configured_sparsity,
    engine_plan,
    make_graph,
    memory_slots,
    predicted_growth,
)
from .task_loop import check_schedules, planned_steps


@dataclass(frozen=True)
class Prepared:
    """A stream, its network and the plan to train it."""

    stream: Stream
    spec: SampleSpec
    graph: Graph
    plan: RunPlan
    budget: Budget

    @property
    def config(self) -> Config:
        return self.plan.config


def prepare(options: Mapping[str, Any], *, baseline: int | None = None, fetch: bool = True) -> Prepared:
    """Load the stream, validate, plan. ``options`` are raw; those not given come from the stream, then from
    us.

    baseline : bytes resident before the run, by default measured here
    Raises `BadInput` and `InfeasibleBudget`.
    """
    given = {k: v for k, v in normalise(options).items() if v is not None}
    first = Config.make(given)
    stream = load_stream(first.stream, first.limit_train, first.validation, fetch, first.limit_tasks)
    config = Config.make(given, stream.defaults)
    spec = SampleSpec(stream.input_shape, stream.input_dtype, stream.kind, stream.mean, stream.std)
    graph = make_graph(config, spec, stream.class_count)
    method = configured_method(config)
    memory_slots(config, method)
    sizes = task_sizes(stream, method)
    check_schedules(config, configured_sparsity(config, graph), method, sizes)
    budget = Budget(
        ram=config.ram,
        flops=config.flops,
        energy=config.energy,
        seconds=config.seconds,
        flash=config.flash,
        scope="process",
    )

    def candidate(c: Config) -> tuple[Plan, dict[str, int]]:
        sparse = configured_sparsity(c, graph)
        plan = engine_plan(c, graph, method, sparse)
        growth = predicted_growth(c, plan, method, sparse, spec, stream.class_count, max(sizes))
        return plan, growth

    run_plan = plan_run(
        config,
        candidate,
        baseline=resident() if baseline is None else baseline,
        budget=None if budget.ram is None else int(budget.ram),
        free=frozenset({"memory", "batch", "micro_batch"} - set(given)),
    )
    run_plan = with_costs(run_plan, graph, method, sizes)
    check_energy(budget, run_plan)
    check_flash(run_plan.config, stream)
    return Prepared(stream, spec, graph, run_plan, budget)


def task_sizes(stream: Stream, method: Method) -> list[int]:
    """Training samples of each task, as the method sees them: joint training sees all tasks so far."""
    sizes = [len(task.train) for task in stream.tasks]
    if any(n == 0 for n in sizes):
        raise BadInput(f"Task {sizes.index(0) + 1} of '{stream.name}' has no training samples.", "Check the data.")
    return [sum(sizes[: i + 1]) for i in range(len(sizes))] if method.wants_all_tasks else sizes


def with_costs(plan: RunPlan, graph: Graph, method: Method, sizes: list[int]) -> RunPlan:
    """The plan with its steps, their FLOPs and, with a device, modelled seconds and joules of a full step."""
    config = plan.config
    sparse = configured_sparsity(config, graph)
    rows = config.batch + method.needs.draws * config.replay_rows
    costs = step_costs(graph, rows, sparse.densities, sparse.gradient_keep)
    steps = sum(planned_steps(config, n, config.epochs) for n in sizes)
    plan = replace(plan, steps=steps, step_flops=int(sum(c.flops for c in costs)))
    if config.device is None:
        return plan
    cost = CostModel(load_profile(config.device), config.threads).step(costs)
    return replace(plan, step_seconds=cost.seconds, step_joules=cost.joules, step_source=cost.label)


def check_energy(budget: Budget, plan: RunPlan) -> None:
    """Refuse a limit on joules that nothing could count."""
    if budget.energy is None or plan.step_joules is not None:
        return
    device = plan.config.device
    missing = "no device profile was given"
    if device is not None:
        missing = f"the profile '{device}' has no power figures"
    raise BadInput(
        f"A limit of {budget.energy:g} J was set, but {missing}, and energy is modelled from one.",
        "Give a device with power figures, such as --device rpi_4b, or drop the energy limit.",
    )


def check_flash(config: Config, stream: Stream) -> None:
    """Refuse a flash budget that the stream, or the store's own limit, would overrun."""
    if config.flash is None or config.store is None:
        return
    limit = config.store_limit
    record = stream.sample_bytes + 64
    if isinstance(limit, str):
        need = min(int(limit.split()[0]), stream.train_size) * record
    else:
        need = stream.train_size * record if limit is None else min(limit, stream.train_size * record)
    if need > config.flash:
        raise BadInput(
            f"The store would grow to about {need / 1e6:.1f} MB, the flash budget is {config.flash / 1e6:.1f} MB.",
            f"Give --store-limit {max(config.flash // 1_000_000, 1)}MB or a larger --flash.",
        )
