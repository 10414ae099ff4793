"""`edgecl serve`."""

from __future__ import annotations

import json
from typing import Any

import typer

from ..errors import BadInput, require
from ..parsing import choice

HELP = """Keep a learner learning behind two unix sockets, until a signal says to stop.

Says READY=1 to systemd. SIGTERM saves and ends, SIGHUP reads the configuration again."""

GIVEN = typer.Option([], "--set", metavar="SECTION.NAME=VALUE", help="over the file; may be repeated")
USE = typer.Option([], "--use", metavar="FILE.py|MODULE", help="import this first")


def command(
    config: str = typer.Option(None, "--config", metavar="FILE", help="edgecl.toml: [learner], [serve], [learn] ..."),
    state: str = typer.Option(None, "--state", metavar="DIR", help="folder of store, saved states and journal"),
    run: str = typer.Option(None, "--run", metavar="DIR", help="folder of api.sock and admin.sock"),
    listen: str = typer.Option(None, "--listen", metavar="HOST:PORT", help="also serve there, with a token"),
    tokens: str = typer.Option(None, "--tokens", metavar="FILE", help="lines of 'role name sha256(token)'"),
    tls: bool = typer.Option(None, "--tls/--no-tls", help="TLS there, by default with our own certificate"),
    given: list[str] = GIVEN,
    use: list[str] = USE,
    log: str = typer.Option("auto", "--log", metavar="auto|text|json|journal", help="form of the log"),
    check: bool = typer.Option(False, "--check", help="check the configuration, print the plan and stop"),
) -> int:
    for package in ("uvicorn", "starlette", "prometheus_client"):
        require(package, "service")
    from ..service.config import read_config
    from ..service.daemon import Daemon
    from ..service.logs import begin_logging

    own: dict[str, Any] = {"serve.state": state, "serve.run": run, "serve.listen": listen, "serve.tokens": tokens}
    own["serve.tls"] = tls
    over = {**dict(_given(text) for text in given), **{k: v for k, v in own.items() if v is not None}}
    read = read_config(config, over)
    form = choice(("auto", "text", "json", "journal"))("log", log)
    if check:
        from ..service.check import checked

        print(json.dumps(checked(read, tuple(use)), indent=1, default=str))
        return 0
    begin_logging(form, read.serve.log)
    return Daemon(read, lambda: read_config(config, over), tuple(use)).run()


def _given(text: str) -> tuple[str, Any]:
    """SECTION.NAME=VALUE; a value that is JSON is what it says, any other is text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInput(f"--set {text} has no value.", "Write --set learn.when=manual.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
