"""`edgecl serve`: parsed here and not by typer, whose megabytes a daemon would keep for years."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ..errors import BadInput, require

HELP = """Keep a learner learning behind two unix sockets, until a signal says to stop.

Says READY=1 to systemd. SIGTERM saves and ends, SIGHUP reads the configuration again."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise BadInput(f"{message[0].upper()}{message[1:]}.", "See: edgecl serve --help")


def parser() -> argparse.ArgumentParser:
    """The options of `edgecl serve`."""
    made = _Parser("edgecl serve", description=HELP, allow_abbrev=False)
    made.add_argument("--config", metavar="FILE", help="edgecl.toml: [learner], [serve], [learn] ...")
    made.add_argument("--state", metavar="DIR", help="folder of store, saved states and journal")
    made.add_argument("--run", metavar="DIR", help="folder of api.sock and admin.sock")
    made.add_argument("--listen", metavar="HOST:PORT", help="also serve there, with a token")
    made.add_argument("--tokens", metavar="FILE", help="lines of 'role name sha256(token)'")
    made.add_argument("--tls", action="store_true", default=None, help="TLS there, by default with our own certificate")
    made.add_argument("--set", action="append", default=[], metavar="SECTION.NAME=VALUE",
                      help="over the file; may be repeated")  # fmt: skip
    made.add_argument("--use", action="append", default=[], metavar="FILE.py|MODULE", help="import this first")
    made.add_argument("--log", choices=("auto", "text", "json", "journal"), default="auto", help="form of the log")
    made.add_argument("--check", action="store_true", help="check the configuration, print the plan and stop")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the daemon; the exit status."""
    from .refusal import guarded

    return guarded(lambda: serve(arguments))


def serve(arguments: Sequence[str]) -> int:
    """Run the daemon. Raises what is to be told to a person."""
    said = parser().parse_args(list(arguments))
    for package in ("uvicorn", "starlette", "prometheus_client"):
        require(package, "service")
    from ..service.config import read_config
    from ..service.daemon import Daemon
    from ..service.logs import begin_logging

    own = {f"serve.{name}": getattr(said, name) for name in ("state", "run", "listen", "tokens", "tls")}
    over = {**dict(_given(text) for text in said.set), **{k: v for k, v in own.items() if v is not None}}
    read = read_config(said.config, over)
    if said.check:
        from ..service.check import checked

        print(json.dumps(checked(read, tuple(said.use)), indent=1, default=str))
        return 0
    begin_logging(said.log, read.serve.log)
    return Daemon(read, lambda: read_config(said.config, over), tuple(said.use)).run()


def _given(text: str) -> tuple[str, Any]:
    """SECTION.NAME=VALUE; a value that is JSON is what it says, any other is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInput(f"--set {text} has no value.", "Write --set learn.when=manual.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
