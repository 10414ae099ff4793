"""`edgecl run`."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import typer

from ..config import Config, normalise
from ..errors import BadInput
from .fresh import exec_fresh
from .options import RunCommand, with_config_options
from .understood import say_understood

CLASS = RunCommand
HELP = """Train a stream task by task and write a record.

Examples:

  edgecl run --stream split-mnist5k --method er

  edgecl run --method der++ --sparsity 0.9 --gradient-keep 0.8 --store store --ram 96MB --out run1

  edgecl run --resume run1

Options that are not given come from the stream, then from the defaults shown. A run that reaches a
budget ends in order with exit status 0 and says why; Ctrl-C ends it with 130, and --resume continues it."""


@with_config_options
def command(
    options: dict[str, Any],
    use: list[str],
    context: typer.Context,
    resume: str = typer.Option(None, "--resume", metavar="DIR", help="continue the run whose --out folder this was"),
    seeds: str = typer.Option(None, "--seeds", metavar="0-4", help="one run for each seed, compared; needs --out"),
    as_json: bool = typer.Option(False, "--json", help="print the run record instead of a table"),
) -> int:
    """Check the options, then train: in a fresh image of this process when it is ours."""
    if seeds is not None:
        if resume is not None or as_json:
            raise BadInput("--seeds goes with neither --resume nor --json.", "Drop one.")
        from .seeds import parse_seeds, run_seeds

        Config.make(options)
        return run_seeds(parse_seeds(seeds), options, use)
    if resume is None:
        config = Config.make(options)
        if not as_json:
            say_understood(config)
    else:  # alone they make no configuration: the rest is the earlier run's
        normalise(options)
    job = {
        "options": options,
        "use": use,
        "resume": resume,
        "json": as_json,
        "command": shlex.join(["edgecl", *sys.argv[1:]]) if context.obj else "edgecl run",
    }
    if context.obj:
        exec_fresh("edgecl.commands.train", job)
    from .train import train

    return train(job)
