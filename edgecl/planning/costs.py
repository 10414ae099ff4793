"""What steps cost: FLOPs, and seconds and joules modelled for a device."""

from __future__ import annotations

from dataclasses import replace

from ..budget.planner import RunPlan
from ..config import Config
from ..devices import CostModel, Operation, load_profile, operations, warmed
from ..devices.workload import FORWARD
from ..graph import Graph
from ..intake.front import FrontInUse
from ..methods import Method
from .configured import configured_sparsity
from .schedules import RATES, final_steps, phase_steps, planned_steps, rate_steps

MODES = {"all": "train", "head": "head", "none": "inference"}


def step_costs(
    config: Config, graph: Graph, method: Method, front: FrontInUse | None = None, trains: str | None = None
) -> list[Operation]:
    """A full step operation by operation: current and replayed rows, and the rows of the method's own passes; before
    them the current rows' way through the front.

    trains : what the plan trains in it, by default what it does after a first task that trains the body
    """
    sparse, needs = configured_sparsity(config, graph), method.needs
    rows = config.batch + needs.draws * config.replay_rows
    densities, keep = sparse.training_densities(), sparse.gradient_keep
    found = operations(graph, rows, MODES[trains or needs.trains], densities, keep)
    passes = needs.passes
    forward = round((passes.forward - passes.backward) * config.batch + passes.candidates * needs.candidates)
    backward = round(needs.passes.backward * config.batch)
    if forward > 0:
        found += operations(graph, forward, "inference", densities, keep)
    if backward > 0:
        found += operations(graph, backward, "train", densities, keep)
    if front is not None and front.front.flops:
        found.append(_front_cost(front, config.batch))
    return found


def _front_cost(front: FrontInUse, rows: int) -> Operation:
    """The front for so many rows, as a dense matrix product: what else it may be, the cost model does not know."""
    macs, moved = rows * front.front.flops / 2, (rows * front.raw.bytes, rows * front.spec.bytes)
    return Operation(f"front {front.front.name}", "linear", FORWARD, macs, *moved, weights=front.front.bytes, rows=rows)


def task_steps(config: Config, method: Method, n: int, merged: int = 0) -> int:
    """Steps of a task of ``n`` samples, phases that the method declares included."""
    return planned_steps(config, n, config.epochs, merged) + phase_steps(config, method.needs.passes, n)


def with_costs(
    plan: RunPlan, graph: Graph, method: Method, sizes: list[int], front: FrontInUse | None = None
) -> RunPlan:
    """The plan with its steps, their FLOPs and, with a device, modelled seconds and joules of a full step.

    sizes : samples of each task; none for training without an end
    """
    config, done, steps = plan.config, 0, 0
    for n in sizes:
        merged = min(config.memory, done) if method.needs.merged else 0
        steps, done = steps + task_steps(config, method, n, merged), done + n
    if sizes:
        steps += final_steps(config, method.needs.passes)
        steps += len(RATES) * rate_steps(config, sizes[0]) if config.lr == "auto" else 0
    costs = step_costs(config, graph, method, front)
    own = 0 if front is None else front.front.flops
    choices = plan.choices if front is None else tuple(dict.fromkeys((*plan.choices, *front.front.choices())))
    flops = int(sum(c.flops for c in costs))
    plan = replace(plan, steps=steps, step_flops=flops, front_flops=own, choices=choices)
    if config.device is None:
        return plan
    profile = load_profile(config.device)
    model = CostModel(profile, config.threads)
    cost = model.step(costs)
    seconds, joules = cost.seconds, cost.joules
    if method.needs.body == "first task" and sizes:  # whose steps cost more: the mean of all
        first = model.step(step_costs(config, graph, method, front, "all"))
        share = task_steps(config, method, sizes[0]) / steps
        seconds = share * first.seconds + (1 - share) * seconds
        if joules is not None and first.joules is not None:
            joules = share * first.joules + (1 - share) * joules
    cool = seconds * steps
    return replace(
        plan,
        warming=warmed(profile, cool) / cool if cool else 1.0,
        step_seconds=seconds,
        step_joules=joules,
        step_source=cost.label,
        step_band=cost.band,
        step_joules_band=cost.joules_band,
    )
