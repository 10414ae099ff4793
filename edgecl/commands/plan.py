"""`edgecl plan`."""

from __future__ import annotations

from typing import Any

import typer

from ..config import Config
from .fresh import exec_fresh
from .options import RunCommand, with_config_options
from .understood import say_understood

CLASS = RunCommand
HELP = """Show what a run would use; train nothing.

Takes the options of `edgecl run`. Exit status 2, with the reason, when no plan fits the budget. With
--device the process's own memory is the profile's figure, not this host's."""


@with_config_options
def command(
    options: dict[str, Any],
    use: list[str],
    context: typer.Context,
    as_json: bool = typer.Option(False, "--json", help="print the plan as JSON"),
) -> int:
    """Plan where `edgecl run` would train, so that the process's own memory is that of a run."""
    config = Config.make(options)
    if not as_json:
        say_understood(config)
    job = {"options": options, "use": use, "json": as_json}
    if context.obj:
        exec_fresh("edgecl.commands.show_plan", job)
    from .show_plan import show_plan

    return show_plan(job)
