"""build_record: a run's record from the facts of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..budget import Budget, RunPlan
from ..budget.meters import peak_resident
from ..data import Stream
from ..methods import accuracy_metrics
from ..plugins import provenance
from .record import BITS, SCHEMA, check_record, host_facts

Matrix = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class RunFacts:
    """What a run did.

    reason : why it ended; "completed" when it saw the whole stream
    core : `Core.facts`;  session : `Session.facts`
    shown : history and confusions, for pages
    total_seconds : since the run began;  health : see `learning.health`
    """

    command: str
    reason: str
    resumed_from: int | None
    stream: Stream
    plan: RunPlan
    budget: Budget
    class_il: Matrix
    task_il: Matrix
    shown: Mapping[str, Any]
    core: Mapping[str, Any]
    session: Mapping[str, Any]
    total_seconds: float
    warnings: Sequence[str]
    health: Mapping[str, Any]


def build_record(run: RunFacts) -> dict[str, Any]:
    """The checked record."""
    plan, stream, config = run.plan, run.stream, run.plan.config
    record = {
        "schema": SCHEMA,
        "version": __version__,
        "bits": BITS,
        "command": run.command,
        "host": host_facts(),
        "config": config.to_json(),
        "plugins": provenance(config.to_json()),
        "status": {
            "finished": run.reason == "completed",
            "reason": run.reason,
            "resumed_from": run.resumed_from,
        },
        "stream": {
            "name": stream.name,
            "identity": stream.identity,
            "labels": list(stream.labels),
            "tasks": [{"name": t.name, "classes": list(t.classes)} for t in stream.tasks],
            "train_samples": stream.train_size,
            "test_samples": stream.test_size,
            "about": dict(stream.about),
        },
        "accuracy_matrix": run.class_il,
        "task_il_accuracy_matrix": run.task_il,
        "metrics": accuracy_metrics(run.class_il, run.task_il),
        "steps": run.core["steps"],
        "flops": run.core["flops"],
        "seconds": {
            "train": run.session["train_seconds"],
            "total": run.total_seconds,
            "waited": run.session["waited"],
        },
        "memory": {
            "budget_bytes": run.budget.ram,
            "baseline_bytes": plan.baseline,
            "planned_peak_rss_bytes": plan.peak_bytes,
            "measured_peak_rss_bytes": peak_resident(),
            "arena_bytes": plan.plan.memory.get("arena", 0),
        },
        "carousel": run.core["carousel"],
        "budget": _budget_figures(run),
        "governor": run.session["governor"],
        "device": _device_figures(run),
        "plan": plan.to_json(),
        "sparsity": run.core["sparsity"],
        "front": run.core["front"],
        "health": {**run.health, "recall": {str(u): r for u, r in run.health["recall"].items()}},
        "warnings": list(run.warnings),
        **run.shown,
    }
    check_record(record)
    return record


def _budget_figures(run: RunFacts) -> dict[str, Any]:
    """{limit: {limit, used, source}} of what was set; None where it was not."""
    budget, energy = run.budget, run.session["energy"]

    def line(limit: Any, used: float | None, source: str) -> dict[str, Any] | None:
        return None if limit is None else {"limit": limit, "used": used, "source": source}

    writes, by = run.core["flash_writes"], "counted by the store, last 24 hours"
    return {
        "ram": line(budget.ram, peak_resident(), "measured"),
        "flops": line(budget.flops, run.core["executed"], "counted"),
        "energy": line(budget.energy, energy["value"], energy["source"]),
        "seconds": line(budget.seconds, run.session["train_seconds"], "measured"),
        "flash_writes_per_day": line(budget.flash_writes_per_day, writes, by),
    }


def _device_figures(run: RunFacts) -> dict[str, Any]:
    """Step seconds modelled for a profile, else measured here; joules as the run's account has them."""
    plan, steps, device = run.plan, run.core["steps"], run.plan.config.device
    seconds = run.session["train_seconds"]
    measured = {"value": seconds / steps if steps else None, "source": "measured"}
    if device is None:
        return {"profile": None, "step_seconds": measured, "energy_joules": run.session["energy"]}
    source = plan.step_source or f"modelled({device})"
    return {
        "profile": device,
        "step_seconds": {"value": plan.step_seconds, "source": source},
        "energy_joules": run.session["energy"],
    }
