"""`edgecl plan`."""

from __future__ import annotations

import json
from typing import Any

import typer

from ..report.table import plain_table
from .options import with_config_options

HELP = """Show what a run would use; train nothing.

Takes the options of `edgecl run`. Exit status 2, with the reason, when no plan fits the budget. With
--device the process's own memory is the profile's figure, not this host's."""


@with_config_options
def command(
    options: dict[str, Any],
    as_json: bool = typer.Option(False, "--json", help="print the plan as JSON"),
) -> int:
    from ..devices import load_profile
    from ..learning.prepare import prepare

    baseline = None
    if options.get("device") not in (None, "host"):
        baseline = load_profile(str(options["device"])).baseline_rss_bytes
    prepared = prepare(options, baseline=baseline)
    plan = prepared.plan
    if as_json:
        print(json.dumps({**plan.to_json(), "config": prepared.config.to_json(), **modelled(plan)}, indent=1))
        return 0
    rows = [["interpreter and libraries", f"{plan.baseline / 1e6:.1f} MB"]]
    rows += [[name.replace("_", " "), f"{size / 1e6:.1f} MB"] for name, size in plan.growth.items() if size]
    rows.append(["planned peak", f"{plan.peak_bytes / 1e6:.1f} MB"])
    if prepared.budget.ram is not None:
        rows.append(["budget", f"{float(prepared.budget.ram) / 1e6:.1f} MB"])
    rows += [
        ["rows in a forward", str(plan.plan.batch)],
        ["memory slots", str(prepared.config.memory)],
        ["threads", str(prepared.config.threads)],
        ["steps", str(plan.steps)],
        ["FLOPs a step", f"{plan.step_flops:.3g}"],
    ]
    if plan.step_seconds is not None:
        rows.append([f"seconds a step, {plan.step_source}", f"{plan.step_seconds:.3g}"])
        if plan.step_joules is not None:
            rows.append([f"joules a step, {plan.step_source}", f"{plan.step_joules:.3g}"])
    print(plain_table(["what", "planned"], rows))
    for choice in plan.choices:
        print(f"chosen: {choice}")
    prepared.stream.close()
    return 0


def modelled(plan: Any) -> dict[str, Any]:
    source = plan.step_source or "no device profile"
    return {
        "step_seconds": {"value": plan.step_seconds, "source": source},
        "step_joules": {"value": plan.step_joules, "source": source},
    }
