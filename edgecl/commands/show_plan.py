"""What `edgecl plan` does once its options are read. Imports what a run imports, and nothing of the command
line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from ..devices import load_profile
from ..planning.run_plan import prepare
from ..plugins import use
from ..report.table import plain_table
from . import train as train  # for its memory
from .refusal import guarded


def show_plan(job: Mapping[str, Any]) -> int:
    """Plan ``job`` (options, use, json) and print it; the exit status."""
    use(job.get("use", ()))
    options = job["options"]
    baseline = None
    if options.get("device") not in (None, "host"):
        baseline = load_profile(str(options["device"])).baseline_rss_bytes
    prepared = prepare(options, baseline=baseline)
    prepared.stream.close()
    plan = prepared.plan
    if job["json"]:
        print(json.dumps({**plan.to_json(), "config": prepared.config.to_json(), **modelled(plan)}, indent=1))
        return 0
    rows = [["interpreter and libraries", f"{plan.baseline / 1e6:.2f} MB"]]
    rows += [[name.replace("_", " "), f"{size / 1e6:.2f} MB"] for name, size in plan.growth.items() if size]
    rows.append(["planned peak", f"{plan.peak_bytes / 1e6:.2f} MB"])
    if prepared.budget.ram is not None:
        rows.append(["budget", f"{float(prepared.budget.ram) / 1e6:.2f} MB"])
    rows += [
        ["rows in a forward", str(plan.plan.batch)],
        ["memory slots", str(prepared.config.memory)],
        ["threads", str(prepared.config.threads)],
        ["steps", str(plan.steps)],
        ["FLOPs a step", f"{plan.step_flops:.3g}"],
    ]
    if plan.front_flops:
        rows.append(["FLOPs a sample, in the front", f"{plan.front_flops:.3g}"])
    if plan.step_seconds is not None:
        rows.append([f"seconds a step, {plan.step_source}", f"{plan.step_seconds:.3g}"])
        if plan.step_joules is not None:
            rows.append([f"joules a step, {plan.step_source}", f"{plan.step_joules:.3g}"])
        about = plan.to_json()
        for name, unit in (("run_seconds", "s"), ("run_joules", "J")):
            if about[name]["value"] is not None:
                low, high = about[name]["band"]
                rows.append(["the whole run", f"{about[name]['value']:.3g} {unit} ({low:.3g} to {high:.3g})"])
        if plan.warming > 1.005:
            rows.append(["of that, slower as it warms", f"{plan.warming:.2f} times"])
    if plan.flash_writes:
        rows.append(["written to flash", f"{plan.flash_writes / 1e6:.1f} MB"])
    print(plain_table(["what", "planned"], rows))
    for choice in plan.choices:
        print(f"chosen: {choice}")
    return 0


def modelled(plan: Any) -> dict[str, Any]:
    source = plan.step_source or "no device profile"
    return {
        "step_seconds": {"value": plan.step_seconds, "source": source},
        "step_joules": {"value": plan.step_joules, "source": source},
    }


def main() -> int:
    """Entry of the fresh process image."""
    return guarded(lambda: show_plan(json.loads(sys.argv[1])))
