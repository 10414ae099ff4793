"""Entry point of the `edgecl` command: says what to install when the command line's packages are missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status. 0 done, 2 a user's mistake, 130 interrupted."""
    from .errors import MissingExtra, require

    try:
        require("typer", "cli")
    except MissingExtra as error:
        print(f"error: {error.cause}\n  try: {error.remedy}", file=sys.stderr)
        return 2
    from .cli import run_command_line

    if arguments is None:
        return run_command_line(sys.argv[1:], own_process=True)
    return run_command_line(list(arguments))


if __name__ == "__main__":
    sys.exit(main())
