"""The command line: `edgecl run | plan | methods | import | export | tune | bench | doctor | devices | data | ...`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

import typer

from . import __version__
from .commands.refusal import guarded, refuse

# click's base of usage errors: some versions of typer carry a copy of their own
ClickException = typer.BadParameter.__mro__[2]
# command -> its module, in the order of the list; the module alone is imported, or all of them for the list
HOMES = {
    "run": "run",
    "plan": "plan",
    "tune": "tune",
    "compare": "compare",
    "methods": "methods",
    "import": "import_model",
    "export": "export_model",
    "models": "models",
    "backup": "backup",
    "restore": "backup",
    "demo": "demo",
    "doctor": "doctor",
    "teach": "teach",
    "feed": "feed",
    "serve": "serve",
    "ctl": "ctl",
    "service": "service",
    "bench": "bench",
    "devices": "devices",
    "data": "data",
    "store": "store",
    "fleet": "fleet",
}
ANY = {"ignore_unknown_options": True, "allow_extra_args": True}


def say_version(asked: bool) -> None:
    if asked:
        print(f"edgecl {__version__}")
        raise typer.Exit


def options(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=say_version, help="print it and stop"),
) -> None:
    """Takes the options that stand before a command."""


def application(names: Iterable[str]) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(
        name="edgecl",
        help="Continual learning on the device, inside a fixed budget of RAM, compute, energy and flash.\n\n"
        "Start with: edgecl run --stream split-mnist5k --method der++ --sparsity 0.9 --store store --out run1",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(options)
    for name in names:
        _add(app, name, import_module(f".commands.{HOMES[name]}", __package__))
    return app


def _add(app: typer.Typer, name: str, home: Any) -> None:
    if hasattr(home, "app"):
        app.add_typer(home.app, name=name)
    elif name == "serve":  # `edgecl.__main__` calls it before typer is imported; here for the list of commands

        def serve(ctx: typer.Context) -> int:
            return int(home.serve(ctx.args))

        app.command(name, help=home.HELP, add_help_option=False, context_settings=ANY)(serve)
    elif name == "restore":
        app.command(name, help=home.RESTORE)(home.restore)
    else:
        app.command(name, cls=getattr(home, "CLASS", None), help=home.HELP)(home.command)


def run_command_line(arguments: Sequence[str], own_process: bool = False) -> int:
    """The exit status. ``own_process``: the process is ours, so `edgecl run` may replace its image (see
    there)."""

    def work() -> int:
        app = application(arguments[:1] if arguments and arguments[0] in HOMES else HOMES)
        try:
            return int(app(list(arguments), prog_name="edgecl", standalone_mode=False, obj=own_process) or 0)
        except typer.Exit as request:
            return request.exit_code
        except typer.Abort:
            raise KeyboardInterrupt from None
        except SystemExit:  # what typer makes of a reader that is gone
            raise BrokenPipeError from None
        except ClickException as error:  # type: ignore[misc]
            context = getattr(error, "ctx", None)
            message = error.format_message()  # type: ignore[attr-defined]
            if type(error).__name__ == "NoArgsIsHelpError":
                print(message)
                return 2
            return refuse(message, f"See: {'edgecl' if context is None else context.command_path} --help")

    return guarded(work)
