"""The command line: `edgecl run | plan | methods | import | export | tune | bench | doctor | devices | data | ...`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from . import __version__
from .commands import (
    backup,
    bench,
    compare,
    ctl,
    data,
    demo,
    devices,
    doctor,
    export_model,
    import_model,
    methods,
    plan,
    run,
    serve,
    service,
    store,
    tune,
)  # fmt: skip
from .commands.options import RunCommand
from .commands.refusal import guarded, refuse

# click's base of usage errors: some versions of typer carry a copy of their own
ClickException = typer.BadParameter.__mro__[2]


def say_version(asked: bool) -> None:
    if asked:
        print(f"edgecl {__version__}")
        raise typer.Exit


ANY = {"ignore_unknown_options": True, "allow_extra_args": True}


def serve_command(ctx: typer.Context) -> int:
    """As `edgecl.__main__` calls it before typer is imported; here for the list of commands."""
    return serve.serve(ctx.args)


app = typer.Typer(
    name="edgecl",
    help="Continual learning on the device, inside a fixed budget of RAM, compute, energy and flash.\n\n"
    "Start with: edgecl run --stream split-mnist5k --method der++ --sparsity 0.9 --store store --out run1",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=say_version, help="print it and stop"),
) -> None:
    """Takes the options that stand before a command."""


app.command("run", cls=RunCommand, help=run.HELP)(run.command)
app.command("plan", cls=RunCommand, help=plan.HELP)(plan.command)
app.command("tune", help=tune.HELP)(tune.command)
app.command("compare", help=compare.HELP)(compare.command)
app.command("methods", help=methods.HELP)(methods.command)
app.command("import", help=import_model.HELP)(import_model.command)
app.command("export", help=export_model.HELP)(export_model.command)
app.command("backup", help=backup.HELP)(backup.command)
app.command("restore", help=backup.RESTORE)(backup.restore)
app.command("demo", help=demo.HELP)(demo.command)
app.command("doctor", help=doctor.HELP)(doctor.command)
app.command("serve", help=serve.HELP, add_help_option=False, context_settings=ANY)(serve_command)
app.add_typer(ctl.app, name="ctl")
app.add_typer(service.app, name="service")
app.add_typer(bench.app, name="bench")
app.add_typer(devices.app, name="devices")
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="store")


def run_command_line(arguments: Sequence[str], own_process: bool = False) -> int:
    """The exit status. ``own_process``: the process is ours, so `edgecl run` may replace its image (see
    there)."""

    def work() -> int:
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
