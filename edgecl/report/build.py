"""build_record: a run's record from what it did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..budget.meters import peak_resident
from ..methods import accuracy_metrics
from ..plugins import provenance
from .record import BITS, SCHEMA, check_record, host_facts

if TYPE_CHECKING:
    from ..run import Run


def build_record(run: Run, reason: str) -> dict[str, Any]:
    """The record of ``run``, which ended for ``reason`` ("completed" when it saw the whole stream)."""
    p, plan, stream = run.parts, run.prepared.plan, run.stream
    record = {
        "schema": SCHEMA,
        "version": __version__,
        "bits": BITS,
        "command": run.command,
        "host": host_facts(),
        "config": run.config.to_json(),
        "status": {"finished": reason == "completed", "reason": reason, "resumed_from": run.resumed_from},
        "stream": {
            "name": stream.name,
            "identity": stream.identity,
            "labels": list(stream.labels),
            "tasks": [{"name": t.name, "classes": list(t.classes)} for t in stream.tasks],
            "train_samples": stream.train_size,
            "test_samples": stream.test_size,
        },
        "accuracy_matrix": run.class_il,
        "task_il_accuracy_matrix": run.task_il,
        "metrics": accuracy_metrics(run.class_il, run.task_il),
        "steps": run.trainer.steps,
        "flops": p.ledger.to_json(p.engine.meters),
        "seconds": {
            "train": run.session.seconds,
            "total": time.monotonic() - run.started,
            "waited": run.session.waited,
        },
        "memory": {
            "budget_bytes": run.prepared.budget.ram,
            "baseline_bytes": plan.baseline,
            "planned_peak_rss_bytes": plan.peak_bytes,
            "measured_peak_rss_bytes": peak_resident(),
            "arena_bytes": plan.plan.memory.get("arena", 0),
        },
        "carousel": carousel_figures(run),
        "budget": budget_figures(run),
        "governor": None if run.session.governor is None else run.session.governor.to_json(),
        "device": device_figures(run),
        "plan": plan.to_json(),
        "sparsity": p.sparse.describe(),
        "plugins": provenance(run.config.to_json()),
        "warnings": list(run.warnings),
    }
    check_record(record)
    return record


def carousel_figures(run: Run) -> dict[str, Any]:
    """Store and exchange counters; zeros without a store."""
    p = run.parts
    figures: dict[str, Any] = dict.fromkeys(("samples_stored", "flash_bytes", "bytes_written", "bytes_read"), 0)
    if p.store is not None:
        stats = p.store.stats()
        figures = {
            "samples_stored": stats["samples"],
            **{k: stats[k] for k in ("flash_bytes", "bytes_written", "bytes_read")},
        }
    counters = {} if p.carousel is None else p.carousel.counters
    figures["bytes_read"] += counters.get("bytes_read", 0)
    for name in ("swaps_requested", "swaps_done", "swaps_dropped", "swaps_skipped"):
        figures[name] = counters.get(name, 0)
    figures["stall_seconds"] = float(counters.get("stall_seconds", 0.0))
    figures["decisions"] = [list(entry) for entry in run.trainer.log]
    figures["decisions_cut"] = run.trainer.log.cut
    return figures


def budget_figures(run: Run) -> dict[str, Any]:
    """{limit: {limit, used, source}} of what was set; None where it was not."""
    budget, store, energy = run.prepared.budget, run.parts.store, run.session.energy
    executed = run.parts.ledger.executed(run.parts.engine.meters)
    writes = None if store is None else store.wear.last_day

    def line(limit: Any, used: float | None, source: str) -> dict[str, Any] | None:
        return None if limit is None else {"limit": limit, "used": used, "source": source}

    return {
        "ram": line(budget.ram, peak_resident(), "measured"),
        "flops": line(budget.flops, executed, "counted"),
        "energy": line(budget.energy, energy.joules(run.trainer.steps, force=True), energy.source),
        "seconds": line(budget.seconds, run.session.seconds, "measured"),
        "flash_writes_per_day": line(budget.flash_writes_per_day, writes, "counted by the store, last 24 hours"),
    }


def device_figures(run: Run) -> dict[str, Any]:
    """Step seconds modelled for a profile, else measured here; joules as the run's account has them."""
    plan, steps = run.prepared.plan, run.trainer.steps
    measured = {"value": run.session.seconds / steps if steps else None, "source": "measured"}
    joules = {"value": run.session.energy.joules(steps, force=True), "source": run.session.energy.source}
    if run.config.device is None:
        return {"profile": None, "step_seconds": measured, "energy_joules": joules}
    source = plan.step_source or f"modelled({run.config.device})"
    return {
        "profile": run.config.device,
        "step_seconds": {"value": plan.step_seconds, "source": source},
        "energy_joules": joules,
    }
