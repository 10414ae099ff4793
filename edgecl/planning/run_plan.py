"""prepare: from raw options to a plan. `edgecl plan` stops here, `edgecl run` goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..budget.energy import PROFILE, check_energy_source
from ..budget.feasible import fit_time_and_energy
from ..budget.governor import Surroundings
from ..budget.limits import Budget
from ..budget.meters import resident
from ..budget.planner import RunPlan, plan_run
from ..compiler import Plan
from ..config import Config, normalise
from ..data import Stream, load_stream
from ..devices import CostModel, load_profile, warmed
from ..engine.select import import_engine
from ..errors import BadInput, InfeasibleBudget
from ..graph import Graph
from ..learning.costs import step_costs
from ..learning.parts import (
    SampleSpec,
    configured_method,
    configured_sparsity,
    engine_plan,
    make_graph,
    memory_slots,
    predicted_growth,
)
from ..learning.task_loop import check_schedules, planned_steps
from ..learning.watch import governor_limits
from ..methods import Method
from ..storage.keys import SEAL_BYTES

RECORD_BYTES, FIELD_BYTES, TASK_BYTES = 64, 16, 100_000  # per record, per stored field, per task


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
    # opened before the baseline is taken: what sensors need is the process's, not the learner's
    if limits := governor_limits(config):
        Surroundings(limits)
    if config.energy is not None and config.device is None:
        check_energy_source(config, config.energy, None)
    budget = Budget(
        ram=config.ram,
        flops=config.flops,
        energy=config.energy,
        seconds=config.seconds,
        flash=config.flash,
        flash_writes_per_day=config.flash_writes_per_day,
        scope="process",
    )

    if baseline is None:
        # likewise code and tables
        import_engine(config.engine)
        if config.device is not None:
            load_profile(config.device)
        baseline = resident()

    def candidate(c: Config) -> tuple[Plan, dict[str, int]]:
        sparse = configured_sparsity(c, graph)
        plan = engine_plan(c, graph, method, sparse)
        growth = predicted_growth(c, plan, method, sparse, spec, stream.class_count, max(sizes))
        return plan, growth

    run_plan = plan_run(
        config,
        candidate,
        baseline=baseline,
        budget=None if budget.ram is None else int(budget.ram),
        free=frozenset({"memory", "batch", "micro_batch", "predict_batch"} - set(given)),
    )
    run_plan = with_costs(run_plan, graph, method, sizes)
    source = check_energy_source(run_plan.config, config.energy, run_plan.step_joules)

    def with_epochs(epochs: int) -> RunPlan:
        shorter = run_plan.config.replace(epochs=epochs)
        check_schedules(shorter, configured_sparsity(shorter, graph), method, sizes)
        return with_costs(replace(run_plan, config=shorter), graph, method, sizes)

    run_plan = fit_time_and_energy(
        budget, run_plan, with_epochs, free="epochs" not in given, joules=source == PROFILE or config.device == "host"
    )
    check_flash(run_plan.config, stream)
    run_plan = with_flash_writes(run_plan, stream, spec, method)
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
    costs = step_costs(graph, rows, sparse.training_densities(), sparse.gradient_keep)
    steps = sum(planned_steps(config, n, config.epochs) for n in sizes)
    plan = replace(plan, steps=steps, step_flops=int(sum(c.flops for c in costs)))
    if config.device is None:
        return plan
    profile = load_profile(config.device)
    cost = CostModel(profile, config.threads).step(costs)
    cool = cost.seconds * steps
    return replace(
        plan,
        warming=warmed(profile, cool) / cool if cool else 1.0,
        step_seconds=cost.seconds,
        step_joules=cost.joules,
        step_source=cost.label,
        step_band=cost.band,
        step_joules_band=cost.joules_band,
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
        whole = config.flash // 1_000_000
        raise BadInput(
            f"The store would grow to about {need / 1e6:.3g} MB, the flash budget is {config.flash / 1e6:.3g} MB.",
            f"Give --store-limit {whole}MB or a larger --flash." if whole else "Give a larger --flash.",
        )


def with_flash_writes(plan: RunPlan, stream: Stream, spec: SampleSpec, method: Method) -> RunPlan:
    """The plan with the bytes its store will write; refused when a day's budget does not hold them.

    Records, the logits of the last epoch, an index entry each, and the tail pages of a commit point every so often:
    what the store counts lies within a tenth of it (tests). A run that the cost model expects to take longer than a
    day may write that much more.
    """
    config = plan.config
    if config.store is None:
        return plan
    fields = 2 * stream.class_count + FIELD_BYTES if "logits" in method.needs.fields else 0
    sealed = 0 if config.root_key_file is None else SEAL_BYTES * (2 if fields else 1)
    writes = stream.train_size * (spec.bytes + RECORD_BYTES + fields + sealed) + len(stream.tasks) * TASK_BYTES
    plan = replace(plan, flash_writes=writes)
    limit = config.flash_writes_per_day
    days = max(1.0, (plan.run_seconds or 0.0) / 86400)
    if limit is not None and writes > 0.98 * limit * days:
        raise InfeasibleBudget(
            f"The store would write about {writes / 1e6:.3g} MB, the flash may take {limit / 1e6:.3g} MB a day.",
            f"The nearest budget that would: --flash-writes-per-day {math.ceil(writes / 0.98 / days / 1e6)}MB; "
            "or fewer samples (--limit-train).",
        )
    return plan
