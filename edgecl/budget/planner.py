"""The planner: chooses what was left open, predicts bytes, refuses what cannot fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..compiler import Plan, row_cost
from ..config import Config
from ..errors import InfeasibleBudget

MB = 1_000_000
SMALLEST_PREDICT = 4  # rows: the narrowest vectors
PREDICT_BATCH = 32  # rows of one evaluation forward at most, where nobody said
SMALLEST_BATCH = 4  # rows
FEW_SLOTS = 50  # of the memory, below which it is not lowered
SAVING_COST = 1.02  # of a step with activations saved in bfloat16: bench/saved_activations.py
MARGIN = 0.95  # a plan stays below this share of a budget, and a run that comes above it gives back what it can
STOP = 0.975  # and stops above this one: between the two a plan may be a little short of what a run takes


@dataclass(frozen=True)
class RunPlan:
    """What a run will use.

    config : with every choice made;  plan : of the engine
    baseline : bytes resident before anything was allocated (0 counted when the scope is ``learner``)
    growth : predicted bytes by purpose on top of it
    steps : training steps of the whole run, 0 when open-ended
    step_seconds, step_joules : of the cost model on a cool device, within factors ``step_band`` and
        ``step_joules_band``;  warming : the whole run's seconds over those of its steps on a cool device
    later : predicted bytes from the second task on, where a closed-form head over the body of the first task trains
        less then
    front_flops : of a sample on its way through the front; those of a step's batch are among ``step_flops``
    flash_writes : bytes the store and the checkpoints of the whole run write
    choices : what the planner changed, in words
    """

    config: Config
    plan: Plan
    baseline: int
    growth: Mapping[str, int]
    steps: int = 0
    step_flops: int = 0
    front_flops: int = 0
    step_seconds: float | None = None
    step_joules: float | None = None
    step_source: str | None = None
    step_band: tuple[float, float] = (1.0, 1.0)
    step_joules_band: tuple[float, float] = (1.0, 1.0)
    warming: float = 1.0
    flash_writes: int = 0
    later: Mapping[str, int] | None = None
    choices: tuple[str, ...] = field(default_factory=tuple)

    @property
    def growth_bytes(self) -> int:
        return sum(self.growth.values())

    @property
    def peak_bytes(self) -> int:
        """Predicted peak resident set."""
        return self.baseline + self.growth_bytes

    @property
    def run_seconds(self) -> float | None:
        """Training seconds of the whole run, by the cost model."""
        return None if self.step_seconds is None else self.steps * self.step_seconds * self.warming

    @property
    def run_joules(self) -> float | None:
        """Joules of the whole run, by the cost model."""
        return None if self.step_joules is None else self.steps * self.step_joules

    def _figure(self, value: float | None, band: tuple[float, float]) -> dict[str, Any]:
        """A figure of the whole run with its band and who says so."""
        if value is None:
            return {"value": None, "band": None, "source": self.step_source or "no device profile"}
        return {"value": value, "band": [value * factor for factor in band], "source": str(self.step_source)}

    def to_json(self) -> dict[str, Any]:
        """The record's ``plan``."""
        c = self.config
        return {
            "batch": c.batch,
            "replay_batch": c.replay_rows,
            "micro_batch": c.micro_batch,
            "activations": c.activations,
            "forward_rows": self.plan.batch,
            "predict_batch": self.plan.predict_batch,
            "memory_slots": c.memory,
            "threads": c.threads,
            "carousel_latency": c.latency,
            "densities": dict(self.plan.densities),
            "steps": self.steps,
            "step_flops": self.step_flops,
            **({"front_sample_flops": self.front_flops} if self.front_flops else {}),
            "run_seconds": self._figure(self.run_seconds, self.step_band),
            "run_joules": self._figure(self.run_joules, self.step_joules_band),
            "flash_write_bytes": self.flash_writes,
            "growth_bytes": dict(self.growth),
            **({} if self.later is None else {"later_growth_bytes": dict(self.later)}),
            "baseline_bytes": self.baseline,
            "planned_peak_rss_bytes": self.peak_bytes,
            "choices": list(self.choices),
        }


Candidate = Callable[[Config], tuple[Plan, dict[str, int]]]


def plan_run(
    config: Config,
    candidate: Candidate,
    *,
    baseline: int,
    budget: int | None,
    free: frozenset[str] = frozenset(),
) -> RunPlan:
    """The first of a row of ever smaller choices that fits ``budget`` bytes, less the margin; what the last choice made
    room for is given back: slots of the memory, then activations in float32, then rows of an evaluation.

    candidate : config -> (engine plan, predicted growth by purpose)
    baseline  : bytes that count before anything is allocated
    free      : options the user did not set; of ``predict_batch``, ``memory`` and ``batch`` only these are lowered
    Raises `InfeasibleBudget` naming what is largest and the nearest limit that would do.
    """
    asked, changes = config, Changes()
    plan, growth = candidate(config)
    room = math.inf if budget is None else int(MARGIN * budget) - baseline  # bytes
    while budget is not None and sum(growth.values()) > room:
        smaller = _smaller(config, asked, free, plan)
        if smaller is None:
            raise _infeasible(baseline, growth, budget)
        config, lever, cost = smaller
        before = sum(growth.values())
        plan, growth = candidate(config)
        changes.note(lever, cost, before - sum(growth.values()))
    if config.memory < asked.memory:
        before = sum(growth.values())
        config, plan, growth = _slots_back(config, asked.memory, candidate, room)
        cost = f"memory lowered from {asked.memory} to {config.memory} slots: fewer earlier samples are replayed"
        changes.note("memory", cost if config.memory < asked.memory else None, before - sum(growth.values()))
    for lever in ("activations", "evaluation"):
        for larger, still in _back(lever, config, asked, plan):
            found, grown = candidate(larger)
            if sum(grown.values()) <= room:
                changes.note(lever, still, sum(growth.values()) - sum(grown.values()))
                config, plan, growth = larger, found, grown
                break
    if config.activations == "auto":
        config = config.replace(activations="float32")  # so that a resumed run keeps to it
    return RunPlan(config, plan, baseline, growth, choices=changes.texts)


class Changes:
    """What was given up, one line a lever in the order of first use, with what it costs and the bytes it frees."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}

    def note(self, lever: str, cost: str | None, freed: int) -> None:
        """``cost`` takes the place of what was said of ``lever`` before; bytes add up. None: the lever is as it was,
        and what it freed in between is the last other one's."""
        freed += self._found.get(lever, ("", 0))[1]
        if cost is not None:
            self._found[lever] = (cost, freed)
            return
        self._found.pop(lever, None)
        if self._found:
            last = list(self._found)[-1]
            text, before = self._found[last]
            self._found[last] = (text, before + freed)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(f"{cost} (frees {freed / MB:.2f} MB)" for cost, freed in self._found.values())


def _slots_back(
    config: Config, most: int, candidate: Candidate, room: float
) -> tuple[Config, Plan, dict[str, int]]:
    """As many slots, up to ``most``, as ``room`` bytes hold. A slot's bytes do not depend on how many there are."""
    plan, growth = candidate(config)
    _, larger = candidate(config.replace(memory=most))
    slot = (sum(larger.values()) - sum(growth.values())) / (most - config.memory)
    slots = min(most, config.memory + int((room - sum(growth.values())) / slot)) if slot > 0 else config.memory
    if slots > config.memory:
        more = config.replace(memory=slots)
        found, grown = candidate(more)
        if sum(grown.values()) <= room:
            return more, found, grown
    return config, plan, growth


def _back(lever: str, config: Config, asked: Config, plan: Plan) -> Iterator[tuple[Config, str | None]]:
    """(a configuration with more of ``lever``, what it still costs), the most first."""
    if lever == "activations" and config.activations != asked.activations:
        yield config.replace(activations=asked.activations), None
    if lever == "evaluation" and config.predict_batch != asked.predict_batch:
        yield config.replace(predict_batch=asked.predict_batch), None
        rows = min(plan.batch, PREDICT_BATCH) // 2
        while rows > plan.predict_batch:
            yield config.replace(predict_batch=rows), _evaluated_by(rows, plan)
            rows //= 2


def _evaluated_by(rows: int, plan: Plan) -> str:
    slower = row_cost(rows) / row_cost(min(plan.batch, PREDICT_BATCH))
    return f"evaluation in batches of {rows} rows: it takes about {slower:.2f} times as long, training is unchanged"


def _smaller(config: Config, asked: Config, free: frozenset[str], plan: Plan) -> tuple[Config, str, str] | None:
    """(the next smaller configuration, its lever, what it costs against ``asked``), by accuracy given up for a byte,
    then by time.

    Fewer rows of an evaluation change no result. Then what costs no accuracy, whichever costs less time: a smaller
    batch (every sample is seen as often, in more steps: bench/planner.py), saved activations in 16 bits, and, where it
    was asked for, a micro-batch. Then fewer slots.
    """
    if "predict_batch" in free and plan.program and plan.predict_batch > SMALLEST_PREDICT:
        rows = max(SMALLEST_PREDICT, plan.predict_batch // 2)
        return config.replace(predict_batch=rows), "evaluation", _evaluated_by(rows, plan)
    levers: list[tuple[float, Config, str, str]] = []
    if config.activations == "auto" and plan.program:
        text = (
            "activations kept in bfloat16 for the backward pass: accuracy stays within its spread, "
            f"and a step takes about {SAVING_COST:.2f} times as long"
        )
        levers.append((SAVING_COST, config.replace(activations="bfloat16"), "activations", text))
    if config.micro_batch == "auto" or (isinstance(config.micro_batch, int) and "micro_batch" in free):
        rows = config.batch if config.micro_batch == "auto" else int(config.micro_batch or 0) // 2
        if rows >= 4:
            whole = plan.batch if config.micro_batch == "auto" else int(config.micro_batch or 0)
            slower = row_cost(rows) / row_cost(whole) if plan.program else 1.0
            text = (
                f"micro-batch of {rows} rows: batch norm sees each micro-batch alone, "
                f"and a step takes about {slower:.2f} times as long"
            )
            levers.append((slower, config.replace(micro_batch=rows), "micro-batch", text))
    if "batch" in free and config.batch > SMALLEST_BATCH:
        levers.append((row_cost(config.batch // 2) / row_cost(asked.batch), *_half_batch(config, asked.batch)))
    if levers:
        return min(levers, key=lambda lever: lever[0])[1:]
    if "memory" in free and config.memory > FEW_SLOTS:
        slots = max(FEW_SLOTS, config.memory // 2)
        return config.replace(memory=slots), "memory", f"memory lowered to {slots} slots"
    return None


def _half_batch(config: Config, asked: int) -> tuple[Config, str, str]:
    rows = max(SMALLEST_BATCH, config.batch // 2)
    slower = row_cost(rows) / row_cost(asked)
    text = (
        f"batch lowered from {asked} to {rows}: every sample is seen as often, in {asked / rows:.2g} times as many "
        f"steps with noisier gradients; a sample takes about {slower:.2f} times as long"
    )
    return config.replace(batch=rows), "batch", text


def _infeasible(baseline: int, growth: Mapping[str, int], budget: int) -> InfeasibleBudget:
    need = baseline + sum(growth.values())
    parts = sorted({"interpreter and libraries": baseline, **growth}.items(), key=lambda kv: -kv[1])
    listed = ", ".join(f"{name.replace('_', ' ')} {value / MB:.1f} MB" for name, value in parts if value >= MB / 20)
    return InfeasibleBudget(
        f"RAM of {budget / MB:g} MB, of which a plan may fill {MARGIN:.0%}, does not hold this: {listed}.",
        f"The nearest budget that would: --ram {math.ceil(need / MARGIN / MB)}MB; or a smaller model, batch or memory.",
    )
