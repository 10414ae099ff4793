"""Entry point of the `edgecl` command: says what to install when the command line's packages are missing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status. 0 done, 2 a user's mistake, 130 interrupted."""
    from .errors import MissingExtra, require

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if arguments is None:
        open_closed_streams()
        if usual:  # Ctrl-C among the imports ends us at once, without a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["serve"]:
        from .commands.serve import main as serve

        return serve(given[1:])
    try:
        require("typer", "cli")
    except MissingExtra as error:
        print(f"error: {error.cause}\n  try: {error.remedy}", file=sys.stderr)
        return 2
    from .cli import run_command_line

    if arguments is None:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_command_line(sys.argv[1:], own_process=True)
    return run_command_line(list(arguments))


def open_closed_streams() -> None:
    """Of stdin, stdout and stderr those that were closed when we started (``>&-``) become /dev/null: a file of ours
    would take their number, and what is printed would go into it."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


if __name__ == "__main__":
    sys.exit(main())
