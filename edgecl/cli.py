"""The command line: `edgecl run | plan | devices | data | compare | store`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from .commands import compare, data, devices, plan, run, store
from .errors import EdgeclError
from .storage.errors import StoreError

# click's base of usage errors: some versions of typer carry a copy of their own
ClickException = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="edgecl",
    help="Continual learning on the device, inside a fixed budget of RAM, compute, energy and flash.\n\n"
    "Start with: edgecl run --stream split-mnist5k --method der++ --sparsity 0.9 --store /tmp/store --out /tmp/run",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run", help=run.HELP)(run.command)
app.command("plan", help=plan.HELP)(plan.command)
app.command("compare", help=compare.HELP)(compare.command)
app.add_typer(devices.app, name="devices")
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="store")


def run_command_line(arguments: Sequence[str]) -> int:
    """The exit status. A user's mistake is one line of cause and one of remedy, without a traceback."""
    try:
        status = app(list(arguments), prog_name="edgecl", standalone_mode=False)
        return int(status or 0)
    except (EdgeclError, StoreError) as error:
        return _refuse(error.cause, error.remedy)
    except typer.Exit as request:
        return request.exit_code
    except ClickException as error:  # type: ignore[misc]
        context = getattr(error, "ctx", None)
        command = "edgecl" if context is None else context.command_path
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())  # type: ignore[attr-defined]
            return 2
        return _refuse(error.format_message(), f"See: {command} --help")  # type: ignore[attr-defined]
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone
        return 0
    except MemoryError:
        return _refuse("Memory ran out.", "Give --ram, so that the planner keeps to it, or a smaller batch or model.")


def _refuse(cause: str, remedy: str) -> int:
    print(f"error: {' '.join(cause.split())}", file=sys.stderr)
    if remedy:
        print(f"  try: {' '.join(remedy.split())}", file=sys.stderr)
    return 2
