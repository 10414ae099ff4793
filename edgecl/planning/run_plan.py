"""prepare: from raw options to a plan. `edgecl plan` stops here, `edgecl run` goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..budget.energy import PROFILE, check_energy_source
from ..budget.feasible import fit_time_and_energy
from ..budget.governor import Surroundings
from ..budget.limits import Budget
from ..budget.meters import settled
from ..budget.planner import RunPlan, plan_run
from ..budget.watch import governor_limits
from ..compiler import Plan
from ..config import Config, normalise
from ..data import Stream, configured_stream
from ..devices import load_profile
from ..engine.select import import_engine
from ..errors import BadInput
from ..intake.front import FrontInUse
from ..intake.spec import SampleSpec
from ..methods import METHODS, Method
from ..methods.scenario import misfit, scenario_of
from ..network import Network
from .configured import configured_method, configured_sparsity, memory_slots
from .costs import with_costs
from .flash import check_flash, with_flash_writes
from .front import front_of_run, network_behind, stream_behind, with_backbone
from .memory import planned, with_later
from .schedules import check_schedules


@dataclass(frozen=True)
class Prepared:
    """A stream as it is behind the front, its network and the plan to train it."""

    stream: Stream
    spec: SampleSpec
    network: Network
    plan: RunPlan
    budget: Budget
    front: FrontInUse | None = None

    @property
    def config(self) -> Config:
        return self.plan.config

    def warnings(self) -> list[str]:
        """What a person should know: choices of the planner, a method that the stream's scenario does not fit."""
        unfit = misfit(METHODS.get(self.config.method), scenario_of([t.classes for t in self.stream.tasks]))
        return [*self.plan.choices, *([unfit] if unfit else [])]

    def state(self) -> dict[str, Any]:
        """The front's, for a saved state."""
        return {"front": None if self.front is None else self.front.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        if self.front is not None:
            self.front.load(state["front"])


def prepare(options: Mapping[str, Any], *, baseline: int | None = None, fetch: bool = True) -> Prepared:
    """Load the stream, validate, plan. ``options`` are raw; those not given come from the stream, then from
    us.

    baseline : bytes resident before the run, by default measured here
    Raises `BadInput` and `InfeasibleBudget`.
    """
    options = with_backbone(options)
    given = {k: v for k, v in normalise(options).items() if v is not None}
    first = Config.make(given)
    stream = configured_stream(first, fetch)
    config = Config.make(given, stream.defaults)
    front = front_of_run(config, stream, options.get("front"))
    stream = stream_behind(stream, front)
    spec = SampleSpec(stream.input_shape, stream.input_dtype, stream.kind, stream.mean, stream.std)
    rng = np.random.default_rng(config.seed)  # rows of a head that is too narrow
    network = network_behind(config, front, spec, stream.class_count, rng)
    graph = network.graph
    method = configured_method(config)
    memory_slots(config, method)
    sizes = task_sizes(stream, method)
    check_schedules(config, configured_sparsity(config, graph), sizes)
    # opened before the baseline is taken: what sensors need is the process's, not the learner's
    if limits := governor_limits(config):
        Surroundings(limits)
    if config.energy is not None and config.device is None:
        check_energy_source(config, config.energy, None)
    budget = budget_of(config)
    if baseline is None:
        # likewise code and tables
        import_engine(config.engine)
        if config.device is not None:
            load_profile(config.device)
        baseline = settled() - (0 if front is None else front.resident)

    def candidate(c: Config) -> tuple[Plan, dict[str, int]]:
        return planned(c, graph, method, spec, max(sizes), front=front)

    run_plan = plan_run(
        config,
        candidate,
        baseline=baseline,
        budget=None if budget.ram is None else int(budget.ram),
        free=frozenset({"memory", "batch", "micro_batch", "predict_batch"} - set(given)),
    )
    run_plan = with_costs(run_plan, graph, method, sizes, front)
    source = check_energy_source(run_plan.config, config.energy, run_plan.step_joules)

    def with_epochs(epochs: int) -> RunPlan:
        shorter = run_plan.config.replace(epochs=epochs)
        check_schedules(shorter, configured_sparsity(shorter, graph), sizes)
        return with_costs(replace(run_plan, config=shorter), graph, method, sizes, front)

    run_plan = fit_time_and_energy(
        budget, run_plan, with_epochs, free="epochs" not in given, joules=source == PROFILE or config.device == "host"
    )
    run_plan = with_later(run_plan, graph, method, spec, max(sizes), front)
    check_flash(run_plan.config, stream)
    run_plan = with_flash_writes(run_plan, stream, spec, method)
    return Prepared(stream, spec, network, run_plan, budget, front)


def budget_of(config: Config) -> Budget:
    """The limits of a run: of the whole process."""
    return Budget(
        ram=config.ram,
        flops=config.flops,
        energy=config.energy,
        seconds=config.seconds,
        flash=config.flash,
        flash_writes_per_day=config.flash_writes_per_day,
        scope="process",
    )


def task_sizes(stream: Stream, method: Method) -> list[int]:
    """Training samples of each task, as the method sees them: joint training sees all tasks so far."""
    sizes = [len(task.train) for task in stream.tasks]
    if any(n == 0 for n in sizes):
        raise BadInput(f"Task {sizes.index(0) + 1} of '{stream.name}' has no training samples.", "Check the data.")
    return [sum(sizes[: i + 1]) for i in range(len(sizes))] if method.wants_all_tasks else sizes
